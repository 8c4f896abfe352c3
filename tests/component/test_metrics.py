"""The metrics, as Prometheus reads them."""

from __future__ import annotations

import aiohttp
import pytest
from hypothesis import given, strategies as st
from prometheus_client.parser import text_string_to_metric_families

from bot.ops.metrics import SECONDS, SLACK_RESULTS, Metrics
from tests.support.reading import metrics_of
from tests.support.world import World

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def read(metrics: Metrics) -> Samples:
    """Every sample, by its name and labels."""
    families = text_string_to_metric_families(metrics.render().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_each_instance_has_its_own_counts() -> None:
    one, other = Metrics(), Metrics()
    one.reclaimed.inc()
    assert read(one)["unlatch_reclaimed_total", ()] == 1
    assert read(other)["unlatch_reclaimed_total", ()] == 0


@pytest.mark.parametrize(
    ("result", "label"),
    [
        ("ok", "ok"),
        ("ratelimited", "ratelimited"),
        ("channel_not_found", "channel_not_found"),
        ("http_503", "http_5xx"),
        ("new_error_of_slacks", "other"),
        ("", "other"),
    ],
)
def test_a_call_to_slack_is_counted_by_its_result(result: str, label: str) -> None:
    metrics = Metrics()
    metrics.slack_called("chat.update", result, 0.3)
    labels = (("method", "chat.update"), ("result", label))
    assert read(metrics)["unlatch_slack_call_seconds_count", labels] == 1
    assert read(metrics)["unlatch_slack_call_seconds_sum", labels] == pytest.approx(0.3)


@given(st.lists(st.text(), max_size=20))
def test_unknown_error_codes_do_not_become_labels(codes: list[str]) -> None:
    metrics = Metrics()
    for code in codes:
        metrics.slack_called("chat.update", code, 0.1)
    results = {dict(labels).get("result") for _name, labels in read(metrics)}
    assert results <= {None, "http_5xx", "other"} | SLACK_RESULTS


@pytest.mark.parametrize(("status", "label"), [(200, "200"), (404, "404"), (None, "none")])
def test_a_call_to_fusebill_is_counted_by_its_status(status: int | None, label: str) -> None:
    metrics = Metrics()
    metrics.fusebill_called("get_customer", status, 0.02)
    labels = (("operation", "get_customer"), ("status", label))
    assert read(metrics)["unlatch_fusebill_call_seconds_count", labels] == 1


def test_the_rate_limit_keeps_its_last_value() -> None:
    metrics = Metrics()
    metrics.limit_left(999, 179_999)
    metrics.limit_left(998, None)
    left = "unlatch_fusebill_rate_limit_remaining"
    assert read(metrics)[left, (("window", "minute"),)] == 998
    assert read(metrics)[left, (("window", "day"),)] == 179_999


def test_an_unknown_rate_limit_is_not_shown_as_zero() -> None:
    metrics = Metrics()
    metrics.limit_left(None, None)
    assert "rate_limit_remaining{" not in metrics.render().decode()


@given(st.floats(min_value=0, max_value=100))
def test_a_time_counts_in_every_bucket_that_includes_it(seconds: float) -> None:
    metrics = Metrics()
    metrics.card_seconds.observe(seconds)
    samples = read(metrics)
    for edge in SECONDS:
        bucket = ("unlatch_card_seconds_bucket", (("le", str(float(edge))),))
        assert samples[bucket] == (seconds <= edge)


def test_every_name_starts_with_unlatch() -> None:
    assert {name.split("_")[0] for name, _labels in read(Metrics())} == {"unlatch"}


async def test_a_whole_request_is_counted(world: World) -> None:
    card = await world.ask()
    await world.press("U0BOB", card, "unlatch_confirm")
    samples = read(world.bot.metrics)
    kind = ("kind", "unlatch")
    assert samples["unlatch_requests_total", (kind,)] == 1
    assert samples["unlatch_verdicts_total", (kind, ("verdict", "confirmed"))] == 1
    assert samples["unlatch_outcomes_total", (kind, ("outcome", "cleared"))] == 1
    assert samples["unlatch_card_seconds_count", ()] == 1
    assert samples["unlatch_result_seconds_count", (kind,)] == 1
    assert samples["unlatch_ack_seconds_count", (("listener", "on_confirm_clicked"),)] == 1
    called = (("operation", "unlatch_customer"), ("status", "200"))
    assert samples["unlatch_fusebill_call_seconds_count", called] == 1


async def test_no_label_names_a_person_a_customer_or_a_request(world: World) -> None:
    card = await world.ask()
    await world.press("U0BOB", card, "unlatch_confirm")
    async with aiohttp.request("GET", f"{world.address}/metrics") as response:
        text = await response.text()
    assert response.headers["Content-Type"].startswith("text/plain; version=")
    private = ["U0ALICE", "U0BOB", "2554529", "Stolen", "C0BILLING"]
    private += [world.fusebill.api_key, world.slack.bot_token]
    assert [word for word in private if word in text] == []


async def test_undecided_cards_are_reported_over_http(world: World) -> None:
    async def pending() -> str:
        text = await metrics_of(world.address)
        return next(line for line in text.splitlines() if line.startswith("unlatch_pending "))

    assert await pending() == "unlatch_pending 0.0"
    card = await world.ask()
    assert await pending() == "unlatch_pending 1.0"
    await world.press("U0BOB", card, "unlatch_confirm")
    assert await pending() == "unlatch_pending 0.0"


async def test_the_ack_time_starts_when_the_request_arrives(world: World) -> None:
    card = await world.ask()
    await world.press("U0BOB", card, "unlatch_confirm")
    samples = read(world.bot.metrics)
    for listener in ("on_unlatch_command", "on_confirm_clicked"):
        labels = (("listener", listener),)
        assert samples["unlatch_ack_seconds_count", labels] == 1
        # reading, verifying and dispatching the request alone takes longer than this
        assert samples["unlatch_ack_seconds_sum", labels] > 0.0001
