"""Calls Slack's Web API straight over the process's session, for the calls of every request.

slack_sdk prepares each call for files, retries, pages and debug logs, which costs more than the
call itself. All other calls go through slack_sdk.
Source: docs.slack.dev/apis/web-api
"""

from __future__ import annotations

import json
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from slack_sdk.web.async_client import AsyncWebClient

from bot.slack.errors import failure


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
