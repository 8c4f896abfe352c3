"""Sends requests to Fusebill over aiohttp, and says of each failure whether anything was sent.

A failure to connect is NotReached: nothing was changed. Whatever fails later is OutcomeUnknown: a
lost reply never looks like a failure to connect.
Source: docs.aiohttp.org/en/stable/client_reference.html
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cache
from time import monotonic
from typing import Self
from urllib.request import getproxies, proxy_bypass

import aiohttp
from yarl import URL

from bot.fusebill.errors import NotReached, OutcomeUnknown
from bot.fusebill.responses import Answer

ALONE_S = 60.0
"""So long after a lost reply each write opens a connection of its own."""
LOST_AT_ONCE_S = 1.0  # a connection that is lost later may have left the call running
CONNECTING = aiohttp.ClientTimeout(total=None, connect=3.0)
"""The rest is up to the limits of a whole call."""
MAX_BODY = 1_000_000  # bytes
MAX_HEADER = 65_536  # bytes of one header line; aiohttp's own limit is 8 kB
_FAILURES = (aiohttp.ClientError, OSError)  # TimeoutError is an OSError
_PROXY_FAILURES = (aiohttp.ClientProxyConnectionError, aiohttp.ClientHttpProxyError)
_NOTHING_SENT = (
    aiohttp.ConnectionTimeoutError,
    aiohttp.ClientConnectorError,
    aiohttp.ClientHttpProxyError,
    aiohttp.InvalidURL,
)
CERTIFICATE, PROXY = "certificate not trusted", "proxy refused"
LASTING = (CERTIFICATE, PROXY)
"""No try can help until somebody has changed something."""
_REASONS = (
    (_PROXY_FAILURES, PROXY),
    (aiohttp.ClientConnectorCertificateError, CERTIFICATE),
    (aiohttp.ClientConnectorDNSError, "host not found"),
    (aiohttp.ClientSSLError, "no secure connection"),
    (ConnectionRefusedError, "connection refused"),
    (TimeoutError, "timed out"),
)


class Transport:
    """Two aiohttp sessions, open as long as its block.

    Some servers close a connection right after an answer, too late to be seen before the next
    request is on its way. So once a reply was lost, no write uses a kept connection for a minute.
    aiohttp retries only idempotent requests, and only if a reused connection turns out closed.
    `HTTPS_PROXY`, `HTTP_PROXY` and `NO_PROXY` are obeyed, except for this machine's own addresses;
    OpenSSL reads `SSL_CERT_FILE`.
    """

    def __init__(self) -> None:
        self._kept = _session(force_close=False)
        self._alone = _session(force_close=True)
        self._alone_until = 0.0
        # the environment is read once for each host
        self._proxy_for = cache(_proxy_for)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._kept.close()
        await self._alone.close()

    async def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Send one request; returns whatever was answered, redirects and errors too.

        Raises: NotReached; OutcomeUnknown.
        """
        began, writes = monotonic(), method != "GET"
        address = URL(url, encoded=True)
        session = self._alone if writes and began < self._alone_until else self._kept
        # An idle connection that the server has closed looks alive until the event loop hears of
        # it. A write must not take such a connection: nobody could say whether it was done.
        await asyncio.sleep(0)
        # `from None`: the libraries' errors may show the proxy's address, with its password
        try:
            response = await session.request(
                method,
                address,
                headers=headers,
                data=body or None,
                allow_redirects=False,
                proxy=self._proxy_for(address.scheme, address.host or ""),
                timeout=CONNECTING,
            )
        except _NOTHING_SENT as error:
            why = _reason(error)
            raise NotReached(why, _detail(error), may_pass=why not in LASTING) from None
        except TimeoutError:
            raise OutcomeUnknown(why="no answer in time", may_still_run=writes) from None
        except _FAILURES as error:
            self._alone_until = monotonic() + ALONE_S
            raise OutcomeUnknown(
                why="the answer was lost",
                detail=f"{type(error).__name__}: {error}",
                may_still_run=writes and monotonic() - began > LOST_AT_ONCE_S,
            ) from None
        try:
            content, complete = await _read(response)
        finally:
            # one that was read to its end is back in the pool; others are cut off
            response.close()
        return Answer(response.status, content, response.headers, complete=complete)


def _session(*, force_close: bool) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=force_close),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        max_line_size=MAX_HEADER,
        max_field_size=MAX_HEADER,
    )


async def _read(response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
    """The body, and whether it is complete; the status decides, so a part is no error."""
    body = bytearray()
    try:
        async for chunk in response.content.iter_any():
            body += chunk
            if len(body) > MAX_BODY:
                return bytes(body[:MAX_BODY]), False
    except _FAILURES:
        return bytes(body), False
    return bytes(body), True


def _proxy_for(scheme: str, host: str) -> str | None:
    if host in ("localhost", "127.0.0.1", "::1") or proxy_bypass(host):
        return None
    return getproxies().get(scheme)


def _reason(error: Exception) -> str:
    """What a person is told, in three words at most; `_detail` is for the log."""
    causes = (error, getattr(error, "os_error", None))
    found = (why for kind, why in _REASONS if any(isinstance(each, kind) for each in causes))
    return next(found, "no connection")


def _detail(error: Exception) -> str:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return f"the proxy answered HTTP {error.status} {error.message}"
    return str(error)
