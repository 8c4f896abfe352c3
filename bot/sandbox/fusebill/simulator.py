"""A simulated Fusebill: an HTTP server on loopback that is strict about its requests.

It serves the bot's four calls for customers in the vendor's format, records every call, and
produces faults on request. It imports nothing of the bot, so that it can't repeat the client's
mistakes.
"""

from __future__ import annotations

import asyncio
import copy
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from bot.sandbox.fusebill import customers
from bot.sandbox.fusebill.customers import sample_customers
from bot.sandbox.fusebill.misbehaviour import (
    KINDS,
    LATE_OR_LOST,
    Misbehaviour,
    client_is_gone,
    cut,
    error,
    rate_limit,
    refusal,
    send_bytes,
    spoil,
    success,
    with_string_ids,
)
from bot.sandbox.fusebill.wire import ANSWERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["KINDS", "Call", "SimulatedFusebill", "sample_customers"]

_OPERATIONS = (
    ("GET", r"/v1/customers/{customer_id:\d+}", "get_customer"),
    ("GET", "/v1/customers/", "list_customers"),
    ("GET", "/v1/customers", "list_customers"),
    ("POST", r"/v1/HubSpot/UnlatchCustomer/{customer_id:\d+}", "unlatch_customer"),
    ("POST", "/v1/HubSpot/latchCustomer", "latch_customer"),
)


@dataclass(slots=True)
class Call:
    """One request; `status` is None until it is answered (for ever, if the connection breaks).

    `at` is in epoch seconds; the names in `headers` are in lower case. `fault` is the kind of the
    fault that it met, `executed` whether it had its effect when it was answered.
    """

    method: str
    operation: str
    customer_id: int | None
    status: int | None
    at: float
    body: bytes
    headers: dict[str, str]
    query: str
    fault: str = ""
    executed: bool = False


class SimulatedFusebill:
    """The server, as an async context manager.

    `url` is the client's base URL. `calls` are in the order of arrival. `customers` may be
    modified freely. `before` is awaited with the operation's name before a call has any effect,
    `after` once it has, before the answer is sent; if either raises ConnectionError, the
    connection is closed. `on_change` is called when customers or faults changed. The limit is
    enforced only with `calls_per_minute`; otherwise it just appears in the headers. Its minutes
    last `minute_s` seconds.
    """

    KINDS = KINDS

    def __init__(
        self,
        port: int = 0,
        api_key: str = "MDpzYW5kYm94",
        customers: dict[int, dict[str, Any]] | None = None,
        *,
        calls_per_minute: int | None = None,
        minute_s: float = 60.0,
    ) -> None:
        self.api_key = api_key
        self.customers = sample_customers() if customers is None else customers
        self._customers_at_first = copy.deepcopy(self.customers)
        self.calls: list[Call] = []
        self.before: Callable[[str], Awaitable[None]] | None = None
        self.after: Callable[[str], Awaitable[None]] | None = None
        self.on_change: Callable[[], None] | None = None
        self.calls_per_minute = calls_per_minute
        self.minute_s = minute_s
        self.url = ""
        self._port = port
        self._faults: list[Misbehaviour] = []
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application()
        for method, path, operation in _OPERATIONS:
            app.router.add_route(method, path, self._handler(operation))
        app.router.add_route("*", "/{path:.*}", _no_endpoint)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()

    def hang_up(self) -> None:
        """Close every connection that waits for an answer, now and in future."""
        self._closing.set()

    @property
    def misbehaviour(self) -> str | None:
        """The kind of the next fault, for whichever operation; None if there is none."""
        return self._faults[0].kind if self._faults else None

    def misbehave(
        self,
        kind: str,
        *,
        operation: str | None = None,
        times: int | None = 1,
        customer_id: int | None = None,
        skips: int = 0,
        **details: object,
    ) -> None:
        """Queue a fault for the next `times` calls (of `operation`); None: until `behave`.

        With `customer_id`, only calls about that customer count; the first `skips` are well.
        Details: see `misbehaviour.refusal`; also `seconds` for `slow` (default 3), `late` (default
        1) and the kinds of `LATE_OR_LOST`, and `effect`: whether the call is executed, whatever
        the answer is.
        Raises: ValueError for a kind that is neither in KINDS nor in LATE_OR_LOST.
        """
        if kind not in KINDS and kind not in (each["kind"] for each in LATE_OR_LOST.values()):
            raise ValueError(f"no such misbehaviour: {kind}")
        self._faults.append(
            Misbehaviour(kind, operation, times, details, customer_id=customer_id, skips=skips)
        )
        self._changed()

    def behave(self) -> None:
        """Remove every fault."""
        self._faults.clear()
        self._changed()

    def reset(self) -> None:
        """Restore the customers that it was built with and remove every fault."""
        self.customers = copy.deepcopy(self._customers_at_first)
        self.behave()

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()

    def _take(self, operation: str, customer_id: int | None) -> Misbehaviour | None:
        for fault in self._faults:
            if fault.is_for(operation, customer_id):
                if fault.left is not None:
                    fault.left -= 1
                    if fault.left <= 0:
                        self._faults.remove(fault)
                        self._changed()
                return fault
        return None

    def _handler(self, operation: str) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        async def handle(request: web.Request) -> web.StreamResponse:
            call = Call(
                request.method,
                operation,
                _customer_id(request),
                None,
                time.time(),
                await request.read(),
                {name.lower(): value for name, value in request.headers.items()},
                request.query_string,
            )
            if operation == "latch_customer":
                call.customer_id = customers.latch_order(call.body)[0]
            self.calls.append(call)
            try:
                answer = await self._answer(request, call)
            except ConnectionError:
                return cut(request)
            call.status = answer.status
            return answer

        return handle

    async def _answer(self, request: web.Request, call: Call) -> web.Response:
        refused = self._refused(call)
        if refused is not None:
            return self._with_rate_limit(refused)
        fault = self._take(call.operation, call.customer_id) or Misbehaviour("", None, None)
        call.fault = fault.kind
        if self.before is not None:
            await self.before(call.operation)
        answer = refusal(fault, call.customer_id)
        executes = fault.executes(refused=answer is not None)
        waits = fault.kind in ("slow", "outlives")  # the effect comes with the answer
        if waits:
            await self._misbehave(request, fault)
        done = self._execute(call, request, fault, executes=executes)
        if not waits:
            await self._misbehave(request, fault)
        if self.after is not None:
            await self.after(call.operation)
        if isinstance(done, bytes):
            call.status = ANSWERS[fault.kind].code
            send_bytes(request, done)
        answer = self._with_rate_limit(answer or done)
        await spoil(request, fault, answer)
        return answer

    def _refused(self, call: Call) -> web.Response | None:
        if call.headers.get("authorization") != f"Basic {self.api_key}":
            return error(400, "Authorization key is not in the correct format.")
        if self.calls_per_minute is not None and self._calls_this_minute() > self.calls_per_minute:
            return error(429, "The limit of calls per minute is exceeded.")
        return _malformed(call) if call.method == "POST" else None

    async def _misbehave(self, request: web.Request, fault: Misbehaviour) -> None:
        if fault.kind == "outlives":
            await client_is_gone(request)
        if fault.kind in ("hang", "slow", "outlives", "lost_late"):
            seconds = None if fault.kind == "hang" else fault.details.get("seconds", 3)
            try:
                await asyncio.wait_for(self._closing.wait(), seconds)
            except TimeoutError:
                if fault.kind != "lost_late":
                    return
            raise ConnectionAbortedError
        if fault.kind == "lost_before":
            raise ConnectionAbortedError

    def _execute(
        self, call: Call, request: web.Request, fault: Misbehaviour, *, executes: bool
    ) -> web.Response | bytes:
        headers: dict[str, str] = {}
        try:
            value: object
            if call.operation == "list_customers":
                value, headers = customers.page_of(self.customers, request.query)
            elif executes:
                value = self._change(call)
            else:
                value = customers.find(self.customers, call.customer_id)
        except customers.Refusal as refused:
            return error(refused.status, str(refused))
        if fault.kind == "late" and "effect" not in fault.details:
            asyncio.get_running_loop().call_later(
                fault.details.get("seconds", 1), self._change, call
            )
        if fault.kind in ANSWERS:
            return ANSWERS[fault.kind].rendered(value)
        shown = with_string_ids(value) if fault.kind == "string_ids" else value
        answer = success(fault.kind, shown)
        answer.headers.update(headers)
        return answer

    def _change(self, call: Call) -> dict[str, Any]:
        """Give a call its effect. Raises: Refusal."""
        if call.operation == "get_customer":
            return customers.find(self.customers, call.customer_id)
        if call.operation == "unlatch_customer":
            value = customers.unlatch(self.customers, call.customer_id)
        else:
            value = customers.latch(self.customers, call.body)
        call.executed = True
        self._changed()
        return value

    def _calls_this_minute(self) -> int:
        since = time.time() - time.time() % self.minute_s
        return sum(call.at >= since for call in self.calls[-self._limit() - 1 :])

    def _limit(self) -> int:
        return 1_000 if self.calls_per_minute is None else self.calls_per_minute

    def _with_rate_limit(self, answer: web.Response) -> web.Response:
        reset_in_s = self.minute_s - time.time() % self.minute_s
        made = self._calls_this_minute()
        headers = rate_limit(self._limit(), made, len(self.calls), reset_in_s)
        for name, value in headers.items():
            answer.headers.setdefault(name, value)
        return answer


def _customer_id(request: web.Request) -> int | None:
    digits = request.match_info.get("customer_id")
    return int(digits) if digits else None


def _malformed(call: Call) -> web.Response | None:
    if call.headers.get("content-type", "").partition(";")[0] != "application/json":
        return error(415, "The Content-Type must be application/json.")
    if "content-length" not in call.headers:
        return error(411, "A Content-Length is required.")
    if call.operation == "unlatch_customer" and call.body:
        return error(400, "No body is expected.")
    return None


async def _no_endpoint(request: web.Request) -> web.Response:
    text = f"No HTTP resource was found that matches the request URI '{request.path}'."
    return web.json_response({"Message": text}, status=404)
