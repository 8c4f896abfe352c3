"""`python -m bot audit`: prints the ledger's events, or verifies that nobody changed them.

The command line reads the arguments of every command, so this module loads the ledger only when
it is asked for something.
"""

from __future__ import annotations

import argparse
import re
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from io import TextIOWrapper
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine


def add_arguments(audit: argparse.ArgumentParser) -> None:
    """Add the options of `audit` to its parser, each checked as it is typed."""
    audit.add_argument(
        "--customer",
        type=_customer,
        metavar="ID",
        help="only this customer, and who pressed Stop or was refused on its cards",
    )
    audit.add_argument(
        "--since", type=moment, metavar="DATE", help="from this day or time on (UTC)"
    )
    audit.add_argument(
        "--until",
        type=partial(moment, end=True),
        metavar="DATE",
        help="to the end of this day, or before this time",
    )
    audit.add_argument(
        "--who",
        type=member,
        metavar="U…",
        help="only cards in which this person had a part, with all that came of them",
    )
    audit.add_argument(
        "--unfinished",
        action="store_true",
        default=None,
        help="only requests that were confirmed and have no outcome yet",
    )
    audit.add_argument(
        "--summary",
        action="store_true",
        default=None,
        help="a line for each request, not for each event; --since and --until: when it was asked",
    )
    form = audit.add_mutually_exclusive_group()
    for name, text in (
        ("json", "one JSON object per line"),
        ("csv", "CSV in UTF-8, for a spreadsheet"),
        ("verify", "list every row that was changed"),
        ("heads", "the last hash of each request, to keep elsewhere"),
    ):
        form.add_argument(f"--{name}", dest="form", action="store_const", const=name, help=text)
    audit.add_argument(
        "--against",
        nargs="+",
        type=Path,
        metavar="FILE",
        help="with --verify: logs as JSON lines, or --heads, that were kept elsewhere",
    )
    audit.set_defaults(form="table")


def contradiction(parsed: argparse.Namespace) -> str:
    """Why the options of `audit` don't go together; empty if they do."""
    if parsed.against and parsed.form != "verify":
        return "--against needs --verify"
    filters = ("customer", "since", "until", "who", "unfinished", "summary")
    used = " and ".join(f"--{name}" for name in filters if getattr(parsed, name) is not None)
    if used and parsed.form in ("verify", "heads"):
        return f"--{parsed.form} is about the whole ledger: leave out {used}"
    if parsed.since and parsed.until and parsed.since >= parsed.until:
        return "--since must be before --until"
    return ""


def audit(parsed: argparse.Namespace) -> bool:
    """Print what was asked for; returns False if `--verify` found something to report.

    Raises: InvalidSettings, LedgerUnavailable, NotReadable, SchemaMismatch.
    """
    from bot.ledger.database.engine import open_engine
    from bot.ledger.database.migrating import require_current
    from bot.settings import load_ledger

    engine = open_engine(load_ledger().database_url.get_secret_value(), read_only=True)
    try:
        require_current(engine)
        if parsed.form == "verify":
            return _verify(engine, parsed.against)
        _export(engine, parsed)
    finally:
        engine.dispose()
    return True


def _export(engine: Engine, parsed: argparse.Namespace) -> None:
    from bot.ledger.audit.export import FORMS, Filter, heads, read, summary

    if parsed.form == "csv" and isinstance(sys.stdout, TextIOWrapper):
        # not the terminal's encoding: the file's first character says that it is UTF-8
        sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")
    fits = (parsed.customer, parsed.since, parsed.until, parsed.who)
    wanted = Filter(*fits, unfinished=bool(parsed.unfinished))
    if parsed.form == "heads":
        found = heads(engine)
    else:
        found = summary(engine, wanted) if parsed.summary else read(engine, wanted)
    line = None
    with closing(found):
        for line in FORMS[parsed.form](found):  # used after the loop
            print(line)
    if line is None:
        # not on stdout, which may be read by a program
        what = "request" if parsed.summary else "event"
        print(f"The ledger has no {what} that fits.", file=sys.stderr)


def _verify(engine: Engine, against: list[Path] | None) -> bool:
    """Print what was changed; with logs to compare with, also what the ledger alone can't show."""
    from bot.ledger.audit import comparison
    from bot.ledger.audit.verify import size, verify

    logged = comparison.read(against) if against else comparison.LoggedEvents()
    if against and not logged.events:
        print("The files have no `ledger event` lines. Are they unpacked JSON, of LOG_LEVEL INFO?")
        return False
    for path in logged.without:
        print(f"Note: {path} has no `ledger event` line.")
    found = size(engine)
    problem, unlogged = None, False
    with closing(verify(engine)) as broken, closing(comparison.compare(engine, logged)) as missing:
        for problem in chain(broken, missing):  # used after the loop
            print(problem)
            unlogged = unlogged or problem.endswith(comparison.NO_LINE)
    if unlogged:
        print(comparison.TO_RULE_OUT)
    number, first = comparison.restated(engine, logged)
    if number:
        print(
            f"Note: events that only a start of the bot has logged: {number}, the first is {first}."
            " Either the bot was killed just after it wrote them, or somebody else wrote them"
            " before the start."
        )
    if problem is None:
        print(f"Nothing was changed in what the ledger holds: {found}.")
        if against:
            print(f"Everything that the files have is in the ledger: events: {logged.events}.")
        else:
            print("Only --against finds a request that was removed with all its events.")
    return problem is None


def _customer(value: str) -> int:
    from bot.domain.commands import MAX_DIGITS

    if not (value.isascii() and value.isdecimal() and len(value) <= MAX_DIGITS):
        raise argparse.ArgumentTypeError(f"must be a customer id, at most {MAX_DIGITS} digits")
    return int(value)


def member(value: str) -> str:
    """A Slack member id as it is typed. Raises: ArgumentTypeError."""
    if not re.fullmatch("[UW][A-Z0-9]+", value):
        # a name would match nothing, which would read as "did nothing"
        raise argparse.ArgumentTypeError(
            "must be a Slack member id, like U0123ABC: in Slack, open the profile and copy it"
        )
    return value


def moment(value: str, *, end: bool = False) -> datetime:
    """An ISO 8601 date or time, by default in UTC; with `end`, a date means its end.

    Raises: ArgumentTypeError.
    """
    try:
        at = datetime.fromisoformat(value)
        at = at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)
        is_a_day = len(value) <= len("2026-11-23")
        return at + timedelta(days=1 if end and is_a_day else 0)
    except (ValueError, OverflowError):
        expected = "must be a date or time like 2026-11-23 or 2026-11-23T14:00"
        raise argparse.ArgumentTypeError(expected) from None
