"""Declining somebody else's request: a form asks why, and only sending it decides."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from bot.domain.models import EventType
from bot.sandbox.slack.simulator import OpenView, PostedMessage, text_of
from tests.support.damage import spoil
from tests.support.ledger import audit_rows
from tests.support.names import CANCEL, CHANNEL, CONFIRM
from tests.support.reading import operations, without_times
from tests.support.world import OpenWorld, World

WHY = "wrong customer, see CRM-7"


def shown(form: OpenView) -> str:
    """The visible text of a form that is not an input."""
    return text_of([block for block in form.view["blocks"] if block["type"] != "input"])


def forms(world: World) -> list[OpenView]:
    return world.slack.views.all()


async def events(world: World, card: PostedMessage) -> list[EventType]:
    return (await world.kept(card)).story


async def test_cancel_on_somebody_elses_card_opens_a_form_and_decides_nothing(
    world: World,
) -> None:
    card = await world.ask()
    form = await world.open_form("U0BOB", card)
    assert form.view["title"]["text"] == "Decline this request?"
    assert shown(form).splitlines() == [
        "Customer: Stolen Bikes (2554529)",
        "Ids on the card: contact 101 and company 202",
        "Asked by <@U0ALICE>: moved",
    ]
    [reason] = [block for block in form.view["blocks"] if block["type"] == "input"]
    assert (reason["optional"], reason["element"]["max_length"]) == (True, 500)
    assert "[Unlatch Stolen Bikes] [Cancel]" in world.card(card)
    assert await events(world, card) == [EventType.REQUESTED]


async def test_a_sent_form_declines_and_card_thread_history_and_audit_show_by_whom_and_why(
    world: World,
) -> None:
    card = await world.ask()
    await world.decline("U0BOB", card, WHY)
    assert without_times(world.card(card)).splitlines() == [
        "⛔ Declined: Stolen Bikes (2554529)",
        "Nothing was changed. The card showed contact 101 and company 202.",
        f"By <@U0BOB>, AT: {WHY}",
        "Asked by <@U0ALICE>, AT: moved",
    ]
    thread = ["<@U0ALICE> asked · AT", "<@U0BOB> declined · AT"]
    assert without_times(world.thread(card)).splitlines() == thread
    [reply] = world.slack.workspace.thread(CHANNEL, card.ts)
    assert reply.text.startswith("⛔ Declined: Stolen Bikes (2554529)\n")
    assert f"Reason: {WHY}" in await world.reply_to("history")
    last = audit_rows(world.database_url)[-1]
    assert [last[name] for name in ("event", "who", "why")] == ["declined", "U0BOB", WHY]
    assert forms(world) == []
    assert operations(world) == ["get_customer"]


@pytest.mark.parametrize("reason", ["", "<!channel> *no* <@U0ALICE>", "x" * 500])
async def test_a_reason_is_optional_and_shown_as_text(world: World, reason: str) -> None:
    card = await world.ask()
    await world.decline("U0BOB", card, reason)
    assert f"By <@U0BOB>, AT{f': {reason}' if reason else '.'}" in without_times(world.card(card))
    assert "<!channel>" not in world.slack.workspace.message(CHANNEL, card.ts).text
    assert all(call.answer["ok"] for call in world.slack.calls)


async def test_who_comes_too_late_is_told_in_the_form_who_was_quicker_and_when(
    world: World,
) -> None:
    card = await world.ask()
    form = await world.open_form("U0BOB", card)
    await world.press("U0ALICE", card, CONFIRM)
    await world.slack.submit(form.id, {"reason": WHY})
    [late] = forms(world)
    assert without_times(shown(late)) == (
        "☝️ This request was confirmed by <@U0ALICE>, AT. Your click changed nothing.\n"
        "The result: ✅ Unlatched."
    )
    assert late.view.get("submit") is None
    assert "✅ Unlatched" in world.card(card)


async def test_the_rules_are_checked_again_when_the_form_is_sent(world: World) -> None:
    card = await world.ask()
    form = await world.open_form("U0BOB", card)
    sent = {
        "type": "view_submission",
        "team": {"id": "T0SANDBOX"},
        "user": {"id": "U0GUEST", "team_id": "T0PARTNER"},
        "view": world.slack.views.payload(world.slack.views.fill(form.id, {"reason": WHY})),
    }
    body = urlencode({"payload": json.dumps(sent)}).encode()
    delivery = await world.slack.send_raw(body, world.slack.sign(body))
    await world.settled()
    assert "may not cancel somebody else's request" in delivery.body
    assert await events(world, card) == [EventType.REQUESTED, EventType.DECISION_DENIED]


async def test_where_no_trying_again_opens_the_form_the_person_is_told_so(world: World) -> None:
    card = await world.ask()
    world.slack.faults.fail("views.open", error="access_denied")
    await world.press("U0BOB", card, CANCEL)
    assert world.last_ephemeral("U0BOB") == (
        "📝 Slack does not let the bot open the form (access_denied), so nothing was done. Trying"
        " again won't help: tell the bot's admin."
    )


@pytest.mark.parametrize("fault", [{"error": "expired_trigger_id"}, {"drop": "after"}], ids=str)
async def test_where_nobody_knows_if_the_form_is_open_the_person_is_told_so(
    world: World, fault: dict[str, Any]
) -> None:
    card = await world.ask()
    world.slack.faults.fail("views.open", **fault)
    await world.press("U0BOB", card, CANCEL)
    assert world.last_ephemeral("U0BOB") == (
        "📝 Slack did not say that it opened the form, and nothing was done. If you see no form, do"
        " the same again."
    )
    await world.decline("U0BOB", card, WHY)
    assert "By <@U0BOB>" in world.card(card)


async def test_a_ledger_that_fails_is_told_beside_the_reason_which_is_kept(
    world: World, tmp_path: Path
) -> None:
    card = await world.ask()
    form = await world.open_form("U0BOB", card)
    other = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    delivery = await world.slack.submit(form.id, {"reason": WHY})
    other.close()
    assert delivery is not None
    assert (delivery.status, delivery.seconds < 3.0) == (200, True)
    kept = world.slack.views.get(form.id)
    assert "nothing was decided" in kept.errors["reason"]
    assert kept.values == {"reason": {"reason": WHY}}
    await world.slack.submit(form.id, {"reason": WHY})
    await world.settled()
    assert f": {WHY}" in world.card(card)


async def test_a_form_that_fails_in_the_bot_says_so_and_stays(world: World) -> None:
    card = await world.ask()
    form = await world.open_form("U0BOB", card)
    spoil(world.database_url)
    await world.slack.submit(form.id, {"reason": WHY})
    assert "Something went wrong in the bot" in world.slack.views.get(form.id).errors["reason"]


async def test_a_form_works_over_socket_mode_too(open_world: OpenWorld) -> None:
    async with open_world(mode="socket") as world:
        card = await world.ask()
        late = await world.open_form("U0BOB", card)
        await world.decline("U0BOB", card, WHY)
        assert f": {WHY}" in world.card(card)
        await world.slack.submit(late.id, {"reason": "again"})
        assert "declined by <@U0BOB>" in shown(world.slack.views.get(late.id))


async def test_who_declines_where_the_card_cannot_change_is_told_privately(
    world: World,
) -> None:
    card = await world.ask()
    form = await world.open_form("U0BOB", card)
    channels = world.slack.workspace.channels
    channels[CHANNEL] = replace(channels[CHANNEL], archived=True)
    await world.slack.submit(form.id, {"reason": WHY})
    await world.settled()
    assert "Declined" in world.last_ephemeral("U0BOB")
