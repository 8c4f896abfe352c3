"""The simulated Slack takes a table within Slack's limits, and says what else is wrong."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient

from bot.sandbox.slack.response_urls import Origin
from bot.sandbox.slack.simulator import SimulatedSlack
from bot.sandbox.slack.validation.block_kit import problems, size, text_of
from tests.support.names import CHANNEL


def raw(text: str = "x") -> dict[str, Any]:
    return {"type": "raw_text", "text": text}


def rich(*elements: dict[str, Any]) -> dict[str, Any]:
    section = {"type": "rich_text_section", "elements": list(elements)}
    return {"type": "rich_text", "elements": [section]}


def table(*rows: object, **more: object) -> dict[str, Any]:
    return {"type": "table", "rows": list(rows), **more}


NUMBER = {"type": "raw_number", "value": 101, "text": "101"}
LATCHED = table(
    [raw("Id"), raw("Company"), raw("Contact")],
    [raw("2554529"), rich({"type": "text", "text": "Stolen Bikes"}), NUMBER],
    block_id="customers",
    column_settings=[{"align": "right"}, None, {"align": "center", "is_wrapped": True}],
)


def test_a_table_of_texts_numbers_and_rich_text_is_valid_and_read_row_by_row() -> None:
    assert problems([LATCHED]) == []
    assert text_of([LATCHED]).splitlines() == [
        "Id | Company | Contact",
        "2554529 | Stolen Bikes | 101",
    ]


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"type": "table"}, "missing required field: rows"),
        (table(), "/rows must have between 1 and 100 items"),
        (table([raw()], [raw()] * 21), "/rows/1 must have between 1 and 20 items"),
        (table(["x"]), "/rows/0/0 cell must be an object"),
        (
            table([{"type": "plain_text", "text": "x"}]),
            "/rows/0/0/type unsupported cell type: plain_text",
        ),
        (table([raw("")]), "/rows/0/0/text must be more than 0 characters"),
        (table([raw() | {"emoji": True}]), "invalid additional property: emoji"),
        (table([NUMBER | {"value": "101"}]), "/rows/0/0/value must be a number"),
        (table([rich({"type": "shout"})]), "unsupported element type: shout"),
        (table([rich({"type": "text", "text": "x" * 10_001})]), "10001 characters in all cells"),
        (table([raw("🚲" * 5_001)]), "10002 characters in all cells"),
        (table([raw()], column_settings=[{}] * 21), "column_settings must have between 1 and 20"),
        (table([raw()], column_settings=[{"align": "end"}]), "must be one of left, center, right"),
        (table([raw()], column_settings=[{"width": 1}]), "invalid additional property: width"),
    ],
)
def test_what_slack_refuses_in_a_table_is_reported(block: dict[str, Any], expected: str) -> None:
    found = [f"{pointer} {text}" for text, pointer in map(split, problems([block]))]
    assert any(expected in line for line in found), found


def split(found: str) -> tuple[str, str]:
    """The text of a problem and its pointer."""
    text, _, pointer = found.removeprefix("[ERROR] ").partition(" [json-pointer:")
    return text, pointer.removesuffix("]")


def test_the_texts_of_a_table_count_towards_the_size_of_the_message() -> None:
    assert size([table([raw("four"), NUMBER])]) == len("four") + len("101")


@pytest.mark.parametrize(
    ("blocks", "error"),
    [
        ([table([raw()]), table([raw()])], "invalid_attachments"),
        ([table([raw()]), table([raw("")])], "invalid_blocks"),
        ([table([raw("")])], "invalid_blocks"),
    ],
    ids=["two tables", "two tables, one of them wrong", "an empty cell"],
)
async def test_a_refused_table_has_slacks_error_code(
    blocks: list[dict[str, Any]], error: str
) -> None:
    async with SimulatedSlack() as slack:
        client = AsyncWebClient(token=slack.bot_token, base_url=slack.api_url)
        with pytest.raises(SlackApiError) as refused:
            await client.chat_postMessage(channel=CHANNEL, text="Customers", blocks=blocks)
        assert refused.value.response["error"] == error
        assert slack.workspace.messages(CHANNEL) == []


def section(characters: int) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "plain_text", "text": "x" * characters}}


@pytest.mark.parametrize(
    "cell",
    [raw("x" * 9_000), rich({"type": "text", "text": "x" * 9_000})],
    ids=["raw_text", "rich_text"],
)
async def test_a_message_has_13000_characters_with_those_of_its_table(cell: dict[str, Any]) -> None:
    fits = [section(2_000), section(2_000), table([cell])]
    too_long = [section(2_000), section(2_001), table([cell])]
    async with SimulatedSlack() as slack:
        client = AsyncWebClient(token=slack.bot_token, base_url=slack.api_url)
        posted = await client.chat_postMessage(channel=CHANNEL, text="Customers", blocks=fits)
        with pytest.raises(SlackApiError) as refused:
            await client.chat_postMessage(channel=CHANNEL, text="Customers", blocks=too_long)
        assert refused.value.response["error"] == "msg_blocks_too_long"
        with pytest.raises(SlackApiError) as refused:
            await client.chat_update(
                channel=CHANNEL, ts=posted["ts"], text="Customers", blocks=too_long
            )
        assert refused.value.response["error"] == "msg_blocks_too_long"
        (message,) = slack.workspace.messages(CHANNEL)
        assert text_of(message.blocks) == text_of(fits)


async def test_an_old_workspace_refuses_a_table_however_it_is_sent_and_takes_lines() -> None:
    async with SimulatedSlack() as slack:
        client = AsyncWebClient(token=slack.bot_token, base_url=slack.api_url)
        slack.workspace.takes_tables = False
        lines = [section(10)]
        posted = await client.chat_postMessage(channel=CHANNEL, text="Customers", blocks=lines)
        for call in (
            client.chat_postMessage(channel=CHANNEL, text="Customers", blocks=[LATCHED]),
            client.chat_update(channel=CHANNEL, ts=posted["ts"], text="x", blocks=[LATCHED]),
        ):
            with pytest.raises(SlackApiError) as refused:
                await call
            assert refused.value.response["error"] == "invalid_blocks"
            assert refused.value.response["response_metadata"]["messages"] == [
                "[ERROR] unsupported block type: table [json-pointer:/blocks/0/type]"
            ]
        checked = await client.api_call("blocks.validate", data={"blocks": json.dumps([LATCHED])})
        assert len(checked["errors"]) == 1
        url = slack.url + slack.responses.issue(Origin("U0ALICE", CHANNEL))
        async with httpx.AsyncClient(trust_env=False) as http:
            answer = await http.post(url, json={"text": "Customers", "blocks": [LATCHED]})
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_blocks")
        (message,) = slack.workspace.messages(CHANNEL)
        assert text_of(message.blocks) == text_of(lines)
        slack.workspace.takes_tables = True
        await client.chat_postMessage(channel=CHANNEL, text="Customers", blocks=[LATCHED])
        assert slack.workspace.messages(CHANNEL)[-1].blocks == [LATCHED]
