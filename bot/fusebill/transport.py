"""Sends httpx's requests over aiohttp, keeping httpx's errors and time-outs.

httpx's own pool checks every idle connection with a system call, two thirds of the cost of a whole
request. As with httpx, a failure to connect is a ConnectError or ConnectTimeout, and any later
failure is another error.
Source: www.python-httpx.org/exceptions, docs.aiohttp.org/en/stable/client_reference.html
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import aiohttp
import httpx
from yarl import URL


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends httpx's requests over one aiohttp session, and closes the session with itself.

    aiohttp retries only idempotent requests, and only if a reused connection turns out closed.
    """

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; its body must be in memory.

        Raises: httpx.ConnectError, httpx.ConnectTimeout (nothing was sent); httpx.ReadTimeout,
        httpx.ReadError (the request may have been sent).
        """
        limits = request.extensions["timeout"]
        with _as_httpx_errors():
            answer = await self._session.request(
                request.method,
                URL(str(request.url), encoded=True),
                headers=[(name.decode(), value.decode()) for name, value in request.headers.raw],
                data=request.content or None,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(
                    total=None, connect=limits["connect"], sock_read=limits["read"]
                ),
            )
        return httpx.Response(
            answer.status, headers=answer.raw_headers, stream=_Body(answer), request=request
        )

    async def aclose(self) -> None:
        """Close the session and its connections."""
        await self._session.close()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        with _as_httpx_errors():
            async for chunk in self._answer.content.iter_any():
                yield chunk

    async def aclose(self) -> None:
        # a response that was read to its end is already back in the pool; others are cut off
        self._answer.close()


@contextmanager
def _as_httpx_errors() -> Iterator[None]:
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx.ConnectTimeout(str(error)) from error
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError(str(error)) from error
    except TimeoutError as error:
        raise httpx.ReadTimeout(str(error)) from error
    except (aiohttp.ClientError, OSError) as error:
        # it may have been sent: a lost reply must never look like a failure to connect
        raise httpx.ReadError(str(error)) from error
