"""Builds the lists that one person sees: search results, past and open requests, and help."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

from bot.domain.commands import ASK_USAGE, COMMAND, MAX_CUSTOMERS, Ask, Move
from bot.domain.meanings import KINDS, VERDICTS, holds_now, may_be_undone
from bot.domain.models import Customer, Outcome, Request
from bot.domain.values import value
from bot.messages.block_kit import (
    Block,
    Line,
    Message,
    bold,
    button,
    buttons,
    code,
    date,
    lines,
    link,
    message,
    say,
    text,
    units,
    user,
)
from bot.messages.card import Action
from bot.messages.phrases import (
    Links,
    display_name,
    ids_inline,
    mentions,
    needs_care,
    titled,
)

MAX_VALUE_LENGTH = 2_000
"""Of a button: docs.slack.dev/reference/block-kit/block-elements/button-element"""


def usage(command: str = COMMAND) -> Message:
    """Help: every command."""
    return message(
        [
            [bold("Unlatch a Fusebill customer from its HubSpot contact and company")],
            [
                code(f"{command} {ASK_USAGE}"),
                say(" posts a request here. Nothing changes until somebody confirms it."),
            ],
            [say("For example: "), code(f"{command} 2554529 moved to the new portal")],
            [
                code(f"{command} 2554529, 3100017 moved"),
                say(" puts several customers on one card, up to "),
                say(f"{MAX_CUSTOMERS}."),
            ],
            [code(f"{command} many"), say(" opens a form to paste a column of ids into.")],
            [
                code(f"{command} move 2554529 to contact 9901 company 9902"),
                say(" latches it to other HubSpot ids, where the admin has turned that on."),
            ],
            [
                code(f"{command} find <text>"),
                say(" searches ids, names, references and emails; so do any other words."),
            ],
            [code(f"{command} history [Stax Bill ID]"), say(" shows past requests and decisions.")],
            [code(f"{command} pending"), say(" shows what waits for a decision or is under way.")],
            [code(f"{command} help"), say(" shows this.")],
            [
                say("The id is the “Stax Bill ID” of Fusebill's customer list."),
                say(" Its “Customer ID” is the reference."),
            ],
        ]
    )


def asking(
    label: str, wanted: Ask | Move, command: str, *, aloud: str, action: Action = Action.USE
) -> Block | None:
    """A button that asks for a card, as if it were typed; None if no button carries so much."""
    carried: dict[str, object] = {"ids": wanted.customer_ids}
    if isinstance(wanted, Move):
        carried = {"customer_id": wanted.customer_id, "to_ids": wanted.ids, "to": wanted.to}
    carried |= {"reason": wanted.reason, "command": command}
    value = json.dumps(carried, ensure_ascii=False, separators=(",", ":"))
    fits = units(value) <= MAX_VALUE_LENGTH
    return buttons(button(label, action, value, aloud=aloud)) if fits else None


def did_you_mean(
    ask: Ask, hits: Sequence[Customer], links: Links, command: str = COMMAND
) -> Message:
    """Customers whose reference is the number that was typed as an id."""
    return message(
        [
            [say(f"🔎 Fusebill has no customer with the Stax Bill ID {ask.customer_ids[0]}.")],
            [say("That number is the Customer ID (the reference) of:")],
        ],
        *_hits(hits, links, ask.reason, command),
    )


def found(
    wanted: str,
    hits: Sequence[Customer],
    links: Links,
    command: str = COMMAND,
    *,
    more: bool,
) -> Message:
    """The result of a search, each customer with a button that asks for its card.

    `more`: `hits` may not be all that Fusebill has.
    """
    if more and not hits:
        too_many = say("🔎 Fusebill returns too many customers for ")
        return message([[too_many, text(wanted, limit=80), say(": type more of the text.")]])
    if not hits:
        nothing = say("🔎 No Stax Bill ID, Customer ID, name or email in Fusebill matches ")
        return message([[nothing, text(wanted, limit=80), say(".")]])
    rest: list[Line] = [[say("There are more: type more of the text.")]] if more else []
    return message(
        [[say("🔎 Customers matching "), text(wanted, limit=80)]],
        *_hits(hits, links, "", command),
        rest,
    )


def history(
    customer_id: int | None,
    past: Sequence[tuple[Request, str | None]],
    advisers: Sequence[str],
    declined: Mapping[str, str] | None = None,
    *,
    undoing: bool = False,
) -> Message:
    """The last requests, newest first, each with the URL of its card.

    `advisers` are the ids of the people and user groups to ask if there are no requests; `declined`
    holds the reasons of declined requests, by request id. With `undoing` it says first where an
    undo is.
    """
    scope = f" for customer {customer_id}" if customer_id else ""
    if not past:
        people = [*mentions(advisers), say(" ")] if advisers else []
        advice = [
            say("If you expected one, ask "),
            *(people or [say("the people who run this bot.")]),
        ]
        return message([[say(f"📝 There are no requests{scope} in the ledger.")], advice])
    return message(
        [*_where_undo_is(past)] if undoing else None,
        [[bold(f"The last requests{scope}")]],
        *(
            [*_past(request, address, (declined or {}).get(request.id, ""))]
            for request, address in past
        ),
    )


def _where_undo_is(past: Sequence[tuple[Request, str | None]]) -> Iterator[Line]:
    for request, address in past:
        if may_be_undone(request):
            yield [say("↩️ Press Undo… on the "), link(address, "card"), say(" of ✅ unlatched.")]
            return
    yield [say("↩️ Nothing here can be undone: no request of these unlatched the customer.")]


def hit_lines(customer: Customer, links: Links) -> Iterator[Line]:
    """A customer as a search shows it: who it is, its id and reference, what it is latched to."""
    customer_id = str(customer.customer_id)
    who = text(display_name(customer) or "no name", limit=100) | {"style": {"bold": True}}
    name: Line = [say(", "), text(customer.name, limit=60)] if customer.company_name else []
    care = needs_care(customer)
    yield [who, *(name if customer.name else []), *([say(f" · ⚠️ {care}")] if care else [])]
    reference = (
        [say(", Customer ID "), text(customer.reference, limit=60)] if customer.reference else []
    )
    address = links.customer(customer.customer_id)
    yield [say("Stax Bill ID "), link(address, customer_id), *reference]
    ids = ids_inline(customer.ids, links)
    yield [say("latched to "), *ids] if customer.ids else [say("not latched to anything")]


def _hits(hits: Sequence[Customer], links: Links, reason: str, command: str) -> Iterator[Block]:
    for number, customer in enumerate(hits):
        if number:
            yield {"type": "divider"}
        yield lines(hit_lines(customer, links))
        reading, aloud = (
            Ask((customer.customer_id,), reason),
            f"Use this one: {titled(customer)}",
        )
        if use := asking("Use this one", reading, command, aloud=aloud):
            yield use


def _past(request: Request, address: str | None, declined: str) -> Iterator[Line]:
    many = f" · one of {request.card_size} on its card" if request.card_size > 1 else ""
    yield _named(_state(request), request, many, address)
    asked: list[Block] = [say("asked by "), user(request.requester.user_id), say(", ")]
    decided: list[Block] = []
    if request.decider and request.verdict and request.decided_at:
        by = f"; {request.verdict} by "
        decided = [say(by), user(request.decider.user_id), say(", "), date(request.decided_at)]
    yield [*asked, date(request.asked_at), *decided]
    if declined:
        yield [say("Reason: "), text(declined, limit=500)]


def _named(state: str, request: Request, others: str, address: str | None) -> Line:
    """A request's state, its customer, what is said of the `others` on its card, and its card."""
    customer = request.customer
    name = [say(" "), text(display_name(customer), limit=60)] if display_name(customer) else []
    card = [say(" · "), link(address, "card")] if address else []
    more = [say(others)] if others else []
    return [bold(state), say(f" · {customer.customer_id}"), *name, *more, *card]


def _state(request: Request) -> str:
    """The state of a request in a few words; a kind that is no unlatch is named."""
    state = "⏳ waiting for a click"
    if now := holds_now(request):
        state = now.heading.lower()
    elif request.verdict:
        state = VERDICTS[request.verdict].heading.lower()
    if request.outcome in (Outcome.RESTORED, Outcome.MOVED):
        return state  # its title says what it was
    emoji, _, words = state.partition(" ")
    return f"{emoji} {KINDS[request.kind].mark}{words}"


@value
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
        *([*_open_lines(each)] for each in shown),
        rest if more else None,
    )


def _open_lines(each: OpenRequest) -> Iterator[Line]:
    request = each.request
    more = f" and {request.card_size - 1} more" if request.card_size > 1 else ""
    yield _named(_open_state(each), request, more, each.url)
    until = [say("; expires "), date(request.expires_at)] if request.verdict is None else []
    asked = [say("asked by "), user(request.requester.user_id), say(", "), date(request.asked_at)]
    yield [*asked, *until]
    if request.reason:
        yield [say("why: "), text(request.reason)]


def _open_state(each: OpenRequest) -> str:
    kind = KINDS[each.request.kind].mark
    if each.request.verdict:
        return f"⏳ {kind}under way"
    return f"☝️ {kind}you may decide" if each.may_decide else f"🕒 {kind}waits for somebody else"
