"""Prometheus metrics; every label has few values, all known in advance."""

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

RECEIVED_AT = "received_at"
"""The key in Bolt's context for the arrival of Slack's request, in `perf_counter` seconds."""
SLACK_RESULTS = frozenset(
    {
        "ok",
        "ratelimited",
        "not_in_channel",
        "channel_not_found",
        "is_archived",
        "message_not_found",
        "invalid_blocks",
        "invalid_auth",
        "token_revoked",
        "account_inactive",
        "missing_scope",
        "TimeoutError",
    }
)
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """One process's metrics, in their own registry."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self.requests = Counter("unlatch_requests", "Requests by kind", ["kind"], registry=registry)
        self.verdicts = Counter(
            "unlatch_verdicts", "Verdicts by kind", ["kind", "verdict"], registry=registry
        )
        self.outcomes = Counter(
            "unlatch_outcomes", "Outcomes by kind", ["kind", "outcome"], registry=registry
        )
        self.refusals = Counter(
            "unlatch_refusals", "People refused, by reason", ["reason"], registry=registry
        )
        self.rejected = Counter(
            "unlatch_rejected",
            "HTTP requests that are not from Slack, by reason",
            ["reason"],
            registry=registry,
        )
        self.reclaimed = Counter(
            "unlatch_reclaimed", "Requests reclaimed from a dead worker", registry=registry
        )
        self.undelivered = Counter(
            "unlatch_undelivered", "Cards or replies that Slack refused", registry=registry
        )
        self.pending = Gauge(
            "unlatch_pending", "Undecided cards, in the whole ledger", registry=registry
        )
        self.overdue = Gauge(
            "unlatch_overdue_seconds",
            "Wait of the longest overdue request",
            registry=registry,
        )
        self.ready = Gauge(
            "unlatch_ready", "1 if ready, as /readyz says, else 0", registry=registry
        )
        self.degraded = Gauge(
            "unlatch_degraded",
            "1 if Slack is in trouble, as /readyz says, else 0",
            registry=registry,
        )
        self.tasks = Gauge("unlatch_tasks", "Running tasks in this process", registry=registry)
        self.ack_seconds = self._seconds("ack", "From Slack's request to its ack", "listener")
        self.card_seconds = self._seconds("card", "From a command to its card")
        self.result_seconds = self._seconds("result", "From a confirmation to its outcome", "kind")
        # kept: `labels` takes longer than what it finds
        self._slack = cache(
            self._seconds("slack_call", "Calls to Slack", "method", "result").labels
        )
        self._fusebill = cache(
            self._seconds("fusebill_call", "Calls to Fusebill", "operation", "status").labels
        )
        self._limit_left = cache(
            Gauge(
                "unlatch_fusebill_rate_limit_remaining",
                "Calls left in Fusebill's rate limit",
                ["window"],
                registry=registry,
            ).labels
        )

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

    def _seconds(self, name: str, documentation: str, *labels: str) -> Histogram:
        return Histogram(
            f"unlatch_{name}_seconds",
            documentation,
            labels,
            buckets=SECONDS,
            registry=self._registry,
        )
