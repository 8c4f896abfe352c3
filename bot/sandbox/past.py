"""Gives the sandbox's ledger a past: a customer that was unlatched, and latched again by others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Connection

from bot.domain.commands import Place
from bot.domain.models import Customer, EventType, HubSpotIds, Person, Verdict
from bot.domain.outcomes import done
from bot.ledger import ask_steps, decide_steps, due_jobs, work_steps
from bot.ledger.database.engine import Database, open_engine
from bot.ledger.database.migrating import migrate
from bot.ledger.jobs import Job, Kind, Transaction
from bot.ledger.people import Act
from bot.ledger.work_steps import Looked
from bot.messages.card import draw
from bot.messages.phrases import Links
from bot.requests.ask import new_card
from bot.sandbox.page.api import CHANNEL_ID
from bot.sandbox.slack.workspace import Workspace

T = TypeVar("T")

AGO = timedelta(days=2)
HOLD = timedelta(seconds=30)
HOUR = timedelta(hours=1)


async def give_past(database_url: str, workspace: Workspace, row: Mapping[str, Any]) -> None:
    """Write what happened two days ago to a customer of Fusebill, into a ledger that is new.

    Alice asked, Bob confirmed, and an hour later HubSpot's sync had latched the customer again. The
    bot draws the card when it starts, as it does what any process has left.
    """
    engine = open_engine(database_url)
    migrate(engine)
    database, held = Database(engine), dict[str, Job]()

    async def run(at: datetime, step: Callable[[Transaction], T]) -> T:
        def work(connection: Connection) -> T:
            connection.info["now"] = at
            transaction = Transaction(connection, "the past", HOLD)
            result = step(transaction)
            transaction.finish()
            held.update({job.kind: job for job in transaction.held})
            return result

        return await database.run(work)

    asked_at = datetime.now(UTC) - AGO
    decided_at = asked_at + timedelta(minutes=1)
    ids = HubSpotIds(row["hubSpotId"], row["hubSpotCompanyId"])
    customer = Customer(row["id"], ids, "", row["companyName"], row["reference"])
    alice, bob = (Person(each, workspace.team_id) for each in ("U0ALICE", "U0BOB"))
    card = new_card(alice, Place(CHANNEL_ID, ""), [customer], "moved to the new portal")
    await run(asked_at, lambda tx: ask_steps.asked(tx, card, Act("past"), HOUR))
    drawn = draw(card, Links())
    posted = workspace.post(
        CHANNEL_ID, workspace.bot.id, drawn.text, drawn.blocks, at=asked_at.timestamp()
    )
    expires_at = asked_at + HOUR
    post = held[Kind.POST]
    await run(asked_at, lambda tx: ask_steps.posted(tx, post, posted.ts, expires_at, reminds=False))
    await run(decided_at, lambda tx: decide_steps.decided(tx, card.id, Verdict.CONFIRMED, bob))
    cleared = done(card.first, "answer", 200)
    details = {**cleared.details, "seconds": 0.2, "calls": [{"status": 200, "seconds": 0.2}]}
    results = {card.id: type(cleared)(cleared.outcome, details)}
    work = held[Kind.WORK]
    await run(decided_at, lambda tx: work_steps.begun(tx, work, [card.id]))
    await run(decided_at, lambda tx: work_steps.recorded(tx, work, results, HOUR))
    [recheck] = await run(
        decided_at + HOUR, lambda tx: due_jobs.take(tx, Kind.RECHECK, places=1, running=[])
    )
    again = {card.id: Looked(EventType.LATCHED_AGAIN, {"found": asdict(ids)})}
    await run(decided_at + HOUR, lambda tx: work_steps.rechecked(tx, recheck, again))
    await database.close()
    engine.dispose()
