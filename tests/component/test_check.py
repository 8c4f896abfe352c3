"""What `python -m bot check` finds right or wrong, each caused over the wire."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.__main__ import main
from bot.app.check import check
from bot.ledger.engine import migrate, open_engine
from bot.ledger.schema import REVISION
from bot.sandbox.fusebill.simulator import SimulatedFusebill
from bot.sandbox.slack.simulator import SimulatedSlack
from bot.settings import Settings
from tests.support.world import settings_for

SECRET = "0123456789abcdef" * 2
GOOD = [
    "✓ Settings: each is of the right form",
    "✓ Slack's bot token: unlatch in Sandbox, with its scopes",
    "✓ Slack's signing secret: is of the right form (only a request can prove it)",
    "✓ Fusebill: answers and takes the API key; 999 calls left this minute, 179999 today",
    f"✓ Ledger (SQLite): answers, version {REVISION}",
]


@pytest.fixture(scope="session")
def ledger_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty ledger, to be copied."""
    path = tmp_path_factory.mktemp("ledger") / "empty.db"
    engine = open_engine(f"sqlite:///{path}")
    migrate(engine)
    engine.dispose()
    return path


@dataclass(slots=True)
class Scene:
    """The doubles, and the bot's settings for them."""

    slack: SimulatedSlack
    fusebill: SimulatedFusebill
    folder: Path

    def settings(self, **changes: Any) -> Settings:
        values = {"slack_signing_secret": SECRET, "slack_app_token": None} | changes
        return settings_for(self.slack, self.fusebill, self.folder, **values)

    async def lines(self, **changes: Any) -> list[str]:
        return [str(line) async for line in check(self.settings(**changes))]

    async def wrong(self, **changes: Any) -> list[str]:
        """What is not right, each with its mend."""
        return [line for line in await self.lines(**changes) if not line.startswith("✓ ")]


@pytest.fixture
async def scene(tmp_path: Path, ledger_file: Path) -> AsyncIterator[Scene]:
    shutil.copy(ledger_file, tmp_path / "ledger.db")
    async with SimulatedSlack() as slack, SimulatedFusebill() as fusebill:
        yield Scene(slack, fusebill, tmp_path)


async def test_where_all_is_right_every_line_says_so(scene: Scene) -> None:
    assert await scene.lines() == GOOD


async def test_channels_and_user_groups_have_a_line_each(scene: Scene) -> None:
    lines = await scene.lines(
        unlatch_channels=frozenset({"C0PUBLIC", "C0BILLING"}),
        unlatch_confirmers=frozenset({"S0BILLING", "U0ALICE"}),
    )
    assert lines[len(GOOD) :] == [
        "✓ Channel C0BILLING: can be posted in",
        "✓ Channel C0PUBLIC: can be posted in",
        "✓ User group S0BILLING: 2 members",
    ]


async def test_nobody_sees_a_message_and_nothing_stays_scheduled(scene: Scene) -> None:
    await scene.lines(unlatch_channels=frozenset({"C0PUBLIC", "C0BILLING", "C0READONLY"}))
    channels = scene.slack.workspace.channels
    assert not [m for c in channels for m in scene.slack.workspace.everything(c)]
    methods = [call.method for call in scene.slack.calls]
    assert methods.count("chat.deleteScheduledMessage") == 2
    assert "chat.postMessage" not in methods


async def test_fusebill_is_only_read(scene: Scene) -> None:
    await scene.lines()
    assert {call.method for call in scene.fusebill.calls} == {"GET"}


async def test_the_ledger_is_left_as_it_is(scene: Scene) -> None:
    before = (scene.folder / "ledger.db").read_bytes()
    await scene.lines()
    assert (scene.folder / "ledger.db").read_bytes() == before


async def test_socket_mode_is_tried_with_the_app_token(scene: Scene) -> None:
    lines = await scene.lines(slack_app_token=scene.slack.app_token)
    assert lines[2] == "✓ Socket Mode: Slack opens a connection for the app-level token"


def refuse(error: str) -> Callable[[Scene], None]:
    return lambda scene: scene.slack.faults.fail("auth.test", error=error)


def lack(*scopes: str) -> Callable[[Scene], None]:
    return lambda scene: scene.slack.workspace.scopes.difference_update(scopes)


def misbehave(kind: str) -> Callable[[Scene], None]:
    return lambda scene: scene.fusebill.misbehave(kind, times=None)


def nothing(_scene: Scene) -> None:
    pass


def drop_ledger(scene: Scene) -> None:
    (scene.folder / "ledger.db").unlink()


def empty_ledger(scene: Scene) -> None:
    (scene.folder / "ledger.db").write_bytes(b"")


def no_ledger(scene: Scene) -> None:
    (scene.folder / "ledger.db").write_bytes(b"this is no database, and long enough " * 40)


def newer_ledger(scene: Scene) -> None:
    engine = open_engine(f"sqlite:///{scene.folder}/ledger.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()


GROUP = {"unlatch_confirmers": frozenset({"S0BILLING"})}
CHANNEL = {"unlatch_channels": frozenset({"C0PRIVATE"})}
WRONG: dict[str, tuple[Callable[[Scene], None], dict[str, Any], str, str]] = {
    "bot token refused": (
        *(nothing, {"slack_bot_token": "xoxb-wrong"}),
        *("✗ Slack's bot token: invalid_auth", "Copy SLACK_BOT_TOKEN anew"),
    ),
    "bot token revoked": (
        *(refuse("token_revoked"), {}),
        *("✗ Slack's bot token: token_revoked", "Copy SLACK_BOT_TOKEN anew"),
    ),
    "scope missing": (
        *(lack("chat:write.public"), {}),
        *("✗ Slack's bot token: lacks the scopes chat:write.public", "reinstall"),
    ),
    "scopes missing": (
        *(lack("commands", "chat:write"), {}),
        *("✗ Slack's bot token: lacks the scopes chat:write, commands", "manifest"),
    ),
    "no way in": (
        *(nothing, {"slack_signing_secret": None}),
        *("✗ Slack's requests: no way in is set up", "SLACK_SIGNING_SECRET (for http)"),
    ),
    "signing secret too short": (
        *(nothing, {"slack_signing_secret": SECRET[:-1]}),
        *("✗ Slack's signing secret: is not of the right form", "32 digits and a to f"),
    ),
    "signing secret no hex": (
        *(nothing, {"slack_signing_secret": "x" * 32}),
        *("✗ Slack's signing secret: is not of the right form", "Copy SLACK_SIGNING_SECRET anew"),
    ),
    "app token refused": (
        *(nothing, {"slack_app_token": "xapp-wrong"}),
        *("✗ Socket Mode: invalid_auth", "the scope connections:write"),
    ),
    "key refused": (
        *(nothing, {"fusebill_api_key": "MDp3cm9uZw=="}),
        *("✗ Fusebill: refuses the API key (HTTP 400)", "Copy FUSEBILL_API_KEY anew, as it is"),
    ),
    "key unauthorized": (
        *(misbehave("unauthorized"), {}),
        *("✗ Fusebill: refuses the API key (HTTP 401)", "Copy FUSEBILL_API_KEY anew"),
    ),
    "fusebill down": (
        *(misbehave("unavailable"), {}),
        *("✗ Fusebill: no usable answer", "try again in a minute"),
    ),
    "fusebill says nothing": (
        *(misbehave("empty"), {}),
        *("✗ Fusebill: no usable answer", "Is FUSEBILL_BASE_URL right?"),
    ),
    "slack is unwell": (
        lambda scene: scene.slack.faults.fail("auth.test", status=503),
        *({}, "✗ Slack's bot token: http_503", "may this machine reach it? Try again in a minute"),
    ),
    "a channel where slack is unwell": (
        lambda scene: scene.slack.faults.fail("chat.scheduleMessage", status=503),
        {"unlatch_channels": frozenset({"C0BILLING"})},
        *("✗ Channel C0BILLING: can't be posted in (http_503)", "may this machine reach it?"),
    ),
    "signing secret beside an app token": (
        nothing,
        *({"slack_app_token": "xapp-sandbox", "slack_signing_secret": "nonsense"},),
        *("✗ Slack's signing secret: is not of the right form", "Copy SLACK_SIGNING_SECRET anew"),
    ),
    "fusebill is another host": (
        *(misbehave("html"), {}),
        *("✗ Fusebill: no usable answer", "Is FUSEBILL_BASE_URL right?"),
    ),
    "fusebill address with a wrong path": (
        lambda scene: setattr(scene.fusebill, "url", scene.fusebill.url.replace("v1", "v2")),
        *({}, "✗ Fusebill: no usable answer", "Is FUSEBILL_BASE_URL right?"),
    ),
    "no ledger": (
        *(drop_ledger, {}),
        *("✗ Ledger (SQLite): there is no ledger at", "python -m bot migrate"),
    ),
    "empty ledger": (
        *(empty_ledger, {}),
        *(f"✗ Ledger (SQLite): version none, not {REVISION}", "Run: python -m bot migrate"),
    ),
    "a file that is no ledger": (
        *(no_ledger, {}),
        *("✗ Ledger (SQLite): file is not a database", "Check DATABASE_URL"),
    ),
    "newer ledger": (
        *(newer_ledger, {}),
        *(f"✗ Ledger (SQLite): version 9999, not {REVISION}", "or the newer bot"),
    ),
    "private channel": (
        *(nothing, CHANNEL),
        *("✗ Channel C0PRIVATE: can't be posted in (channel_not_found)", "/invite @unlatch"),
    ),
    "archived channel": (
        *(nothing, {"unlatch_channels": frozenset({"C0ARCHIVED"})}),
        *("✗ Channel C0ARCHIVED: can't be posted in (is_archived)", "UNLATCH_CHANNELS"),
    ),
    "read-only channel": (
        *(nothing, {"unlatch_channels": frozenset({"C0READONLY"})}),
        *("✗ Channel C0READONLY: can't be posted in (restricted_action)", "UNLATCH_CHANNELS"),
    ),
    "unknown user group": (
        *(nothing, {"unlatch_requesters": frozenset({"S0NOSUCH"})}),
        *("✗ User group S0NOSUCH: can't be read (no_such_subteam)", "Is the id right"),
    ),
}


@pytest.mark.parametrize(("cause", "changes", "line", "fix"), WRONG.values(), ids=WRONG)
async def test_what_is_wrong_is_named_alone_and_with_its_fix(
    scene: Scene,
    cause: Callable[[Scene], None],
    changes: dict[str, Any],
    line: str,
    fix: str,
) -> None:
    cause(scene)
    (wrong,) = await scene.wrong(**changes)
    first, second = wrong.splitlines()
    assert first.startswith(line)
    assert fix in second


async def test_a_group_without_its_scope_is_told_for_token_and_group(scene: Scene) -> None:
    lack("usergroups:read")(scene)
    assert [line.splitlines()[0] for line in await scene.wrong(**GROUP)] == [
        "✗ Slack's bot token: lacks the scopes usergroups:read",
        "✗ User group S0BILLING: can't be read (missing_scope)",
    ]


async def test_without_groups_their_scope_is_not_asked_for(scene: Scene) -> None:
    lack("usergroups:read")(scene)
    assert await scene.wrong() == []


@pytest.fixture
def nobody() -> Iterator[int]:
    """A port on which nobody listens."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.mark.parametrize(
    ("name", "url", "line"),
    [
        ("fusebill_base_url", "http://127.0.0.1:{}/v1", "✗ Fusebill: can't be reached"),
        ("slack_api_url", "http://127.0.0.1:{}/api/", "✗ Slack's bot token: Client"),
        ("database_url", "postgres://bot:s3cr3t@127.0.0.1:{}/ledger", "✗ Ledger (PostgreSQL): "),
    ],
)
async def test_a_host_that_does_not_answer_is_told(
    scene: Scene, nobody: int, name: str, url: str, line: str
) -> None:
    (wrong,) = await scene.wrong(**{name: url.format(nobody)})
    assert wrong.startswith(line)
    assert "s3cr3t" not in wrong


async def test_a_postgresql_ledger_is_looked_at_too(scene: Scene, postgresql_url: str) -> None:
    lines = await scene.lines(database_url=postgresql_url)
    assert lines[4] == f"✓ Ledger (PostgreSQL): answers, version {REVISION}"


async def test_all_that_is_wrong_is_told_in_one_go_and_no_secret_with_it(scene: Scene) -> None:
    secrets = {
        "slack_bot_token": "xoxb-wrong-secret",
        "slack_signing_secret": "signing-secret",
        "fusebill_api_key": "fusebill-secret",
        "database_url": "postgres://bot:database-secret@127.0.0.1:1/ledger",
    }
    wrong = await scene.wrong(**secrets, **GROUP, **CHANNEL)
    assert len(wrong) == 6
    assert not [value for value in secrets.values() if value in "".join(wrong)]
    assert "secret@" not in "".join(wrong)


def environment(monkeypatch: pytest.MonkeyPatch, settings: Settings) -> None:
    """The settings as a host hands them to a process."""
    for name, value in settings.model_dump(exclude_none=True).items():
        if isinstance(value, frozenset):
            continue
        plain = value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
        monkeypatch.setenv(name.upper(), plain)


Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def run(scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """`python -m bot check`: its exit code, output and errors."""

    async def ran(**changes: Any) -> tuple[int, str, str]:
        monkeypatch.chdir(scene.folder)
        environment(monkeypatch, scene.settings(**changes))
        code = await asyncio.to_thread(main, ["check"])
        out, err = capsys.readouterr()
        return code, out, err

    return ran


async def test_the_command_prints_each_line_and_ends_with_0(run: Run) -> None:
    assert await run() == (0, "\n".join(GOOD) + "\n", "")


async def test_the_command_ends_with_1_where_anything_is_wrong(run: Run) -> None:
    code, out, err = await run(fusebill_api_key="MDp3cm9uZw==")
    assert (code, err) == (1, "")
    assert [line[0] for line in out.splitlines() if line[0] != " "] == list("✓✓✓✗✓")
    assert "MDp3cm9uZw==" not in out


async def test_wrong_settings_are_told_a_line_each_and_end_with_1(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    await run()
    monkeypatch.setenv("SLACK_BOT_TOKEN", "my-password")
    monkeypatch.setenv("PORT", "many")
    code = await asyncio.to_thread(main, ["check"])
    lines = capsys.readouterr().out.splitlines()
    assert code == 1
    assert [line.split(":")[0] for line in lines] == ["✗ SLACK_BOT_TOKEN", "✗ PORT"]
    assert "my-password" not in "".join(lines)
