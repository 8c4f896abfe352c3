"""The command line: `python -m bot http | socket | sandbox | …`."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack, closing
from datetime import datetime

WRONG_SETTINGS = 2
FAILED = 1
STOPPED = 130
LAST_PORT = 65535
STARTS_WITHIN_S = 5.0


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the process's exit code."""
    asked = _parser().parse_args(arguments)
    commands: dict[str, Callable[[argparse.Namespace], int]] = {
        "http": _serve,
        "socket": _serve,
        "sandbox": _sandbox,
        "manifest": _manifest,
        "audit": _audit,
        "check": _check,
        "migrate": _migrate,
    }
    try:
        return commands[asked.command](asked)
    except KeyboardInterrupt:
        return STOPPED
    except BrokenPipeError:
        # whoever read the output has seen enough; the interpreter must not try to write the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        line, code = _explained(error)
        if not line:
            raise
        print(line, file=sys.stderr)
        return code


def _explained(error: Exception) -> tuple[str, int]:
    """What an expected failure means in a line, and the exit code; no line for a bug of ours."""
    from bot.inbound.socket_mode import SocketModeEnded
    from bot.ledger.engine import LedgerUnavailable, SchemaMismatch
    from bot.settings import InvalidSettings
    from bot.slack.client import SlackError

    match error:
        case InvalidSettings():
            return str(error), WRONG_SETTINGS
        case SlackError():
            return f"Slack did not let the bot in ({error.code}): check SLACK_BOT_TOKEN", FAILED
        case LedgerUnavailable() | SchemaMismatch():
            return f"DATABASE_URL: {error}", FAILED
        case SocketModeEnded():
            return str(error), FAILED
        case OSError(errno=number) if number is not None:
            # asyncio's own text says the address a second time
            return f"can't listen there: {os.strerror(number)}; try another port", FAILED
        case _:
            return "", FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="unlatch-bot", description=(__doc__ or "").split(":")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    for name, wire in (("http", "HTTP"), ("socket", "Socket Mode")):
        serve = commands.add_parser(name, help=f"serve Slack's requests over {wire}")
        serve.add_argument("--wait", action="store_true", help="for a database that is not up yet")
    sandbox = commands.add_parser("sandbox", help="try it in the browser, with nothing real")
    sandbox.add_argument("--port", type=_port, default=8080, help="of the page (8080); 0: any")
    sandbox.add_argument("--no-open", action="store_true", help="don't open the browser")
    manifest = commands.add_parser("manifest", help="print the Slack app manifest")
    way = manifest.add_mutually_exclusive_group(required=True)
    way.add_argument("--url", type=_https, help="where the bot is reached: https://bot.example.com")
    way.add_argument("--socket", action="store_true", help="for Socket Mode")
    manifest.add_argument(
        "--user-groups", action="store_true", help="with the scope to read user groups (S…)"
    )
    _audit_arguments(commands.add_parser("audit", help="read the ledger out, or verify it"))
    commands.add_parser("check", help="tell what is not set up right yet")
    commands.add_parser("migrate", help="bring the ledger to this version")
    return parser


def _audit_arguments(audit: argparse.ArgumentParser) -> None:
    audit.add_argument("--customer", type=_customer, metavar="ID", help="of this customer alone")
    audit.add_argument(
        "--since", type=_moment, metavar="DATE", help="from this day or time on (UTC)"
    )
    audit.add_argument(
        "--until", type=_end, metavar="DATE", help="to the end of this day, or before this time"
    )
    audit.add_argument("--who", metavar="U…", help="by this person alone")
    form = audit.add_mutually_exclusive_group()
    for name, meaning in (("json", "a JSON object a line"), ("csv", "for a spreadsheet")):
        form.add_argument(f"--{name}", dest="form", action="store_const", const=name, help=meaning)
    form.add_argument("--verify", action="store_true", help="name every row that was tampered with")
    audit.set_defaults(form="table")


def _customer(value: str) -> int:
    from bot.domain.commands import MAX_DIGITS

    if not (value.isascii() and value.isdecimal() and len(value) <= MAX_DIGITS):
        raise argparse.ArgumentTypeError(f"wants a customer id, at most {MAX_DIGITS} digits")
    return int(value)


def _port(value: str) -> int:
    if not (value.isdecimal() and int(value) <= LAST_PORT):
        raise argparse.ArgumentTypeError(f"wants a number from 0 to {LAST_PORT}")
    return int(value)


def _https(value: str) -> str:
    if not value.startswith("https://") or "." not in value or " " in value:
        raise argparse.ArgumentTypeError("wants an address like https://bot.example.com")
    return value


def _moment(value: str, *, end: bool = False) -> datetime:
    from bot.ledger.export import moment

    try:
        return moment(value, end=end)
    except ValueError:
        wants = "wants a date or time like 2026-11-23 or 2026-11-23T14:00"
        raise argparse.ArgumentTypeError(wants) from None


def _end(value: str) -> datetime:
    return _moment(value, end=True)


def _manifest(asked: argparse.Namespace) -> int:
    from bot.inbound.manifest import manifest

    print(json.dumps(manifest(asked.url, user_groups=asked.user_groups), indent=2))
    return 0


def _serve(asked: argparse.Namespace) -> int:
    # what the start loads stays: the collector need not go through it now, nor ever again
    gc.disable()

    from bot.app.server import serve
    from bot.ops import logs
    from bot.settings import load

    settings = load(asked.command)
    logs.configure(settings.log_level, settings.log_format)

    async def served() -> None:
        # a start that has to wait for somebody must not go without the collector
        asyncio.get_running_loop().call_later(STARTS_WITHIN_S, gc.enable)
        await serve(settings, asked.command, wait=asked.wait, started=_collect_what_follows)

    asyncio.run(served())
    return 0


def _collect_what_follows(_address: str) -> None:
    gc.collect()
    gc.freeze()
    gc.enable()


def _sandbox(asked: argparse.Namespace) -> int:
    from bot.ops import logs
    from bot.sandbox.runner import run

    logs.configure("WARNING", "console")
    asyncio.run(run(port=asked.port, open_browser=not asked.no_open))
    return 0


def _audit(asked: argparse.Namespace) -> int:
    from bot.ledger.engine import open_engine, require_current
    from bot.ledger.export import FORMS, Wanted, read
    from bot.ledger.verify import verify
    from bot.settings import load_ledger

    url = load_ledger().database_url.get_secret_value()
    engine = open_engine(url, reads_only=True)
    wanted = Wanted(asked.customer, asked.since, asked.until, asked.who)
    printed = 0
    with ExitStack() as stack:
        stack.callback(engine.dispose)
        require_current(engine)
        broken = stack.enter_context(closing(verify(engine)))
        rows = stack.enter_context(closing(read(engine, wanted)))
        lines = broken if asked.verify else FORMS[asked.form](rows)
        for printed, line in enumerate(lines, 1):  # noqa: B007  # counted past the loop
            print(line)
    if asked.verify and not printed:
        print("Every event is there, as it was written.")
    sys.stdout.flush()
    return FAILED if asked.verify and printed else 0


def _check(_asked: argparse.Namespace) -> int:
    from bot.app.check import check
    from bot.ops import logs
    from bot.settings import InvalidSettings, Settings, checked

    logs.configure("ERROR", "console")
    try:
        settings = checked(Settings)
    except InvalidSettings as error:
        for problem in error.problems:
            print(f"✗ {problem}")
        return FAILED

    async def looked() -> bool:
        right = True
        async for line in check(settings):
            print(line, flush=True)
            right = right and line.right
        return right

    return 0 if asyncio.run(looked()) else FAILED


def _migrate(_asked: argparse.Namespace) -> int:
    from bot.ledger.engine import migrate, open_engine
    from bot.ledger.schema import REVISION
    from bot.settings import load_ledger

    engine = open_engine(load_ledger().database_url.get_secret_value())
    migrate(engine)
    engine.dispose()
    print(f"The ledger is at version {REVISION}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
