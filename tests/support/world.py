"""A running bot between the simulators, and the actions of its people."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from bot.app.composition import Bot
from bot.sandbox.fusebill.simulator import SimulatedFusebill
from bot.sandbox.slack.simulator import (
    Ephemeral,
    OpenView,
    PostedMessage,
    SimulatedSlack,
    text_of,
)
from bot.settings import Settings, Timing
from tests.support import ledger
from tests.support.kept import KeptCard, KeptRequest
from tests.support.names import ANYWAY, BIKES, CANCEL, CHANNEL, CONFIRM, CUSTOMERS

QUARTER = timedelta(minutes=15)
QUICK = Timing(sweep_every_s=0.1, retry_s=0.05, look_s=0.02, pause_s=0.1)


@dataclass(slots=True)
class World:
    """A running bot, and the simulated Slack and Fusebill around it."""

    slack: SimulatedSlack
    fusebill: SimulatedFusebill
    bot: Bot
    address: str
    database_url: str

    async def ask(self, text: str = "2554529 moved", user_id: str = "U0ALICE") -> PostedMessage:
        """Type `/unlatch …` and wait for the card; with **Ask anyway**, if one waits already."""
        try:
            card = await ask_anyway(self.slack, user_id, text, 30.0)
        except TimeoutError:
            raise AssertionError(f"no card; {user_id} saw: {self.ephemerals(user_id)}") from None
        # the card's ts is noted after it: the ledger is read by it
        await self.settled()
        return card

    async def pass_time(self, time: timedelta) -> None:
        """Let so much time pass for all that the ledger holds."""
        await asyncio.to_thread(ledger.set_back, self.database_url, -time)

    async def settled(self) -> None:
        """Wait until the bot has no background task left."""
        await self.slack.workspace.until(lambda: not len(self.bot.tasks), 30.0)

    async def cards(self) -> list[KeptCard]:
        """All cards in the ledger that Slack has, oldest first."""
        # in a thread: what the ledger is read through may need this one
        return await asyncio.to_thread(ledger.cards, self.database_url)

    async def kept(self, card: PostedMessage) -> KeptCard:
        """A card as the ledger keeps it. Raises: ValueError if it does not know the card."""
        return await asyncio.to_thread(ledger.card_at, self.database_url, card.ts)

    async def kept_when(self, card: PostedMessage, holds: Callable[[KeptCard], object]) -> KeptCard:
        """Wait until something holds of a card in the ledger. Raises: TimeoutError after 30 s."""
        async with asyncio.timeout(30.0):
            while not holds(kept := await self.kept(card)):  # noqa: ASYNC110  # no event for it
                await asyncio.sleep(0.02)
        return kept

    async def requests_about(self, customer_id: int) -> list[KeptRequest]:
        """What was asked about a customer, newest first."""
        return await asyncio.to_thread(ledger.requests_about, self.database_url, customer_id)

    async def reply_to(self, text: str, user_id: str = "U0ALICE") -> str:
        """Type `/unlatch …`; returns the ephemeral that answers it, not one that says “Still …”."""
        before = len(self.slack.workspace.ephemerals(user_id))
        delivery = await self.slack.command(user_id, text)
        assert delivery.status == 200, delivery
        await self.slack.workspace.until(
            lambda: (
                len(self.slack.workspace.ephemerals(user_id)) > before
                and "⏳ Still" not in self.last_ephemeral(user_id)
            )
        )
        return self.last_ephemeral(user_id)

    async def press(self, user_id: str, card: PostedMessage, action_id: str) -> None:
        """Click a button of a card and wait until the bot is done."""
        delivery = await self.slack.click(user_id, card.ts, action_id)
        assert delivery.status == 200, delivery
        await self.settled()

    async def confirmed(self, text: str = "2554529 moved") -> PostedMessage:
        """A card that Alice asked for and Bob confirmed."""
        card = await self.ask(text)
        await self.press("U0BOB", card, CONFIRM)
        return card

    async def follow_up(
        self, card: PostedMessage, action_id: str, user_id: str = "U0BOB"
    ) -> PostedMessage:
        """Press a button that leads to another card; returns the last one in the thread."""
        await self.press(user_id, card, action_id)
        replies = self.slack.workspace.thread(CHANNEL, card.ts)
        # a reply without buttons is only told
        return [each for each in replies if "actions" in {b["type"] for b in each.blocks}][-1]

    async def open_form(self, user_id: str, card: PostedMessage) -> OpenView:
        """Press **Cancel** on somebody else's card; returns the form that this opens."""
        await self.press(user_id, card, CANCEL)
        return self.slack.views.of(user_id)

    async def decline(self, user_id: str, card: PostedMessage, reason: str = "") -> None:
        """Decline somebody else's request with the form."""
        form = await self.open_form(user_id, card)
        delivery = await self.slack.submit(form.id, {"reason": reason})
        assert delivery is not None
        assert delivery.status == 200, delivery
        await self.settled()

    def ephemerals(self, user_id: str) -> list[str]:
        """The texts of one person's ephemerals, oldest first."""
        return [text_of(each.blocks) for each in self.slack.workspace.ephemerals(user_id)]

    def last_ephemeral(self, user_id: str) -> str:
        """The visible text of one person's last ephemeral."""
        return text_of(self.slack.workspace.ephemerals(user_id)[-1].blocks)

    def card(self, card: PostedMessage) -> str:
        """The visible text of a card as it is now."""
        return text_of(self.slack.workspace.message(CHANNEL, card.ts).blocks)

    def thread(self, card: PostedMessage) -> str:
        """The visible text of a card's thread."""
        replies = self.slack.workspace.thread(CHANNEL, card.ts)
        return "\n".join(text_of(reply.blocks) for reply in replies)


async def ask_anyway(
    slack: SimulatedSlack, user_id: str, text: str, timeout_s: float
) -> PostedMessage:
    """Type `/unlatch …` and wait for the card; press **Ask anyway** if a card waits already.

    Raises: TimeoutError.
    """
    workspace = slack.workspace
    cards, heard = len(workspace.messages(CHANNEL)), len(workspace.ephemerals(user_id))

    def posted() -> bool:
        return len(workspace.messages(CHANNEL)) > cards

    def asked() -> list[Ephemeral]:
        return [e for e in workspace.ephemerals(user_id)[heard:] if ANYWAY in str(e.blocks)]

    delivery = await slack.command(user_id, text)
    assert delivery.status == 200, delivery
    await workspace.until(lambda: posted() or bool(asked()), timeout_s)
    if not posted():
        delivery = await slack.click_ephemeral(user_id, asked()[-1], ANYWAY)
        assert delivery.status == 200, delivery
        await workspace.until(posted, timeout_s)
    return workspace.messages(CHANNEL)[-1]


def add_customers(
    fusebill: SimulatedFusebill, customer_ids: Iterable[int] = CUSTOMERS[3:], **fields: Any
) -> None:
    """Give Fusebill customers, each like the first but for these fields; the rest of CUSTOMERS."""
    like = fusebill.customers[BIKES]
    for each in customer_ids:
        fusebill.customers[each] = deepcopy(like) | {"id": each, **fields}


OpenWorld = Callable[..., AbstractAsyncContextManager[World]]


def settings_for(
    slack: SimulatedSlack, fusebill: SimulatedFusebill, folder: Path, **changes: Any
) -> Settings:
    """Settings that point the bot at the simulators; the environment is not read."""
    values: dict[str, Any] = {
        "slack_bot_token": slack.bot_token,
        "slack_signing_secret": slack.signing_secret,
        "slack_app_token": slack.app_token,
        "slack_api_url": slack.api_url,
        "fusebill_api_key": fusebill.api_key,
        "fusebill_base_url": fusebill.url,
        "database_url": f"sqlite:///{folder}/ledger.db",
        "host": "127.0.0.1",
        "port": 0,
        # a cleared customer would stay due for an hour, and many tests wait until nothing is
        "unlatch_recheck_after_s": 0,
    }
    unknown = changes.keys() - Settings.model_fields.keys()
    assert not unknown, f"no such settings: {unknown}"
    return Settings(**values | changes | {"_env_file": None})
