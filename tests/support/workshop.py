"""The parts of the bot behind the listeners, between the simulators, for direct calls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from bot.app.composition import build
from bot.domain.models import Request
from bot.ledger.audit.export import Row
from bot.ops.background import BackgroundTasks
from bot.ops.metrics import Metrics
from bot.requests.follow_ups import FollowUps
from bot.requests.lookup import Lookup
from bot.requests.permissions import Permissions
from bot.requests.posting import CardPoster, Place
from bot.requests.preview import Preview
from bot.requests.work.worker import Worker
from bot.sandbox.fusebill.simulator import SimulatedFusebill
from bot.sandbox.slack.response_urls import Origin
from bot.sandbox.slack.simulator import PostedMessage, SimulatedSlack, text_of
from bot.settings import Timing
from tests.support.ledger import audit_rows, read_requests
from tests.support.names import CHANNEL
from tests.support.world import settings_for


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts, and the simulators that they call; `double` is Slack."""

    double: SimulatedSlack
    fusebill: SimulatedFusebill
    metrics: Metrics
    tasks: BackgroundTasks
    poster: CardPoster
    lookup: Lookup
    preview: Preview
    worker: Worker
    follow_ups: FollowUps
    permissions: Permissions
    database_url: str

    def place(self, user_id: str = "U0ALICE", channel_id: str = CHANNEL) -> Place:
        """A place with a response_url for one person."""
        path = self.double.responses.issue(Origin(user_id, channel_id))
        return Place(channel_id, f"{self.double.url}{path}")

    def ephemerals(self, user_id: str = "U0ALICE") -> list[str]:
        """The ephemerals of one person, oldest first."""
        ephemerals = self.double.workspace.ephemerals(user_id)
        return [text_of(ephemeral.blocks) or ephemeral.text for ephemeral in ephemerals]

    def posted(self, channel_id: str = CHANNEL) -> list[PostedMessage]:
        """The messages of a channel, including replies."""
        return self.double.workspace.everything(channel_id)

    async def requests(self) -> list[Request]:
        """The requests that had a card, newest first."""
        return read_requests(self.database_url)

    def rows(self) -> list[Row]:
        """The ledger as an auditor reads it."""
        return audit_rows(self.database_url)


@asynccontextmanager
async def workshop(folder: Path, *, expires_after_s: int = 900) -> AsyncIterator[Parts]:
    """Build a bot on a SQLite ledger in a folder, without a server for Slack's requests."""
    async with SimulatedSlack() as double, SimulatedFusebill() as fusebill:
        settings = settings_for(
            double,
            fusebill,
            folder,
            unlatch_expires_after_s=expires_after_s,
            unlatch_confirmers=frozenset({"U0BOB"}),
        )
        async with build(settings, Timing(execution_s=2.0)) as bot:
            url = settings.database_url.get_secret_value()
            yield Parts(
                *(double, fusebill, bot.metrics, bot.tasks, bot.poster, bot.lookup),
                *(bot.preview, bot.worker, bot.follow_ups, bot.permissions, url),
            )
