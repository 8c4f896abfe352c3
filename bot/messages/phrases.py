"""The words for customers, ids and events: a line or more for each, in Block Kit's inlines."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from unicodedata import bidirectional

from bot.domain.models import Customer, Event, EventType, HubSpotIds, Kind, Request, Verdict
from bot.messages.block_kit import Inline, Line, bold, code, cut, date, link, say, text, user

ERROR_LENGTH = 300
ERRORS_LENGTH = 5_000


@dataclass(frozen=True, slots=True)
class Links:
    """Where ids lead to; an address that the admin did not set leads nowhere."""

    hubspot_portal_id: str | None = None
    hubspot_app_url: str = "https://app.hubspot.com"
    fusebill_customer_url: str | None = None

    def customer(self, customer_id: int) -> str | None:
        """The customer's page in Fusebill."""
        template = self.fusebill_customer_url
        return template.replace("{id}", str(customer_id)) if template else None

    def contact(self, vid: int) -> str | None:
        """The contact's record in HubSpot."""
        return self._record("0-1", vid)

    def company(self, company_id: int) -> str | None:
        """The company's record in HubSpot."""
        return self._record("0-2", company_id)

    def _record(self, object_type: str, record_id: int) -> str | None:
        if not self.hubspot_portal_id:
            return None
        host = self.hubspot_app_url.rstrip("/")
        return f"{host}/contacts/{self.hubspot_portal_id}/record/{object_type}/{record_id}"


def called(customer: Customer) -> str:
    """What people call a customer: its company, or its name, or neither."""
    return customer.company_name or customer.name


def titled(customer: Customer) -> str:
    """A customer as a title: what people call it, and the id that tells it from all others."""
    name, customer_id = cut(called(customer), 80), customer.customer_id
    if not name:
        return f"customer {customer_id}"
    # A number is drawn on the far side of a name that reads from right to left, as if part of it.
    # Isolating the name would take the very characters that `cut` keeps out of every title.
    if any(bidirectional(character) in ("R", "AL") for character in name):
        return f"{customer_id} ({name})"
    return f"{name} ({customer_id})"


def customer_lines(customer: Customer, links: Links) -> Iterator[Line]:
    """Who a customer is, a line for each thing that Fusebill knows of it."""
    customer_id = str(customer.customer_id)
    yield [bold("Fusebill id: "), link(links.customer(customer.customer_id), customer_id)]
    for label, value in (("Company", customer.company_name), ("Name", customer.name)):
        if value:
            yield [bold(f"{label}: "), text(value)]
    yield from reference_line(customer)
    if customer.status or customer.account_status:
        both = (customer.status, customer.account_status and f"account {customer.account_status}")
        yield [bold("Status: "), text(", ".join(filter(None, both)))]
    if customer.email:
        yield [bold("Email: "), text(", ".join(customer.email.replace(";", " ").split()))]


def ids_inline(ids: HubSpotIds, links: Links) -> list[Inline]:
    """HubSpot ids in words, each with its link where there is one."""
    parts: list[Inline] = []
    if ids.vid is not None:
        parts += [say("contact "), link(links.contact(ids.vid), str(ids.vid))]
    if ids.vid is not None and ids.company_id is not None:
        parts += [say(", ")]
    if ids.company_id is not None:
        parts += [say("company "), link(links.company(ids.company_id), str(ids.company_id))]
    return parts or [say("nothing in HubSpot")]


def reference_line(customer: Customer) -> Iterator[Line]:
    """The reference, so labelled that nobody takes it for the id; nothing where there is none."""
    if customer.reference:
        yield [
            bold("Reference: "),
            text(customer.reference),
            say(" (Fusebill's screens call this “Customer ID”; it is not the id above)"),
        ]


def said_lines(texts: Sequence[str], status: int | None) -> Iterator[Line]:
    """Fusebill's own words, each cut by itself so that all of them fit, with its HTTP status."""
    limit = min(ERROR_LENGTH, ERRORS_LENGTH // max(1, len(texts)))
    status_words = [say(f" (HTTP {status})")] if status else []
    for value in texts:
        yield [say("Fusebill: "), text(value, limit=limit), *status_words]
    if not texts and status:
        yield [say(f"Fusebill answered HTTP {status} and gave no reason.")]


def _said(event: Event) -> Iterator[Line]:
    texts: Any = event.details.get("texts", ())
    status: Any = event.details.get("status")
    yield from said_lines(texts, status)


def _found(event: Event) -> HubSpotIds:
    found: Any = event.details.get("found", {})
    return HubSpotIds(**found)


@dataclass(frozen=True, slots=True)
class Scene:
    """An event of a request, and where the ids in it lead to."""

    event: Event
    request: Request
    links: Links


@dataclass(frozen=True, slots=True)
class Story:
    """What a decided card says: a title for its header, and lines."""

    title: str
    lines: list[Line]


def ask_again(request: Request) -> str:
    """What somebody types or presses to ask for the same once more."""
    return "Undo…" if request.kind is Kind.RELATCH else f"/unlatch {request.customer.customer_id}"


def story(request: Request, events: Sequence[Event], links: Links) -> Story:
    """What came of a request, in its last words."""
    ids = ids_inline(request.customer.ids, links)
    if request.verdict is Verdict.CANCELLED:
        return Story("🚫 Cancelled", [[say("Nothing was changed. The card had shown: "), *ids]])
    if request.verdict is Verdict.EXPIRED:
        again = [say("To try again: "), code(ask_again(request))]
        return Story("⌛ Expired", [[say("Nobody decided in time; nothing was changed.")], again])
    outcome = next((e for e in reversed(events) if e.type in _OUTCOMES), None)
    if outcome is None:
        return Story("⏳ Decided", [[say("What came of it is not known yet.")]])
    _title, describe = _OUTCOMES[outcome.type]
    return Story(_headline(outcome), [*describe(Scene(outcome, request, links))])


def _headline(outcome: Event) -> str:
    title, _describe = _OUTCOMES[outcome.type]
    called = outcome.type is EventType.CHANGED and outcome.details.get("called")
    # "not done" is for what was never tried
    return "⚠️ Other ids than confirmed" if called else title


def _cleared(scene: Scene) -> Iterator[Line]:
    yield [bold("Cleared: "), *ids_inline(scene.request.customer.ids, scene.links)]
    if scene.event.details.get("how") == "read_back":
        yield [say("Fusebill's own reply did not show it; a second look at the customer did.")]


def _restored(scene: Scene) -> Iterator[Line]:
    yield [bold("Latched again to: "), *ids_inline(scene.request.customer.ids, scene.links)]


def _already_clear(scene: Scene) -> Iterator[Line]:
    yield [
        say("Somebody was quicker: the customer was latched to nothing any more. Nothing was done.")
    ]
    yield [say("The card had shown "), *ids_inline(scene.request.customer.ids, scene.links)]


def _changed(scene: Scene) -> Iterator[Line]:
    request, relatch = scene.request, scene.request.kind is Kind.RELATCH
    if scene.event.details.get("called"):
        yield [say("Fusebill was called, or may have been; by now the customer shows other ids.")]
        yield [say("Whether that is the bot's doing or somebody else's can't be told.")]
    elif relatch:
        yield [say("The customer is latched to something by now, so it was left alone.")]
    else:
        yield [say("The HubSpot ids are not those that were confirmed: they were left alone.")]
    yield [bold("On the card: "), *ids_inline(request.customer.ids, scene.links)]
    yield [bold("Now: "), *ids_inline(_found(scene.event), scene.links)]
    if not relatch:
        again = code(f"/unlatch {request.customer.customer_id}")
        yield [say("To see the new ids and decide: "), again]


def _refused(scene: Scene) -> Iterator[Line]:
    why = cut(str(scene.event.details.get("why", "")), ERROR_LENGTH)
    yield [bold(why or "Fusebill refused. Nothing was changed.")]
    yield from _said(scene.event)


def _unknown(scene: Scene) -> Iterator[Line]:
    yield [bold("Nobody can say yet whether this was done. ")]
    if why := scene.event.details.get("why"):
        yield [text(str(why), limit=ERROR_LENGTH)]
    yield from _said(scene.event)
    yield [say("Check again reads the customer and changes nothing by itself.")]


_OUTCOMES: dict[EventType, tuple[str, Callable[[Scene], Iterator[Line]]]] = {
    EventType.CLEARED: ("✅ Unlatched", _cleared),
    EventType.RESTORED: ("✅ Latched again", _restored),
    EventType.ALREADY_CLEAR: ("☑️ Already clear", _already_clear),
    EventType.CHANGED: ("⚠️ Not done, the ids changed", _changed),
    EventType.REFUSED: ("❌ Not done", _refused),
    EventType.UNKNOWN: ("❓ Outcome unknown", _unknown),
}


def actor(event: Event) -> Inline:
    """Who did it."""
    return user(event.actor) if event.actor else say("the bot")


def event_lines(scene: Scene) -> Iterator[Line]:
    """What happened, for the thread: its time, who, and what; more lines where there is more."""
    first, *more = _told(scene)
    yield [date(scene.event.at), say("  "), *first]
    yield from more


def _told(scene: Scene) -> Iterator[Line]:
    event, request = scene.event, scene.request
    who = actor(event)
    customer = request.customer
    why = str(event.details.get("why", ""))
    match event.type:
        case EventType.REQUESTED:
            doing = "latch again" if request.kind is Kind.RELATCH else "unlatch"
            told = [say(f" asked to {doing} {customer.customer_id}")]
            name = [say(", "), text(called(customer)), say(":")] if called(customer) else []
            yield [who, *told, *name, say(" "), *ids_inline(customer.ids, scene.links)]
            if request.reason:
                yield [say("Why: "), text(request.reason, limit=500)]
        case EventType.DECISION_DENIED:
            answer = text(why, limit=ERROR_LENGTH)
            yield [who, say(" was refused, and told: “"), answer, say("”")]
        case EventType.CONFIRMED | EventType.CANCELLED:
            yield [who, say(f" {event.type} it")]
        case EventType.EXPIRED:
            yield [say("expired: nobody decided in time")]
        case EventType.UNDONE:
            yield [who, say(" undid this: the customer is latched as it was before")]
        case EventType.ADOPTED:
            yield [say("the work was interrupted and has been taken up again")]
        case _ if event.type in _OUTCOMES:
            _title, describe = _OUTCOMES[event.type]
            yield [bold(_headline(event)), *_measured(event)]
            yield from describe(scene)
        case _:
            yield [say(f"{event.type.replace('_', ' ')} "), text(why, limit=ERROR_LENGTH)]


def _measured(event: Event) -> Line:
    status, seconds = event.details.get("status"), event.details.get("seconds")
    answered = [say(f" · Fusebill answered HTTP {status}")] if status else []
    return [*answered, say(f" · took {seconds} s")] if seconds is not None else answered
