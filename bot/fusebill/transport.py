"""httpx over aiohttp: the client's errors and time-outs, without its own connection pool.

httpx's pool asks every idle connection whether it still lives, with a system call each, and that
was two thirds of what a whole flow cost. What httpx promises of its errors is kept: a connection
that was never had is a ConnectError or ConnectTimeout, everything after that is not.
Source: www.python-httpx.org/exceptions, docs.aiohttp.org/en/stable/client_reference.html
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

import aiohttp
import httpx
from yarl import URL


class AiohttpTransport(httpx.AsyncBaseTransport):
    """Sends httpx's requests over one aiohttp session, which it closes with itself.

    aiohttp itself repeats only what is idempotent, and that only on a connection that it had kept.
    """

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request; its body must be in memory.

        Raises: httpx.ConnectError, httpx.ConnectTimeout (nothing was sent), httpx.ReadTimeout,
        httpx.ReadError (it may have been).
        """
        limits = request.extensions["timeout"]
        with _in_httpx_terms():
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
        with _in_httpx_terms():
            async for chunk in self._answer.content.iter_any():
                yield chunk

    async def aclose(self) -> None:
        # one that was read to its end goes back to the pool by itself; any other is cut
        self._answer.close()


@contextmanager
def _in_httpx_terms() -> Iterator[None]:
    try:
        yield
    except aiohttp.ConnectionTimeoutError as error:
        raise httpx.ConnectTimeout(str(error)) from error
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError(str(error)) from error
    except TimeoutError as error:
        raise httpx.ReadTimeout(str(error)) from error
    except (aiohttp.ClientError, OSError) as error:
        # sent or not, nobody can tell: a lost reply must never look like a connection not had
        raise httpx.ReadError(str(error)) from error
