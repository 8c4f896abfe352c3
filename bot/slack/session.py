"""The HTTP session for all calls to Slack, and which addresses are Slack's."""

from __future__ import annotations

import aiohttp
from yarl import URL

from bot.slack.errors import REDIRECTS, Redirected

CALL_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 3.0
CONNECTIONS = 100
RESPONSE_HOSTS = frozenset({"hooks.slack.com", "hooks.slack-gov.com"})


def is_at_slack(response_url: str, api_url: str) -> bool:
    """Whether a response URL is at Slack, or at the host of the Web API's address (tests)."""
    try:
        # as aiohttp will read it
        address, api = URL(response_url), URL(api_url)
    except ValueError:
        return False
    at_slack = address.scheme == "https" and address.host in RESPONSE_HOSTS
    return at_slack or (address.scheme, address.host) == (api.scheme, api.host)


def open_session() -> aiohttp.ClientSession:
    """Open the process's only HTTP session to Slack; the caller closes it.

    It follows no redirect: somebody else would get what was meant for Slack, and answer for it.
    """
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT_S, connect=CONNECT_TIMEOUT_S),
        connector=aiohttp.TCPConnector(limit=CONNECTIONS),
        # Slack's API uses no cookies, and a cookie jar slows every call
        cookie_jar=aiohttp.DummyCookieJar(),
        # slack_sdk has no option for it
        middlewares=(_refuse_redirect,),
    )


async def _refuse_redirect(
    request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    response = await handler(request)
    if response.status in REDIRECTS:
        response.close()
        raise Redirected(response.status)
    return response
