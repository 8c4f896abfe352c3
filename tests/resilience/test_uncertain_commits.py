"""A commit whose answer is lost: cut off before or after it took effect, too slow, or an I/O error.

Each step of a flow must end as if nothing had happened: written once, and never told as not done.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import OperationalError

from bot.sandbox.slack.simulator import PostedMessage
from bot.settings import Timing
from tests.support import postgresql
from tests.support.ledger import audit_rows, broken, lose_hold
from tests.support.names import BIKES, CHANNEL, CHECK, CONFIRM, UNDO
from tests.support.proxy import Proxy
from tests.support.reading import metrics_of, operations, request_id
from tests.support.world import OpenWorld, World, add_customers

TIMING = Timing(
    hold_s=20, execution_s=0.4, fusebill_write_s=0.6, looks_for_s=0.2, sweep_every_s=0.2
)
SLOWER_THAN_THE_ANSWER_S = 2.2


class CutConnection:
    """PostgreSQL's connection breaks at the commit that holds a text."""

    def __init__(self, proxy: Proxy, *, before: bool) -> None:
        self._proxy = proxy
        self._proxy.loses_second = before

    def arm(self, text: bytes) -> None:
        self._proxy.loses_answer_to = (text, b"COMMIT")

    @property
    def struck(self) -> bool:
        return self._proxy.loses_answer_to is None


class SlowDisk:
    """SQLite's commit that holds a text takes longer than anybody waits for it."""

    def __init__(self) -> None:
        self._text: bytes | None = None
        self._found = self.struck = False

    def arm(self, text: bytes) -> None:
        self._text = text

    def on_connect(self, driver: sqlite3.Connection, _record: object) -> None:
        driver.set_trace_callback(self.on_statement)

    def on_statement(self, sql_with_values: str) -> None:
        if self._text and self._text.decode() in sql_with_values:
            self._text, self._found = None, True

    def on_commit(self, _connection: Connection) -> None:
        if self._found:
            self._found, self.struck = False, True
            time.sleep(SLOWER_THAN_THE_ANSWER_S)

    @contextmanager
    def installed(self) -> Iterator[None]:
        event.listen(Engine, "connect", self.on_connect)
        event.listen(Engine, "commit", self.on_commit)
        yield
        event.remove(Engine, "connect", self.on_connect)
        event.remove(Engine, "commit", self.on_commit)


class BrokenDisk(SlowDisk):
    """SQLite's commit that holds a text takes effect, but the disk reports an error."""

    def on_commit(self, connection: Connection) -> None:
        if self._found:
            self._found, self.struck = False, True
            driver: Any = connection.connection.driver_connection
            driver.execute("COMMIT")
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
            raise OperationalError("COMMIT", None, error)


@dataclass(slots=True)
class Scene:
    """A world, what will go wrong in its ledger, and how to read that ledger."""

    world: World
    fault: CutConnection | SlowDisk
    database_url: str

    def recorded(self) -> list[str]:
        """The types of all events, oldest first; fails if `verify` finds anything.

        Without the note that a card was posted late, which a slow disk makes it.
        """
        assert broken(self.database_url) == []
        types = [row["event"] for row in audit_rows(self.database_url)]
        return [event_type for event_type in types if event_type != "posted"]

    def replies(self, card: PostedMessage) -> list[str]:
        replies = self.world.slack.workspace.thread(CHANNEL, card.ts)
        return [self.world.card(reply) for reply in replies]


@pytest.fixture
async def scene(
    open_world: OpenWorld, request: pytest.FixtureRequest, tmp_path: Path
) -> AsyncIterator[Scene]:
    rules = {
        "unlatch_requesters": frozenset({"U0ALICE", "U0BOB"}),
        "unlatch_confirmers": frozenset({"U0BOB"}),
    }
    async with AsyncExitStack() as stack:
        fault: CutConnection | SlowDisk
        if request.param in ("slow disk", "broken disk"):
            fault = SlowDisk() if request.param == "slow disk" else BrokenDisk()
            stack.enter_context(fault.installed())
            used = url = f"sqlite:///{tmp_path}/ledger.db"
        else:
            url = request.getfixturevalue("postgresql_url")
            opens, through = postgresql.proxied(url)
            proxy = await stack.enter_async_context(Proxy(opens))
            fault = CutConnection(proxy, before=request.param == "cut before")
            used = through.format(port=proxy.port)
        world = await stack.enter_async_context(
            open_world(timing=TIMING, database_url=used, **rules)
        )
        yield Scene(world, fault, url)


THREE = [BIKES, 3100025, 3100033]
FLOW = ["requested", "confirmed", "begun", "cleared"]


async def cleared(scene: Scene) -> PostedMessage:
    card = await scene.world.ask()
    await scene.world.press("U0BOB", card, CONFIRM)
    return card


async def ask(scene: Scene) -> None:
    scene.fault.arm(b"requested")
    card = await cleared(scene)
    assert scene.recorded() == FLOW
    assert "✅ Unlatched" in scene.world.card(card)


async def refuse_to_ask(scene: Scene) -> None:
    scene.fault.arm(b"ask_denied")
    assert "other organisations" in await scene.world.reply_to("find bikes", "U0GUEST")
    await scene.world.settled()
    assert scene.recorded() == ["ask_denied"]


async def refuse_a_click(scene: Scene) -> None:
    card = await scene.world.ask()
    scene.fault.arm(b"decision_denied")
    await scene.world.press("U0ALICE", card, CONFIRM)
    assert scene.recorded() == ["requested", "decision_denied"]


async def refuse_an_undo(scene: Scene) -> None:
    card = await cleared(scene)
    scene.fault.arm(b"decision_denied")
    await scene.world.press("U0GUEST", card, UNDO)
    assert scene.recorded() == [*FLOW, "decision_denied"]
    assert "\n".join(scene.replies(card)).count("was refused") == 1


async def decide(scene: Scene, card: PostedMessage | None = None) -> None:
    card = card or await scene.world.ask()
    scene.fault.arm(b"confirmed")
    await scene.world.press("U0BOB", card, CONFIRM)
    if "✅ Unlatched" not in scene.world.card(card):
        # cut off before it took effect, and too late to be repeated: the buttons are still there
        assert scene.recorded() == ["requested"]
        await scene.world.press("U0BOB", card, CONFIRM)
    assert scene.recorded() == FLOW
    assert "✅ Unlatched" in scene.world.card(card)


async def decide_a_card_that_was_taken_over(scene: Scene) -> None:
    # the process that posted the card was not the first that tried
    card = await scene.world.ask()
    lose_hold(scene.database_url, (await scene.world.kept(card)).id)
    await decide(scene, card)


async def finish(scene: Scene) -> None:
    # "cleared" alone stands in the sweep's query, too
    scene.fault.arm(b'"how":"answer"')
    card = await cleared(scene)
    assert scene.recorded() == FLOW
    assert "✅ Unlatched" in scene.world.card(card)


async def offer_an_undo(scene: Scene) -> None:
    card = await cleared(scene)
    scene.fault.arm(b'"channel_id":')
    await scene.world.press("U0BOB", card, UNDO)
    assert scene.recorded() == [*FLOW, "requested"]
    assert sum("[Latch Stolen Bikes again]" in reply for reply in scene.replies(card)) == 1


async def mark_as_undone(scene: Scene) -> None:
    card = await cleared(scene)
    await scene.world.press("U0BOB", card, UNDO)
    undo = scene.world.slack.workspace.thread(CHANNEL, card.ts)[-1]
    scene.fault.arm(b"by_request")
    await scene.world.press("U0BOB", undo, CONFIRM)
    assert sorted(scene.recorded()) == sorted(
        [*FLOW, "requested", "confirmed", "begun", "restored", "undone"]
    )
    # the drawing that a silent ledger interrupted is taken again
    gave_back = "<@U0BOB> gave back contact 101 and company 202"
    await scene.world.slack.workspace.until(lambda: gave_back in scene.world.card(card))


async def check_again(scene: Scene) -> None:
    card = await scene.world.ask()
    scene.world.fusebill.misbehave("hang", operation="unlatch_customer", times=None)
    await scene.world.press("U0BOB", card, CONFIRM)
    scene.world.fusebill.behave()
    scene.world.fusebill.customers[BIKES].update(hubSpotId=None, hubSpotCompanyId=None)
    scene.fault.arm(b"read_back")
    await scene.world.press("U0BOB", card, CHECK)
    assert scene.recorded() == ["requested", "confirmed", "begun", "unknown", "cleared"]
    assert scene.world.thread(card).count("✅ Unlatched") == 1
    assert not [told for told in scene.world.ephemerals("U0BOB") if "already known" in told]
    counted = 'unlatch_outcomes_total{kind="unlatch",outcome="cleared"} 1.0'
    assert counted in await metrics_of(scene.world.address)


async def send_a_form(scene: Scene) -> None:
    world = scene.world
    await world.slack.command("U0ALICE", "many")
    await world.settled()
    form = world.slack.views.of("U0ALICE")
    scene.fault.arm(b"requested")
    await world.slack.submit(form.id, {"ids": "\n".join(map(str, THREE)), "reason": "moved"})
    await world.settled()
    [card] = world.slack.workspace.messages(CHANNEL)
    assert "Unlatch 3 customers?" in world.card(card)
    assert scene.recorded() == ["requested"] * 3


async def decide_many(scene: Scene) -> None:
    card = await scene.world.ask(", ".join(map(str, THREE)))
    scene.fault.arm(b"confirmed")
    await scene.world.press("U0BOB", card, CONFIRM)
    if "confirmed" not in scene.recorded():
        # cut off before it took effect, and too late to be repeated: the buttons are still there
        await scene.world.press("U0BOB", card, CONFIRM)
    await scene.world.slack.workspace.until(lambda: "✅ 3 unlatched" in scene.world.card(card))
    assert sorted(scene.recorded()) == sorted(FLOW * 3)


async def undo_many(scene: Scene) -> None:
    card = await scene.world.ask(", ".join(map(str, THREE)))
    await scene.world.press("U0BOB", card, CONFIRM)
    scene.fault.arm(b'"channel_id":')
    await scene.world.press("U0BOB", card, UNDO)
    assert sum("Latch 3 customers again?" in reply for reply in scene.replies(card)) == 1
    assert sorted(scene.recorded()) == sorted([*FLOW, "requested"] * 3)


async def mark_many_as_undone(scene: Scene) -> None:
    card = await scene.world.ask(", ".join(map(str, THREE)))
    await scene.world.press("U0BOB", card, CONFIRM)
    await scene.world.press("U0BOB", card, UNDO)
    undo = scene.world.slack.workspace.thread(CHANNEL, card.ts)[-1]
    scene.fault.arm(b"by_request")
    await scene.world.press("U0BOB", undo, CONFIRM)
    each = [*FLOW, "requested", "confirmed", "begun", "restored", "undone"]
    assert sorted(scene.recorded()) == sorted(each * 3)
    assert "3 restored" in scene.world.card(undo)
    assert scene.world.card(card).count("↩️ undone") == 3


async def stop(scene: Scene) -> None:
    world = scene.world
    many = [BIKES, *range(5_000_001, 5_000_040)]
    add_customers(world.fusebill, many)
    card = await world.ask(", ".join(map(str, many)))
    # each customer takes as long as one may, so that the last are begun two seconds later
    world.fusebill.misbehave("slow", operation="unlatch_customer", times=None, seconds=0.4)
    await world.slack.click("U0BOB", card.ts, CONFIRM)
    # of what is still to be written, only her Stop names her
    scene.fault.arm(b"U0ALICE")
    await world.slack.forge_click("U0ALICE", card.ts, "unlatch_stop", request_id(card))
    await world.settled()
    world.fusebill.behave()
    # a drawing that met the fault is tried again a moment later, the thread after the card
    await world.slack.workspace.until(
        lambda: (
            "stopped" in world.card(card).partition("\n")[0]
            and "pressed Stop" in world.thread(card)
        )
    )
    assert scene.recorded().count("stop_requested") == 1
    assert world.thread(card).count("pressed Stop") == 1


async def begin(scene: Scene) -> None:
    card = await scene.world.ask(", ".join(map(str, THREE)))
    scene.fault.arm(b"begun")
    await scene.world.press("U0BOB", card, CONFIRM)
    # at once, and not when the hold has ended
    assert "✅ 3 unlatched" in scene.world.card(card)
    assert sorted(scene.recorded()) == sorted(FLOW * 3)


STEPS: list[Callable[[Scene], Awaitable[None]]] = [
    ask,
    refuse_to_ask,
    refuse_a_click,
    refuse_an_undo,
    decide,
    decide_a_card_that_was_taken_over,
    finish,
    offer_an_undo,
    mark_as_undone,
    check_again,
    send_a_form,
    decide_many,
    undo_many,
    mark_many_as_undone,
    stop,
    begin,
]


MAX_CALLS: dict[Callable[[Scene], Awaitable[None]], int] = {
    check_again: 10,
    begin: 3,
    decide_many: 3,
    undo_many: 3,
    mark_many_as_undone: 3,
    stop: 40,
}


FAULTS = ("cut before", "cut after", "slow disk", "broken disk")
# a slow disk costs seconds, and is the same to the other steps as a broken one
SLOW = (ask, decide, finish, stop, begin)


@pytest.mark.parametrize(
    ("scene", "step"),
    [
        pytest.param(fault, step, id=f"{fault}-{step.__name__}")
        for step in STEPS
        for fault in FAULTS
        if fault != "slow disk" or step in SLOW
    ],
    indirect=["scene"],
)
async def test_a_commit_whose_answer_was_lost_is_written_once_and_never_denied(
    scene: Scene, step: Callable[[Scene], Awaitable[None]]
) -> None:
    await step(scene)
    assert scene.fault.struck
    assert operations(scene.world).count("unlatch_customer") <= MAX_CALLS.get(step, 1)
    heard = [
        text for who in ("U0ALICE", "U0BOB", "U0GUEST") for text in scene.world.ephemerals(who)
    ]
    for lie in ("nothing was done", "nothing was changed", "could not be saved"):
        assert not [text for text in heard if lie in text.lower()]
