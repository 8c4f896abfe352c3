"""Where Slack takes no table, a message lists the same in lines and keeps its buttons."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from slack_sdk.web.async_client import AsyncWebClient

from bot.messages.block_kit import Message, message, say
from bot.messages.card import draw
from bot.sandbox.slack.simulator import SimulatedSlack, text_of
from bot.slack.client import Slack
from bot.slack.errors import UNPOSTABLE, SlackBlocked, SlackRefused, SlackUnavailable
from bot.slack.web_api import open_session
from tests.support.hostile import NO_LINKS
from tests.support.many import card_of, customers
from tests.support.names import CHANNEL

CARD = draw(card_of(customers(3)), NO_LINKS)
ONE = draw(card_of(customers(1)), NO_LINKS)
LINE = "Id 2554530, Company Lost Pedals, Contact / company 102 / 202, Reference REF-1"


@pytest.fixture
async def simulated() -> AsyncIterator[SimulatedSlack]:
    async with SimulatedSlack() as slack:
        yield slack


@pytest.fixture
async def slack(simulated: SimulatedSlack) -> AsyncIterator[Slack]:
    async with open_session() as session:
        yield Slack(
            AsyncWebClient(
                token=simulated.bot_token,
                base_url=simulated.api_url,
                session=session,
                retry_handlers=[],
            )
        )


def kinds(simulated: SimulatedSlack, ts: str) -> list[str]:
    return [block["type"] for block in simulated.workspace.message(CHANNEL, ts).blocks]


def shown(simulated: SimulatedSlack, ts: str) -> list[str]:
    return text_of(simulated.workspace.message(CHANNEL, ts).blocks).splitlines()


async def test_slack_takes_the_table(simulated: SimulatedSlack, slack: Slack) -> None:
    ts = (await slack.post(CHANNEL, CARD)).ts
    assert "table" in kinds(simulated, ts)
    assert len(simulated.calls) == 1


@pytest.mark.parametrize("code", sorted(UNPOSTABLE))
async def test_a_card_whose_table_is_refused_is_posted_with_lines_and_its_buttons(
    simulated: SimulatedSlack, slack: Slack, code: str
) -> None:
    simulated.faults.fail("chat.postMessage", error=code, times=None, block="table")
    ts = (await slack.post(CHANNEL, CARD)).ts
    assert "table" not in kinds(simulated, ts)
    assert shown(simulated, ts)[0] == "Unlatch 3 customers?"
    assert LINE in shown(simulated, ts)
    assert shown(simulated, ts)[-2] == "[Unlatch 3 customers] [Cancel]"


async def test_a_card_is_updated_with_lines_where_its_table_is_refused(
    simulated: SimulatedSlack, slack: Slack
) -> None:
    ts = (await slack.post(CHANNEL, message([[say("soon")]]))).ts
    simulated.faults.fail("chat.update", error="invalid_blocks", times=None, block="table")
    await slack.update(CHANNEL, ts, CARD)
    assert LINE in shown(simulated, ts)
    assert kinds(simulated, ts)[-2] == "actions"


async def test_where_the_lines_are_refused_too_the_text_keeps_the_buttons(
    simulated: SimulatedSlack, slack: Slack
) -> None:
    simulated.faults.fail("chat.postMessage", error="invalid_blocks", times=2)
    sent = await slack.post(CHANNEL, CARD)
    assert set(kinds(simulated, sent.ts)) == {"section", "actions"}
    assert shown(simulated, sent.ts)[0] == "Unlatch 3 customers?"
    assert LINE in shown(simulated, sent.ts)
    assert shown(simulated, sent.ts)[-2] == "[Unlatch 3 customers] [Cancel]"
    assert sent.refused == "invalid_blocks"


async def test_where_no_block_is_taken_at_all_the_text_is_sent(
    simulated: SimulatedSlack, slack: Slack
) -> None:
    simulated.faults.fail("chat.postMessage", error="invalid_blocks", times=3)
    ts = (await slack.post(CHANNEL, CARD)).ts
    posted = simulated.workspace.message(CHANNEL, ts)
    assert (posted.blocks, posted.text.splitlines()[0]) == ([], "Unlatch 3 customers?")
    assert "Id 2554530: Lost Pedals, contact 102 and company 202" in posted.text


async def test_only_the_block_that_slack_names_becomes_text(
    simulated: SimulatedSlack, slack: Slack, capsys: pytest.CaptureFixture[str]
) -> None:
    simulated.faults.fail("chat.postMessage", error="invalid_blocks", block="header", pointer=0)
    ts = (await slack.post(CHANNEL, ONE)).ts
    assert kinds(simulated, ts) == ["section", *(each["type"] for each in ONE.blocks[1:])]
    said = capsys.readouterr().out
    assert "message refused" in said
    assert "json-pointer:/blocks/0" in said


@pytest.mark.parametrize("fault", [{"status": 500}, {"error": "internal_error"}], ids=str)
async def test_server_errors_to_a_table_alone_count_as_its_refusal_after_the_second(
    simulated: SimulatedSlack, slack: Slack, fault: dict[str, Any]
) -> None:
    simulated.faults.fail("chat.postMessage", times=None, block="table", **fault)
    sent = await slack.post(CHANNEL, CARD)
    assert LINE in shown(simulated, sent.ts)
    assert kinds(simulated, sent.ts)[-2] == "actions"
    assert (bool(sent.refused), len(simulated.calls)) == (True, 3)


async def test_server_errors_to_everything_are_no_refusal(
    simulated: SimulatedSlack, slack: Slack
) -> None:
    simulated.faults.fail("chat.postMessage", status=500, times=None)
    with pytest.raises(SlackUnavailable):
        await slack.post(CHANNEL, CARD)


async def test_an_error_that_is_not_about_the_content_is_not_tried_without_the_table(
    simulated: SimulatedSlack, slack: Slack
) -> None:
    simulated.faults.fail("chat.postMessage", error="not_in_channel", times=None)
    with pytest.raises(SlackBlocked):
        await slack.post(CHANNEL, CARD)
    simulated.faults.clear()
    simulated.faults.fail("chat.postMessage", error="thread_not_found", times=None)
    with pytest.raises(SlackRefused):
        await slack.post(CHANNEL, CARD)
    assert len(simulated.calls) == 2


async def test_two_tables_in_a_message_fall_back_too(
    simulated: SimulatedSlack, slack: Slack
) -> None:
    (table,) = [block for block in CARD.blocks if block["type"] == "table"]
    twice = Message(CARD.text, [*CARD.blocks, table], CARD.without_table)
    assert LINE in shown(simulated, (await slack.post(CHANNEL, twice)).ts)
