"""What a person does once, Slack may deliver twice: it counts once, and nobody is told otherwise.

Each act is delivered at once and again after its card has ended, to the bot that got it first and
to another one on the same ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bot.app.composition import build
from bot.app.server import listening
from bot.sandbox.fusebill.simulator import SimulatedFusebill
from bot.sandbox.slack.simulator import Delivery, PostedMessage, SimulatedSlack, text_of
from bot.settings import Mode, Timing
from tests.support import ledger
from tests.support.names import AGAIN, BIKES, CANCEL, CHANNEL, CHECK, CONFIRM, STOP, UNDO
from tests.support.reading import parts
from tests.support.world import World, add_customers, settings_for

JOINERY = 3100025
TIMING = Timing(
    hold_s=2.0,
    execution_s=1.5,
    fusebill_write_s=0.4,
    looks_for_s=0.4,
    sweep_every_s=0.1,
    look_s=0.02,
)


@dataclass(slots=True)
class Pair:
    """Two bots on one ledger, and the Slack that delivers to either."""

    worlds: list[World]

    @property
    def world(self) -> World:
        """The bot that gets everything first."""
        return self.worlds[0]

    @property
    def slack(self) -> SimulatedSlack:
        """Their Slack."""
        return self.world.slack

    async def settled(self) -> None:
        """Wait until both bots are done."""
        for _ in range(2):
            for world in self.worlds:
                await world.settled()

    async def again(self, deliver: Callable[[], Awaitable[Delivery]]) -> list[Delivery]:
        """Deliver an act once more to each bot, at the same time."""
        deliveries = []
        for world in self.worlds:
            self._direct_to(world)
            deliveries.append(asyncio.ensure_future(deliver()))
            # lets the delivery start, which reads request_url
            await asyncio.sleep(0)
        self._direct_to(self.world)
        return await asyncio.gather(*deliveries)

    def _direct_to(self, world: World) -> None:
        # over Socket Mode Slack takes the connections in turn
        if self.slack.request_url is not None:
            self.slack.request_url = f"{world.address}/slack/events"

    def told(self) -> list[str]:
        """All that anybody was told privately."""
        return [text_of(each.blocks) for each in self.slack.workspace.all_ephemerals()]

    def last_card(self) -> PostedMessage:
        """The newest message in the channel."""
        return self.slack.workspace.messages(CHANNEL)[-1]


Do = Callable[[Pair], Awaitable[object]]


Open = Callable[..., Awaitable[Pair]]


@pytest.fixture
async def open_pair(database_url: str, tmp_path: Path) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:
        slack = await stack.enter_async_context(SimulatedSlack())
        fusebill = await stack.enter_async_context(SimulatedFusebill())

        async def opened(mode: Mode, **changes: Any) -> Pair:
            worlds = list[World]()
            for number in range(2):
                changes |= {"database_url": database_url}
                settings = settings_for(slack, fusebill, tmp_path, **changes)
                bot = await stack.enter_async_context(build(settings, TIMING))
                address, _ended = await stack.enter_async_context(listening(bot, settings, mode))
                worlds.append(World(slack, fusebill, bot, address, database_url))
                if mode == "http":
                    slack.request_url = f"{worlds[0].address}/slack/events"
                else:
                    await slack.workspace.until(partial(connected, slack, number + 1))
            return Pair(worlds)

        yield opened


def connected(slack: SimulatedSlack, number: int) -> bool:
    return len(slack.socket_mode.links) == number


async def click(pair: Pair, user_id: str, card: PostedMessage, action: str) -> None:
    """Press a button, and wait until both bots are done."""
    assert (await pair.slack.click(user_id, card.ts, action)).status == 200
    await pair.settled()


async def press_in_answer(pair: Pair) -> None:
    """Press the first button of the last private answer."""
    answer = pair.slack.workspace.ephemerals("U0ALICE")[-1]
    button = next(part for part in parts(answer.blocks) if part["type"] == "button")
    await pair.slack.click_ephemeral("U0ALICE", answer, button["action_id"], button["value"])


async def typed(pair: Pair, text: str) -> None:
    await pair.slack.command("U0ALICE", text)


async def found(pair: Pair) -> None:
    await pair.world.reply_to("find Stolen")


async def ambiguous(pair: Pair) -> None:
    await pair.world.reply_to(f"{BIKES} {JOINERY} moved")


async def form_of_many(pair: Pair) -> None:
    await pair.slack.command("U0ALICE", "many")
    await pair.settled()


async def send_many(pair: Pair) -> None:
    form = pair.slack.views.of("U0ALICE")
    await pair.slack.submit(form.id, {"ids": f"{BIKES}\n{JOINERY}", "reason": "moved"})


async def asked(pair: Pair) -> None:
    await pair.world.ask()
    await pair.settled()


async def form_to_decline(pair: Pair) -> None:
    await asked(pair)
    await click(pair, "U0BOB", pair.last_card(), CANCEL)


async def send_decline(pair: Pair) -> None:
    form = pair.slack.views.of("U0BOB")
    await pair.slack.submit(form.id, {"reason": "wrong customer"})


async def unlatched(pair: Pair) -> None:
    await asked(pair)
    await click(pair, "U0BOB", pair.last_card(), CONFIRM)


async def not_done(pair: Pair) -> None:
    await asked(pair)
    pair.world.fusebill.misbehave("conflict", operation="unlatch_customer")
    await click(pair, "U0BOB", pair.last_card(), CONFIRM)


async def unknown(pair: Pair) -> None:
    await asked(pair)
    pair.world.fusebill.misbehave("hang", operation="unlatch_customer", times=None)
    await click(pair, "U0BOB", pair.last_card(), CONFIRM)
    pair.world.fusebill.behave()


async def unknown_but_done(pair: Pair) -> None:
    await unknown(pair)
    pair.world.fusebill.customers[BIKES] |= {"hubSpotId": None, "hubSpotCompanyId": None}


async def working(pair: Pair) -> None:
    # so many that the last are begun seconds later
    add_customers(pair.world.fusebill, range(5_000_001, 5_000_038))
    ids = ", ".join(map(str, sorted(pair.world.fusebill.customers)))
    await pair.world.ask(f"{ids} moved")
    await pair.settled()
    fusebill = pair.world.fusebill
    fusebill.misbehave("slow", operation="unlatch_customer", times=None, seconds=0.35)
    card = pair.last_card()
    await pair.slack.click("U0BOB", card.ts, CONFIRM)
    await pair.slack.workspace.until(lambda: fusebill.calls[-1].operation == "unlatch_customer")


def press(user_id: str, action: str) -> Do:
    async def pressed(pair: Pair) -> None:
        await pair.slack.click(user_id, pair.last_card().ts, action)

    return pressed


async def stop(pair: Pair) -> None:
    card = pair.last_card()
    kept = await pair.world.kept(card)
    await pair.slack.forge_click("U0BOB", card.ts, STOP, kept.id)


async def nothing(pair: Pair) -> None:
    del pair


async def confirm_card(pair: Pair) -> None:
    await click(pair, "U0BOB", pair.last_card(), CONFIRM)


async def cancel_card(pair: Pair) -> None:
    await click(pair, "U0ALICE", pair.last_card(), CANCEL)


async def confirm_reply(pair: Pair) -> None:
    card = pair.last_card()
    replies = pair.slack.workspace.thread(CHANNEL, card.ts)
    asks = next(each for each in reversed(replies) if "[Cancel]" in text_of(each.blocks))
    await click(pair, "U0BOB", asks, CONFIRM)


async def cancel_reply(pair: Pair) -> None:
    card = pair.last_card()
    replies = pair.slack.workspace.thread(CHANNEL, card.ts)
    asks = next(each for each in reversed(replies) if "[Cancel]" in text_of(each.blocks))
    await click(pair, "U0BOB", asks, CANCEL)


@dataclass(frozen=True, slots=True)
class Case:
    """An act: what comes before it, what ends its card, and how often each event comes of it."""

    before: Do
    act: Do
    end: Do
    comes: dict[str, int]
    settings: dict[str, Any] = field(default_factory=dict)


UNLATCHED = {"requested": 1, "confirmed": 1, "begun": 1, "cleared": 1}
UNKNOWN = {"requested": 2, "confirmed": 1, "unknown": 1}
NEEDS_REASON = {"unlatch_require_reason": True}
ONLY_BOB = {"unlatch_requesters": frozenset({"U0BOB"})}
ONLY_CAROL = {"unlatch_confirmers": frozenset({"W0CAROL"})}
CASES = {
    "command": Case(nothing, lambda p: typed(p, f"{BIKES} moved"), confirm_card, {"requested": 1}),
    "command, then cancelled": Case(
        nothing, lambda p: typed(p, f"{BIKES} moved"), cancel_card, {"requested": 1}
    ),
    "use this one": Case(found, press_in_answer, cancel_card, {"requested": 1}),
    "meant": Case(ambiguous, press_in_answer, cancel_card, {"requested": 2}),
    "many": Case(nothing, lambda p: typed(p, "many"), nothing, {}),
    "form of many": Case(form_of_many, send_many, cancel_card, {"requested": 2}),
    "confirm": Case(asked, press("U0BOB", CONFIRM), nothing, UNLATCHED),
    "cancel": Case(asked, press("U0ALICE", CANCEL), nothing, {"requested": 1, "cancelled": 1}),
    "cancel somebody else's": Case(asked, press("U0BOB", CANCEL), send_decline, {"requested": 1}),
    "decline": Case(form_to_decline, send_decline, nothing, {"requested": 1, "declined": 1}),
    "undo": Case(unlatched, press("U0BOB", UNDO), confirm_reply, {**UNLATCHED, "requested": 2}),
    "undo, then cancelled": Case(
        unlatched, press("U0BOB", UNDO), cancel_reply, {**UNLATCHED, "requested": 2}
    ),
    "check again": Case(unknown, press("U0BOB", CHECK), confirm_reply, UNKNOWN),
    "check again that saw it done": Case(
        unknown_but_done,
        press("U0BOB", CHECK),
        nothing,
        {"requested": 1, "unknown": 1, "cleared": 1},
    ),
    "check again, then cancelled": Case(unknown, press("U0BOB", CHECK), cancel_reply, UNKNOWN),
    "ask again": Case(
        not_done, press("U0ALICE", AGAIN), confirm_card, {"requested": 2, "refused": 1}
    ),
    "ask again, then cancelled": Case(
        not_done, press("U0ALICE", AGAIN), cancel_card, {"requested": 2, "refused": 1}
    ),
    "command that is refused": Case(
        nothing, lambda p: typed(p, f"{BIKES}"), nothing, {"ask_denied": 1}, NEEDS_REASON
    ),
    "find that is refused": Case(
        nothing, lambda p: typed(p, "find Stolen"), nothing, {"ask_denied": 1}, ONLY_BOB
    ),
    "confirm that is refused": Case(
        asked, press("U0BOB", CONFIRM), cancel_card, {"decision_denied": 1}, ONLY_CAROL
    ),
    "cancel that is refused": Case(
        asked, press("U0BOB", CANCEL), cancel_card, {"decision_denied": 1}, ONLY_CAROL
    ),
    "undo that is refused": Case(
        unlatched, press("U0GUEST", UNDO), nothing, {**UNLATCHED, "decision_denied": 1}
    ),
    "stop with nothing left": Case(unlatched, stop, nothing, UNLATCHED),
    "stop": Case(working, stop, nothing, {"stop_requested": 1}),
}
NOT_SO = ("changed nothing", "nothing to undo", "ledger", "went wrong", "opened the form")
"""What nobody may be told whose act counted."""


# how an act arrives and where it is kept have nothing to do with each other
@pytest.mark.parametrize(
    ("mode", "database_url"),
    [("http", "postgresql"), ("socket", "sqlite")],
    indirect=["database_url"],
)
@pytest.mark.parametrize("name", CASES)
async def test_an_act_that_is_delivered_again_counts_once(
    open_pair: Open, mode: Mode, name: str
) -> None:
    case, pair = CASES[name], await open_pair(mode, **CASES[name].settings)
    await case.before(pair)
    await case.act(pair)
    deliver = pair.slack.last_delivery()
    deliveries = await pair.again(deliver)
    await pair.settled()
    story = ledger.story_of_all(pair.world.database_url)
    assert {each: story.count(each) for each in case.comes} == case.comes

    await case.end(pair)
    await pair.settled()
    story = ledger.story_of_all(pair.world.database_url)
    messages = len(pair.slack.workspace.messages(CHANNEL))
    told = len(pair.told())
    calls = [each for each in pair.world.fusebill.calls if each.method != "GET"]
    deliveries += await pair.again(deliver)
    await pair.settled()

    assert ledger.story_of_all(pair.world.database_url) == story
    assert len(pair.slack.workspace.messages(CHANNEL)) == messages
    assert [each for each in pair.world.fusebill.calls if each.method != "GET"] == calls
    assert {each.status for each in deliveries} == {200}
    assert [told for told in pair.told() if any(words in told for words in NOT_SO)] == []
    assert [each for each in pair.told()[told:] if "waits for a decision" in each] == []
    assert ledger.broken(pair.world.database_url) == []
