"""Builds the bot from its settings; finishes acknowledged work and closes everything at the end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.web.async_client import AsyncWebClient

from bot.app.bolt import bolt_app, identify
from bot.domain.policy import Policy
from bot.fusebill.answers import RateLimit
from bot.fusebill.client import FusebillClient
from bot.fusebill.pace import Pace
from bot.fusebill.transport import AiohttpTransport
from bot.inbound.guard import Guard
from bot.inbound.listeners import Listeners
from bot.ledger.database.engine import Database, LedgerUnavailable, open_engine
from bot.ledger.database.migrating import migrate, require_current, version
from bot.ledger.due_requests import DueRequests
from bot.ledger.leases import Leases
from bot.ledger.outbox import Outbox
from bot.ledger.schema import REVISION
from bot.ledger.store import Ledger
from bot.messages.phrases import Links
from bot.ops.background import BackgroundTasks
from bot.ops.metrics import Metrics
from bot.requests.deciding import Deciding
from bot.requests.follow_ups import FollowUps
from bot.requests.lookup import Lookup
from bot.requests.pasting import Pasting
from bot.requests.pending import PendingList
from bot.requests.permissions import Permissions
from bot.requests.posting import CardPoster
from bot.requests.preview import Preview
from bot.requests.publishing.card_sender import CardSender
from bot.requests.publishing.private_messages import PrivateMessages
from bot.requests.publishing.progress import Progress
from bot.requests.publishing.publisher import Publisher
from bot.requests.publishing.redrawing import Redrawing
from bot.requests.publishing.reminders import Reminders
from bot.requests.publishing.thread_replies import ThreadReplies
from bot.requests.service import RequestService
from bot.requests.sweep import Sweep
from bot.requests.work.customer_work import CustomerWork
from bot.requests.work.execution import Execution
from bot.requests.work.rechecking import Rechecker
from bot.requests.work.worker import Worker
from bot.settings import Settings, Timing
from bot.slack.client import Slack
from bot.slack.session import open_session
from bot.slack.user_groups import UserGroups

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Bot:
    """The built bot: Bolt's app, and the parts that the server and the tests use."""

    app: AsyncApp
    client: AsyncWebClient
    slack: Slack
    ledger: Ledger
    leases: Leases
    outbox: Outbox
    worker: Worker
    poster: CardPoster
    lookup: Lookup
    preview: Preview
    follow_ups: FollowUps
    permissions: Permissions
    user_groups: UserGroups
    tasks: BackgroundTasks
    metrics: Metrics
    timing: Timing
    stopping: asyncio.Event

    async def finish(self) -> None:
        """Start no new work, and finish what was acknowledged."""
        self.stopping.set()
        await _drain(self.tasks, self.timing)

    async def render(self) -> bytes:
        """The metrics as Prometheus text; without the ledger, its gauges keep their values."""
        self.metrics.tasks.set(len(self.tasks))
        with suppress(LedgerUnavailable):
            self.metrics.pending.set(await self.ledger.waiting())
            due_at = await self.ledger.longest_due()
            overdue_s = (datetime.now(UTC) - due_at).total_seconds() if due_at else 0.0
            self.metrics.overdue.set(max(0.0, overdue_s))
        return self.metrics.render()


@asynccontextmanager
async def build(settings: Settings, timing: Timing = Timing()) -> AsyncIterator[Bot]:  # noqa: B008  # frozen
    """Build the bot, ready for Slack's requests; on exit, finish what was acknowledged.

    The sweep starts first, so work that an earlier process left is finished even if Slack is
    unavailable; then this waits until Slack answers, without limit.
    Raises: LedgerUnavailable, SchemaMismatch; SlackError if Slack refuses the token.
    """
    async with AsyncExitStack() as stack:
        database = await _open_database(settings, stack)
        ledger, outbox = Ledger(database), Outbox(database)
        leases, due_requests = Leases(database), DueRequests(database)
        session = await stack.enter_async_context(open_session())
        http = await stack.enter_async_context(AiohttpTransport())
        metrics, tasks, stopping = Metrics(), BackgroundTasks(), asyncio.Event()
        client = AsyncWebClient(
            token=settings.slack_bot_token.get_secret_value(),
            base_url=settings.slack_api_url,
            session=session,
            # the publisher retries from the ledger; a retry here could post twice
            retry_handlers=[],
        )
        slack, links = Slack(client, metrics.slack_called), _links(settings)
        pace = Pace()
        fusebill = _fusebill(settings, http, metrics, pace, timing)
        execution = Execution(
            fusebill, budget_s=timing.execution_s, wait_s=timing.retry_s, look_s=timing.look_s
        )
        notify = sorted(settings.unlatch_notify)
        rechecker = Rechecker(due_requests, fusebill, settings.unlatch_recheck_after_s, timing)
        reminders = Reminders(ledger, due_requests, slack, tasks, notify, timing)
        private = PrivateMessages(outbox, slack)
        publisher = Publisher(
            *(ledger, leases, slack, ThreadReplies(leases, slack, links, timing), private),
            *(links, metrics, timing, rechecker.next_at),
        )
        sender = CardSender(
            outbox,
            slack,
            publisher,
            private,
            links,
            timing,
            notify,
            expires_after_s=settings.unlatch_expires_after_s,
        )
        work = CustomerWork(ledger, execution, pace, metrics, timing)
        redrawing = Redrawing(ledger, outbox, publisher, tasks, timing)
        worker = Worker(
            *(ledger, leases, publisher, redrawing, work),
            Progress(ledger, leases, publisher, timing),
            *(rechecker, tasks, metrics, timing),
        )
        sweep = Sweep(
            *(ledger, leases, outbox, worker, work, sender, reminders),
            *(tasks, metrics, timing),
        )
        stack.push_async_callback(_drain, tasks, timing)
        await stack.enter_async_context(_running(sweep.run(stopping)))

        identity = await identify(slack, timing.pause_s)
        policy = _policy(settings, identity)
        groups = UserGroups(slack, policy.user_groups)
        await groups.refresh()
        await stack.enter_async_context(_running(groups.keep()))
        poster = CardPoster(
            ledger,
            slack,
            sender,
            metrics,
            bot_user_id=identity.bot_user_id or "",
            lease=timing.lease,
            expires_after_s=settings.unlatch_expires_after_s,
        )
        lookup = Lookup(
            *(fusebill, ledger, outbox, timing.lease, due_requests, slack, poster, links),
            policy.named_confirmers,
        )
        preview = Preview(lookup, poster, pace)
        follow_ups = FollowUps(ledger, lookup, preview, poster, worker, redrawing, links, metrics)
        permissions = Permissions(
            ledger, poster, redrawing, policy, groups.members, metrics, timing
        )
        service = RequestService(
            *(ledger, lookup, preview, poster, redrawing, follow_ups),
            *(policy, permissions, links, metrics),
        )
        deciding = Deciding(
            ledger, slack, lookup, poster, worker, redrawing, permissions, links, metrics
        )
        pasting = Pasting(slack, poster, policy, permissions, settings.fusebill_customer_url)
        pending = PendingList(due_requests, lookup, poster, permissions)
        app = bolt_app(settings, client, identity)
        guard = Guard(service.send_ephemeral, tasks, metrics)
        Listeners(
            *(service, deciding, pasting, pending, guard), settings.fusebill_customer_url
        ).register(app)
        yield Bot(
            app,
            client,
            slack,
            ledger,
            leases,
            outbox,
            worker,
            poster,
            lookup,
            preview,
            follow_ups,
            permissions,
            groups,
            tasks,
            metrics,
            timing,
            stopping,
        )


@asynccontextmanager
async def _running(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Runs the coroutine in the background until the block ends."""
    running = asyncio.create_task(work)
    try:
        yield
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def _drain(tasks: BackgroundTasks, timing: Timing) -> None:
    if unfinished := await tasks.drain(timing.drains_for_s):
        log.warning("stopped with unfinished work; the sweep will finish it", tasks=unfinished)


async def _open_database(settings: Settings, stack: AsyncExitStack) -> Database:
    engine = open_engine(settings.database_url.get_secret_value())
    stack.callback(engine.dispose)

    def prepare() -> None:
        # PostgreSQL is migrated once per release: instances of two versions may share it
        if engine.dialect.name == "sqlite" and version(engine) != REVISION:
            migrate(engine)
        require_current(engine)

    await asyncio.to_thread(prepare)
    database = Database(engine)
    stack.push_async_callback(database.close)
    return database


def _policy(settings: Settings, identity: AuthorizeResult) -> Policy:
    return Policy(
        team_id=identity.team_id or "",
        enterprise_id=identity.enterprise_id or "",
        teams=settings.unlatch_teams,
        channels=settings.unlatch_channels,
        requesters=settings.unlatch_requesters,
        confirmers=settings.unlatch_confirmers,
        two_person=settings.unlatch_two_person,
        require_reason=settings.unlatch_require_reason,
    )


def _links(settings: Settings) -> Links:
    return Links(
        settings.hubspot_portal_id, settings.hubspot_app_url, settings.fusebill_customer_url
    )


def _fusebill(
    settings: Settings,
    http: httpx.AsyncBaseTransport,
    metrics: Metrics,
    pace: Pace,
    timing: Timing,
) -> FusebillClient:
    def observe(
        operation: str, status: int | None, seconds: float, limit: RateLimit | None
    ) -> None:
        metrics.fusebill_called(operation, status, seconds)
        if limit:
            metrics.limit_left(limit.minute.remaining, limit.day.remaining)
            pace.observe(limit.minute)

    return FusebillClient(
        http,
        settings.fusebill_base_url,
        settings.fusebill_api_key,
        observe=observe,
        call_s=timing.fusebill_call_s,
    )
