"""Words customers, HubSpot ids and Fusebill's errors as lines of Block Kit elements."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from datetime import UTC, datetime
from unicodedata import bidirectional

from bot.domain.meanings import KINDS, LATER, OUTCOMES, Past
from bot.domain.models import (
    Card,
    Customer,
    EventType,
    HubSpotIds,
    Kind,
    LeftOut,
    Outcome,
    Request,
)
from bot.domain.pasted_text import LineError
from bot.domain.values import value
from bot.messages.block_kit import (
    Block,
    Inline,
    Line,
    Message,
    bold,
    context,
    cut,
    date,
    link,
    message,
    say,
    small,
    small_link,
    text,
    user,
    user_group,
)

CONTACT, COMPANY = "0-1", "0-2"
"""HubSpot's numbers for kinds of records."""
ERROR_LENGTH = 300
MAX_ERRORS = 3
MAX_NAMED = 10
LEFT_OUT_LENGTH = 2_500
LEFT_OUT_WHY_LENGTH = 80


def told(*lines: str) -> Message:
    """A message of the bot's own words, a line each."""
    return message([[say(line)] for line in lines])


@value
class Links:
    """Links for ids, built from the admin's settings; None where a setting is missing.

    `offers_move`: the result of an unlatch offers to latch the customer to other ids. `cards` are
    the addresses of other cards that one names, by their channel and `ts`, as far as Slack says.
    """

    hubspot_portal_id: str | None = None
    hubspot_app_url: str = "https://app.hubspot.com"
    fusebill_customer_url: str | None = None
    offers_move: bool = False
    cards: Mapping[tuple[str, str], str] = field(default_factory=dict)

    def customer(self, customer_id: int) -> str | None:
        """The customer's page in Fusebill."""
        template = self.fusebill_customer_url
        return template.replace("{id}", str(customer_id)) if template else None

    def record(self, kind: str, record_id: int | None) -> str | None:
        """A CONTACT's or COMPANY's record in HubSpot."""
        if not self.hubspot_portal_id or record_id is None:
            return None
        host = self.hubspot_app_url.rstrip("/")
        return f"{host}/contacts/{self.hubspot_portal_id}/record/{kind}/{record_id}"


def display_name(customer: Customer) -> str:
    """A customer's company name, or else its own name, or else an empty string."""
    return customer.company_name or customer.name


def titled(customer: Customer) -> str:
    """A customer's display name and id, for a header."""
    name, customer_id = cut(display_name(customer), 80), customer.customer_id
    if not name:
        return f"customer {customer_id}"
    # After a right-to-left name the number would be drawn as if it were part of the name.
    # Isolating the name would need the very characters that `cut` removes.
    if not name.isascii() and any(bidirectional(each) in ("R", "AL") for each in name):
        return f"{customer_id} ({name})"
    return f"{name} ({customer_id})"


def amount(number: int, one: str, several: str = "") -> str:
    """A number with its noun: "1 company", "45 companies"; the usual plural needs no name."""
    return f"{number} {one if number == 1 else several or f'{one}s'}"


def span(seconds: float) -> str:
    """How long something took, in one unit: "2 days", "1 hour"."""
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds >= size:
            return amount(round(seconds / size), unit)
    return amount(round(seconds), "second")


def card_subject(card: Card) -> str:
    """What a card is about: its customer, or how many; of a pair also who gets the ids."""
    if card.is_of_many:
        return amount(len(not_left_out(card)), "customer")
    return " to ".join([titled(each.customer) for each in card.requests])


def not_left_out(card: Card) -> Sequence[Request]:
    """The requests of a card that no other card overtook while this one waited, or else all.

    All of a card that has ended, too: its result is about each of them.
    """
    kept = [each for each in card.requests if each.outcome is not Outcome.LEFT_OUT]
    return card.requests if card.is_finished or not kept else kept


_STATUSES = {"hold": "on hold", "poorstanding": "poor standing"}
"""Fusebill's words for a customer's status and its account's, as people say them."""
_AS_USUAL = ("", "active", "good")


def needs_care(customer: Customer) -> str:
    """What about a customer's status needs care: "On hold, poor standing"; empty if all is well."""
    both = (customer.status, customer.account_status)
    unusual = [cut(each, 40) for each in both if each.casefold() not in _AS_USUAL]
    words = ", ".join(_STATUSES.get(each.casefold(), each) for each in unusual)
    return words[:1].upper() + words[1:]


def facts(customer: Customer, links: Links) -> Block | None:
    """Who a customer is, in a small line: the person, the email address, the reference."""
    customer_id = customer.customer_id
    return context(
        # without a company the header has the name
        small(customer.name if customer.company_name else ""),
        small(", ".join(customer.email.replace(";", " ").split())),
        # the vendor's screens call it so
        small(f"Customer ID {customer.reference}" if customer.reference else ""),
        small_link(links.customer(customer_id), f"Stax Bill ID {customer_id}"),
    )


def filled(template: str, words: Line) -> Line:
    """The bot's own words, with others in place of `{}` if it is there."""
    if "{}" not in template:
        return [say(template)]
    before, _, after = template.partition("{}")
    return [*([say(before)] if before else []), *words, *([say(after)] if after else [])]


def ids_inline(ids: HubSpotIds, links: Links) -> list[Inline]:
    """Name HubSpot ids, with links where the admin configured them."""
    parts: list[Inline] = []
    if ids.vid is not None:
        parts += [say("contact "), link(links.record(CONTACT, ids.vid), str(ids.vid))]
    if ids.vid is not None and ids.company_id is not None:
        parts += [say(" and ")]
    if ids.company_id is not None:
        company = links.record(COMPANY, ids.company_id)
        parts += [say("company "), link(company, str(ids.company_id))]
    return parts or [say("no contact and no company")]


def change_inline(request: Request, links: Links) -> list[Inline]:
    """The ids that a request is about; of a move the old and the new ones."""
    if request.to is None:
        return ids_inline(request.customer.ids, links)
    before, after = request.ids_before, request.ids_after
    return [*ids_inline(before, links), say(" → "), *ids_inline(after, links)]


def move_lines(card: Card, links: Links) -> Iterator[Line]:
    """The old and the new ids of a move, a line each; of a pair, whose they are and will be."""
    first, last = card.first, card.requests[-1]
    names = [[text(titled(each.customer)), say(": ")] for each in (first, last)]
    old, new = names if card.is_pair else ([], [])
    yield [say("From "), *old, *ids_inline(first.ids_before, links)]
    yield [say("To "), *new, *ids_inline(last.ids_after, links)]


def mentions(ids: Sequence[str]) -> list[Inline]:
    """Mention users and user groups (`S…`), which notifies them."""
    people = [user_group(i) if i.startswith("S") else user(i) for i in ids]
    return [part for person in people for part in (say(" "), person)][1:]


def error_lines(texts: Sequence[str], status: int | None) -> Iterator[Line]:
    """Quote Fusebill's first errors with the HTTP status, and count the others."""
    status_words = [say(f" (HTTP {status})")] if status else []
    for said in texts[:MAX_ERRORS]:
        yield [say("Fusebill: "), text(said, limit=ERROR_LENGTH), *status_words]
    if len(texts) > MAX_ERRORS:
        yield [say(f"+{len(texts) - MAX_ERRORS} more")]
    if not texts and status:
        yield [say(f"Fusebill answered HTTP {status} and gave no reason.")]


def ask_again(request: Request) -> str:
    """What to type or click to make the same request again, with its reason."""
    if request.undoes:
        return "Undo…"
    one = request.card_size == 1 or request.kind is Kind.MOVE
    who = cut(f"{request.customer.customer_id} {request.reason}", 300) if one else "many"
    if request.kind is Kind.MOVE:
        who = str(request.customer.customer_id)
    return KINDS[request.kind].again.format(command=request.command, who=who)


def line_errors(errors: Sequence[LineError]) -> list[str]:
    """What is wrong with lines of a pasted text, each with the number of its line."""
    return [f"Line {each.line}: {each.why}" if each.line else each.why for each in errors]


def first_ids(customer_ids: Sequence[int]) -> str:
    """The first ids, and how many more there are."""
    ids = ", ".join(map(str, customer_ids[:MAX_NAMED]))
    more = len(customer_ids) - MAX_NAMED
    return f"{ids} and {more} more" if more > 0 else ids


def past_lines(card: Card) -> Iterator[Line]:
    """What the ledger knew of the customers: their last change, and cards that wait for them.

    Not of those that the card leaves out by now.
    """
    asked = {each.customer.customer_id for each in card.requests if each.outcome is None}
    known = [each for each in Past.of(card) if each.customer_id in asked]
    changed = [each for each in known if each.outcome]
    waiting = [each for each in known if not each.outcome]
    if card.is_of_many:
        for words, found in (("Changed before", changed), ("On another card, too", waiting)):
            if found:
                yield [
                    bold("⚠️ "),
                    say(f"{words}: {first_ids([each.customer_id for each in found])}"),
                ]
        return
    for past in changed:
        at = datetime.fromtimestamp(past.at, UTC)
        then = LATER.get(EventType(past.later)) if past.later else None
        # Slack refuses a text without characters
        later = [say(f", {then.title.lower()} after {span(past.after_s)}")] if then else []
        title = OUTCOMES[Outcome(past.outcome)].title
        yield [bold("⚠️ "), say(f"{title} "), date(at, "{ago}"), *later, *_see(past.url)]
    for past in waiting:
        yield [bold("⚠️ "), say("On another card, too"), *_see(past.url)]


def _see(url: str) -> Line:
    return [say(": "), link(url, "see its card")] if url else [say(".")]


def left_out_lines(left_out: Sequence[LeftOut], links: Links) -> list[Line]:
    """Name each customer that is not on the card, and why; values are cut so that all fit."""
    room = max(LEFT_OUT_LENGTH // max(len(left_out), 1) - 30, 20)
    return [
        [
            bold("Left out: "),
            link(links.customer(each.customer_id), str(each.customer_id)),
            say(": "),
            text(each.why, limit=min(LEFT_OUT_WHY_LENGTH, room)),
            *([say(" ("), text(each.name, limit=min(60, room)), say(")")] if each.name else []),
        ]
        for each in left_out
    ]
