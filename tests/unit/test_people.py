"""A response URL lets whoever has it speak to a person, so it is never printed by accident."""

from __future__ import annotations

from bot.ledger.people import ResponseUrl


def test_a_kept_response_url_is_not_in_its_repr() -> None:
    kept = ResponseUrl(1, "U0BOB", "https://hooks.slack.com/actions/T0/1/secret")
    assert "http" not in repr([kept])
    assert "U0BOB" in repr(kept)
