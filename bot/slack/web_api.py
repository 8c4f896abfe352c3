"""The HTTP session to Slack, and the calls of every request straight over it.

slack_sdk prepares each call for files, retries, pages and debug logs, which costs more than the
call itself. All other calls go through slack_sdk.
Source: docs.slack.dev/apis/web-api
"""

from __future__ import annotations

import json
from contextlib import suppress
from http import HTTPStatus
from typing import Any

import aiohttp
from slack_sdk.web.async_client import AsyncWebClient
from yarl import URL

from bot.slack.errors import REDIRECTS, Redirected, failure

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


class WebApi:
    """Uses the session, address, token, headers and proxy of a `client` that has a session."""

    def __init__(self, client: AsyncWebClient) -> None:
        self._client = client
        self._headers = {
            **client.headers,
            "Authorization": f"Bearer {client.token}",
            "Content-Type": "application/json;charset=utf-8",
        }

    async def call(self, method: str, **arguments: object) -> dict[str, Any]:
        """Make a call with a JSON body, without arguments that are None; returns Slack's JSON.

        Raises: SlackError; aiohttp.ClientError, OSError, TimeoutError if no answer came.
        """
        client = self._client
        if client.session is None:
            raise RuntimeError("the client has no session")
        async with client.session.post(
            client.base_url + method,
            json={name: each for name, each in arguments.items() if each is not None},
            headers=self._headers,
            proxy=client.proxy,
            ssl=client.ssl or True,
        ) as answer:
            body = await answer.read()
        data: object = None
        if answer.content_type == "application/json":
            with suppress(ValueError, RecursionError):
                data = json.loads(body)
        if answer.status == HTTPStatus.OK and isinstance(data, dict) and data.get("ok") is True:
            return data
        raise failure(answer.status, data, answer.headers)
