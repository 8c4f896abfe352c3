"""The command line in processes of its own: `python -m bot …` against the simulators."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import sys
from asyncio.subprocess import PIPE, STDOUT, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from bot.app.server import CannotListen
from bot.ledger.tables import REVISION
from bot.sandbox.fusebill.simulator import SimulatedFusebill
from bot.sandbox.slack.simulator import PostedMessage, SimulatedSlack, text_of
from tests.support.command_line import REPOSITORY, Forked, Start, forked, in_a_new_interpreter
from tests.support.ledger import create_file
from tests.support.names import BIKES, CHANNEL, CONFIRM

KEPT = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}


def environment(
    slack: SimulatedSlack, fusebill: SimulatedFusebill, **changes: str
) -> dict[str, str]:
    values = {
        "SLACK_BOT_TOKEN": slack.bot_token,
        "SLACK_SIGNING_SECRET": slack.signing_secret,
        "SLACK_APP_TOKEN": slack.app_token,
        "SLACK_API_URL": slack.api_url,
        "FUSEBILL_API_KEY": fusebill.api_key,
        "FUSEBILL_BASE_URL": fusebill.url,
        "DATABASE_URL": "sqlite:///ledger.db",
        "HOST": "127.0.0.1",
        "PORT": "0",
        "LOG_FORMAT": "json",
    }
    return {name: value for name, value in (values | changes).items() if value}


@pytest.fixture
async def slack() -> AsyncIterator[SimulatedSlack]:
    async with SimulatedSlack() as opened:
        yield opened


@pytest.fixture
async def fusebill() -> AsyncIterator[SimulatedFusebill]:
    async with SimulatedFusebill() as opened:
        yield opened


@pytest.fixture
def values(slack: SimulatedSlack, fusebill: SimulatedFusebill) -> dict[str, str]:
    """The environment of a bot between the simulators."""
    return environment(slack, fusebill)


@pytest.fixture
def migrated(tmp_path: Path) -> Path:
    """A folder with an empty ledger."""
    create_file(f"sqlite:///{tmp_path}/ledger.db")
    return tmp_path


async def launched(
    start: Start, folder: Path, /, *arguments: str, **variables: str
) -> Process | Forked:
    """Start a command in a folder, with only these variables in its environment."""
    return await start(*arguments, cwd=folder, env=KEPT | variables, stdout=PIPE, stderr=STDOUT)


async def ran(folder: Path, /, *arguments: str, **variables: str) -> tuple[int | None, str]:
    """Run a command until it ends; returns its exit code and output."""
    return await output_of(await launched(forked, folder, *arguments, **variables))


async def ran_anew(folder: Path, /, *arguments: str, **variables: str) -> tuple[int | None, str]:
    """Run a command in a new interpreter: the environment changes how that starts."""
    return await output_of(await launched(in_a_new_interpreter, folder, *arguments, **variables))


async def output_of(process: Process | Forked) -> tuple[int | None, str]:
    """Wait for its end; returns its exit code and output."""
    printed, _ = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, printed.decode()


@asynccontextmanager
async def running(
    folder: Path,
    slack: SimulatedSlack,
    fusebill: SimulatedFusebill,
    mode: str = "http",
    start: Start = forked,
) -> AsyncIterator[Process | Forked]:
    """A bot that listens; killed at the end if it still runs."""
    process = await launched(start, folder, mode, **environment(slack, fusebill))
    assert process.stdout is not None
    try:
        async with asyncio.timeout(30):
            async for line in process.stdout:
                if port := re.search(rb'"port": (\d+)', line):
                    break
            assert port, "the bot ended before it listened"
        address = f"http://127.0.0.1:{int(port[1])}"
        # it answers once everything is set up, including its signal handlers
        async with aiohttp.request("GET", f"{address}/healthz") as response:
            assert response.status == 200
        if mode == "http":
            slack.request_url = f"{address}/slack/events"
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def confirmed(slack: SimulatedSlack) -> PostedMessage:
    """Ask for a card and confirm it; returns the card."""
    delivery = await slack.command("U0ALICE", "2554529 moved")
    assert delivery.status == 200
    await slack.workspace.until(lambda: slack.workspace.messages(CHANNEL))
    (card,) = slack.workspace.messages(CHANNEL)
    await slack.click("U0BOB", card.ts, CONFIRM)
    return card


async def ended(process: Process | Forked, number: int = signal.SIGTERM) -> tuple[int | None, str]:
    """Send a signal and wait; returns the exit code and the output since the bot listened."""
    process.send_signal(number)
    printed, _ = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, printed.decode()


@pytest.mark.parametrize(("mode", "number"), [("http", signal.SIGTERM), ("socket", signal.SIGINT)])
async def test_a_real_process_unlatches_a_customer_and_exits_cleanly(
    tmp_path: Path, slack: SimulatedSlack, fusebill: SimulatedFusebill, mode: str, number: int
) -> None:
    async with running(tmp_path, slack, fusebill, mode) as process:
        card = await confirmed(slack)
        await slack.workspace.until(lambda: slack.workspace.thread(CHANNEL, card.ts))
        code, printed = await ended(process, number)
    shown = text_of(slack.workspace.message(CHANNEL, card.ts).blocks)
    assert "Cleared contact 101 and company 202" in shown
    assert (code, "Traceback" in printed) == (0, False)


async def test_a_bot_under_nohup_outlives_a_hangup(
    tmp_path: Path, slack: SimulatedSlack, fusebill: SimulatedFusebill
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        # a new interpreter inherits what is ignored
        async with running(tmp_path, slack, fusebill, start=in_a_new_interpreter) as process:
            process.send_signal(signal.SIGHUP)
            await confirmed(slack)
            assert (await ended(process))[0] == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("mode", "missing"),
    [
        ("http", "SLACK_SIGNING_SECRET"),
        ("socket", "SLACK_APP_TOKEN"),
    ],
)
async def test_a_missing_setting_is_one_line_and_exit_code_2(
    tmp_path: Path, mode: str, missing: str
) -> None:
    values = environment(SimulatedSlack(), SimulatedFusebill(), FUSEBILL_BASE_URL="", PORT="0")
    code, printed = await ran(tmp_path, mode, **values | {missing: ""})
    assert code == 2
    assert re.fullmatch(rf"{missing}: missing[^\n]*\n", printed)


async def test_each_wrong_setting_is_one_line_without_its_value(tmp_path: Path) -> None:
    code, printed = await ran(
        *(tmp_path, "http"),
        SLACK_BOT_TOKEN="hunter2",
        SLACK_SIGNING_SECRET="hunter2",
        FUSEBILL_API_KEY="two words hunter2",
        PORT="many",
    )
    names = [line.partition(":")[0] for line in printed.splitlines()]
    assert (code, sorted(names)) == (2, ["FUSEBILL_API_KEY", "PORT", "SLACK_BOT_TOKEN"])
    assert "hunter2" not in printed


async def test_a_port_in_use_is_one_line_and_exit_code_1(
    tmp_path: Path, values: dict[str, str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, printed = await ran(tmp_path, "http", **values | {"PORT": port})
    assert code == 1
    expected = r"^can't listen on this port: Address already in use; set PORT to another$"
    assert re.search(expected, printed, re.MULTILINE)
    assert "Traceback" not in printed


async def test_a_wrong_app_token_is_one_line_and_exit_code_1(
    tmp_path: Path, values: dict[str, str]
) -> None:
    code, printed = await ran(tmp_path, "socket", **values | {"SLACK_APP_TOKEN": "xapp-wrong"})
    assert (code, "Traceback" in printed, "xapp-wrong" in printed) == (1, False, False)
    assert "SLACK_APP_TOKEN" in printed.splitlines()[-1]
    assert "invalid_auth" in printed.splitlines()[-1]


async def test_socket_mode_switched_off_is_one_line_and_exit_code_1(
    tmp_path: Path, slack: SimulatedSlack, fusebill: SimulatedFusebill
) -> None:
    async with running(tmp_path, slack, fusebill, "socket") as process:
        await slack.disconnect("link_disabled")
        code, printed = await output_of(process)
        assert code == 1
        assert printed.splitlines()[-1].startswith("Slack ended Socket Mode (link_disabled)")


async def test_migrate_creates_the_ledger_and_can_be_repeated(tmp_path: Path) -> None:
    url = "sqlite:///new.db"
    first = await ran(tmp_path, "migrate", DATABASE_URL=url)
    again = await ran(tmp_path, "migrate", DATABASE_URL=url)
    assert (first[0], again) == (0, first)
    assert re.fullmatch(r"The ledger is at version \w+\.\n", first[1])
    assert (tmp_path / "new.db").exists()


async def test_migrate_without_a_database_is_one_line(tmp_path: Path) -> None:
    code, printed = await ran(tmp_path, "migrate", DATABASE_URL="sqlite:///no/such/folder/a.db")
    folder = tmp_path / "no/such/folder"
    why = f"there is no folder {folder}, or this user may not look into it"
    assert (code, printed) == (1, f"DATABASE_URL: {why}\n")


async def test_advice_names_the_command_that_this_installation_has(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    installed = tmp_path / "unlatch-bot"
    installed.write_text("import sys\nfrom bot.__main__ import main\nsys.exit(main())\n")
    needed = {"PYTHONPATH": str(REPOSITORY), "DATABASE_URL": "sqlite:///empty.db"}
    by_script = await asyncio.create_subprocess_exec(
        *(sys.executable, str(installed), "audit"),
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], **needed},
        stderr=PIPE,
    )
    _out, errors = await by_script.communicate()
    assert errors.decode().endswith(
        f"this bot needs version {REVISION}: run `unlatch-bot migrate`\n"
    )
    _code, printed = await ran(tmp_path, "audit", DATABASE_URL="sqlite:///empty.db")
    assert printed.endswith("run `python -m bot migrate`\n")


@pytest.mark.parametrize("mode", [["--url", "https://bot.example.com"], ["--socket"]])
async def test_manifest_prints_json_and_needs_no_settings(tmp_path: Path, mode: list[str]) -> None:
    code, printed = await ran(tmp_path, "manifest", *mode)
    manifest = json.loads(printed)
    assert (code, manifest["_metadata"]["major_version"]) == (0, 2)
    assert manifest["settings"]["socket_mode_enabled"] == (mode == ["--socket"])


async def test_a_wrong_command_line_prints_the_usage_and_exits_with_2(tmp_path: Path) -> None:
    code, printed = await ran(tmp_path, "manifest", "--url", "http://bot")
    assert (code, printed.startswith("usage: unlatch-bot")) == (2, True)


async def test_the_console_script_is_the_same_program() -> None:
    script = Path(sys.executable).with_name("unlatch-bot")
    process = await asyncio.create_subprocess_exec(script, "manifest", "--socket", stdout=PIPE)
    printed, _ = await process.communicate()
    assert json.loads(printed)["features"]["slash_commands"][0]["command"] == "/unlatch"


def names(folder: Path) -> list[str]:
    """The files in a folder."""
    return [file.name for file in folder.iterdir()]


async def into(folder: Path, target: str, *arguments: str, **variables: str) -> tuple[int, str]:
    """Run a command with its stdout into a file; returns its exit code and stderr."""
    # how an interpreter ends is part of what is tested; one command shows it for all
    start: Start = in_a_new_interpreter if "manifest" in arguments else forked
    with Path(target).open("wb") as output:  # noqa: ASYNC230  # a device or a pipe
        process = await start(
            *arguments, cwd=folder, env=KEPT | variables, stdout=output, stderr=PIPE
        )
        _out, err = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode or 0, err.decode()


async def into_closed_pipe(folder: Path, *arguments: str, **variables: str) -> tuple[int, str]:
    """Run a command whose reader is gone; returns its exit code and stderr."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        return await into(folder, f"/proc/self/fd/{writer}", *arguments, **variables)
    finally:
        os.close(writer)


PRINTING = [["manifest", "--socket"], ["migrate"], ["audit", "--verify"], ["check"]]


@pytest.mark.parametrize("arguments", PRINTING, ids=" ".join)
async def test_an_output_that_takes_nothing_is_told_as_such_and_keeps_no_command_from_its_work(
    migrated: Path, values: dict[str, str], arguments: list[str]
) -> None:
    told = (1, "can't write the output: No space left on device\n")
    assert await into(migrated, "/dev/full", *arguments, **values) == told
    # a closed pipe is neither a traceback nor a success
    assert await into_closed_pipe(migrated, *arguments, **values) == (141, "")
    usual, _printed = await ran(migrated, *arguments, **values)
    assert await closed(migrated, ["stdout"], *arguments, **values) == (usual, "", "")


async def closed(
    folder: Path, outputs: Sequence[str], *arguments: str, **variables: str
) -> tuple[int | None, str, str]:
    """Run a command with outputs closed; returns its exit code, stdout and stderr."""
    ends = {name: None if name in outputs else PIPE for name in ("stdout", "stderr")}
    process = await forked(*arguments, cwd=folder, env=KEPT | variables, **ends)
    printed, errors = await asyncio.wait_for(process.communicate(), 30)
    return process.returncode, printed.decode(), errors.decode()


async def test_a_closed_stderr_changes_no_exit_code_and_puts_no_note_into_the_output(
    migrated: Path,
) -> None:
    values = {"DATABASE_URL": "sqlite:///ledger.db"}
    assert await closed(migrated, ["stderr"], "http") == (2, "", "")
    assert await closed(migrated, ["stderr"], "audit", "--json", **values) == (0, "", "")


async def test_an_interpreter_that_starts_with_its_output_closed_does_its_work(
    tmp_path: Path,
) -> None:
    process = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", f'exec "{sys.executable}" -m bot migrate >&-'),
        cwd=tmp_path,
        env={"PYTHONPATH": str(REPOSITORY), "DATABASE_URL": "sqlite:///ledger.db"},
        stderr=PIPE,
    )
    _out, errors = await process.communicate()
    assert (process.returncode, errors) == (0, b"")
    assert names(tmp_path) == ["ledger.db"]


async def test_an_output_that_lacks_a_character_gets_its_number_instead(tmp_path: Path) -> None:
    latin = {"PYTHONIOENCODING": "latin-1"}
    code, printed = await ran_anew(tmp_path, "check", **latin)
    assert code == 1
    assert printed.startswith("\\u2717 SLACK_BOT_TOKEN: missing; it is at ")


@pytest.mark.parametrize(
    ("host", "expected"),
    [("no-such-host.invalid", "HOST"), ("192.0.2.1", "HOST: Cannot assign requested address")],
)
async def test_a_host_that_is_none_is_told_as_such(
    tmp_path: Path, values: dict[str, str], host: str, expected: str
) -> None:
    code, printed = await ran(tmp_path, "http", **values | {"HOST": host})
    last = printed.splitlines()[-1]
    assert (code, "Traceback" in printed, "port" in last) == (1, False, False)
    assert last.startswith("can't listen on this HOST: ")
    assert expected in last
    assert last.endswith("it must be an address of this machine, such as 0.0.0.0")


def test_an_error_without_a_number_is_told_as_a_wrong_host() -> None:
    # what asyncio raises from Python 3.13 on
    raised = OSError("could not bind on any address out of [('192.0.2.1', 3000)]")
    assert str(CannotListen(raised)).startswith("can't listen on this HOST: Cannot assign")


async def test_a_sqlite_url_with_a_timeout_is_taken_by_every_command(
    tmp_path: Path, values: dict[str, str]
) -> None:
    values |= {"DATABASE_URL": "sqlite:///ledger.db?timeout=5", "SLACK_SIGNING_SECRET": "0" * 32}
    for arguments in (["migrate"], ["audit"], ["audit", "--verify"], ["check"]):
        code, printed = await ran(tmp_path, *arguments, **values)
        assert (code, "Traceback" in printed) == (0, False), printed
    assert names(tmp_path) == ["ledger.db"]


ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0"}
# one for each place where an accent enters or leaves: all commands start the same way
WITH_ACCENTS = [
    ["audit", "--csv"],
    ["audit", "--verify", "--against", "é.log"],
    ["manifest", "--socket", "--name", "Délatcher"],
]


async def test_every_command_works_in_a_locale_without_accents(
    tmp_path: Path, slack: SimulatedSlack, values: dict[str, str]
) -> None:
    url = f"sqlite:///{tmp_path}/José/ledger.db"
    (tmp_path / "José").mkdir()
    values |= {"SLACK_SIGNING_SECRET": "0" * 32, "DATABASE_URL": url} | ASCII
    slack.signing_secret = values["SLACK_SIGNING_SECRET"]
    process = await launched(in_a_new_interpreter, tmp_path, "http", **values)
    assert process.stdout is not None
    log = b""
    async with asyncio.timeout(30):
        while not (port := re.search(rb'"port": (\d+)', log)):
            log += await process.stdout.readline()
    slack.request_url = f"http://127.0.0.1:{int(port[1])}/slack/events"
    await slack.command("U0ALICE", f"{BIKES} déplacé ✓")
    await slack.workspace.until(lambda: slack.workspace.messages(CHANNEL))
    _code, rest = await ended(process)
    (tmp_path / "é.log").write_bytes(log + rest.encode())
    printed = {
        " ".join(command): await ran_anew(tmp_path, *command, **values) for command in WITH_ACCENTS
    }
    assert {command: said for command, (code, said) in printed.items() if code} == {}
    assert printed["audit --csv"][1].startswith("\ufeffat,")
    assert "déplacé ✓" in printed["audit --csv"][1]
    manifest = json.loads(printed["manifest --socket --name Délatcher"][1])
    assert '"Délatcher"' in json.dumps(manifest, ensure_ascii=False)


WRONG = {
    "UNLATCH_CONFIRMERS": ",",
    "UNLATCH_TWOPERSON": "true",
    "DATABASE_URL": "sqlite:///",
    "FUSEBILL_BASE_URL": "http://secure.fusebill.com/v1",
    "SLACK_API_URL": "https://me:s3cr3t@slack.com/api/",
}


@pytest.mark.parametrize(
    ("mode", "name"), [*(("http", name) for name in WRONG), ("socket", "UNLATCH_CONFIRMERS")]
)
async def test_a_setting_that_would_open_the_bot_stops_the_start_with_one_line(
    tmp_path: Path, values: dict[str, str], mode: str, name: str
) -> None:
    code, printed = await ran(tmp_path, mode, **values | {name: WRONG[name]})
    assert (code, printed.count("\n"), printed.startswith(f"{name}: ")) == (2, 1, True)
    assert "s3cr3t" not in printed
    assert names(tmp_path) == []
