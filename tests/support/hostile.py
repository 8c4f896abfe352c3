"""Hostile values for the bot's messages, and checks that no message mishandles them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from bot.domain.models import (
    Card,
    Customer,
    Event,
    EventType,
    HubSpotIds,
    Kind,
    Outcome,
    Person,
    Request,
    Verdict,
)
from bot.messages.block_kit import Inline, Message
from bot.messages.phrases import Links
from bot.sandbox.slack.validation.block_kit import MAX_CHARACTERS, problems, size, text_of
from tests.support.names import ALICE

NOON = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
STOLEN_BIKES = Customer(
    customer_id=2554529,
    ids=HubSpotIds(101, 202),
    name="Sam Spokes",
    company_name="Stolen Bikes",
    reference="REF-7",
    status="Active",
    account_status="Good",
    email="sam@bikes.example;pay@bikes.example",
)
CARD = Request(
    id="5f0c",
    kind=Kind.UNLATCH,
    customer=STOLEN_BIKES,
    channel_id="C0BILLING",
    message_ts="1700000000.000100",
    thread_ts="1700000000.000100",
    requester=ALICE,
    reason="moved to the new portal",
    asked_at=NOON,
    expires_at=NOON + timedelta(minutes=15),
)
NO_LINKS = Links()
LINKS = Links("777", "https://app-eu1.hubspot.com/", "https://admin.example/customers/{id}")
BY_LINKS = (
    "https://app-eu1.hubspot.com/contacts/777/record/",
    "https://admin.example/customers/",
    "<https://admin.example/customers/",
)
"""What links by `LINKS` begin with."""
PERMALINKS = "https://sandbox.slack.com/archives/"

_WORST = [
    "<!channel>",
    "<@U0EVIL>",
    "<https://evil.example|x>",
    "&lt;!here&gt;",
    "*b* _i_ `c` ~s~",
    "x" * 9_000,
    "🚲" * 4_501,
    "👩\u200d👩\u200d👧\u200d👦" * 60,
    "\u202e9254552\u202c",
    "שלום عليكم",
    "\u200e\u200f\u2066\u2069",
    "\x00\x07\x1b[31m\r\n\t",
    "\ud83d",
    "\udead",
    " ",
    "{id} %s {0}",
]


def lacks_null(value: str) -> bool:
    """Whether a value has none of the words by which tests find a value that is missing."""
    # a message may begin with the value, and so with a capital
    seen = "".join(c for c in value if c.isascii() and c.isprintable()).lower()
    return "none" not in seen and "null" not in seen


_PART = st.sampled_from(_WORST) | st.text(st.characters(exclude_categories=()), max_size=20)
TEXTS = st.just("") | st.lists(_PART, max_size=4).map("".join).filter(lacks_null)
TIMES = st.datetimes(datetime(2020, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001  # Hypothesis wants naive bounds
NUMBERS = st.integers(min_value=1, max_value=10**18 - 1)
IDS = st.builds(HubSpotIds, st.none() | NUMBERS, st.none() | NUMBERS)
CUSTOMERS = st.builds(Customer, NUMBERS, IDS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS, TEXTS)
PEOPLE = st.builds(Person, st.sampled_from(["U0ALICE", "U0BOB", "W0CAROL"]), st.just("T0SANDBOX"))
ALL_LINKS = st.sampled_from([NO_LINKS, LINKS])
REQUESTS = st.builds(
    Request,
    id=st.uuids().map(lambda value: value.hex),
    kind=st.sampled_from(Kind),
    customer=CUSTOMERS,
    channel_id=st.just("C0BILLING"),
    message_ts=st.none() | st.just("1700000000.000100"),
    thread_ts=st.none() | st.just("1700000000.000100"),
    requester=PEOPLE,
    reason=TEXTS,
    asked_at=TIMES,
    expires_at=TIMES,
    verdict=st.none() | st.sampled_from(Verdict),
    decider=st.none() | PEOPLE,
    decided_at=st.none() | TIMES,
    outcome=st.none() | st.sampled_from(Outcome),
)
DETAILS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "texts": st.lists(TEXTS, max_size=20),
        "status": st.none() | st.integers(min_value=100, max_value=599),
        "seconds": st.floats(min_value=0, max_value=60),
        "why": TEXTS,
        "found": IDS.map(asdict),
        "how": st.sampled_from(["answer", "read_back"]),
        "reason": TEXTS,
        "claim": st.integers(min_value=1, max_value=6),
    },
)
EVENTS = st.builds(
    Event,
    request_id=st.just("5f0c"),
    number=st.integers(min_value=1, max_value=9),
    at=TIMES,
    type=st.sampled_from(EventType),
    actor=st.sampled_from(["", "U0ALICE", "U0BOB"]),
    details=DETAILS,
)


def event(type_: EventType, actor: str = "", **details: object) -> Event:
    """An event of the card, at noon."""
    return Event("5f0c", 1, NOON, type_, actor, details)


def card_of_one(request: Request, *events: Event) -> Card:
    """The card of a request to which these events happened."""
    return Card((replace(request, events=events),))


def shown(message: Message) -> str:
    """All text that a person can read in a message."""
    return f"{message.text}\n{text_of(message.blocks)}"


def inlines(message: Message) -> Iterator[Inline]:
    """Every inline of a message's rich text."""
    for block in message.blocks:
        for section in block["elements"] if block["type"] == "rich_text" else ():
            yield from section["elements"]


def refused_by_slack(message: Message) -> list[str]:
    """Why Slack would refuse a message; raises UnicodeEncodeError if it can't be sent."""
    json.dumps([message.text, message.blocks], ensure_ascii=False).encode()
    found = problems(message.blocks)
    if not message.text.strip():
        found.append("the text is empty")
    if size(message.blocks) > MAX_CHARACTERS:
        found.append(f"{size(message.blocks)} characters in all")
    return found


def wrong_with(message: Message, may_mention: set[str], *links: str) -> list[str]:
    """What is wrong with a message whatever is in it; links may begin with one of `links`.

    Slack refuses it, it mentions or links anything else, or it shows a value that is missing.
    """
    others = mentions_and_links(message) - may_mention
    strange = [each for each in sorted(others) if not each.startswith(links)]
    missing = [word for word in ("None", "null") if word in shown(message)]
    return refused_by_slack(message) + strange + missing


def mentions_and_links(message: Message) -> set[str]:
    """A message's mentions, links and other markup, in its text and in its blocks."""
    dates = r"<!date\^[0-9]+\^[^<>|]+\|[^<>|]+>"
    markup = set(re.findall(r"<[^<>]*>", re.sub(dates, "", message.text)))
    for inline in inlines(message):
        match inline["type"]:
            case "user":
                markup.add(f"<@{inline['user_id']}>")
            case "channel":
                markup.add(f"<#{inline['channel_id']}>")
            case "link":
                markup.add(str(inline["url"]))
            case "text" | "date":
                pass
            case other:
                markup.add(f"<{other}>")
    return markup


def people_of(card: Card) -> set[str]:
    """Mentions of the people whom a message about a card may name."""
    people = [card.first.requester, *(request.decider for request in card.requests)]
    ids = {person.user_id for person in people if person}
    return {f"<@{user_id}>" for user_id in ids | {event.actor for event in card.events}}
