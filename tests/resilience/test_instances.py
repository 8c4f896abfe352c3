"""Two instances on one PostgreSQL: one decision for each card, and no work is lost."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from signal import SIGCONT, SIGSTOP

import pytest

from bot.domain.models import EventType
from bot.sandbox.slack.simulator import PostedMessage
from tests.support.bot_process import PACE
from tests.support.faults import Gate
from tests.support.kept import KeptCard
from tests.support.names import AGAIN, BIKES, CHANNEL, CHECK, CONFIRM, CUSTOMERS, UNDO
from tests.support.reading import metrics_of
from tests.support.stage import Stage, Trap, on_postgresql
from tests.support.world import add_customers

# long enough that no live instance loses its lease on a loaded machine
PATIENT = replace(PACE, hold_s=10.0)


pytestmark = on_postgresql


async def click_everywhere(
    staged: Stage, card: PostedMessage, action: str, times: int, user_id: str = "U0BOB"
) -> set[int]:
    """Click several times at once, on each instance in turn; returns the HTTP statuses."""
    addresses = [f"{bot.address}/slack/events" for bot in staged.bots]
    clicks = []
    for number in range(times):
        staged.slack.request_url = addresses[number % len(addresses)]
        clicks.append(asyncio.create_task(staged.slack.click(user_id, card.ts, action)))
        # lets the click start, which reads request_url
        await asyncio.sleep(0)
    return {delivery.status for delivery in await asyncio.gather(*clicks)}


async def test_twenty_clicks_at_once_on_two_instances_make_one_call(staged: Stage) -> None:
    await staged.start(timing=PATIENT)
    await staged.start(timing=PATIENT)
    card = await staged.ask()
    assert await click_everywhere(staged, card, "unlatch_confirm", 20) == {200}
    [kept] = await staged.settled()

    await staged.until(lambda: len(staged.slack.workspace.ephemerals("U0BOB")) == 19)
    assert staged.calls("unlatch_customer") == 1
    assert kept.story == ["requested", "confirmed", "begun", "cleared"]
    assert len(staged.slack.workspace.thread("C0BILLING", card.ts)) == 1


async def test_of_two_instances_that_cannot_post_a_card_one_says_that_it_waits(
    staged: Stage,
) -> None:
    await staged.start(timing=replace(PATIENT, pause_s=0.02))
    await staged.start(timing=replace(PATIENT, pause_s=0.02))
    staged.slack.faults.fail("chat.postMessage", error="internal_error", times=None)
    await staged.slack.command("U0ALICE", f"{BIKES} moved")
    await staged.until(lambda: bool(staged.slack.workspace.ephemerals("U0ALICE")), 30.0)
    posts = len(staged.slack.calls)
    await staged.until(lambda: len(staged.slack.calls) > posts + 4, 30.0)
    staged.slack.faults.clear()
    await staged.until(lambda: bool(staged.slack.workspace.messages(CHANNEL)), 30.0)
    await staged.settled()
    [told] = staged.slack.workspace.ephemerals("U0ALICE")
    assert "It will appear as soon as Slack does" in told.text


async def test_confirm_and_cancel_at_once_make_one_verdict(staged: Stage) -> None:
    await staged.start(timing=PATIENT)
    await staged.start(timing=PATIENT)
    # what is done for a customer closes its other cards
    add_customers(staged.fusebill)
    cards = [await staged.ask(each) for each in CUSTOMERS[:4]]
    for card in cards:
        await asyncio.gather(
            click_everywhere(staged, card, "unlatch_confirm", 4),
            click_everywhere(staged, card, "unlatch_cancel", 4, "U0ALICE"),
        )
    kept = await staged.settled()

    verdicts = [[e for e in each.story if e in ("confirmed", "cancelled")] for each in kept]
    assert [len(v) for v in verdicts] == [1, 1, 1, 1]


async def test_a_card_of_one_instance_is_closed_by_what_another_one_did(staged: Stage) -> None:
    await staged.start(timing=PATIENT)
    waiting = await staged.ask()
    await staged.start(timing=PATIENT)
    card = await staged.ask()
    await staged.slack.click("U0BOB", card.ts, CONFIRM)
    await staged.until(lambda: "⏩ Overtaken" in staged.card(waiting))
    first, second = await staged.settled()
    assert first.story == ["requested", "overtaken"]
    assert second.story == ["requested", "confirmed", "begun", "cleared"]
    assert "[" not in staged.card(waiting)


async def test_the_work_of_a_dead_instance_is_reclaimed(staged: Stage) -> None:
    await staged.start()
    card = await staged.ask()
    trap = Trap(staged, ("before", "unlatch_customer"))
    trap.arm()
    victim = staged.bots[-1]
    survivor = await staged.start()
    staged.slack.request_url = f"{victim.address}/slack/events"
    staged.bots.reverse()
    await staged.slack.click("U0BOB", card.ts, "unlatch_confirm")
    await staged.until(trap.sprung.is_set)
    await staged.settled()

    assert victim.process.exitcode is not None
    assert survivor.process.exitcode is None
    assert "Cleared contact 101 and company 202" in staged.card(card)
    assert "resumed interrupted work" in staged.thread(card)


@pytest.mark.parametrize("drawing", ["Working", "Unlatched"])
async def test_a_drawing_of_an_instance_that_slept_does_not_stay_on_the_card(
    staged: Stage, drawing: str
) -> None:
    frozen = await staged.start(timing=replace(PACE, working_after_s=0.2, hold_s=1.0))
    card = await staged.ask()
    if drawing == "Working":
        staged.fusebill.misbehave("slow", operation="get_customer", seconds=1.0)
    staged.slack.before = drawn = Gate("chat.update", only_first=True)
    click = asyncio.create_task(staged.slack.click("U0BOB", card.ts, CONFIRM))
    await staged.until(drawn.reached.is_set)
    await staged.until(lambda: drawing in "Working" + staged.thread(card))
    frozen.signal(SIGSTOP)
    await staged.start()
    await staged.settled()
    assert "Cleared contact 101 and company 202" in staged.card(card)
    await staged.slack.click("U0ALICE", card.ts, UNDO)
    await staged.until(lambda: "again?" in staged.thread(card))
    undo = staged.slack.workspace.thread(CHANNEL, card.ts)[-1]
    await staged.slack.click("U0BOB", undo.ts, CONFIRM)
    await staged.settled()
    assert "↩️ Undone" in staged.card(card)

    drawn.opened.set()
    await staged.until(lambda: "↩️ Undone" not in staged.card(card))
    frozen.signal(SIGCONT)
    await click
    await staged.until(lambda: "↩️ Undone" in staged.card(card))
    await staged.settled()


RACES = int(os.environ.get("RACES", "3"))  # `python -m tests.repeat` runs 30


def latch(staged: Stage, vid: int | None, company_id: int | None) -> None:
    staged.fusebill.customers[BIKES].update(hubSpotId=vid, hubSpotCompanyId=company_id)


def lines(staged: Stage, card: PostedMessage, text: str) -> int:
    """How often the thread of a card says something."""
    return staged.thread(card).count(text)


async def quiet(staged: Stage, heard_by: str, before: int) -> list[KeptCard]:
    """Wait until one of two clicks was answered with an ephemeral, and all work is done."""
    await staged.until(lambda: len(staged.slack.workspace.ephemerals(heard_by)) > before)
    return await staged.settled()


async def test_undo_pressed_on_two_instances_at_once_asks_once(staged: Stage) -> None:
    await staged.start(timing=PATIENT)
    await staged.start(timing=PATIENT)
    for _ in range(RACES):
        latch(staged, 101, 202)
        card = await staged.ask()
        await staged.slack.click("U0BOB", card.ts, CONFIRM)
        await staged.settled()
        before = len(staged.slack.workspace.ephemerals("U0BOB"))
        asked = len(staged.cards())
        await click_everywhere(staged, card, UNDO, 2)
        await quiet(staged, "U0BOB", before)
        # the card may be noted as posted after the other click was answered
        await staged.until(
            lambda card=card: staged.slack.workspace.thread(CHANNEL, card.ts)[-1].ts in staged.log
        )
        assert len(staged.cards()) == asked + 1


@pytest.mark.parametrize("second", ["U0BOB", "U0ALICE"])
async def test_ask_again_pressed_on_two_instances_at_once_asks_once(
    staged: Stage, second: str
) -> None:
    await staged.start(timing=PATIENT)
    await staged.start(timing=PATIENT)
    staged.fusebill.misbehave("conflict", operation="unlatch_customer")
    card = await staged.ask()
    await staged.confirm(card)
    await staged.settled()
    staged.slack.before = posting = Gate("chat.postMessage", only_first=True)
    presses = []
    for bot, user_id in zip(staged.bots, ("U0BOB", second), strict=True):
        staged.slack.request_url = f"{bot.address}/slack/events"
        presses.append(asyncio.create_task(staged.slack.click(user_id, card.ts, AGAIN)))
        await asyncio.sleep(0)
    assert {each.status for each in await asyncio.gather(*presses)} == {200}
    await staged.until(lambda: bool(staged.slack.workspace.all_ephemerals()))
    [told] = staged.slack.workspace.all_ephemerals()
    assert told.text == "☝️ This was asked for already: its card will appear soon."
    posting.opened.set()
    await staged.until(lambda: len(staged.slack.workspace.messages(CHANNEL)) > 1)
    await staged.until(lambda: staged.slack.workspace.messages(CHANNEL)[-1].ts in staged.log)
    assert len(await staged.settled()) == 2, "the first one, and one that asks again"


async def test_check_again_on_two_instances_at_once_finds_the_outcome_once(
    staged: Stage,
) -> None:
    # the next race waits for two holds after the call of the last one
    brief = replace(PATIENT, hold_s=1.5, fusebill_write_s=0.4, looks_for_s=0.2)
    await staged.start(timing=brief)
    await staged.start(timing=brief)
    for _ in range(RACES):
        latch(staged, 101, 202)
        card = await staged.ask()
        staged.fusebill.misbehave("hang", operation="unlatch_customer", times=None)
        await staged.slack.click("U0BOB", card.ts, CONFIRM)
        await staged.until(lambda card=card: "[Check again]" in staged.card(card))
        await staged.settled()
        staged.fusebill.behave()
        latch(staged, None, None)
        await click_everywhere(staged, card, CHECK, 2)
        await staged.until(lambda card=card: lines(staged, card, "✅ Unlatched") > 0)
        kept = (await staged.settled())[-1]
        assert kept.story.count(EventType.CLEARED) == 1
        assert lines(staged, card, "✅ Unlatched") == 1
        assert lines(staged, card, "asked") == 1


async def test_an_outcome_that_two_instances_find_at_once_is_counted_once_and_both_are_told(
    staged: Stage,
) -> None:
    await staged.start(timing=PATIENT)
    await staged.start(timing=PATIENT)
    card = await staged.ask()
    staged.fusebill.misbehave("bad_gateway", operation="unlatch_customer", times=None)
    await staged.confirm(card)
    await staged.until(lambda: "[Check again]" in staged.card(card))
    await staged.settled()
    latch(staged, None, None)
    both = asyncio.Barrier(2)

    async def meet(_operation: str) -> None:
        await both.wait()

    staged.fusebill.before = meet
    await click_everywhere(staged, card, CHECK, 2)
    await staged.until(lambda: "✅ Unlatched" in staged.card(card))
    await staged.until(lambda: bool(staged.slack.workspace.ephemerals("U0BOB")))
    [told] = staged.slack.workspace.ephemerals("U0BOB")
    assert told.text == "☝️ The outcome is already known: see the card."
    metrics = "".join([await metrics_of(bot.address) for bot in staged.bots])
    assert metrics.count('unlatch_outcomes_total{kind="unlatch",outcome="cleared"} 1.0') == 1


async def test_a_refused_double_click_on_two_instances_is_one_line(staged: Stage) -> None:
    await staged.start(timing=PATIENT, unlatch_two_person=True)
    await staged.start(timing=PATIENT, unlatch_two_person=True)
    for _ in range(RACES):
        card = await staged.ask()
        before = len(staged.slack.workspace.ephemerals("U0ALICE"))
        await click_everywhere(staged, card, CONFIRM, 2, "U0ALICE")
        await staged.until(
            lambda before=before: len(staged.slack.workspace.ephemerals("U0ALICE")) == before + 2
        )
        await staged.until(lambda card=card: lines(staged, card, "was refused") > 0)
        kept = staged.cards()[-1]
        assert kept.story == ["requested", "decision_denied"]
        await staged.slack.click("U0BOB", card.ts, "unlatch_cancel")
        await staged.settled()
        assert lines(staged, card, "was refused") == 1
        assert lines(staged, card, "asked") == 1


async def test_refusals_of_two_people_on_two_instances_are_a_line_each(staged: Stage) -> None:
    await staged.start(timing=PATIENT, unlatch_confirmers=frozenset({"U0BOB"}))
    await staged.start(timing=PATIENT, unlatch_confirmers=frozenset({"U0BOB"}))
    for _ in range(RACES):
        card = await staged.ask()
        await asyncio.gather(
            click_everywhere(staged, card, CONFIRM, 1, "U0ALICE"),
            click_everywhere(staged, card, CONFIRM, 2, "U0GUEST"),
        )
        await staged.slack.click("U0ALICE", card.ts, "unlatch_cancel")
        await staged.settled()
        await staged.until(lambda card=card: lines(staged, card, "cancelled") > 0)
        assert lines(staged, card, "<@U0ALICE> was refused") == 1
        assert lines(staged, card, "<@U0GUEST> was refused") == 1
        assert lines(staged, card, "cancelled") == 1


async def test_two_cards_confirmed_on_two_instances_at_once_are_one_call(staged: Stage) -> None:
    await staged.start(timing=PATIENT)
    await staged.start(timing=PATIENT)
    addresses = [f"{bot.address}/slack/events" for bot in staged.bots]
    for race in range(RACES):
        latch(staged, 101, 202)
        cards = [await staged.ask(), await staged.ask()]
        clicks = []
        for card, address in zip(cards, addresses, strict=True):
            staged.slack.request_url = address
            clicks.append(asyncio.create_task(staged.slack.click("U0BOB", card.ts, CONFIRM)))
            await asyncio.sleep(0)
        await asyncio.gather(*clicks)
        await staged.settled()
        # the second waited for the first, or came when it was done and was told so
        titles = sorted(staged.card(card).partition(":")[0] for card in cards)
        assert "✅ Unlatched" in titles
        assert titles.count("✅ Unlatched") == 1
        assert staged.calls("unlatch_customer") == race + 1
        assert {lines(staged, card, "asked") for card in cards} <= {0, 1}
