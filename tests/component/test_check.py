"""`python -m bot check`: what it reports for each fault, caused over the wire."""

from __future__ import annotations

import asyncio
import re
import socket
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bot.__main__ import main
from bot.app.check import check
from bot.ledger.database.engine import open_engine
from bot.ledger.tables import REVISION
from bot.sandbox.fusebill.simulator import SimulatedFusebill
from bot.sandbox.slack.simulator import SimulatedSlack
from bot.settings import Settings
from tests.support.ledger import create
from tests.support.postgresql import read_only
from tests.support.world import settings_for

SECRET = "0123456789abcdef" * 2
Run = Callable[..., Awaitable[tuple[int, str, str]]]
READERS = (
    "✓ Readers: a card shows a customer's name, email and ids to all in its channel, also to guests"
    " and to other organisations that it is shared with"
)
GOOD = [
    "✓ Settings: valid",
    "✓ Slack's bot token: unlatch in Sandbox, with all scopes",
    "✓ Slack's signing secret: well-formed (only a request from Slack can verify it)",
    "✓ Fusebill: accepts the API key; 999 calls left this minute, 179999 today",
    f"✓ Ledger (SQLite): version {REVISION}, takes writes",
    f"{READERS}; that may be any channel, until UNLATCH_CHANNELS is set",
]


@dataclass(slots=True)
class Scene:
    """The simulators, and settings that point the bot at them."""

    slack: SimulatedSlack
    fusebill: SimulatedFusebill
    folder: Path

    def settings(self, **changes: Any) -> Settings:
        values = {"slack_signing_secret": SECRET, "slack_app_token": None} | changes
        return settings_for(self.slack, self.fusebill, self.folder, **values)

    async def lines(self, **changes: Any) -> list[str]:
        return [str(result) async for result in check(self.settings(**changes))]

    async def wrong(self, **changes: Any) -> list[str]:
        """The failed checks, each with its fix."""
        return [line for line in await self.lines(**changes) if not line.startswith("✓ ")]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    create(f"sqlite:///{tmp_path}/ledger.db")
    async with SimulatedSlack() as slack, SimulatedFusebill() as fusebill:
        yield Scene(slack, fusebill, tmp_path)


async def test_a_correct_installation_passes_every_check(scene: Scene) -> None:
    assert await scene.lines() == GOOD


async def test_each_channel_and_user_group_has_its_own_line(scene: Scene) -> None:
    lines = await scene.lines(
        unlatch_channels=frozenset({"C0PUBLIC", "C0BILLING"}),
        unlatch_confirmers=frozenset({"S0BILLING", "U0ALICE"}),
    )
    assert lines[len(GOOD) :] == [
        "✓ Channel C0BILLING: the bot can post",
        "✓ Channel C0PUBLIC: the bot can post",
        "✓ User group S0BILLING: 2 members",
    ]


async def test_a_check_changes_nothing_and_nobody_sees_it(scene: Scene) -> None:
    before = (scene.folder / "ledger.db").read_bytes()
    lines = await scene.lines(unlatch_channels=frozenset({"C0PUBLIC", "C0BILLING", "C0READONLY"}))
    assert lines[5] == READERS
    channels = scene.slack.workspace.channels
    assert not [m for c in channels for m in scene.slack.workspace.everything(c)]
    methods = [call.method for call in scene.slack.calls]
    assert methods.count("chat.deleteScheduledMessage") == 2
    assert "chat.postMessage" not in methods
    assert {call.method for call in scene.fusebill.calls} == {"GET"}
    assert (scene.folder / "ledger.db").read_bytes() == before


async def test_the_app_token_is_checked_with_a_socket_mode_connection(scene: Scene) -> None:
    lines = await scene.lines(slack_app_token=scene.slack.app_token)
    assert lines[2] == "✓ Socket Mode: Slack accepts the app-level token"


def refuse(error: str) -> Callable[[Scene], None]:
    return lambda scene: scene.slack.faults.fail("auth.test", error=error)


def cant_post(error: str) -> Callable[[Scene], None]:
    return lambda scene: scene.slack.faults.fail("chat.scheduleMessage", error=error)


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


def corrupt_ledger(scene: Scene) -> None:
    (scene.folder / "ledger.db").write_bytes(b"this is not a database, and long enough " * 40)


def newer_ledger(scene: Scene) -> None:
    engine = open_engine(f"sqlite:///{scene.folder}/ledger.db")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    engine.dispose()


GROUP = {"unlatch_confirmers": frozenset({"S0BILLING"})}
CHANNEL = {"unlatch_channels": frozenset({"C0PRIVATE"})}
BILLING = {"unlatch_channels": frozenset({"C0BILLING"})}
WRONG: dict[str, tuple[Callable[[Scene], None], dict[str, Any], str, str]] = {
    "bot token refused": (
        *(nothing, {"slack_bot_token": "xoxb-wrong"}),
        *("✗ Slack's bot token: invalid_auth", "copy SLACK_BOT_TOKEN again"),
    ),
    "bot token revoked": (
        *(refuse("token_revoked"), {}),
        *("✗ Slack's bot token: token_revoked", "copy SLACK_BOT_TOKEN again"),
    ),
    "scope missing": (
        *(lack("chat:write.public"), {}),
        *("✗ Slack's bot token: missing scopes: chat:write.public", "reinstall"),
    ),
    "scopes missing": (
        *(lack("commands", "chat:write"), {}),
        *("✗ Slack's bot token: missing scopes: chat:write, commands", "manifest"),
    ),
    "neither http nor socket mode": (
        *(nothing, {"slack_signing_secret": None}),
        *("✗ Slack's requests: neither HTTP nor Socket Mode is set up", "(for http)"),
    ),
    "signing secret too short": (
        *(nothing, {"slack_signing_secret": SECRET[:-1]}),
        *("✗ Slack's signing secret: malformed", "32 characters, 0-9 and a-f"),
    ),
    "signing secret not hex": (
        *(nothing, {"slack_signing_secret": "x" * 32}),
        *("✗ Slack's signing secret: malformed", "Copy SLACK_SIGNING_SECRET again"),
    ),
    "app token refused": (
        *(nothing, {"slack_app_token": "xapp-wrong"}),
        *("✗ Socket Mode: invalid_auth", "the scope connections:write"),
    ),
    "key refused": (
        *(nothing, {"fusebill_api_key": "MDp3cm9uZw=="}),
        *("✗ Fusebill: refuses the API key (HTTP 400)", "Copy FUSEBILL_API_KEY again, exactly as"),
    ),
    "key unauthorized": (
        *(misbehave("unauthorized"), {}),
        *("✗ Fusebill: refuses the API key (HTTP 401)", "Copy FUSEBILL_API_KEY again"),
    ),
    "fusebill down": (
        *(misbehave("unavailable"), {}),
        *("✗ Fusebill: Fusebill is not available (HTTP 503). “The service is", "Try again later"),
    ),
    "fusebill answers with an empty body": (
        *(misbehave("empty"), {}),
        *("✗ Fusebill: The answer was not in Fusebill's form", "check FUSEBILL_BASE_URL,"),
    ),
    "slack unavailable": (
        lambda scene: scene.slack.faults.fail("auth.test", status=503),
        *({}, "✗ Slack's bot token: http_503", "this machine can reach Slack"),
    ),
    "a page instead of slack": (
        lambda scene: scene.slack.faults.answer_as_proxy("auth.test", "page_403"),
        *({}, "✗ Slack's bot token: http_403", "check SLACK_API_URL, and what stands between"),
    ),
    "slack address with a wrong path": (
        nothing,
        *({"slack_api_url": "SLACK/"}, "✗ Slack's bot token: http_404", "check SLACK_API_URL"),
    ),
    "slack's rate limit": (
        lambda scene: scene.slack.faults.fail("auth.test", status=429, retry_after=7),
        *({}, "✗ Slack's bot token: ratelimited", "Slack answers, but accepts no more calls now"),
    ),
    "slack unavailable for a channel": (
        lambda scene: scene.slack.faults.fail("chat.scheduleMessage", status=503),
        {"unlatch_channels": frozenset({"C0BILLING"})},
        *("✗ Channel C0BILLING: not checked (http_503)", "this machine can reach Slack"),
    ),
    "signing secret beside an app token": (
        nothing,
        *({"slack_app_token": "xapp-sandbox", "slack_signing_secret": "nonsense"},),
        *("✗ Slack's signing secret: malformed", "Copy SLACK_SIGNING_SECRET again"),
    ),
    "fusebill answers with html": (
        *(misbehave("html"), {}),
        *("✗ Fusebill: The answer was not in Fusebill's form", "check FUSEBILL_BASE_URL,"),
    ),
    "somebody in front of fusebill": (
        lambda scene: scene.fusebill.misbehave("html", times=None, status=403),
        *({}, "✗ Fusebill: Something in front of Fusebill answered", "allowed IP addresses"),
    ),
    "fusebill address with a wrong path": (
        lambda scene: setattr(scene.fusebill, "url", scene.fusebill.url.replace("v1", "v2")),
        *({}, "✗ Fusebill: This does not look like Fusebill's API", "check FUSEBILL_BASE_URL:"),
    ),
    "no ledger": (
        *(drop_ledger, {}),
        *("✗ Ledger (SQLite): there is no ledger at", "python -m bot migrate"),
    ),
    "empty ledger": (
        *(empty_ledger, {}),
        *(f"✗ Ledger (SQLite): version none, expected {REVISION}", "Run: python -m bot migrate"),
    ),
    "a file that is not a ledger": (
        *(corrupt_ledger, {}),
        *("✗ Ledger (SQLite): file is not a database", "Check DATABASE_URL"),
    ),
    "newer ledger": (
        *(newer_ledger, {}),
        *(f"✗ Ledger (SQLite): version 9999, expected {REVISION}", "update the bot"),
    ),
    "private channel": (
        *(nothing, CHANNEL),
        *("✗ Channel C0PRIVATE: the bot can't post (channel_not_found)", "Type /invite and the"),
    ),
    "archived channel": (
        *(nothing, {"unlatch_channels": frozenset({"C0ARCHIVED"})}),
        *("✗ Channel C0ARCHIVED: the bot can't post (is_archived)", "Unarchive that channel, or"),
    ),
    "read-only channel": (
        *(nothing, {"unlatch_channels": frozenset({"C0READONLY"})}),
        *(
            "✗ Channel C0READONLY: the bot can't post (restricted_action)",
            "posting permissions, or",
        ),
    ),
    "channel for replies only": (
        *(cant_post("restricted_action_thread_only_channel"), BILLING),
        *(
            "✗ Channel C0BILLING: the bot can't post (restricted",
            "Only replies may be posted there",
        ),
    ),
    "channel without replies": (
        *(cant_post("restricted_action_non_threadable_channel"), BILLING),
        *("✗ Channel C0BILLING: the bot can't post (restricted", "No replies may be posted there"),
    ),
    "channel for reading only": (
        *(cant_post("restricted_action_read_only_channel"), BILLING),
        *("✗ Channel C0BILLING: the bot can't post (restricted", "the channel's posting perm"),
    ),
    "no scope to post": (
        *(cant_post("missing_scope"), BILLING),
        *("✗ Channel C0BILLING: the bot can't post (missing_scope)", "then reinstall the app."),
    ),
    "a list of allowed addresses": (
        *(refuse("invalid_auth"), {}),
        *("✗ Slack's bot token: invalid_auth", "a list of allowed IP addresses, add the one"),
    ),
    "a list of allowed addresses, in socket mode": (
        lambda scene: scene.slack.faults.fail("apps.connections.open", error="invalid_auth"),
        {"slack_app_token": "xapp-sandbox"},
        *("✗ Socket Mode: invalid_auth", "a list of allowed IP addresses, add the one"),
    ),
    "a code that nobody knows": (
        *(refuse("some_new_code"), {}),
        *("✗ Slack's bot token: some_new_code", "Look the code up at docs.slack.dev"),
    ),
    "no plan for user groups": (
        lambda scene: scene.slack.faults.fail(
            "usergroups.users.list", error="plan_upgrade_required"
        ),
        GROUP,
        *("✗ User group S0BILLING: the bot can't read it (plan_", "need a paid plan of Slack"),
    ),
    "unknown user group": (
        *(nothing, {"unlatch_requesters": frozenset({"S0NOSUCH"})}),
        *("✗ User group S0NOSUCH: the bot can't read it (no_such_subteam)", "Check the id"),
    ),
}


@pytest.mark.parametrize(("cause", "changes", "line", "fix"), WRONG.values(), ids=WRONG)
async def test_each_fault_is_reported_alone_and_with_its_fix(
    scene: Scene,
    cause: Callable[[Scene], None],
    changes: dict[str, Any],
    line: str,
    fix: str,
) -> None:
    cause(scene)
    if "slack_api_url" in changes:
        changes = changes | {"slack_api_url": scene.slack.url + "/elsewhere/"}
    (wrong,) = await scene.wrong(**changes)
    first, second = wrong.splitlines()
    assert first.startswith(line)
    assert fix in second


async def test_a_missing_user_group_scope_is_reported_for_token_and_group(scene: Scene) -> None:
    lack("usergroups:read")(scene)
    wrong = await scene.wrong(**GROUP)
    assert [line.splitlines()[0] for line in wrong] == [
        "✗ Slack's bot token: missing scopes: usergroups:read",
        "✗ User group S0BILLING: the bot can't read it (missing_scope)",
    ]
    assert "the manifest again (printed with --user-groups), then reinstall" in wrong[0]


async def test_an_answer_that_names_no_scopes_is_no_proof_that_any_is_missing(scene: Scene) -> None:
    scene.slack.workspace.names_scopes = False
    [line] = await scene.wrong()
    text, fix = line.splitlines()
    assert text == "! Slack's bot token: unlatch in Sandbox, but the answer named no scopes"
    assert fix.endswith(": chat:write, chat:write.public, commands.")


@pytest.mark.parametrize(
    ("ahead_s", "where"), [(40, "behind"), (-40, "ahead of"), (-290, "ahead of")]
)
async def test_a_clock_that_differs_from_slacks_is_a_warning(
    scene: Scene, ahead_s: float, where: str
) -> None:
    scene.slack.workspace.clock_ahead_s = ahead_s
    [line] = await scene.wrong()
    said = re.match(r"! Clock: this machine's is (\d+) s (.+) Slack's\n    Let NTP set it: ", line)
    assert said
    # the header has no fractions, and the answer was on its way for a moment
    assert abs(int(said[1]) - abs(ahead_s)) <= 3
    assert said[2] == where


@pytest.mark.parametrize("ahead_s", [310, -310])
async def test_a_clock_by_which_signatures_are_too_old_is_a_fault(
    scene: Scene, ahead_s: float
) -> None:
    scene.slack.workspace.clock_ahead_s = ahead_s
    [line] = await scene.wrong()
    assert line.startswith("✗ Clock: ")
    assert line.endswith("The bot takes no request signed 5 minutes away.")


async def test_a_slow_answer_is_no_proof_that_the_clock_is_wrong(scene: Scene) -> None:
    scene.slack.workspace.clock_ahead_s = -3
    assert await scene.wrong() == []


async def test_without_user_groups_their_scope_is_not_required(scene: Scene) -> None:
    lack("usergroups:read")(scene)
    assert await scene.wrong() == []


async def test_an_empty_group_of_confirmers_is_a_warning(scene: Scene) -> None:
    scene.slack.workspace.user_groups["S0BILLING"] = []
    (line,) = await scene.wrong(**GROUP)
    assert line.startswith("! User group S0BILLING: no members\n    Add its members")


async def test_one_member_is_counted_as_one(scene: Scene) -> None:
    scene.slack.workspace.user_groups["S0BILLING"] = ["U0BOB"]
    assert "✓ User group S0BILLING: 1 member" in await scene.lines(**GROUP)


async def test_two_persons_with_nobody_mentioned_are_a_warning(scene: Scene) -> None:
    (line,) = await scene.wrong(unlatch_two_person=True)
    assert line.startswith("! Rules: two people are needed, and nobody is mentioned")
    rung = await scene.wrong(unlatch_two_person=True, unlatch_notify=frozenset({"U0BOB"}))
    assert rung == []


@pytest.mark.parametrize("end", ["", "-shm"])
async def test_a_ledger_file_that_others_can_open_is_a_warning(scene: Scene, end: str) -> None:
    file = scene.folder / f"ledger.db{end}"
    with closing(sqlite3.connect(scene.folder / "ledger.db")) as held:
        # while it is open, SQLite keeps the -wal and -shm files
        held.execute("BEGIN")
        held.execute("SELECT * FROM requests").fetchall()
        file.chmod(0o640)
        wrong = await scene.wrong()
    assert wrong[0] == (
        f"! Ledger (SQLite): others on this machine can open {file} (mode 0640)\n"
        f"    Run: chmod 600 {file}"
    )


async def test_a_file_behind_a_link_that_others_can_open_is_a_warning(scene: Scene) -> None:
    (scene.folder / "link.db").symlink_to(scene.folder / "ledger.db")
    with closing(sqlite3.connect(scene.folder / "ledger.db")) as held:
        held.execute("BEGIN")
        held.execute("SELECT * FROM requests").fetchall()
        (scene.folder / "ledger.db-shm").chmod(0o640)
        [line] = await scene.wrong(database_url=f"sqlite:///{scene.folder}/link.db")
    assert f"Run: chmod 600 {scene.folder}/ledger.db-shm" in line


async def test_no_folder_is_taken_for_a_ledger_file_with_a_wrong_mode(scene: Scene) -> None:
    (scene.folder / "ledger").mkdir(mode=0o755)
    wrong = await scene.wrong(database_url=f"sqlite:///{scene.folder}/ledger")
    assert [line.split(":")[0] for line in wrong] == ["✗ Ledger (SQLite)"]


async def test_a_postgresql_that_takes_no_writes_is_a_fault(
    scene: Scene, postgresql_url: str
) -> None:
    read_only(postgresql_url)
    (line,) = await scene.wrong(database_url=postgresql_url)
    assert line.startswith("✗ Ledger (PostgreSQL): takes no writes: cannot execute UPDATE in a")


@pytest.mark.parametrize("fault", [{"status": 503, "times": 2}, {"drop": "after"}], ids=str)
async def test_the_test_message_is_deleted_though_slack_fails_or_its_answer_is_lost(
    scene: Scene, fault: dict[str, Any]
) -> None:
    scene.slack.faults.fail("chat.deleteScheduledMessage", **fault)
    assert await scene.wrong(**BILLING) == []
    assert scene.slack.scheduled == {}


async def test_a_test_message_that_stays_is_told_with_its_id_and_time(scene: Scene) -> None:
    scene.slack.faults.fail("chat.deleteScheduledMessage", error="internal_error", times=None)
    (line,) = await scene.wrong(**BILLING)
    assert line.startswith(
        "✗ Channel C0BILLING: the bot can post, but a test message is left (internal_error)\n"
        "    Delete Q000001 with chat.deleteScheduledMessage; it would show on 20"
    )


async def test_a_lost_answer_to_the_test_message_is_not_told_as_cannot_post(scene: Scene) -> None:
    scene.slack.faults.fail("chat.scheduleMessage", drop="after")
    (line,) = await scene.wrong(**BILLING)
    assert line.startswith("✗ Channel C0BILLING: not checked (")
    assert "it would show on 20" in line


async def test_a_user_group_to_notify_has_its_own_line(scene: Scene) -> None:
    scene.slack.workspace.user_groups["S0EMPTY"] = []
    notify = frozenset({"S0BILLING", "S0EMPTY", "S0NOSUCH", "U0BOB"})
    lines = [line.splitlines()[0] for line in await scene.lines(unlatch_notify=notify)]
    assert lines[len(GOOD) :] == [
        "✓ User group S0BILLING: 2 members are notified",
        "✗ User group S0EMPTY: has no members to notify",
        "✗ User group S0NOSUCH: can't be mentioned (no_such_subteam)",
    ]


async def test_a_user_group_to_notify_needs_no_scope(scene: Scene) -> None:
    lack("usergroups:read")(scene)
    assert await scene.wrong(unlatch_notify=frozenset({"S0BILLING"})) == []


@pytest.fixture
def unused_port() -> Iterator[int]:
    """A port that nothing listens on."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.mark.parametrize(
    ("name", "url", "line"),
    [
        (
            "fusebill_base_url",
            "http://127.0.0.1:{}/v1",
            "✗ Fusebill: can't be reached (connection refused: ",
        ),
        (
            "slack_api_url",
            "http://127.0.0.1:{}/api/",
            "✗ Slack's bot token: ClientConnectorError: Cannot connect to host 127.0.0.1:",
        ),
        ("database_url", "postgres://bot:s3cr3t@127.0.0.1:{}/ledger", "✗ Ledger (PostgreSQL): "),
    ],
)
async def test_a_host_that_does_not_answer_is_reported(
    scene: Scene, unused_port: int, name: str, url: str, line: str
) -> None:
    (wrong,) = await scene.wrong(**{name: url.format(unused_port)})
    assert wrong.startswith(line)
    assert f"Check {name.upper()}" in wrong
    assert "bot migrate" not in wrong
    assert "s3cr3t" not in wrong


async def test_a_postgresql_ledger_is_checked_too(scene: Scene, postgresql_url: str) -> None:
    lines = await scene.lines(database_url=postgresql_url)
    assert lines[4] == f"✓ Ledger (PostgreSQL): version {REVISION}, takes writes"


async def test_all_faults_are_reported_at_once_without_any_secret(scene: Scene) -> None:
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
    """Set the settings as environment variables."""
    for name, value in settings.model_dump(exclude_none=True).items():
        if isinstance(value, frozenset):
            continue
        plain = value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)
        monkeypatch.setenv(name.upper(), plain)


@pytest.fixture
def run(scene: Scene, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `python -m bot check`; returns its exit code, stdout and stderr."""

    async def ran(**changes: Any) -> tuple[int, str, str]:
        monkeypatch.chdir(scene.folder)
        environment(monkeypatch, scene.settings(**changes))
        code = await asyncio.to_thread(main, ["check"])
        out, err = capsys.readouterr()
        return code, out, err

    return ran


async def test_the_command_prints_each_result_and_exits_with_0_though_it_warns(
    run: Run, scene: Scene
) -> None:
    assert await run() == (0, "\n".join(GOOD) + "\n", "")
    (scene.folder / "ledger.db").chmod(0o644)
    code, out, err = await run()
    assert (code, err) == (0, "")
    assert "! Ledger (SQLite): others on this machine can open" in out


async def test_the_command_exits_with_1_if_a_check_fails(run: Run) -> None:
    code, out, err = await run(fusebill_api_key="MDp3cm9uZw==")
    assert (code, err) == (1, "")
    assert [line[0] for line in out.splitlines() if line[0] != " "] == list("✓✓✓✗✓✓")
    assert "MDp3cm9uZw==" not in out


async def test_each_wrong_setting_is_one_line_and_the_exit_code_is_1(
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


@pytest.mark.parametrize(
    "proxy",
    [
        "name:s3cr3t@proxy:3128",
        "http://name:s3cr3t@127.0.0.1:99999",
        "http://name:s3cr3t@127.0.0.1:1",
        "http://name:s3cr3t@no-such-host.invalid:3128",
    ],
)
async def test_no_proxys_password_is_printed(
    run: Run, monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy)
    code, out, err = await run(fusebill_base_url="https://fusebill.invalid/v1")
    assert (code, "s3cr3t" in out + err) == (1, False)
    assert "PROXY" in out
