"""Words for customers, HubSpot ids and Fusebill's answers, as lines of Block Kit elements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from unicodedata import bidirectional

from bot.domain.models import Customer, HubSpotIds
from bot.messages.block_kit import Inline, Line, bold, cut, link, say, text

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
