"""Asking about many customers: one command, a question where it has two meanings, or a form."""

from __future__ import annotations

import asyncio
import json
from urllib.parse import urlencode

import pytest

from bot.sandbox.slack.delivery import submission_payload
from bot.sandbox.slack.proxy_answers import PROXY_ANSWERS
from bot.sandbox.slack.simulator import OpenView, text_of
from tests.support.ledger import audit_rows
from tests.support.names import BIKES, CANCEL, CHANNEL, USE
from tests.support.reading import answer_to, heard_by, operations, parts
from tests.support.world import OpenWorld, World

JOINERY, DENTAL, COFFEE = 3100025, 3100033, 3100017
ADVICE = "put each customer on its own line, without thousands separators."


async def open_form(world: World) -> OpenView:
    assert (await world.slack.command("U0ALICE", "many")).status == 200
    await world.settled()
    return world.slack.views.of("U0ALICE")


async def send(world: World, form: OpenView, ids: str, reason: str = "") -> None:
    delivery = await world.slack.submit(form.id, {"ids": ids, "reason": reason})
    assert delivery is not None
    assert delivery.status == 200, delivery
    await world.settled()


async def press_meaning(world: World, number: int) -> None:
    """Press one of the two buttons of the last question."""
    question = world.slack.workspace.ephemerals("U0ALICE")[-1]
    buttons = [
        element
        for block in question.blocks
        if block["type"] == "actions"
        for element in block["elements"]
    ]
    value = buttons[number]["value"]
    await world.slack.click_ephemeral("U0ALICE", question, USE, value)
    await world.settled()


async def test_several_ids_become_one_card(world: World) -> None:
    card = await world.ask(f"{BIKES}, {JOINERY}; #{DENTAL} moved portal")
    text = world.card(card)
    assert "3 customers" in text
    assert "moved portal" in text
    assert all(str(each) in text for each in (BIKES, JOINERY, DENTAL))
    assert operations(world) == ["get_customer"] * 3


async def test_who_is_left_out_is_named_on_the_card(world: World) -> None:
    text = world.card(await world.ask(f"{BIKES}, {JOINERY}, {COFFEE}, 424242"))
    assert "2 customers" in text
    assert "not latched to anything" in text
    assert "not known in Fusebill" in text


async def test_if_only_one_can_be_unlatched_its_requester_is_told_of_the_others(
    world: World,
) -> None:
    card = await world.ask(f"{BIKES}, {COFFEE} moved")
    assert "(2554529)" in world.card(card)
    told = world.last_ephemeral("U0ALICE")
    assert "Of 2 customers, only one can be unlatched." in told
    assert f"{COFFEE}: not latched to anything (Harbour Light Coffee)" in told


async def test_if_nobody_is_left_there_is_no_card_and_each_is_named(world: World) -> None:
    told = await answer_to(world, f"{COFFEE}, 424242 moved")
    assert "none can be unlatched" in told
    assert f"{COFFEE}: not latched to anything" in told
    assert "424242: not known in Fusebill" in told
    assert heard_by(world) == {"U0ALICE"}


@pytest.mark.parametrize(
    ("number", "calls", "shown"), [(0, 2, "2 customers"), (1, 1, ": 3100025 moved")]
)
async def test_with_two_meanings_the_person_is_asked_and_the_button_decides(
    world: World, number: int, calls: int, shown: str
) -> None:
    question = await answer_to(world, f"{BIKES} {JOINERY} moved")
    assert "two things, so nothing was done" in question
    assert (operations(world), heard_by(world)) == ([], {"U0ALICE"})
    await press_meaning(world, number)
    assert operations(world) == ["get_customer"] * calls
    [card] = world.slack.workspace.messages(CHANNEL)
    assert shown in world.card(card)


FORGED = [
    *("", "2554529", "{}", '{"ids": [7], "reason": ""}', "[" * 5_000),
    *(
        json.dumps({"ids": ids, "reason": "", "command": "/unlatch"})
        for ids in (7, [True], ["7"], [0])
    ),
    json.dumps({"ids": list(range(1, 52)), "reason": "", "command": "/unlatch"}),
    json.dumps({"ids": [BIKES], "reason": "x" * 501, "command": "/unlatch"}),
]


async def test_a_meaning_that_no_button_has_does_nothing_and_says_so(world: World) -> None:
    for value in FORGED:
        await world.slack.forge_click("U0ALICE", "1.2", USE, value)
        await world.settled()
    answers = [text_of(each.blocks) for each in world.slack.workspace.ephemerals("U0ALICE")]
    assert ["✋" in each for each in answers] == [True] * len(FORGED)
    assert (operations(world), heard_by(world)) == ([], {"U0ALICE"})


async def test_a_refusal_is_recorded_once_with_what_was_typed(open_world: OpenWorld) -> None:
    async with open_world(unlatch_requesters=frozenset({"U0BOB"})) as world:
        told = await answer_to(world, f"{BIKES}, {JOINERY} moved")
        assert "You are not on the list" in told
        assert operations(world) == []
    [row] = audit_rows(world.database_url)
    assert (row["customer_id"], row["event"]) == (BIKES, "ask_denied")
    assert f"{BIKES}, {JOINERY} moved" in str(row)


async def test_the_form_takes_whole_rows_of_a_spreadsheet(world: World) -> None:
    form = await open_form(world)
    assert form.view["title"]["text"] == "Unlatch many customers"
    assert operations(world) == []
    rows = f"{BIKES}\tStolen Bikes\tREF-7\n{JOINERY}\tMaple\n\n{BIKES}\tagain\n"
    await send(world, form, rows, "moved\nportal")
    assert world.slack.views.all() == []
    [card] = world.slack.workspace.messages(CHANNEL)
    assert "2 customers" in world.card(card)
    assert "moved portal" in world.card(card)


async def test_a_form_that_was_changed_before_it_is_sent_again_asks_anew(world: World) -> None:
    form = await open_form(world)
    # Slack did not get the answers in time, keeps the form and shows "Try again?"
    for other in (JOINERY, JOINERY, DENTAL):
        filled = world.slack.views.fill(form.id, {"ids": str(other), "reason": "moved"})
        view = world.slack.views.payload(filled)
        payload = submission_payload(world.slack.workspace, "U0ALICE", view)
        body = urlencode({"payload": json.dumps(payload)}).encode()
        await world.slack.send_raw(body, world.slack.sign(body))
        await world.settled()
    first, second = map(world.card, world.slack.workspace.messages(CHANNEL))
    assert str(JOINERY) in first
    assert str(DENTAL) in second
    # the second time, nothing was read
    assert operations(world) == ["get_customer"] * 2


@pytest.mark.parametrize("typed", [f"{BIKES} {JOINERY} moved", "find Stolen"])
async def test_a_double_click_on_a_button_that_asks_is_one_card(world: World, typed: str) -> None:
    await answer_to(world, typed)
    answer = world.slack.workspace.ephemerals("U0ALICE")[-1]
    button = next(part for part in parts(answer.blocks) if part["type"] == "button")

    async def press() -> None:
        await world.slack.click_ephemeral("U0ALICE", answer, button["action_id"], button["value"])

    await asyncio.gather(press(), press())
    await world.settled()
    [card] = world.slack.workspace.messages(CHANNEL)
    assert "This was asked for already" in world.last_ephemeral("U0ALICE")
    # once that card has ended, the button asks anew
    await world.press("U0ALICE", card, CANCEL)
    await press()
    await world.settled()
    assert len(world.slack.workspace.messages(CHANNEL)) == 2


async def test_what_cannot_be_understood_is_said_with_its_line_and_nothing_is_lost(
    world: World,
) -> None:
    form = await open_form(world)
    typed = f"{BIKES}\nStolen Bikes\n{JOINERY}, {DENTAL}"
    await send(world, form, typed, "moved")
    kept = world.slack.views.get(form.id)
    assert kept.errors["ids"].splitlines() == [
        "Line 2: There is no Stax Bill ID in 'Stolen Bikes'.",
        f"Line 3: 2 numbers stand in this line: {ADVICE}",
    ]
    assert kept.values == {"ids": {"ids": typed}, "reason": {"reason": "moved"}}
    assert (operations(world), heard_by(world)) == ([], set())
    await send(world, form, f"{BIKES}\n{JOINERY}", "moved")
    assert len(world.slack.workspace.messages(CHANNEL)) == 1


async def test_who_may_not_ask_is_told_so_and_sees_no_form(open_world: OpenWorld) -> None:
    async with open_world(unlatch_requesters=frozenset({"U0BOB"})) as world:
        assert "You are not on the list" in await answer_to(world, "many")
        assert world.slack.views.all() == []


async def test_the_rules_are_checked_again_when_the_form_is_sent(open_world: OpenWorld) -> None:
    async with open_world(unlatch_requesters=frozenset({"U0ALICE"})) as world:
        form = await open_form(world)
        view = world.slack.views.fill(form.id, {"ids": f"{BIKES}\n{JOINERY}", "reason": ""})
        payload = {
            "type": "view_submission",
            "team": {"id": "T0SANDBOX"},
            "user": {"id": "U0BOB", "team_id": "T0SANDBOX"},
            "view": world.slack.views.payload(view),
        }
        body = urlencode({"payload": json.dumps(payload)}).encode()
        await world.slack.send_raw(body, world.slack.sign(body))
        await world.settled()
        assert "You are not on the list" in world.last_ephemeral("U0ALICE")
        assert operations(world) == []


NOBODY_KNOWS = (
    "📝 Slack did not say that it opened the form, and nothing was done. If you see no form, do"
    " the same again."
)


async def test_a_proxys_answer_is_no_proof_that_the_form_is_open(world: World) -> None:
    for name in PROXY_ANSWERS:
        world.slack.faults.answer_as_proxy("views.open", name)
        assert await answer_to(world, "many") == NOBODY_KNOWS, name
