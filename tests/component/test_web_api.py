"""The calls of every request are on the wire as slack_sdk would make them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer
from slack_sdk.web.async_client import AsyncWebClient

from bot.messages.block_kit import Message, say
from bot.slack.client import Sent, Slack
from bot.slack.web_api import open_session
from tests.support.names import CHANNEL

TS = "1732500000.000100"
TEXT = Message("Señor „Bikes“ 🚲", [say("Señor „Bikes“ 🚲")])
Received = tuple[str, str, dict[str, str], object]


@dataclass(slots=True)
class Recorder:
    """Answers as Slack does, and keeps what it got."""

    requests: list[Received] = field(default_factory=list)

    async def answer(self, request: web.Request) -> web.Response:
        got = (request.method, request.path, dict(request.headers), await request.json())
        self.requests.append(got)
        return web.json_response({"ok": True, "channel": CHANNEL, "ts": TS})


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def session() -> AsyncIterator[ClientSession]:
    async with open_session() as opened:
        yield opened


@pytest.fixture
async def sdk(recorder: Recorder, session: ClientSession) -> AsyncIterator[AsyncWebClient]:
    app = web.Application()
    app.router.add_route("*", "/api/{method}", recorder.answer)
    async with TestServer(app) as server:
        url = str(server.make_url("/api/"))
        yield AsyncWebClient("xoxb-1", url, session=session, retry_handlers=[])


async def test_a_call_goes_through_the_proxy_that_slack_sdk_uses(
    recorder: Recorder, sdk: AsyncWebClient
) -> None:
    sdk.proxy, sdk.base_url = sdk.base_url, "http://slack.invalid/api/"
    await Slack(sdk).update(CHANNEL, TS, TEXT)
    ((_, path, headers, _),) = recorder.requests
    assert (headers["Host"], path) == ("slack.invalid", "/api/chat.update")


@pytest.mark.parametrize("thread_ts", [None, TS])
async def test_a_post_is_made_as_slack_sdk_makes_it(
    recorder: Recorder, sdk: AsyncWebClient, thread_ts: str | None
) -> None:
    assert await Slack(sdk).post(CHANNEL, TEXT, thread_ts) == Sent(TS)
    await sdk.chat_postMessage(
        channel=CHANNEL,
        text=TEXT.text,
        blocks=TEXT.blocks,
        thread_ts=thread_ts,
        unfurl_links=False,
        unfurl_media=False,
    )
    ours, theirs = recorder.requests
    assert ours == theirs


async def test_an_update_is_made_as_slack_sdk_makes_it(
    recorder: Recorder, sdk: AsyncWebClient
) -> None:
    await Slack(sdk).update(CHANNEL, TS, TEXT)
    await sdk.chat_update(channel=CHANNEL, ts=TS, text=TEXT.text, blocks=TEXT.blocks)
    ours, theirs = recorder.requests
    assert ours == theirs
