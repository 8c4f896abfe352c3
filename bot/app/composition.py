"""Builds the bot from its settings; finishes acknowledged work and closes everything at the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.logger.messages import (
    warning_client_prioritized_and_token_skipped,
    warning_token_skipped,
)
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain.policy import Policy
from bot.fusebill.client import FusebillClient
from bot.fusebill.pace import Pace
from bot.fusebill.responses import RateLimit
from bot.fusebill.transport import AiohttpTransport
from bot.inbound.listeners import Listeners
from bot.ledger.due_requests import DueRequests
from bot.ledger.engine import (
    Database,
    LedgerUnavailable,
    migrate,
    open_engine,
    require_current,
    version,
)
from bot.ledger.leases import Leases
from bot.ledger.outbox import Outbox
from bot.ledger.schema import REVISION
from bot.ledger.store import Ledger
from bot.messages.phrases import Links
from bot.ops.background import BackgroundTasks
from bot.ops.metrics import Metrics
from bot.requests.card_sender import CardSender
from bot.requests.customer_work import CustomerWork
from bot.requests.deciding import Deciding
from bot.requests.execution import Execution
from bot.requests.follow_ups import FollowUps
from bot.requests.lookup import Lookup
from bot.requests.pasting import Pasting
from bot.requests.pending import PendingList
from bot.requests.permissions import Permissions
from bot.requests.posting import CardPoster
from bot.requests.preview import Preview
from bot.requests.progress import Progress
from bot.requests.publisher import Publisher
from bot.requests.rechecking import Rechecker
from bot.requests.reminders import Reminders
from bot.requests.service import RequestService
from bot.requests.sweep import Sweep
from bot.requests.worker import Worker
from bot.settings import Settings, Timing
from bot.slack.client import BAD_TOKEN, Slack, SlackBlocked, SlackUnavailable, open_session
from bot.slack.user_groups import UserGroups

log = structlog.get_logger(__name__)

MAX_PAUSE_S = 30.0


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
        publisher = Publisher(
            ledger, leases, outbox, slack, links, metrics, timing, rechecker.next_at
        )
        sender = CardSender(
            outbox,
            slack,
            publisher,
            links,
            timing,
            notify,
            expires_after_s=settings.unlatch_expires_after_s,
        )
        work = CustomerWork(ledger, execution, pace, metrics, timing)
        worker = Worker(
            *(ledger, leases, outbox, publisher, work),
            Progress(ledger, leases, publisher, timing),
            *(rechecker, tasks, metrics, timing),
        )
        sweep = Sweep(
            *(ledger, leases, outbox, worker, work, sender, reminders),
            *(tasks, metrics, timing),
        )
        stack.push_async_callback(_drain, tasks, timing)
        await stack.enter_async_context(_running(sweep.run(stopping)))

        identity = await _identify(slack, timing.pause_s)
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
            expires_after_s=settings.unlatch_expires_after_s,
        )
        lease = timing.lease
        asked = policy.named_confirmers
        lookup = Lookup(fusebill, ledger, outbox, lease, due_requests, slack, poster, links, asked)
        preview = Preview(lookup, poster, pace)
        follow_ups = FollowUps(ledger, lookup, preview, poster, worker, links, metrics)
        permissions = Permissions(ledger, poster, worker, policy, groups.members, metrics)
        service = RequestService(
            *(ledger, lookup, preview, poster, worker, follow_ups),
            *(policy, permissions, links, metrics),
        )
        deciding = Deciding(ledger, slack, lookup, poster, worker, permissions, links, metrics)
        pasting = Pasting(slack, poster, policy, permissions, settings.fusebill_customer_url)
        pending = PendingList(due_requests, lookup, poster, permissions)
        app = _bolt(settings, client, identity)
        Listeners(
            *(service, deciding, pasting, pending, tasks, metrics),
            settings.fusebill_customer_url,
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


async def _identify(slack: Slack, pause_s: float) -> AuthorizeResult:
    """Asks once who the bot is; otherwise Bolt would ask during the first ack.

    Only Slack's own word that this token is bad ends the wait: all else an admin or time can change
    without a restart.
    """
    while True:
        try:
            answer = await slack.auth_test()
            break
        except SlackUnavailable as error:
            if isinstance(error, SlackBlocked) and error.code in BAD_TOKEN:
                raise
            again_in_s = min(max(pause_s, error.retry_after_s or 0.0), MAX_PAUSE_S)
            log.warning("waiting for slack", why=error.code, again_in_s=again_in_s)
        await asyncio.sleep(again_in_s)
        pause_s = min(pause_s * 2, MAX_PAUSE_S)
    return AuthorizeResult.from_auth_test_response(bot_token=slack.token, auth_test_response=answer)


def _bolt(settings: Settings, client: AsyncWebClient, identity: AuthorizeResult) -> AsyncApp:
    async def authorize() -> AuthorizeResult:
        return identity

    bolt_log = logging.getLogger("slack_bolt")
    bolt_log.addFilter(_drop_token_warning)
    return AsyncApp(
        # without a name Bolt searches all loaded modules for one
        name="unlatch-bot",
        signing_secret=signing_secret(settings),
        client=client,
        authorize=authorize,
        logger=bolt_log,
        # otherwise Bolt polls for the ack every 10 ms
        process_before_response=True,
    )


def _drop_token_warning(record: logging.LogRecord) -> bool:
    """Bolt warns that it ignores SLACK_BOT_TOKEN, because the bot passes the token itself."""
    warnings = (warning_client_prioritized_and_token_skipped(), warning_token_skipped())
    return record.getMessage() not in warnings


def signing_secret(settings: Settings) -> str:
    """The secret that Slack signs its requests with; empty if it is not set (Socket Mode)."""
    secret = settings.slack_signing_secret
    return secret.get_secret_value() if secret else ""


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
