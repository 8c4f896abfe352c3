"""The command line: `python -m bot http | socket | sandbox | …`."""

from __future__ import annotations

import argparse
import asyncio
import codecs
import errno
import gc
import io
import json
import os
import re
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress

from bot import __version__
from bot.app.audit import add_arguments, audit, contradiction, member

WRONG_SETTINGS = 2
FAILED = 1
STOPPED = 130
PIPE_CLOSED = 141
LAST_PORT = 65535
MAX_START_WITHOUT_GC_S = 5.0


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the process's exit code."""
    if arguments is None:
        _leave_ascii()
    _prepare_output()
    try:
        try:
            return _run(arguments)
        finally:
            # here, so that a full disk or a closed pipe is named, by every command
            sys.stdout.flush()
    except (KeyboardInterrupt, EOFError):
        return STOPPED
    except BrokenPipeError:
        _discard_output()
        return PIPE_CLOSED
    except Exception as error:  # noqa: BLE001  # a bug is printed with its traceback
        from bot.ops.logs import redacted

        line, code = _explain(error)
        if isinstance(error, OSError) and line:
            _discard_output()
        # some library's text may hold an address with its password
        print(redacted(line or traceback.format_exc().rstrip()), file=sys.stderr)
        return code


def _run(arguments: list[str] | None) -> int:
    parser = _parser()
    parsed = parser.parse_args(arguments)
    if parsed.command is None:
        parser.print_help()
        return 0
    if parsed.command == "audit" and (wrong := contradiction(parsed)):
        parser.error(wrong)
    run: Callable[[argparse.Namespace], int] = parsed.run
    return run(parsed)


def _leave_ascii() -> None:
    """Start again in UTF-8 if this locale has no letter but ASCII's, as Python does by itself.

    Told not to, by PYTHONUTF8=0, it could neither read an accent in a setting nor print one.
    """
    utf8 = ["-X", "utf8"]
    is_ascii = codecs.lookup(sys.getfilesystemencoding()).name == "ascii"
    if is_ascii and sys.executable and sys.orig_argv[1:3] != utf8:
        os.execv(sys.executable, [sys.executable, *utf8, *sys.orig_argv[1:]])  # noqa: S606  # itself


def _prepare_output() -> None:
    """Let every character be printed, and nothing fail for an output that was closed at start."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            void = os.open(os.devnull, os.O_WRONLY)
            setattr(sys, name, io.TextIOWrapper(io.FileIO(void, "w"), "utf-8", write_through=True))
        elif isinstance(stream, io.TextIOWrapper):
            # a terminal or a locale may know no ✓, and a customer's name any character
            stream.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Keep the interpreter from flushing the rest into what takes nothing, when it ends."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain(error: Exception) -> tuple[str, int]:
    """The line and exit code for an error that is expected; an empty line for a bug."""
    from bot.app.server import CannotListen
    from bot.inbound.socket_mode import SocketModeEnded
    from bot.ledger.audit.comparison import NotReadable
    from bot.ledger.database.engine import LedgerUnavailable
    from bot.ledger.database.migrating import SchemaMismatch
    from bot.settings import InvalidSettings
    from bot.slack.error_codes import meaning_of
    from bot.slack.errors import SlackError

    match error:
        case InvalidSettings():
            return str(error), WRONG_SETTINGS
        case SlackError():
            return (
                f"Slack refused the bot token ({error.code}): {meaning_of(error.code).fix}",
                FAILED,
            )
        case LedgerUnavailable() | SchemaMismatch():
            return f"DATABASE_URL: {error}", FAILED
        case SocketModeEnded() | CannotListen() | NotReadable():
            return str(error), FAILED
        case OSError() if error.errno is not None:
            return _explain_system(error, error.errno), FAILED
        case _:
            return "", FAILED


def _explain_system(error: OSError, number: int) -> str:
    """What the operating system refused."""
    why = os.strerror(number)
    if number in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
        return f"can't write the output: {why}"
    if number in (errno.EADDRINUSE, errno.EACCES) and not error.filename:
        # the sandbox; asyncio's own text repeats the address
        return f"can't listen on this port: {why}; add --port 0 to take any that is free"
    return f"{error.filename}: {why}" if error.filename else f"the system refused: {why}"


def _parser() -> argparse.ArgumentParser:
    what = "A Slack app that frees a Fusebill customer from its HubSpot contact and company."
    parser = argparse.ArgumentParser(prog="unlatch-bot", description=what)
    parser.add_argument("--version", action="version", version=f"unlatch-bot {__version__}")
    commands = parser.add_subparsers(dest="command", title="commands", metavar="<command>")

    def add(
        name: str, run: Callable[[argparse.Namespace], int], help_: str
    ) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help_)
        added.set_defaults(run=run)
        return added

    _add_user_groups(add("setup", _setup, "ask for what is missing, write .env, check it"))
    for name, protocol in (("http", "HTTP"), ("socket", "Socket Mode")):
        serve = add(name, _serve, f"run the bot over {protocol}")
        serve.add_argument("--wait", action="store_true", help="wait until the database is up")
    sandbox = add("sandbox", _sandbox, "try the bot in the browser, with simulators")
    sandbox.add_argument("--port", type=_port, default=8080, help="port (default 8080; 0: any)")
    sandbox.add_argument("--no-open", action="store_true", help="don't open the browser")
    sandbox.add_argument("--log", action="store_true", help="print the bot's log, too")
    manifest = add("manifest", _manifest, "print the Slack app manifest")
    mode = manifest.add_mutually_exclusive_group(required=True)
    mode.add_argument("--url", type=_https, help="the bot's address, like https://bot.example.com")
    mode.add_argument("--socket", action="store_true", help="use Socket Mode")
    _add_user_groups(manifest)
    another = "another name for /unlatch, such as /unlatch-test for an app beside the real one"
    manifest.add_argument("--command", dest="slash_command", type=_slash_command, help=another)
    manifest.add_argument("--name", type=_app_name, help="another name for the app")
    add_arguments(add("audit", _audit, "print the ledger, or verify it"))
    forget = add("forget", _forget, "delete the names of a person from the ledger")
    forget.add_argument("who", type=member, metavar="U…", help="the person's Slack member id")
    add("check", _check, "check the installation and say what to fix")
    add("migrate", _migrate, "create the ledger, or update it to this version")
    example = add("example", _example, "print a file for the place where the bot runs")
    example.add_argument("name", choices=("env", "systemd", "kubernetes", "alerts"))
    return parser


def _add_user_groups(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--user-groups", action="store_true", help="with the scope to read user groups (S…)"
    )


def _port(value: str) -> int:
    if not (value.isdecimal() and int(value) <= LAST_PORT):
        raise argparse.ArgumentTypeError(f"must be a number from 0 to {LAST_PORT}")
    return int(value)


def _https(value: str) -> str:
    if not value.startswith("https://") or "." not in value or set(value) & set(" ?#"):
        raise argparse.ArgumentTypeError("must be an address like https://bot.example.com")
    return value


def _slash_command(value: str) -> str:
    from bot.inbound.manifest import MAX_COMMAND_LENGTH

    # Slack shows and sends commands in lower case
    if not re.fullmatch(r"/[^\s/]+", value) or value != value.lower():
        raise argparse.ArgumentTypeError("must be a word in lower case after a /: /unlatch-test")
    if len(value) > MAX_COMMAND_LENGTH:
        raise argparse.ArgumentTypeError(f"must have at most {MAX_COMMAND_LENGTH} characters")
    return value


def _app_name(value: str) -> str:
    from bot.inbound.manifest import MAX_NAME_LENGTH

    if not value.strip() or len(value) > MAX_NAME_LENGTH:
        raise argparse.ArgumentTypeError(f"must have 1 to {MAX_NAME_LENGTH} characters")
    return value


def _manifest(parsed: argparse.Namespace) -> int:
    from bot.inbound.manifest import manifest

    given = {"command": parsed.slash_command, "name": parsed.name}
    named = {option: value for option, value in given.items() if value}
    print(json.dumps(manifest(parsed.url, user_groups=parsed.user_groups, **named), indent=2))
    return 0


def _serve(parsed: argparse.Namespace) -> int:
    # what is loaded at start stays, so the garbage collector need never look at it
    gc.disable()

    from bot.app.server import serve
    from bot.ops import logs
    from bot.settings import load

    settings = load(parsed.command)
    logs.configure(settings.log_level, settings.log_format)

    async def run() -> None:
        # a start that waits for the database or for Slack needs the collector
        asyncio.get_running_loop().call_later(MAX_START_WITHOUT_GC_S, gc.enable)
        await serve(settings, parsed.command, wait=parsed.wait, started=_freeze_start)

    asyncio.run(run())
    return 0


def _freeze_start(_address: str) -> None:
    # without a collection, which takes as long as a tenth of the start and finds next to nothing
    gc.freeze()
    gc.enable()


def _sandbox(parsed: argparse.Namespace) -> int:
    from bot.ops import logs
    from bot.sandbox.runner import run

    logs.configure("INFO" if parsed.log else "ERROR", "console")
    asyncio.run(run(port=parsed.port, open_browser=not parsed.no_open))
    return 0


def _audit(parsed: argparse.Namespace) -> int:
    return 0 if audit(parsed) else FAILED


def _forget(parsed: argparse.Namespace) -> int:
    from bot.ledger import people
    from bot.ledger.database.engine import open_engine
    from bot.ledger.database.migrating import require_current
    from bot.settings import load_ledger

    engine = open_engine(load_ledger().database_url.get_secret_value())
    require_current(engine)
    forgotten = people.forget_names(engine, parsed.who)
    engine.dispose()
    print(f"Names of {parsed.who} that were deleted: {forgotten}. The id stays: hashes cover it.")
    return 0


def _check(_parsed: argparse.Namespace) -> int:
    from bot.app.check import report
    from bot.ops import logs
    from bot.settings import InvalidSettings, Settings, checked

    logs.configure("ERROR", "console")
    try:
        settings = checked(Settings)
    except InvalidSettings as error:
        for problem in error.problems:
            print(f"✗ {problem}")
        return FAILED

    return 0 if asyncio.run(report(settings)) else FAILED


def _setup(parsed: argparse.Namespace) -> int:
    from bot.app.setup import setup
    from bot.environment import this_bot
    from bot.ops import logs

    logs.configure("ERROR", "console")
    if not sys.stdin.isatty():
        filled = f"Without one, fill in what this prints: {this_bot('example env')}"
        print(f"setup asks questions: it needs a terminal. {filled}", file=sys.stderr)
        return FAILED
    return 0 if setup(user_groups=parsed.user_groups) else FAILED


def _migrate(_parsed: argparse.Namespace) -> int:
    from bot.ledger.database.engine import open_engine
    from bot.ledger.database.migrating import migrate
    from bot.ledger.tables import REVISION
    from bot.ops import logs
    from bot.settings import load_ledger

    # it may have to wait, and says so
    logs.configure("WARNING", "console")
    engine = open_engine(load_ledger().database_url.get_secret_value())
    migrate(engine)
    engine.dispose()
    print(f"The ledger is at version {REVISION}.")
    return 0


def _example(parsed: argparse.Namespace) -> int:
    from bot.app.examples import example

    print(example(parsed.name), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
