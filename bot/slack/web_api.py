"""The HTTP session to Slack, and every call over it.

slack_sdk prepares each call for files, retries, pages and debug logs, which costs more than the
call itself; so only the token, the address, the headers and the proxy are its client's.
Source: docs.slack.dev/apis/web-api
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any, TypeVar

import aiohttp
import structlog
from slack_sdk.web.async_client import AsyncWebClient
from yarl import URL

from bot.slack.errors import (
    Answer,
    Fields,
    Said,
    SlackError,
    SlackRefused,
    SlackUnavailable,
    accepted,
    taken,
)

log = structlog.get_logger(__name__)

T = TypeVar("T")
Observe = Callable[[str, str, float], None]
Arguments = Mapping[str, object]

CALL_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 3.0
CONNECTIONS = 100
MAX_CONCURRENT_CALLS = 64
NOT_AT_SLACK = "response_url_not_at_slack"
"""The code of a response URL that was not called, though a signed payload brought it."""
RESPONSE_HOSTS = frozenset({"hooks.slack.com", "hooks.slack-gov.com"})
NOTHING: Fields = {}
JSON = {"Content-Type": "application/json;charset=utf-8"}


def open_session() -> aiohttp.ClientSession:
    """Open the process's only HTTP session to Slack; the caller closes it."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
        connector=aiohttp.TCPConnector(limit=CONNECTIONS),
        # Slack's API uses no cookies, and a cookie jar slows every call
        cookie_jar=aiohttp.DummyCookieJar(),
    )


class WebApi:
    """Makes calls with what a `client` has, which must have a session: at most 64 at once.

    `observe` gets each call's method, result (`ok` or Slack's error code) and seconds.
    Every call raises SlackUnavailable or SlackRefused.
    """

    def __init__(self, client: AsyncWebClient, observe: Observe) -> None:
        self._client = client
        self._observe = observe
        self._slots = asyncio.Semaphore(MAX_CONCURRENT_CALLS)
        self._headers = {**client.headers, "Authorization": f"Bearer {client.token}"}
        self._json_headers = self._headers | JSON

    async def call(
        self, method: str, arguments: Arguments, has: Fields = NOTHING, **options: object
    ) -> Said:
        """Call a method that takes JSON; what Slack says, which has these fields."""
        url = self._client.base_url + method
        sent = {"json": arguments, "headers": self._json_headers, **options}
        return await self._post(method, url, lambda answer: accepted(answer, has), sent)

    async def ask(
        self, method: str, has: Fields = NOTHING, *, token: str = "", **form: str
    ) -> Said:
        """The same for a method that takes a form, perhaps with another token than the client's."""
        url, headers = self._client.base_url + method, self._headers
        if token:
            headers = headers | {"Authorization": f"Bearer {token}"}
        sent = {"data": form, "headers": headers}
        return await self._post(method, url, lambda answer: accepted(answer, has), sent)

    async def respond(self, url: str, arguments: Arguments) -> None:
        """Send a message to a response URL.

        One that is not at Slack, nor at the host of the client's address (tests), is not called
        (SlackRefused): the message holds a customer's data.
        """
        if not self._is_at_slack(url):
            log.error("response url not called: it is not at slack")
            raise SlackRefused(NOT_AT_SLACK)
        sent = {"json": arguments, "headers": JSON}
        await self._post("response_url", url, taken, sent)

    def _is_at_slack(self, response_url: str) -> bool:
        try:
            # as aiohttp will read it
            address, api = URL(response_url), URL(self._client.base_url)
        except ValueError:
            return False
        at_slack = address.scheme == "https" and address.host in RESPONSE_HOSTS
        return at_slack or (address.scheme, address.host) == (api.scheme, api.host)

    async def _post(
        self, method: str, url: str, read: Callable[[Answer], T], sent: dict[str, Any]
    ) -> T:
        client = self._client
        if client.session is None:
            raise RuntimeError("the client has no session")
        async with self._slots:
            began, result = perf_counter(), "error"
            try:
                # a redirect names somebody else, who would get what was meant for Slack
                async with client.session.post(
                    url, allow_redirects=False, proxy=client.proxy, ssl=client.ssl or True, **sent
                ) as response:
                    body = await response.read()
                is_json = response.content_type == "application/json"
                said = read(Answer(response.status, response.headers, body, is_json))
            except SlackError as error:
                result = error.code
                raise
            except (aiohttp.ClientError, OSError) as error:
                result = type(error).__name__
                raise SlackUnavailable(result) from error
            else:
                result = "ok"
                return said
            finally:
                self._observe(method, result, perf_counter() - began)
