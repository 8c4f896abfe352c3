"""Finds the customer's id in the address of a page, which people paste instead of the id."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

HUBSPOT = "hubspot.com"
FUSEBILL = "fusebill.com"

_FIRST = re.compile(r"<?https?://", re.IGNORECASE)
ADDRESS = rf"(?i:{_FIRST.pattern})\S+?(?=[,;]*(?:\s|$)|[,;]+(?i:{_FIRST.pattern}))"
"""A pattern for one of several addresses, without the separators after it."""


@dataclass(frozen=True, slots=True)
class NoId:
    """An address that names no customer; `why` is for the person who typed it."""

    why: str


def is_address(word: str) -> bool:
    """Whether a word begins as an address does."""
    return _FIRST.match(word) is not None


def host_of(word: str) -> str:
    """The host of an address; empty if it has none."""
    parts = _parts(word)
    return (parts.hostname or "") if parts else ""


def is_of_customer(word: str, customer_url: str | None) -> bool:
    """Whether an address is that of a customer's page, by its form or by its host."""
    return bool(_fitting(word, customer_url)) or _is_at(host_of(word), FUSEBILL)


def id_in_address(word: str, customer_url: str | None) -> str | NoId:
    """The digits of the id in an address.

    `customer_url` is the form of such addresses, with `{id}`. Another one needs exactly one number
    in its path, or in the path that some pages keep behind `#`.
    """
    if fits := _fitting(word, customer_url):
        return fits
    parts = _parts(word)
    if parts is None:
        return NoId("This is not an address; type the customer's id, digits only.")
    if _is_at(parts.hostname or "", HUBSPOT):
        return NoId("This is an address of HubSpot; type the customer's id in Fusebill.")
    numbers = _numbers(parts.path) or _numbers(parts.fragment.partition("?")[0])
    if len(numbers) == 1:
        return numbers[0]
    count = "no number" if not numbers else "several numbers"
    return NoId(f"This address has {count} in its path, so type the customer's id.")


def _fitting(word: str, customer_url: str | None) -> str:
    if not customer_url:
        return ""
    before, _, after = map(re.escape, customer_url.partition("{id}"))
    fits = re.fullmatch(f"{before}([0-9]+){after}([/?#].*)?", _bare(word))
    return fits[1] if fits else ""


def _parts(word: str) -> SplitResult | None:
    try:
        parts = urlsplit(_bare(word))
        _ = parts.hostname
    except ValueError:
        return None
    return parts


def _bare(word: str) -> str:
    # Slack may send <address|label>
    return word.strip("<>").split("|")[0]


def _is_at(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def _numbers(path: str) -> list[str]:
    return [part for part in path.split("/") if re.fullmatch("[0-9]+", part)]
