"""`unlatch-bot setup`: asks for what is missing, writes `.env`, checks it, and tries a customer.

Everything here only reads, but for `.env` and an SQLite ledger where there is none yet. Secrets are
typed unseen and never printed.
"""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from datetime import timedelta
from getpass import getpass
from html import unescape
from pathlib import Path
from tempfile import NamedTemporaryFile

from bot.app.check import report
from bot.app.composition import links_of
from bot.domain.commands import MAX_DIGITS, Place
from bot.domain.models import Card, Person
from bot.environment import EXAMPLE_ENDS, this_bot
from bot.fusebill.client import FusebillClient
from bot.fusebill.errors import FusebillError
from bot.fusebill.transport import AiohttpTransport
from bot.inbound.manifest import creation_link, manifest
from bot.ledger.database.engine import open_engine, sqlite_file
from bot.ledger.database.migrating import migrate
from bot.messages.answers import not_latched, not_read
from bot.messages.block_kit import Message
from bot.messages.card import draw
from bot.requests.ask import new_card
from bot.settings import WHERE, InvalidSettings, Mode, Settings, load

DOTENV = ".env"
SECRET_OF: dict[Mode, str] = {"http": "SLACK_SIGNING_SECRET", "socket": "SLACK_APP_TOKEN"}
"""What only one mode needs."""
HTTPS = re.compile(r"https://[^\s?#]+\.[^\s?#]+")
SETS = re.compile(r"(?P<comment>#\s*)?(?:export\s+)?(?P<name>[A-Z_]+)\s*=.*")
YOU = "U0000000000"


def setup(*, user_groups: bool) -> bool:
    """Set the bot up in the working folder; returns whether the check found nothing wrong.

    Raises: InvalidSettings (what must be corrected by hand), EOFError (the terminal was closed).
    """
    if _problem("SLACK_BOT_TOKEN", "socket"):
        mode = _create_app(user_groups=user_groups)
    else:
        mode = _mode_there() or _ask_mode()[0]
    names = ("SLACK_BOT_TOKEN", SECRET_OF[mode], "FUSEBILL_API_KEY")
    if missing := [name for name in names if _problem(name, mode)]:
        print("\nThe secrets. Nothing is shown while you paste.")
        for name in missing:
            write(Path(DOTENV), name, _ask_secret(name, mode))
        print(f"\nWritten to {Path(DOTENV).resolve()}, which only you can read.")
    settings = load(mode)
    _create_ledger(settings)
    print("\nThe check:")
    is_ok = asyncio.run(report(settings))
    print(
        "\nA dry run: reads a customer from Fusebill and shows its card here. Nothing is changed."
    )
    while customer_id := _ask_customer():
        print(f"\n{_spoken(asyncio.run(_card(customer_id, settings)))}\n")
    print(f"To start the bot: {this_bot(mode)}")
    return is_ok


def _create_app(*, user_groups: bool) -> Mode:
    """Say how the Slack app is created; returns how Slack will reach the bot."""
    mode, url = _ask_mode()
    link = creation_link(manifest(url, user_groups=user_groups))
    print(f"\nOpen this link, choose your workspace, and create the app:\n\n{link}\n")
    print("Then install it to the workspace: “Install App” on the app's page.")
    return mode


def _ask_mode() -> tuple[Mode, str | None]:
    print("Will Slack reach the bot at a public address, like https://bot.example.com?")
    while url := input("Its address (empty: Socket Mode, which needs none): ").strip():
        if HTTPS.fullmatch(url):
            return "http", url
        print("✗ It must be an address like https://bot.example.com.")
    return "socket", None


def _mode_there() -> Mode | None:
    """The mode whose secret is there, if it is one mode's alone."""
    there = [mode for mode, name in SECRET_OF.items() if not _problem(name, mode)]
    return there[0] if len(there) == 1 else None


def _problem(name: str, mode: Mode, value: str | None = None) -> str:
    """What is wrong with a secret as it is set, or with this value; empty if nothing is."""
    try:
        load(mode, **({name.lower(): value} if value else {}))
    except InvalidSettings as error:
        lines = (line.partition(": ") for line in error.problems)
        return next((text for named, _, text in lines if named == name), "")
    return ""


def _ask_secret(name: str, mode: Mode) -> str:
    print(f"\n{name}: {WHERE[name]}")
    while True:
        value = getpass(f"{name}: ").strip()
        problem = _problem(name, mode, value) if value else "is needed"
        if not problem:
            return value
        print(f"✗ {name} {problem}")


def write(dotenv: Path, name: str, value: str) -> None:
    """Put a value into the file, for its owner alone; what else it holds stays.

    Other secrets that still have the example's text become comments: they would stop the start.
    """
    target = dotenv.resolve()
    lines = target.read_text("utf-8-sig").splitlines() if target.exists() else []
    kept = [_without_example(line) for line in lines if not _gives_way(line, name)]
    place = next((n for n, line in enumerate(lines) if _gives_way(line, name)), len(kept))
    kept.insert(place, f"{name}={value}")
    # a file of its own that takes the old one's place: nobody ever sees half of it
    with NamedTemporaryFile("w", dir=target.parent, delete=False, encoding="utf-8") as file:
        file.write("\n".join(kept) + "\n")
    Path(file.name).replace(target)


def _gives_way(line: str, name: str) -> bool:
    """Whether a line sets the name, or is the example's line for it as a comment."""
    found = SETS.fullmatch(line)
    is_comment = found and found["comment"] and not line.endswith(EXAMPLE_ENDS)
    return bool(found and found["name"] == name and not is_comment)


def _without_example(line: str) -> str:
    found = SETS.fullmatch(line)
    is_example = found and found["name"] in WHERE and line.endswith(EXAMPLE_ENDS)
    return f"# {line}" if found and is_example and not found["comment"] else line


def _create_ledger(settings: Settings) -> None:
    """Create an SQLite ledger, as the bot's first start would; PostgreSQL's is the admin's."""
    url = settings.database_url.get_secret_value()
    file = sqlite_file(url)
    if file is not None and not file.exists():
        engine = open_engine(url)
        migrate(engine)
        engine.dispose()


def _ask_customer() -> int:
    """The id of a customer to show; 0 for none."""
    while typed := input("A customer's Stax Bill ID (empty: no more): ").strip():
        if re.fullmatch(f"[0-9]{{1,{MAX_DIGITS}}}", typed):
            return int(typed)
        print("✗ It must be the number in the address of the customer's page in Fusebill.")
    return 0


async def _card(customer_id: int, settings: Settings) -> Message:
    """What `/unlatch <id>` would show now."""
    links = links_of(settings)
    async with AiohttpTransport() as http:
        fusebill = FusebillClient(http, settings.fusebill_base_url, settings.fusebill_api_key)
        try:
            customer = await fusebill.get_customer(customer_id)
        except FusebillError as error:
            return not_read(customer_id, error)
    if not customer.ids:
        return not_latched(customer, links)
    card = new_card(Person(YOU, ""), Place("", ""), [customer], "")
    ends = card.first.asked_at + timedelta(seconds=settings.unlatch_expires_after_s)
    return draw(Card((replace(card.first, expires_at=ends),)), links)


def _spoken(message: Message) -> str:
    """A message's text without Slack's markup; what a terminal would obey is left out."""
    text = message.text.replace(f"<@{YOU}>", "you")
    text = unescape(re.sub(r"<[^<>|]*\|([^<>]*)>", r"\1", text))
    return "".join(each for each in text if each.isprintable() or each == "\n")
