"""Structured logs: every line can be parsed, and none holds a secret."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import AsyncIterator
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
import structlog

from bot.fusebill.errors import NotReached
from bot.ops import logs
from bot.ops.tasks import retried
from bot.sandbox.fusebill.simulator import SimulatedFusebill
from bot.sandbox.slack.simulator import SimulatedSlack, text_of
from bot.settings import Mode
from tests.support.command_line import forked
from tests.support.names import CHANNEL
from tests.support.stage import Stage, stage

FORMS: tuple[Literal["json", "console"], ...] = ("json", "console")
KEY = "MDpWZXJ5U2VjcmV0S2V5"


def logged(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_line_has_timestamp_logger_level_and_event(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    structlog.get_logger("bot.test").warning("card not posted", why="is_archived")
    (line,) = logged(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "card not posted",
        "level": "warning",
        "logger": "bot.test",
        "why": "is_archived",
    }


def test_library_logs_look_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    logging.getLogger("slack_sdk").error("lost %s", "connection")
    (line,) = logged(capsys)
    assert (line["event"], line["level"], line["logger"]) == (
        "lost connection",
        "error",
        "slack_sdk",
    )


def test_bound_context_is_in_every_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("INFO", "json")
    with logs.fields(request_id="5f0c"):
        structlog.get_logger("bot.test").info("one")
        logging.getLogger("bot.other").warning("two")
    structlog.get_logger("bot.test").info("three")
    assert [line.get("request_id") for line in logged(capsys)] == ["5f0c", "5f0c", None]


@pytest.mark.parametrize("text", ["two\nlines", "\x1b[31mred", "\u2028", "\ud83d", '"}{"', "🚲"])
def test_any_value_stays_on_one_json_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    structlog.get_logger("bot.test").info("asked", reason=text)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert json.loads(lines[0])["reason"] == text


@pytest.mark.parametrize("level", ["DEBUG", "INFO", "WARNING", "ERROR"])
def test_nothing_below_the_level_is_logged(level: str, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(level, "json")
    logger = structlog.get_logger("bot.test")
    for name in ("debug", "info", "warning", "error"):
        getattr(logger, name)("message")
    levels = ["DEBUG", "INFO", "WARNING", "ERROR"]
    assert [line["level"].upper() for line in logged(capsys)] == levels[levels.index(level) :]


@pytest.mark.parametrize("name", logs.CHATTY)
def test_libraries_that_log_payloads_are_silent_even_at_debug(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("DEBUG", "json")
    logging.getLogger(f"{name}.client").debug("Authorization: Basic %s", KEY)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("form", FORMS)
def test_a_traceback_shows_no_value_of_a_variable(
    form: Literal["json", "console"], capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("DEBUG", form)

    def fails(header: str) -> None:
        raise ValueError(f"a header of {len(header)} characters")

    try:
        fails(f"Basic {KEY}")
    except ValueError:
        structlog.get_logger("bot.test").exception("work failed")
    err = capsys.readouterr().err
    assert "ValueError: a header of 26 characters" in err
    assert KEY not in err


def test_a_traceback_stays_on_its_json_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    try:
        json.loads("no JSON")
    except ValueError:
        logging.getLogger("asyncio").exception("task failed")
    (line,) = logged(capsys)
    assert "JSONDecodeError: Expecting value" in line["exception"]


async def test_what_is_tried_again_is_one_line_that_says_why_and_when(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("INFO", "console")
    answers = [NotReached(why="connection refused"), None]

    async def call() -> None:
        if answer := answers.pop(0):
            raise answer

    await retried(call, NotReached, timeout_s=None, attempts=2, wait_initial=0.01)
    (line,) = capsys.readouterr().err.splitlines()
    assert re.search(r"trying again .*again_in_s=[0-9.]+ why='connection refused'", line)
    assert "args" not in line


def test_configuring_twice_logs_everything_once(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    logs.configure("INFO", "json")
    structlog.get_logger("bot.test").info("once")
    assert len(logged(capsys)) == 1


async def whole_request(slack: SimulatedSlack) -> None:
    """Ask, get two errors, confirm, and wait for the result and its thread."""
    workspace = slack.workspace
    await slack.command("U0ALICE", "abc")
    await slack.command("U0ALICE", "404404")
    # else the next command's read may come first, and meet the error that this one's is to meet
    await workspace.until(lambda: len(workspace.ephemerals("U0ALICE")) == 2)
    await slack.command("U0ALICE", "2554529 moved")
    await workspace.until(lambda: bool(workspace.messages(CHANNEL)))
    card = workspace.messages(CHANNEL)[0]

    async def was_refused() -> bool:
        # a click before the row is written is refused
        await slack.click("U0BOB", card.ts, "unlatch_confirm")
        return bool(workspace.ephemerals("U0BOB"))

    while await was_refused():
        workspace.ephemerals("U0BOB").clear()
    await workspace.until(lambda: "Cleared" in text_of(workspace.message(CHANNEL, card.ts).blocks))
    await workspace.until(lambda: bool(workspace.thread(CHANNEL, card.ts)))


@pytest.mark.parametrize("mode", ["http", "socket"])
async def test_a_whole_request_at_debug_logs_no_secret(mode: Mode, tmp_path: Path) -> None:
    async with SimulatedSlack() as slack, SimulatedFusebill(api_key=KEY) as fusebill:
        secrets = [slack.bot_token, slack.app_token, slack.signing_secret, KEY, "Basic "]
        # parts of URLs that work as credentials
        secrets += ["commands/T0SANDBOX", "actions/T0SANDBOX", "ticket="]
        environment = {
            "SLACK_BOT_TOKEN": slack.bot_token,
            "SLACK_APP_TOKEN": slack.app_token,
            "SLACK_SIGNING_SECRET": slack.signing_secret,
            "SLACK_API_URL": slack.api_url,
            "FUSEBILL_API_KEY": KEY,
            "FUSEBILL_BASE_URL": fusebill.url,
            "DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db",
            "HOST": "127.0.0.1",
            "PORT": "0",
            "LOG_LEVEL": "DEBUG",
            "LOG_FORMAT": "json",
        }
        process = await forked(mode, cwd=tmp_path, env=os.environ | environment)
        assert process.stderr is not None
        lines: list[str] = []
        while not lines or '"listening"' not in lines[-1]:
            lines.append((await process.stderr.readline()).decode())
            assert lines[-1], lines
        address = "http://127.0.0.1:{port}".format_map(json.loads(lines[-1]))
        if mode == "http":
            slack.request_url = f"{address}/slack/events"
            await slack.send_raw(b"payload=forged", {"X-Slack-Signature": "v0=forged"})
        else:
            await slack.workspace.until(lambda: bool(slack.socket_mode.links))
        slack.faults.fail("chat.update", status=503, times=1)
        fusebill.misbehave("hostile_error", operation="get_customer", times=1)
        fusebill.misbehave("lost_before", operation="unlatch_customer")
        await whole_request(slack)
        async with httpx.AsyncClient(trust_env=False) as client:
            await client.get(f"{address}/readyz")
        process.terminate()
        _out, rest = await process.communicate()
        lines += rest.decode().splitlines()
    assert process.returncode == 0
    assert len([json.loads(line) for line in lines]) > 3
    assert not [(secret, line) for secret in secrets for line in lines if secret in line]


def lines_of(stage: Stage) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stage.log.splitlines()]


@pytest.fixture
async def staged(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(f"sqlite:///{tmp_path}/ledger.db", tmp_path) as opened:
        yield opened


async def test_a_refused_websocket_logs_neither_its_ticket_nor_a_traceback(
    staged: Stage,
) -> None:
    real, staged.slack.url = staged.slack.url, f"{staged.slack.url}nowhere/"
    bot = await staged.launch(mode="socket", slack_api_url=f"{real}api/")
    await staged.until(lambda: "Failed to connect" in staged.log)
    assert await bot.stop() == 0
    assert "ticket=" not in staged.log
    assert "Traceback" not in staged.log
    [refused, *_] = [line for line in lines_of(staged) if "Failed to connect" in line["event"]]
    assert (refused["level"], "Invalid response status" in refused["event"]) == ("warning", True)


@pytest.mark.parametrize("form", FORMS)
def test_tickets_are_removed_from_messages_and_tracebacks(
    form: Literal["json", "console"], capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("INFO", form)
    address = f"wss://wss-primary.slack.com/link/?ticket={KEY}&app_id=A1"

    def fails() -> None:
        raise ConnectionError(address)

    try:
        fails()
    except ConnectionError:
        logging.getLogger("asyncio").exception("lost %s", address)
    err = capsys.readouterr().err
    assert (KEY in err, "ticket=" in err) == (False, False)
    assert err.count("wss-primary.slack.com/link/?[ticket]&app_id=A1") == 2


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "address",
    [
        "http://name:{}@proxy:3128",
        "http://:{}@proxy",
        "postgresql+psycopg://bot:{}@db/ledger?sslmode=require",
        "http://name:with@{}@proxy:3128",
    ],
)
def test_passwords_are_removed_from_addresses_in_messages_and_tracebacks(
    form: Literal["json", "console"], address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("INFO", form)
    address = address.format(KEY)
    structlog.get_logger("bot.test").warning("lost", why=f"can't reach {address}")
    try:
        raise ConnectionError(address)  # noqa: TRY301  # a traceback is wanted
    except ConnectionError:
        logging.getLogger("slack_sdk.socket_mode").exception("Failed to connect (%s)", address)
    err = capsys.readouterr().err
    assert KEY not in err
    assert err.count("://[password]@") == 3
    if form == "json":
        assert [json.loads(line)["event"][:4] for line in err.splitlines()] == ["lost", "Fail"]


def test_what_has_no_password_is_logged_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", "json")
    said = {"url": "http://127.0.0.1:3000", "who": "bob@example.com", "at": "12:30 @ noon"}
    structlog.get_logger("bot.test").warning("lost", **said)
    line = json.loads(capsys.readouterr().err)
    assert {name: line[name] for name in said} == said


@pytest.mark.parametrize("form", FORMS)
def test_tickets_are_removed_from_the_bots_own_lines(
    form: Literal["json", "console"], capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("INFO", form)
    structlog.get_logger("bot.test").warning("lost", why=f"wss://slack.com/link/?ticket={KEY}&a=1")
    err = capsys.readouterr().err
    assert "wss://slack.com/link/?[ticket]&a=1" in err
    assert KEY not in err


def test_work_goes_on_when_no_line_can_be_written() -> None:
    full = Path("/dev/full").open("w")  # noqa: SIM115  # closing it fails too
    with redirect_stderr(full):
        logs.configure("INFO", "json")
        structlog.get_logger("bot.test").info("asked")
    with suppress(OSError):
        full.close()


async def test_bolts_warnings_are_logged_except_the_one_about_the_token(
    staged: Stage,
) -> None:
    await staged.start()
    card = await staged.ask()
    await staged.slack.forge_click("U0BOB", card.ts, "of_another_app", "x")
    await staged.until(lambda: "Unhandled request" in staged.log)
    from_bolt = [line for line in lines_of(staged) if line["logger"].startswith("slack_bolt")]
    assert [(line["level"], line["event"][:17]) for line in from_bolt] == [
        ("warning", "Unhandled request")
    ]
