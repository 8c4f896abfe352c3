"""Bursts, junk and slow connections: every ack in time, nothing dropped, the bot keeps serving."""

from __future__ import annotations

import asyncio
import os
import resource
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest

from bot.sandbox.fusebill.simulator import sample_customers
from tests.support.bot_process import PACE
from tests.support.names import BIKES, CHANNEL, CUSTOMERS
from tests.support.stage import Stage, on_both, stage
from tests.support.world import add_customers

ACK_S = 3.0
MAX_CONCURRENT = 64
PAGE = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
async def staged(database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(database_url, tmp_path) as opened:
        await opened.start()
        yield opened


class Concurrency:
    """Measures how many calls a simulator handles at once, at most."""

    def __init__(self, simulator: object) -> None:
        self.now = self.max = 0
        setattr(simulator, "before", self._enter)  # noqa: B010  # both simulators have this hook
        setattr(simulator, "after", self._leave)  # noqa: B010  # the same

    async def _enter(self, _call: str) -> None:
        self.now += 1
        self.max = max(self.max, self.now)
        # long enough for other calls to arrive
        await asyncio.sleep(0.01)

    async def _leave(self, _call: str) -> None:
        self.now -= 1


@on_both
@pytest.mark.timed
async def test_two_hundred_commands_in_a_second_are_all_acknowledged_in_time(
    staged: Stage,
) -> None:
    ids = range(4_000_000, 4_000_200)
    add_customers(staged.fusebill, ids)
    measured = [Concurrency(staged.slack), Concurrency(staged.fusebill)]

    async def command(number: int) -> tuple[int, bool]:
        await asyncio.sleep(number / 200)
        delivery = await staged.slack.command("U0ALICE", f"{ids[number]} number {number}")
        return delivery.status, delivery.seconds < ACK_S

    answers = Counter(await asyncio.gather(*(command(number) for number in range(200))))
    assert answers == {(200, True): 200}
    await staged.until(lambda: len(staged.slack.workspace.messages(CHANNEL)) == 200, 40)
    await staged.until(lambda: staged.log.count('"asked"') == 200)
    assert len(staged.cards()) == 200
    assert max(concurrency.max for concurrency in measured) <= MAX_CONCURRENT


@on_both
@pytest.mark.timed
async def test_sixty_four_clicks_at_once_are_acknowledged_in_time_and_make_one_call_each(
    staged: Stage,
) -> None:
    sample = sample_customers()[BIKES]
    ids = range(4_000_000, 4_000_064)
    for number in ids:
        vids = {"hubSpotId": number, "hubSpotCompanyId": number}
        staged.fusebill.customers[number] = {**sample, "id": number, **vids}
    await asyncio.gather(*(staged.slack.command("U0ALICE", str(number)) for number in ids))
    await staged.until(lambda: staged.log.count('"asked"') == 64, 40)
    measured = [Concurrency(staged.slack), Concurrency(staged.fusebill)]
    cards = staged.slack.workspace.messages(CHANNEL)
    clicks = [staged.slack.click("U0BOB", card.ts, "unlatch_confirm") for card in cards]
    answers = Counter((d.status, d.seconds < ACK_S) for d in await asyncio.gather(*clicks))
    assert answers == {(200, True): 64}
    await staged.settled(40)

    calls = Counter(
        call.customer_id for call in staged.fusebill.calls if call.operation == "unlatch_customer"
    )
    assert calls == dict.fromkeys(ids, 1)
    assert all("✅ Unlatched" in staged.card(card) for card in cards)
    assert max(concurrency.max for concurrency in measured) <= MAX_CONCURRENT


@pytest.fixture
async def bot(tmp_path: Path) -> AsyncIterator[Stage]:
    """A stage with one bot on SQLite."""
    async with stage(f"sqlite:///{tmp_path}/ledger.db", tmp_path) as opened:
        await opened.start()
        yield opened


def address(staged: Stage) -> tuple[str, int]:
    host, port = staged.bots[0].address.removeprefix("http://").split(":")
    return host, int(port)


async def serves(staged: Stage) -> bool:
    """Whether a command gets an ack in time, and a card."""
    before = len(staged.slack.workspace.messages(CHANNEL))
    add_customers(staged.fusebill)
    delivery = await staged.slack.command("U0ALICE", str(CUSTOMERS[before]))
    await staged.until(lambda: len(staged.slack.workspace.messages(CHANNEL)) > before)
    return delivery.status == 200 and delivery.seconds < ACK_S


async def test_the_bot_refuses_a_body_over_a_megabyte_and_keeps_serving(bot: Stage) -> None:
    body = b"text=" + b"x" * 1_000_001
    async with aiohttp.ClientSession() as session:
        answer = await session.post(bot.slack.request_url or "", data=body)
        assert answer.status == 413
    assert await serves(bot)


def resident(staged: Stage) -> int:
    """The bot's resident memory in bytes."""
    pages = Path(f"/proc/{staged.bots[0].process.pid}/statm").read_text().split()[1]
    return int(pages) * PAGE


JUNK = [
    b"",
    b"payload=",
    b"payload=%7Bnot+json",
    b"payload=%5B%5D",
    b'{"type": "url_verification", "challenge": "x"}',
    b"command=%2Funlatch&text=2554529&user_id=U0ALICE",
    b"\xff\xfe\x00",
    b"a=1&" * 2_000,
]


async def test_three_thousand_junk_requests_leave_no_memory_or_log_growth(
    bot: Stage,
) -> None:
    url = bot.slack.request_url or ""

    async def send_junk(session: aiohttp.ClientSession, numbers: range) -> Counter[int]:
        statuses: Counter[int] = Counter()
        for number in numbers:
            junk = JUNK[number % len(JUNK)]
            signature = {"X-Slack-Signature": "v0=0", "X-Slack-Request-Timestamp": "1"}
            async with session.post(url, data=junk, headers=signature) as answer:
                statuses[answer.status] += 1
        return statuses

    async with aiohttp.ClientSession() as session:
        await send_junk(session, range(200))
        before, logged = resident(bot), len(bot.log)
        parts = (send_junk(session, range(start, 3_000, 20)) for start in range(20))
        statuses = sum(await asyncio.gather(*parts), Counter[int]())
    assert statuses == {401: 3_000}
    assert resident(bot) - before < 3_000_000
    assert len(bot.log) - logged < 30_000
    assert await serves(bot)
    assert len(bot.fusebill.calls) == 1


@pytest.mark.parametrize(
    "start",
    [
        b"POST /slack/events HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"POST /slack/events HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n",
    ],
    ids=["headers", "body"],
)
async def test_two_hundred_slow_connections_delay_nobody(bot: Stage, start: bytes) -> None:
    host, port = address(bot)
    lines = await asyncio.gather(*(asyncio.open_connection(host, port) for _ in range(200)))
    for _reader, writer in lines:
        writer.write(start)
    for _ in range(3):
        assert await serves(bot)
        for _reader, writer in lines:
            writer.write(b"x")
    for _reader, writer in lines:
        writer.close()


FILES = 100


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"POST /slack/events HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HTTP/1.1\r\nX-Slow: ",
    ],
    ids=["nothing", "headers", "second headers"],
)
async def test_connections_with_endless_headers_are_closed(tmp_path: Path, start: bytes) -> None:
    async with stage(f"sqlite:///{tmp_path}/ledger.db", tmp_path) as staged:
        bot = await staged.start(timing=replace(PACE, idle_s=1.0))
        resource.prlimit(bot.process.pid or 0, resource.RLIMIT_NOFILE, (FILES, FILES))
        host, port = address(staged)
        lines = await asyncio.gather(*(asyncio.open_connection(host, port) for _ in range(FILES)))

        async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(start)
            with suppress(ConnectionError):
                while not reader.at_eof():
                    writer.write(b"x" if start else b"")
                    await asyncio.sleep(0.1)
                    await writer.drain()

        drips = [asyncio.create_task(drip(*line)) for line in lines]
        await staged.until(lambda: "can't accept connections" in staged.log)
        await asyncio.wait_for(asyncio.gather(*drips), 10)
        assert await serves(staged)
        assert staged.log.count("can't accept connections") < 3
        assert "Traceback" not in staged.log
        for _reader, writer in lines:
            writer.close()
