"""Says which customer an address names, if any: people paste a page's address instead of an id."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

HUBSPOT = ("hubspot.com",)
VENDOR = ("fusebill.com", "staxbill.com")
"""Fusebill's domain before and since its new name."""
_API = re.compile(r"(.+-)?secure\.")
_NO_APP = re.compile(r"((developer|docs|help|learn|status|support|www)\.)?[a-z]+\.com")
_SCHEME = r"(?:[a-z][a-z0-9+.-]*://|www\.)"
_HOST = r"(?:[a-z0-9-]+\.)+(?:(?:fusebill|staxbill|hubspot)\.com\b|[a-z]{2,}(?=/))"
_BEGINS = rf"(?i:<?(?:{_SCHEME}|{_HOST}))"
ADDRESS = (
    rf"<(?i:{_SCHEME})[^<>|\s]+(?:\|[^<>\n]*)?>(?![^\s,;])"
    rf"|{_BEGINS}\S*?(?=[,;]*(?:\s|$)|[,;]+{_BEGINS})"
)
"""A pattern for one of several addresses, without the separators after it."""
_TYPE = "type the Stax Bill ID, digits only."


@dataclass(frozen=True, slots=True)
class Named:
    """The digits of an address at Fusebill; not `certain` if its path may be another record's."""

    digits: str
    certain: bool = True


@dataclass(frozen=True, slots=True)
class NoId:
    """Something that is no customer's id; `why` is for the person who typed it."""

    why: str


def is_address(word: str) -> bool:
    """Whether a word begins as an address does, with its scheme or without."""
    return re.match(_BEGINS, word) is not None


def read_address(word: str, customer_url: str | None) -> Named | NoId:
    """What an address names: a customer, perhaps a customer, or none.

    It is a customer's if it has the form of `customer_url`, with `{id}`, or if its path at the
    vendor says so. Another record's page there has a number too: nobody but a person can tell. At
    any other site a number is never an id.
    """
    if fits := _fitting(word, customer_url):
        return Named(fits)
    parts = _parts(word)
    if parts is None:
        return NoId(f"This is not an address; {_TYPE}")
    host = parts.hostname or ""
    if _is_at(host, HUBSPOT):
        return NoId(f"This is an address of HubSpot, which names no customer of Fusebill: {_TYPE}")
    if not _is_at(host, VENDOR):
        return NoId(
            f"This address is not Fusebill's, so its numbers are no customer's id: {_TYPE}"
            " The admin can say what your customers' addresses are like (FUSEBILL_CUSTOMER_URL)."
        )
    return _at_vendor(host, [parts.path, parts.fragment.partition("?")[0]])


def _at_vendor(host: str, paths: list[str]) -> Named | NoId:
    """Some pages keep their path behind `#`."""
    said = {each for path in paths for each in re.findall("(?i:/customers?)/([0-9]+)(?=/|$)", path)}
    numbers = [each for path in paths for each in re.findall("(?<=/)([0-9]+)(?=/|$)", path)]
    if len(said) == 1:
        return Named(said.pop())
    if len(numbers) == 1 and not (_API.match(host) or _NO_APP.fullmatch(host)):
        return Named(numbers[0], certain=False)
    count = "several numbers" if len(numbers) > 1 else "no customer's number"
    return NoId(f"This address has {count} in its path: {_TYPE}")


def _fitting(word: str, customer_url: str | None) -> str:
    if not customer_url:
        return ""
    before, _, after = map(re.escape, _without_scheme(customer_url).partition("{id}"))
    form = re.compile(f"{before}([0-9]+){after}([/?#].*)?", re.IGNORECASE)
    fits = form.fullmatch(_without_scheme(_bare(word)))
    return fits[1] if fits else ""


def _without_scheme(address: str) -> str:
    return re.sub("^(?i:https?://)", "", address)


def _parts(word: str) -> SplitResult | None:
    bare = _bare(word)
    try:
        parts = urlsplit(bare if "://" in bare else f"https://{bare}")
        _ = parts.hostname
    except ValueError:
        return None
    return parts


def _bare(word: str) -> str:
    # Slack may send <address|label>; a sentence ends with a stop that is not the address's
    return word.strip("<>").split("|")[0].rstrip(".:!)")


def _is_at(host: str, domains: tuple[str, ...]) -> bool:
    return any(host == each or host.endswith(f".{each}") for each in domains)
