"""Records every call to the simulated Slack, makes calls fail on request, and runs hooks."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from aiohttp import web

from bot.sandbox.slack.proxy_answers import PROXY_ANSWERS, ProxyAnswer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from bot.sandbox.slack.workspace import Workspace

    Execute = Callable[[str, dict[str, Any]], "Answer"]
    Hook = Callable[[str], Awaitable[None]]

Drop = Literal["before", "after"]
TOO_MANY_REQUESTS = 429


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the Web API, or of a response URL (`method` "response_url").

    `status` is the HTTP status of the answer, 0 if the connection was closed unanswered. `at` is
    in epoch seconds.
    """

    method: str
    arguments: dict[str, Any]
    status: int
    answer: dict[str, Any]
    at: float


@dataclass(frozen=True, slots=True)
class Answer:
    """Slack's answer to a call: `body` as JSON, or `raw` if that is set."""

    body: dict[str, Any]
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    raw: ProxyAnswer | None = None

    def response(self) -> web.Response:
        """Build the HTTP response."""
        if self.raw is None:
            return web.json_response(self.body, status=self.status, headers=self.headers)
        body = self.raw.body
        return web.Response(
            body=body if isinstance(body, bytes) else body.encode(),
            status=self.status,
            headers=self.headers,
            content_type=self.raw.content_type,
        )


class Refused(Exception):
    """Slack refuses a call: the error code, and further fields of the answer."""

    def __init__(self, error: str, **details: object) -> None:
        super().__init__(error)
        self.body = {"ok": False, "error": error, **details}


@dataclass(slots=True)
class Fault:
    """A fault for the next `times` calls of a method; None: for all further calls.

    With `block`, only for calls with a block of that type; with `ts`, only about it or its thread.
    """

    method: str
    error: str | None
    status: int
    retry_after: int | None
    drop: Drop | None
    times: int | None
    raw: ProxyAnswer | None = None
    fields: dict[str, object] | None = None
    block: str = ""
    ts: str = ""
    pointer: int | None = None

    def concerns(self, method: str, arguments: dict[str, Any]) -> bool:
        """Whether a call fails."""
        found = not self.block or self.block in _block_types(arguments)
        about = ("", arguments.get("ts"), arguments.get("thread_ts"))
        return found and self.method in ("*", method) and self.ts in about

    def answer(self) -> Answer:
        """The failed answer: Slack's JSON with an error code, or what a gateway sends."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.fields is not None:
            return Answer({"ok": True, **self.fields}, self.status, headers)
        if self.raw is not None:
            location = {"Location": self.raw.location} if self.raw.location else {}
            return Answer({}, self.raw.status, headers | location, self.raw)
        error = self.error or ("ratelimited" if self.status == TOO_MANY_REQUESTS else None)
        if error and self.block:
            found = {"code": error, "message": f"unsupported block type: {self.block}"}
            body: dict[str, Any] = {"ok": False, "error": error, "errors": [found]}
            if self.pointer is not None:
                named = f"[ERROR] unsupported type [json-pointer:/blocks/{self.pointer}/type]"
                body["response_metadata"] = {"messages": [named]}
            return Answer(body, self.status, headers)
        if error:
            return Answer({"ok": False, "error": error}, self.status, headers)
        html = f"<html><body>{self.status} from the gateway</body></html>"
        return Answer({}, self.status, headers, ProxyAnswer(self.status, html, "text/html"))


class Faults:
    """The faults that are set; while `down` is True, every connection is closed unanswered."""

    def __init__(self) -> None:
        self.down = False
        self._queue: list[Fault] = []

    def fail(
        self,
        method: str,
        *,
        error: str | None = None,
        status: int | None = None,
        retry_after: int | None = None,
        drop: Drop | None = None,
        times: int | None = 1,
        block: str = "",
        ts: str = "",
        pointer: int | None = None,
    ) -> None:
        """Make the next `times` calls of a method ("*": any method) fail; None: until `clear`.

        `error` is Slack's error code and `status` the HTTP status (default: 200 with an error,
        else 503). Without an error, the answer is HTML as from a gateway. `drop` closes the
        connection "before" or "after" the call is executed. The method of a response URL is
        "response_url". With `block`, only calls with a block of that type fail; `pointer` is its
        place among the blocks, which Slack then names. `ts`: only calls about it or its thread.
        """
        default = 200 if error is not None else 503
        fault = Fault(method, error, status or default, retry_after, drop, times, block=block)
        fault.ts = ts
        fault.pointer = pointer
        self._queue.append(fault)

    def answer_as_proxy(self, method: str, name: str, *, times: int | None = 1) -> None:
        """Have a proxy answer the next `times` calls; `name`: see `PROXY_ANSWERS`.

        "incomplete" is an answer that says `ok` and nothing else.
        """
        fault = Fault(method, None, 200, None, None, times)
        if name == "incomplete":
            fault.fields = {}
        else:
            fault.raw = PROXY_ANSWERS[name]
        self._queue.append(fault)

    def answer_bare(self, method: str, code: str, *, times: int | None = 1) -> None:
        """Refuse the next `times` calls with HTTP 400 and Slack's error code alone, not as JSON."""
        fault = Fault(method, None, 400, None, None, times)
        fault.raw = ProxyAnswer(400, code, "text/plain")
        self._queue.append(fault)

    def clear(self) -> None:
        """Remove every fault."""
        self.down = False
        self._queue.clear()

    def take(self, method: str, arguments: dict[str, Any]) -> Fault | None:
        """The fault for this call, if any; counts it down."""
        fault = next((each for each in self._queue if each.concerns(method, arguments)), None)
        if fault is not None and fault.times is not None:
            fault.times -= 1
            if fault.times <= 0:
                self._queue.remove(fault)
        return fault


class FaultyServer:
    """Handles calls with the faults and hooks that are set.

    `calls` are all calls in the order of execution. `before` is awaited with the method before a
    call has any effect, `after` once it has, before the answer is sent.
    """

    def __init__(self, workspace: Workspace) -> None:
        self.calls: list[Call] = []
        self.faults = Faults()
        self.before: Hook | None = None
        self.after: Hook | None = None
        self._workspace = workspace

    async def handle(
        self, request: web.Request, method: str, execute: Execute
    ) -> web.StreamResponse:
        """Answer one call; `execute` gets the token and the arguments and returns the answer."""
        token, arguments = "", dict[str, Any]()
        refused = None
        try:
            token, arguments = await _arguments_of(request)
        except Refused as error:
            refused = Answer(error.body)
        if self.before is not None:
            await self.before(method)
        fault = None if self.faults.down else self.faults.take(method, arguments)
        if self.faults.down or (fault is not None and fault.drop == "before"):
            self._record(method, arguments, Answer({}, status=0))
            return _drop(request)
        if fault is not None and fault.drop is None:
            answer = fault.answer()
        else:
            answer = refused or execute(token, arguments)
        self._record(method, arguments, answer)
        if self.after is not None:
            await self.after(method)
        return answer.response() if fault is None or fault.drop is None else _drop(request)

    def _record(self, method: str, arguments: dict[str, Any], answer: Answer) -> None:
        self.calls.append(Call(method, arguments, answer.status, answer.body, time.time()))
        self._workspace.touch()


def _block_types(arguments: dict[str, Any]) -> Iterator[str]:
    blocks = arguments.get("blocks") or []
    for block in json.loads(blocks) if isinstance(blocks, str) else blocks:
        yield str(block.get("type"))


async def _arguments_of(request: web.Request) -> tuple[str, dict[str, Any]]:
    arguments: dict[str, Any] = dict(request.query)
    if request.content_type == "application/json":
        try:
            body = json.loads(await request.read())
        except ValueError:
            raise Refused("invalid_json") from None
        if not isinstance(body, dict):
            raise Refused("json_not_object")
    else:
        body = dict(await request.post())
    arguments |= body
    bearer = request.headers.get("Authorization", "").removeprefix("Bearer ").strip()
    return str(arguments.pop("token", "")) or bearer, arguments


def _drop(request: web.Request) -> web.Response:
    # aiohttp wants a response, though the connection is gone.
    if request.transport is not None:
        request.transport.abort()
    return web.Response()
