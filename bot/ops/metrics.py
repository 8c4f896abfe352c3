"""Prometheus metrics; every label has few values, all known in advance."""

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

RECEIVED_AT = "received_at"
"""The key in Bolt's context for the arrival of Slack's request, in `perf_counter` seconds."""
SLACK_RESULTS = frozenset(
    {
        *("ok", "ratelimited", "not_in_channel", "channel_not_found", "is_archived"),
        *("message_not_found", "invalid_blocks", "invalid_auth", "token_revoked"),
        *("account_inactive", "missing_scope", "TimeoutError"),
    }
)
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """One process's metrics, in their own registry."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()

        def counter(name: str, documentation: str, *labels: str) -> Counter:
            return Counter(f"unlatch_{name}", documentation, labels, registry=registry)

        def gauge(name: str, documentation: str, *labels: str) -> Gauge:
            return Gauge(f"unlatch_{name}", documentation, labels, registry=registry)

        def seconds(name: str, documentation: str, *labels: str) -> Histogram:
            name = f"unlatch_{name}_seconds"
            return Histogram(name, documentation, labels, buckets=SECONDS, registry=registry)

        self.requests = counter("requests", "Requests by kind", "kind")
        self.verdicts = counter("verdicts", "Verdicts by kind", "kind", "verdict")
        self.outcomes = counter("outcomes", "Outcomes by kind", "kind", "outcome")
        self.refusals = counter("refusals", "People refused, by reason", "reason")
        not_from_slack = "HTTP requests that are not from Slack, by reason"
        self.rejected = counter("rejected", not_from_slack, "reason")
        self.reclaimed = counter("reclaimed", "Requests reclaimed from a dead worker")
        self.undelivered = counter("undelivered", "Cards or replies that Slack refused")
        self.pending = gauge("pending", "Undecided cards, in the whole ledger")
        self.overdue = gauge("overdue_seconds", "Wait of the longest overdue request")
        self.ready = gauge("ready", "1 if ready, as /readyz says, else 0")
        self.degraded = gauge("degraded", "1 if Slack is in trouble, as /readyz says, else 0")
        self.tasks = gauge("tasks", "Running tasks in this process")
        self.ack_seconds = seconds("ack", "From Slack's request to its ack", "listener")
        self.card_seconds = seconds("card", "From a command to its card")
        self.result_seconds = seconds("result", "From a confirmation to its outcome", "kind")
        slack = seconds("slack_call", "Calls to Slack", "method", "result")
        fusebill = seconds("fusebill_call", "Calls to Fusebill", "operation", "status")
        left = "Calls left in Fusebill's rate limit"
        # kept: `labels` takes longer than what it finds
        self._slack, self._fusebill = cache(slack.labels), cache(fusebill.labels)
        self._limit_left = cache(gauge("fusebill_rate_limit_remaining", left, "window").labels)

    def slack_called(self, method: str, result: str, seconds: float) -> None:
        """Count a call to Slack; rare error codes share the label `other`."""
        if result.startswith("http_5"):
            result = "http_5xx"
        elif result not in SLACK_RESULTS:
            result = "other"
        self._slack(method, result).observe(seconds)

    def fusebill_called(self, operation: str, status: int | None, seconds: float) -> None:
        """Count a call to Fusebill."""
        self._fusebill(operation, str(status or "none")).observe(seconds)

    def limit_left(self, minute: int | None, day: int | None) -> None:
        """Record the calls left in Fusebill's rate limit windows; None keeps the last value."""
        for window, remaining in (("minute", minute), ("day", day)):
            if remaining is not None:
                self._limit_left(window).set(remaining)

    def render(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self._registry)

    def meanings(self) -> dict[str, str]:
        """The meaning of each metric, by its name as Prometheus queries it."""
        return {
            f"{each.name}_total" if each.type == "counter" else each.name: each.documentation
            for each in self._registry.collect()
        }
