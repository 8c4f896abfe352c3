"""Builds the list of open requests that one person sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.domain.models import Kind, Request
from bot.messages.block_kit import Line, Message, bold, date, link, message, say, text, user
from bot.messages.phrases import display_name


@dataclass(frozen=True, slots=True)
class OpenRequest:
    """A card that waits or work under way, the URL of its card, and whether this person decides."""

    request: Request
    url: str | None
    may_decide: bool


def pending(shown: Sequence[OpenRequest], more: int) -> Message:
    """The open requests in this order; `more` of them are not shown."""
    if not shown:
        return message([[say("☑️ Nothing waits for a decision, and no work is under way.")]])
    rest: list[Line] = [[say(f"{more} more {'is' if more == 1 else 'are'} not shown.")]]
    return message(
        [[bold("Waiting for a decision, or under way")]],
        *([*_lines(each)] for each in shown),
        rest if more else None,
    )


def _lines(each: OpenRequest) -> Iterator[Line]:
    request, customer = each.request, each.request.customer
    name = [say(" "), text(display_name(customer), limit=60)] if display_name(customer) else []
    card = [say(" · "), link(each.url, "card")] if each.url else []
    more = [say(f" and {request.card_size - 1} more")] if request.card_size > 1 else []
    yield [bold(_state(each)), say(f" · {customer.customer_id}"), *name, *more, *card]
    until = [say("; expires "), date(request.expires_at)] if request.verdict is None else []
    asked = [say("asked by "), user(request.requester.user_id), say(", "), date(request.asked_at)]
    yield [*asked, *until]
    if request.reason:
        yield [say("why: "), text(request.reason)]


def _state(each: OpenRequest) -> str:
    undo = "undo " if each.request.kind is Kind.RELATCH else ""
    if each.request.verdict:
        return f"⏳ {undo}under way"
    return f"☝️ {undo}you may decide" if each.may_decide else f"🕒 {undo}waits for somebody else"
