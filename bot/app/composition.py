"""Builds the bot from its settings; finishes acknowledged work and closes everything at the end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta

import aiohttp
import httpx
import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.logger.messages import (
    warning_client_prioritized_and_token_skipped,
    warning_token_skipped,
)
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain.cells import Pages
from bot.domain.policy import Policy
from bot.fusebill.client import FusebillClient
from bot.fusebill.pace import Pace, RateLimit
from bot.fusebill.transport import AiohttpTransport
from bot.inbound.guard import Guard
from bot.inbound.listeners import Listeners
from bot.ledger import lists, witness
from bot.ledger.database.engine import Database, LedgerUnavailable, open_engine
from bot.ledger.database.migrating import migrate, require_current, version
from bot.ledger.jobs import Kind
from bot.ledger.tables import REVISION
from bot.messages.card import Deciders
from bot.messages.phrases import Links
from bot.ops.metrics import Metrics
from bot.ops.tasks import BackgroundTasks, beside, pauses
from bot.requests.ask import Ask
from bot.requests.customers import Customers, Search
from bot.requests.decide import Decide
from bot.requests.due import Deadlines, Recheck
from bot.requests.execution import Execution
from bot.requests.follow_ups import FollowUps
from bot.requests.lists import Lists
from bot.requests.paste import Paste
from bot.requests.people import Permissions, PrivateMessages
from bot.requests.post_cards import PostCards
from bot.requests.runner import Runner
from bot.requests.show import Show
from bot.requests.work import Work
from bot.settings import Settings, Timing
from bot.slack.client import Slack
from bot.slack.error_codes import BAD_TOKEN
from bot.slack.errors import SlackError, advice, is_verdict
from bot.slack.user_groups import UserGroups
from bot.slack.web_api import open_session

log = structlog.get_logger(__name__)

MAX_PAUSE_S = 30.0


@dataclass(slots=True)
class Bot:
    """The built bot: Bolt's app, and the parts that the server and the tests use."""

    app: AsyncApp
    client: AsyncWebClient
    slack: Slack
    runner: Runner
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
            self.metrics.pending.set(await self.runner.read(lists.waiting))
            self.metrics.overdue.set(await self.runner.read(lists.overdue_s))
        return self.metrics.render()


@asynccontextmanager
async def build(settings: Settings, timing: Timing = Timing()) -> AsyncIterator[Bot]:  # noqa: B008  # frozen
    """Build the bot, ready for Slack's requests; on exit, finish what was acknowledged.

    The jobs start first, so work that an earlier process left is finished even if Slack is
    unavailable; then this waits until Slack answers, without limit.
    Raises: LedgerUnavailable, SchemaMismatch; SlackError if Slack refuses the token.
    """
    async with AsyncExitStack() as stack:
        database = await _open_database(settings, stack)
        session = await stack.enter_async_context(open_session())
        http = await stack.enter_async_context(AiohttpTransport())
        metrics, tasks, stopping = Metrics(), BackgroundTasks(), asyncio.Event()
        client = open_client(settings, session)
        slack, links = Slack(client, metrics.slack_called), links_of(settings)
        pace = Pace()
        fusebill = _fusebill(settings, http, metrics, pace, timing)
        execution = Execution(fusebill, timing)
        notify = sorted(settings.unlatch_notify)
        deciders = Deciders(
            notify,
            two_person=settings.unlatch_two_person,
            listed=bool(settings.unlatch_confirmers),
        )
        recheck_after_s = settings.unlatch_recheck_after_s
        recheck_after = timedelta(seconds=recheck_after_s)
        expires_after = timedelta(seconds=settings.unlatch_expires_after_s)
        runner = Runner(database, tasks, timing, stopping)
        private = PrivateMessages(runner, slack)
        show = Show(runner, slack, private, links, tasks, metrics, timing, deciders)
        post = PostCards(
            *(runner, slack, show, private, links, metrics, timing, deciders), expires_after
        )
        work = Work(runner, execution, pace, metrics, timing, recheck_after)
        deadlines = Deadlines(runner, slack, work, notify, metrics, timing)
        runner.handle(
            {
                Kind.POST: post.handle,
                Kind.WORK: work.handle,
                Kind.SHOW: show.handle,
                Kind.EXPIRE: deadlines.expire,
                Kind.REMIND: deadlines.remind,
                Kind.OVERTAKE: deadlines.overtake,
                Kind.RECHECK: Recheck(runner, fusebill, recheck_after_s, timing).handle,
            }
        )
        await stack.enter_async_context(beside(runner.keep))
        # before the jobs stop being renewed
        stack.push_async_callback(_drain, tasks, timing)

        identity = await _identify(slack, client.token or "", timing.pause_s)
        post.bot_user_id = identity.bot_user_id or ""
        policy = _policy(settings, identity)
        groups = UserGroups(slack, policy.user_groups)
        await groups.refresh()
        await stack.enter_async_context(beside(groups.keep))
        permissions = Permissions(runner, private, policy, groups.members, metrics)
        customers = Customers(fusebill, private, pace)
        found = Lists(runner, Search(fusebill, pace), slack, permissions, private, links)
        ask = Ask(runner, customers, found, permissions, private, links, metrics, expires_after)
        decide = Decide(runner, show, found, permissions, private, links, metrics)
        follow_ups = FollowUps(
            *(runner, ask, customers, show, found, permissions, private, links, metrics),
            recheck_after,
        )
        pages = Pages(settings.fusebill_customer_url, settings.hubspot_portal_id)
        paste = Paste(private, permissions, pages)
        app = _bolt_app(settings, client, identity)
        guard = Guard(private, tasks, metrics)
        Listeners(ask, decide, follow_ups, found, paste, guard, pages).register(app)
        yield Bot(app, client, slack, runner, groups, tasks, metrics, timing, stopping)


async def _identify(slack: Slack, token: str, first_pause_s: float) -> AuthorizeResult:
    """Ask once who the bot is; otherwise Bolt would ask during the first ack.

    Only Slack's own word that this token is bad ends the wait: all else an admin or time can change
    without a restart.
    """
    for pause_s in pauses(first_pause_s, MAX_PAUSE_S):
        try:
            answer = await slack.auth_test()
            break
        except SlackError as error:
            if is_verdict(error) and error.code in BAD_TOKEN:
                raise
            again_in_s = min(max(pause_s, error.retry_after_s or 0.0), MAX_PAUSE_S)
            log.warning("waiting for slack", why=error.code, again_in_s=again_in_s, **advice(error))
        await asyncio.sleep(again_in_s)
    said = answer.data
    return AuthorizeResult(
        enterprise_id=said.get("enterprise_id"),
        team_id=said["team_id"],
        bot_id=said.get("bot_id"),
        bot_user_id=said["user_id"],
        bot_token=token,
    )


def open_client(settings: Settings, session: aiohttp.ClientSession) -> AsyncWebClient:
    """slack_sdk's client over a session, which the caller closes."""
    return AsyncWebClient(
        token=settings.slack_bot_token.get_secret_value(),
        base_url=settings.slack_api_url,
        session=session,
        # what Slack does not take is drawn again; a retry here could post twice
        retry_handlers=[],
    )


def _bolt_app(settings: Settings, client: AsyncWebClient, identity: AuthorizeResult) -> AsyncApp:
    """Bolt's app, without listeners."""

    async def authorize() -> AuthorizeResult:
        return identity

    bolt_log = logging.getLogger("slack_bolt")
    bolt_log.addFilter(_drop_token_warning)
    return AsyncApp(
        # without a name Bolt searches all loaded modules for one
        name="unlatch-bot",
        signing_secret=settings.signing_secret,
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


async def _drain(tasks: BackgroundTasks, timing: Timing) -> None:
    if unfinished := await tasks.drain(timing.drains_for_s):
        log.warning("stopped with unfinished work; the next start will finish it", tasks=unfinished)


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
    await database.run(witness.log_again)
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
        moves=settings.unlatch_move,
    )


def links_of(settings: Settings) -> Links:
    """The links that the cards show, as the admin set them."""
    return Links(
        settings.hubspot_portal_id,
        settings.hubspot_app_url,
        settings.fusebill_customer_url,
        settings.unlatch_move,
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
        read_s=timing.fusebill_read_s,
        write_s=timing.fusebill_write_s,
    )
