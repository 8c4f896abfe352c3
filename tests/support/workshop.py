"""The parts of the bot that follow a command or a click, between the doubles, without Bolt."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr
from slack_sdk.web.async_client import AsyncWebClient

from bot.domain.models import Request
from bot.fusebill.client import FusebillClient
from bot.fusebill.transport import AiohttpTransport
from bot.ledger.engine import Database, migrate, open_engine
from bot.ledger.export import Row, Wanted, read
from bot.ledger.store import Ledger
from bot.messages.phrases import Links
from bot.ops.background import Tasks
from bot.ops.metrics import Metrics
from bot.requests.execution import Deed
from bot.requests.follow_ups import SecondThoughts
from bot.requests.lookup import Lookup
from bot.requests.posting import Cards, Place
from bot.requests.publisher import Delivery
from bot.requests.worker import Settler
from bot.sandbox.fusebill.simulator import SimulatedFusebill
from bot.sandbox.slack.response_urls import Origin
from bot.sandbox.slack.simulator import Message, SimulatedSlack, text_of
from bot.settings import Timing
from bot.slack.client import Slack, open_session
from tests.conftest import CHANNEL

BIKES = 2554529


@dataclass(frozen=True, slots=True)
class Workshop:
    """The parts, and the doubles that they speak to."""

    double: SimulatedSlack
    fusebill: SimulatedFusebill
    ledger: Ledger
    metrics: Metrics
    tasks: Tasks
    cards: Cards
    lookup: Lookup
    settler: Settler
    second_thoughts: SecondThoughts
    database_url: str

    def place(self, user_id: str = "U0ALICE", channel_id: str = CHANNEL) -> Place:
        """Where somebody typed a command, with an address that only they hear from."""
        path = self.double.responses.issue(Origin(user_id, channel_id))
        return Place(channel_id, f"{self.double.url}{path}")

    def whispers(self, user_id: str = "U0ALICE") -> list[str]:
        """What one person alone was told."""
        told = self.double.workspace.whispers(user_id)
        return [text_of(whisper.blocks) or whisper.text for whisper in told]

    def posted(self, channel_id: str = CHANNEL) -> list[Message]:
        """Everything that everybody sees, replies too."""
        return self.double.workspace.everything(channel_id)

    async def requests(self) -> list[Request]:
        """The requests that had a card, newest first."""
        return list(await self.ledger.history(None, limit=100))

    def rows(self) -> list[Row]:
        """The ledger as an auditor reads it."""
        engine = open_engine(self.database_url, reads_only=True)
        rows = list(read(engine, Wanted()))
        engine.dispose()
        return rows


@asynccontextmanager
async def workshop(folder: Path, *, expires_after_s: int = 900) -> AsyncIterator[Workshop]:
    """Put the parts together, on a SQLite ledger in a folder."""
    url = f"sqlite:///{folder}/ledger.db"
    async with AsyncExitStack() as stack:
        double = await stack.enter_async_context(SimulatedSlack())
        fusebill = await stack.enter_async_context(SimulatedFusebill())
        session = await stack.enter_async_context(open_session())
        http = await stack.enter_async_context(AiohttpTransport())
        engine = open_engine(url)
        migrate(engine)
        database = Database(engine)
        stack.push_async_callback(database.close)
        slack = Slack(
            AsyncWebClient(
                token=double.bot_token, base_url=double.api_url, session=session, retry_handlers=[]
            )
        )
        client = FusebillClient(http, fusebill.url, SecretStr(fusebill.api_key))
        ledger, metrics, tasks, links = Ledger(database), Metrics(), Tasks(), Links()
        timing = Timing(deed_s=2.0)
        deed = Deed(client, budget_s=timing.deed_s)
        delivery = Delivery(ledger, slack, links, metrics, timing)
        settler = Settler(ledger, delivery, deed, tasks, metrics, timing)
        cards = Cards(
            *(ledger, slack, links, metrics),
            bot_user_id="U0UNLATCH",
            expires_after_s=expires_after_s,
        )
        lookup = Lookup(client, ledger, slack, cards, links, ["U0BOB"])
        second_thoughts = SecondThoughts(ledger, lookup, cards, settler, links, metrics)
        parts = (ledger, metrics, tasks, cards, lookup, settler, second_thoughts)
        yield Workshop(double, fusebill, *parts, url)
        await tasks.drain(10)
