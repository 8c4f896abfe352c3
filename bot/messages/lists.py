"""Lists for one person alone: customers that a text may mean, past requests, how to use it all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bot.domain.commands import Ask
from bot.domain.meanings import OUTCOMES, VERDICTS
from bot.domain.models import Customer, Kind, Outcome, Request
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
    user,
)
from bot.messages.cards import Action
from bot.messages.ephemerals import COMMAND, USAGE
from bot.messages.phrases import Links, called, ids_inline


def usage() -> Message:
    """All that can be typed."""
    return message(
        [
            [bold("Free a Fusebill customer from its HubSpot contact and company")],
            [code(USAGE), say(" asks in this channel; nothing happens before somebody confirms.")],
            [say("For example "), code(f"{COMMAND} 2554529 moved to the new portal")],
            [
                code(f"{COMMAND} find <text>"),
                say(" looks in company names, references and emails."),
            ],
            [code(f"{COMMAND} history [customerId]"), say(" shows what was asked and decided.")],
            [code(f"{COMMAND} help"), say(" shows this.")],
            [say("The id is Fusebill's own, not the “Customer ID” (reference) of its screens.")],
        ]
    )


def did_you_mean(ask: Ask, hits: Sequence[Customer], links: Links) -> Message:
    """Customers whose reference is what was typed as an id."""
    return message(
        [
            [say(f"🔎 Fusebill knows no customer with the id {ask.customer_id}.")],
            [say("It is the reference (“Customer ID” on Fusebill's screens) of:")],
        ],
        *_hits(hits, links, ask.reason),
    )


def found(wanted: str, hits: Sequence[Customer], links: Links, *, more: bool) -> Message:
    """What a search found, each with a button that goes on with it."""
    if more and not hits:
        much = say(" is like too much that Fusebill knows: type more of it.")
        return message([[say("🔎 "), text(wanted, limit=80), much]])
    if not hits:
        nothing = say(" is in no company name, reference or email that Fusebill knows.")
        return message([[say("🔎 "), text(wanted, limit=80), nothing]])
    rest: list[Line] = [[say("There are more: type more of the text.")]] if more else []
    return message(
        [[say("🔎 Customers with "), text(wanted, limit=80)]], *_hits(hits, links, ""), rest
    )


def history(
    customer_id: int | None,
    past: Sequence[tuple[Request, str | None]],
    advisers: Sequence[str],
) -> Message:
    """The last requests, newest first, each with the address of its card."""
    of = f" of customer {customer_id}" if customer_id else ""
    if not past:
        ask_them: Line = [say("Ask ")]
        for adviser in advisers:
            ask_them = [*ask_them, user(adviser), say(" ")]
        others = ask_them if advisers else [say("Ask the people who run this bot.")]
        return message([[say(f"📝 There is no request{of} in the ledger.")], others])
    return message(
        [[bold(f"The last requests{of}")]],
        *([*_past(request, address)] for request, address in past),
    )


def _hits(hits: Sequence[Customer], links: Links, reason: str) -> Iterator[Block]:
    for number, customer in enumerate(hits):
        if number:
            yield {"type": "divider"}
        customer_id = str(customer.customer_id)
        address = links.customer(customer.customer_id)
        status = [say(", "), text(customer.status, limit=40)] if customer.status else []
        reference = (
            [say(", reference "), text(customer.reference, limit=60)] if customer.reference else []
        )
        who = text(called(customer) or "no name", limit=100)
        name: Line = [say(", "), text(customer.name, limit=60)] if customer.company_name else []
        yield lines(
            [
                [who, *(name if customer.name else []), *status],
                [say("id "), link(address, customer_id), *reference],
                [say("latched to "), *ids_inline(customer.ids, links)],
            ]
        )
        value = f"{customer_id} {reason}".strip()
        pressed = buttons(button("Use this one", Action.USE, value))
        if pressed:
            yield pressed


def _past(request: Request, address: str | None) -> Iterator[Line]:
    customer = request.customer
    card = [say(" · "), link(address, "card")] if address else []
    name = [say(" "), text(called(customer), limit=60)] if called(customer) else []
    yield [bold(_state(request)), say(f" · {customer.customer_id}"), *name, *card]
    asked: list[Block] = [say("asked by "), user(request.requester.user_id), say(", ")]
    decided: list[Block] = []
    if request.decider and request.verdict and request.decided_at:
        by = f"; {request.verdict} by "
        decided = [say(by), user(request.decider.user_id), say(", "), date(request.decided_at)]
    yield [*asked, date(request.asked_at), *decided]


def _state(request: Request) -> str:
    """What came of a request so far; of an undo it says that it was one."""
    state = "⏳ waiting for a click"
    if request.outcome:
        meaning = OUTCOMES[request.outcome]
        undone = ", later undone" if request.undone_by else ""
        state = f"{meaning.emoji} {meaning.title.lower()}{undone}"
    elif request.verdict:
        verdict = VERDICTS[request.verdict]
        state = f"{verdict.emoji} {verdict.title.lower()}"
    if request.kind is Kind.UNLATCH or request.outcome is Outcome.RESTORED:
        return state
    mark, _, words = state.partition(" ")
    return f"{mark} undo {words}"
