"""Says what a cell may mean by itself: a typed word, an address, or a cell of pasted rows.

A cell is an id whole or not at all. Source: support.staxbill.com/hc/en-us/articles/7311637035923
("Stax Bill ID" is what Fusebill's API calls `id`, "Customer ID" what it calls `reference`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import SplitResult, urlsplit

from bot.domain.commands import MAX_DIGITS, QUOTED_LENGTH, Doubt
from bot.domain.plain_text import trimmed, unquoted
from bot.domain.values import value

HUBSPOT = ("hubspot.com",)
VENDOR = ("fusebill.com", "staxbill.com")
"""Fusebill's domain before and since its new name."""
_API = re.compile(r"(.+-)?secure\.")
_NO_APP = re.compile(r"((developer|docs|help|learn|status|support|www)\.)?[a-z]+\.com")
_SCHEME = r"(?:[a-z][a-z0-9+.-]*://|www\.)"
_HOST = r"(?:[a-z0-9-]+\.)+(?:(?:fusebill|staxbill|hubspot)\.com\b|[a-z]{2,}(?=/))"
_BEGINS = rf"(?i:<?(?:{_SCHEME}|{_HOST}))"
_ADDRESS = re.compile(_BEGINS)
ADDRESS = (
    rf"<(?i:{_SCHEME})[^<>|\s]+(?:\|[^<>\n]*)?>(?![^\s,;])"
    rf"|{_BEGINS}\S*?(?=[,;]*(?:\s|$)|[,;]+{_BEGINS})"
)
"""A pattern for one of several addresses, without the separators after it."""
_RECORD = re.compile(
    r"/contacts/(?P<portal>[0-9]+)/(record/)?(?P<kind>contact|company|(?<=record/)0-[12])"
    rf"/(?P<id>[1-9][0-9]{{0,{MAX_DIGITS - 1}}})(?=/|$)"
)
_TYPE_ID = "type the Stax Bill ID, digits only."
_JOINERS = frozenset({"and", "&", "+", "plus", "/", "|", "und", "et", "y", "-", "\u2013", "\u2014"})
_GROUPED = re.compile(r"#?[1-9][0-9]{0,2}([.'\u2019][0-9]{3})+")
_FORMULA = re.compile('="(?P<text>.*)"')
NO_CUSTOMER_0 = "No customer has the id 0."


@value
class NoId:
    """Something that is no customer's id; `why` is for the person who typed it."""

    why: str


@value
class Pages:
    """What the admin said of pages that people name customers by.

    `customer_url` is the address of a customer's page, with `{id}`, and `portal_id` the account in
    HubSpot.
    """

    customer_url: str | None = None
    portal_id: str | None = None


ANY_PAGES = Pages()
Meaning = int | Doubt | NoId | None
"""A number is a customer's id. None stands for words, and for what nobody would take for an id."""


def is_address(word: str) -> bool:
    """Whether a word begins as an address does, with its scheme or without."""
    return _ADDRESS.match(word) is not None


def read_address(word: str, pages: Pages) -> int | Doubt | NoId:
    """What an address names: a customer, perhaps a customer, or none.

    It is a customer's if it has the form of `customer_url`, with `{id}`, or if its path at the
    vendor says so. Another record's page there has a number too: nobody but a person can tell. At
    any other site a number is never an id.
    """
    if fits := _fitting(word, pages.customer_url):
        return _on_page(word, fits)
    parts = _parts(word)
    if parts is None:
        return NoId(f"This is not an address; {_TYPE_ID}")
    host = parts.hostname or ""
    if _is_at(host, HUBSPOT):
        return NoId(
            f"This is an address of HubSpot, which names no customer of Fusebill: {_TYPE_ID}"
        )
    if not _is_at(host, VENDOR):
        return NoId(
            f"This address is not Fusebill's, so its numbers are not customer ids: {_TYPE_ID}"
            " The admin can say what your customers' addresses are like (FUSEBILL_CUSTOMER_URL)."
        )
    return _at_vendor(word, host, [parts.path, parts.fragment.partition("?")[0]])


def _at_vendor(word: str, host: str, paths: list[str]) -> int | Doubt | NoId:
    """Some pages keep their path behind `#`."""
    said = {each for path in paths for each in re.findall("(?i:/customers?)/([0-9]+)(?=/|$)", path)}
    numbers = [each for path in paths for each in re.findall("(?<=/)([0-9]+)(?=/|$)", path)]
    if len(said) == 1:
        return _on_page(word, said.pop())
    if len(numbers) == 1 and not (_API.match(host) or _NO_APP.fullmatch(host)):
        return _on_page(word, numbers[0], is_certain=False)
    count = "several numbers" if len(numbers) > 1 else "no customer's number"
    return NoId(f"This address has {count} in its path: {_TYPE_ID}")


def _on_page(word: str, digits: str, *, is_certain: bool = True) -> int | Doubt | NoId:
    """The customer of a page; not `is_certain` if its path may be another record's."""
    number = _of_digits(digits)
    customer_id = number.customer_id if isinstance(number, Doubt) else number
    if not isinstance(customer_id, int):
        return NoId(why_not(digits))
    is_id = is_certain and not isinstance(number, Doubt)
    return customer_id if is_id else Doubt(word, customer_id, is_address=True)


def read_record(word: str, pages: Pages = ANY_PAGES) -> tuple[str, int] | NoId | None:
    """The `contact` or `company` that an address at HubSpot names; None for any other word.

    An address of another account than that of `pages` names none, if that is known.
    Source: developers.hubspot.com (a contact is the object 0-1, a company 0-2).
    """
    parts = _parts(word) if is_address(word) else None
    if parts is None or not _is_at(parts.hostname or "", HUBSPOT):
        return None
    found = _RECORD.match(parts.path)
    if found is None:
        return NoId("This address of HubSpot names no contact and no company.")
    if pages.portal_id and found["portal"] != pages.portal_id:
        return NoId(f"This address is of another HubSpot account ({found['portal']}).")
    kind = {"0-1": "contact", "0-2": "company"}.get(found["kind"], found["kind"])
    return kind, int(found["id"])


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


def meaning(cell: str, pages: Pages = ANY_PAGES) -> Meaning:
    """What a whole cell means."""
    cell = tidy(cell)
    if is_address(cell):
        return read_address(cell, pages)
    if _GROUPED.fullmatch(cell):
        return NoId(one_number(cell))
    # int() and \d also accept other scripts' digits, which are easy to misread
    return _of_digits(cell.removeprefix("#")) if re.fullmatch("#?[0-9]+", cell) else None


def _of_digits(digits: str) -> Meaning:
    if digits == "0":
        return NoId(NO_CUSTOMER_0)
    number = digits.lstrip("0")
    customer_id = int(number) if number and len(number) <= MAX_DIGITS else None
    if digits[0] == "0":
        return Doubt(digits, customer_id)
    return customer_id


def why_not(cell: str) -> str:
    """Why a cell is not a customer's id."""
    shown, cell = repr(cell[:QUOTED_LENGTH]), tidy(cell)
    if not re.fullmatch("#?[0-9]+", cell):
        return f"{shown} is not a Stax Bill ID: digits only."
    if not cell.strip("#0"):
        return NO_CUSTOMER_0
    return f"{shown} is too long: a Stax Bill ID has at most {MAX_DIGITS} digits."


def one_number(cell: str) -> str:
    """What is wrong with 2,554,529 or 2.554.529."""
    return (
        f"{cell[:QUOTED_LENGTH]!r} looks like one number with thousands separators."
        " In an id, type digits only; after an id, type a comma and a blank."
    )


def tidy(cell: str) -> str:
    """A cell without blanks and quotes around it, nor a spreadsheet's marks (`="007"`, `'7`)."""
    cell = trimmed(cell)
    formula = _FORMULA.fullmatch(cell)
    return unquoted(trimmed(formula["text"] if formula else cell)).lstrip("'")


def is_joiner(word: str) -> bool:
    """Whether a word may stand between two ids that somebody means together."""
    return word.lower() in _JOINERS


def ids_of(meanings: Iterable[Meaning]) -> tuple[int, ...]:
    """The certain ids among meanings, each once, in order."""
    return tuple(dict.fromkeys(each for each in meanings if isinstance(each, int)))


def doubts_of(meanings: Iterable[Meaning]) -> tuple[Doubt, ...]:
    """The doubtful ones among meanings, each once, in order."""
    return tuple(dict.fromkeys(each for each in meanings if isinstance(each, Doubt)))
