"""Sends httpx's requests over aiohttp, keeping httpx's errors and time-outs.

httpx's own pool checks every idle connection with a system call, two thirds of the cost of a whole
request. As with httpx, a failure to connect is a ConnectError or ConnectTimeout, and any later
failure is another error. The library httpx-aiohttp 0.2.0 is no substitute: it turns a lost reply
into a ConnectTimeout, which would be shown as "nothing was sent".
Source: www.python-httpx.org/exceptions, docs.aiohttp.org/en/stable/client_reference.html
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import cache
from time import monotonic
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx
from yarl import URL

ALONE_S = 60.0
"""So long after a lost reply each write opens a connection of its own."""
MAX_HEADER = 65_536  # bytes of one header line; aiohttp's own limit is 8 kB

# what a person is told, in three words at most; the error's text is for the log
CERTIFICATE, PROXY = "certificate not trusted", "proxy refused"
TIMED_OUT, OTHER = "timed out", "no connection"
_REASONS = (
    (aiohttp.ClientConnectorCertificateError, CERTIFICATE),
    (aiohttp.ClientConnectorDNSError, "host not found"),
    (aiohttp.ClientSSLError, "no secure connection"),
    (ConnectionRefusedError, "connection refused"),
    (TimeoutError, TIMED_OUT),
)
"""By the failure to connect, or what the system said of it."""

_FAILURES = (aiohttp.ClientError, OSError)  # TimeoutError is an OSError


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends httpx's requests over aiohttp, and closes its sessions with itself.

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

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request, to its extension `target` if it has one; its body must be in memory.

        Raises: httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError (nothing was sent; the
        error's first argument is the reason, its cause has the details); httpx.ReadTimeout,
        httpx.ReadError (the request may have been sent).
        """
        limits = request.extensions["timeout"]
        url = request.url
        target = request.extensions.get("target", url.raw_path)
        # An idle connection that the server has closed looks alive until the event loop hears of
        # it. A write must not take such a connection: nobody could say whether it was done.
        await asyncio.sleep(0)
        try:
            alone = request.method != "GET" and monotonic() < self._alone_until
            answer = await (self._alone if alone else self._kept).request(
                request.method,
                URL(f"{url.scheme}://{url.netloc.decode()}{target.decode()}", encoded=True),
                headers=[(name.decode(), value.decode()) for name, value in request.headers.raw],
                data=request.read() or None,
                allow_redirects=False,
                proxy=self._proxy_for(url.scheme, url.host),
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=limits["connect"], sock_read=limits["read"]
                ),
            )
        except _FAILURES as error:
            failure = _httpx_error(error)
            if isinstance(failure, httpx.ReadError):
                self._alone_until = monotonic() + ALONE_S
            raise failure from _cause(error)
        return httpx.Response(
            answer.status, headers=answer.raw_headers, stream=_Body(answer), request=request
        )

    async def aclose(self) -> None:
        """Close the sessions and their connections."""
        await self._kept.close()
        await self._alone.close()


def _session(*, force_close: bool) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(force_close=force_close),
        cookie_jar=aiohttp.DummyCookieJar(),
        auto_decompress=False,
        skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        max_line_size=MAX_HEADER,
        max_field_size=MAX_HEADER,
    )


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._answer.content.iter_any():
                yield chunk
        except _FAILURES as error:
            raise _httpx_error(error) from _cause(error)

    async def aclose(self) -> None:
        # a response that was read to its end is already back in the pool; others are cut off
        self._answer.close()


def _proxy_for(scheme: str, host: str) -> str | None:
    if host in ("localhost", "127.0.0.1", "::1") or proxy_bypass(host):
        return None
    return getproxies().get(scheme)


def _httpx_error(error: aiohttp.ClientError | OSError) -> httpx.TransportError:
    match error:
        case aiohttp.ConnectionTimeoutError():
            return httpx.ConnectTimeout(TIMED_OUT)
        case aiohttp.ClientProxyConnectionError() | aiohttp.ClientHttpProxyError():
            return httpx.ProxyError(PROXY)
        case aiohttp.ClientConnectorError():
            return httpx.ConnectError(_reason(error))
        case aiohttp.InvalidURL():
            # an address that can't be called, a proxy's for example
            return httpx.ConnectError(OTHER)
        case TimeoutError():
            return httpx.ReadTimeout(str(error))
        case _:
            # it may have been sent: a lost reply must never look like a failure to connect
            return httpx.ReadError(str(error))


def _cause(error: Exception) -> Exception:
    if isinstance(error, aiohttp.ClientHttpProxyError):
        # not the error itself: it shows the proxy's URL, with its password
        return ConnectionError(f"the proxy answered HTTP {error.status} {error.message}")
    return error


def _reason(error: aiohttp.ClientConnectorError) -> str:
    causes = (error, error.os_error)
    found = (why for kind, why in _REASONS if any(isinstance(each, kind) for each in causes))
    return next(found, OTHER)
