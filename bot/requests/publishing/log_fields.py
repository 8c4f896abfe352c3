"""What log lines about a request have in common."""

from __future__ import annotations

from bot.domain.models import Request


def about(request: Request) -> dict[str, object]:
    """The fields that every log line about a request has."""
    return {
        "request_id": request.id,
        "customer_id": request.customer.customer_id,
        "channel_id": request.channel_id,
        "message_ts": request.message_ts,
        "requester": request.requester.user_id,
        "decider": request.decider and request.decider.user_id,
    }
