"""The environment is checked once, and what is wrong with it is said in a line each."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given, strategies as st

from bot.__main__ import main
from bot.sandbox.slack.simulator import SimulatedSlack
from bot.settings import InvalidSettings, LedgerSettings, Mode, Settings, load, load_ledger

EXAMPLE = Path(__file__).parents[2] / ".env.example"
NAMES = [name.upper() for name in Settings.model_fields]
GOOD = {
    "SLACK_BOT_TOKEN": "xoxb-1",
    "SLACK_SIGNING_SECRET": "signing",
    "SLACK_APP_TOKEN": "xapp-1",
    "FUSEBILL_API_KEY": "MDpzYW5kYm94",
}
MARK = "s3cr3t"
SECRETS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).map(
    lambda noise: f"{MARK}{noise}{MARK}"
)
WRONG = [
    ("SLACK_BOT_TOKEN", "xoxp-1", "wants a bot token, xoxb-…"),
    ("SLACK_BOT_TOKEN", "xoxb-1 ", "wants a bot token, xoxb-…"),
    (
        "SLACK_SIGNING_SECRET",
        " ",
        "wants the signing secret, as Slack's Basic Information shows it",
    ),
    ("SLACK_APP_TOKEN", "xoxb-1", "wants an app-level token, xapp-…"),
    ("SLACK_API_URL", "slack.com", "wants an address like https://host/path"),
    ("FUSEBILL_API_KEY", "MDpz YW5k", "wants the key as Fusebill shows it, one line of base64"),
    ("FUSEBILL_API_KEY", "clé", "wants the key as Fusebill shows it, one line of base64"),
    ("FUSEBILL_BASE_URL", "ftp://fusebill", "wants an address like https://host/path"),
    ("DATABASE_URL", "mysql://u:p@h/db", "wants sqlite:///path or postgres://user:password@host"),
    ("DATABASE_URL", "postgres://u:p@h:x/db", "percent-encoded"),
    ("PORT", "http", "should be a valid integer"),
    ("PORT", "65536", "less than or equal to 65535"),
    ("PORT", "-1", "greater than or equal to 0"),
    ("UNLATCH_CHANNELS", "#billing", "wants channel ids (C…), comma-separated"),
    ("UNLATCH_REQUESTERS", "U0ALICE,alice", "wants user ids (U…) and user group ids (S…)"),
    ("UNLATCH_CONFIRMERS", "@bob", "wants user ids (U…) and user group ids (S…)"),
    ("UNLATCH_TWO_PERSON", "maybe", "should be a valid boolean"),
    ("UNLATCH_REQUIRE_REASON", "2", "should be a valid boolean"),
    ("UNLATCH_EXPIRES_AFTER_S", "0", "greater than or equal to 1"),
    ("UNLATCH_EXPIRES_AFTER_S", "604801", "less than or equal to 604800"),
    ("HUBSPOT_PORTAL_ID", "portal", "should match pattern"),
    ("HUBSPOT_APP_URL", "app.hubspot.com", "wants an address like https://host/path"),
    ("FUSEBILL_CUSTOMER_URL", "https://a.example/", "wants {id} where the customer's id belongs"),
    ("LOG_LEVEL", "LOUD", "'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
    ("LOG_FORMAT", "xml", "'json' or 'console'"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and an environment without any setting."""
    monkeypatch.chdir(tmp_path)
    for name in [*NAMES, "DYNO"]:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def put(monkeypatch: pytest.MonkeyPatch, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def problems(mode: Mode = "http") -> list[str]:
    with pytest.raises(InvalidSettings) as caught:
        load(mode)
    return caught.value.problems


def test_the_required_settings_alone_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, GOOD)
    settings = load("http")
    assert settings.slack_bot_token.get_secret_value() == "xoxb-1"
    assert settings.unlatch_expires_after_s == 900
    assert settings.database_url.get_secret_value() == "sqlite:///unlatch.db"


@pytest.mark.parametrize(
    ("mode", "missing"),
    [
        ("http", ["SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "FUSEBILL_API_KEY"]),
        ("socket", ["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "FUSEBILL_API_KEY"]),
    ],
)
def test_all_that_is_missing_is_named_at_once(mode: Mode, missing: list[str]) -> None:
    assert sorted(problems(mode)) == sorted(f"{name}: is missing" for name in missing)


@pytest.mark.parametrize(("name", "value", "wants"), WRONG)
def test_a_wrong_setting_is_one_line_that_names_the_variable_and_what_it_wants(
    name: str, value: str, wants: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(monkeypatch, GOOD | {name: value})
    (line,) = problems("http")
    assert line.startswith(f"{name}: ")
    assert wants in line
    assert "\n" not in line


def test_every_setting_that_is_wrong_has_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {name: value for name, value, _wants in WRONG}
    put(monkeypatch, GOOD | wrong)
    assert sorted(line.split(":")[0] for line in problems("socket")) == sorted(wrong)


def test_a_two_person_rule_that_one_person_alone_falls_under_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = {"UNLATCH_REQUESTERS": "U0ALICE", "UNLATCH_CONFIRMERS": "U0ALICE"}
    put(monkeypatch, GOOD | alone | {"UNLATCH_TWO_PERSON": "true"})
    (line,) = problems()
    assert line.startswith("UNLATCH_TWO_PERSON: ")


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("UNLATCH_CHANNELS", " C0A , G0B,, ", frozenset({"C0A", "G0B"})),
        ("UNLATCH_CONFIRMERS", "U0A,W0B,S0C", frozenset({"U0A", "W0B", "S0C"})),
        ("UNLATCH_TWO_PERSON", "true", True),
        ("UNLATCH_TWO_PERSON", "0", False),
        ("PORT", "5000", 5000),
        ("PORT", "", 3000),
        ("HUBSPOT_PORTAL_ID", "0777", "0777"),
        ("FUSEBILL_CUSTOMER_URL", "https://a/{id}", "https://a/{id}"),
        ("LOG_LEVEL", "DEBUG", "DEBUG"),
    ],
)
def test_a_setting_is_read_as_it_is_meant(
    name: str, value: str, read: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(monkeypatch, GOOD | {name: value})
    assert getattr(load("http"), name.lower()) == read


def test_logs_are_json_where_nobody_watches(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, GOOD)
    assert load("http").log_format == "json"


def test_a_dotenv_in_the_working_folder_is_read(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(monkeypatch, GOOD)
    (folder / ".env").write_text("PORT=4000\nUNLATCH_CHANNELS=C0A\nSOMEBODY_ELSES=1\n")
    assert load("http").port == 4000
    assert load("http").unlatch_channels == {"C0A"}


def test_the_environment_wins_over_the_dotenv(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(monkeypatch, GOOD | {"PORT": "5000"})
    (folder / ".env").write_text("PORT=4000\n")
    assert load("http").port == 5000


def test_a_dotenv_that_is_no_text_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / ".env").write_bytes(b"FUSEBILL_API_KEY=\xff\xfe\n")
    assert main(["http"]) == 2
    assert capsys.readouterr().err == ".env: can't be read as UTF-8 text\n"


def test_sqlite_on_a_dyno_is_refused_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, GOOD | {"DYNO": "web.1"})
    (line,) = problems()
    assert line.startswith("DATABASE_URL: must be a PostgreSQL database")
    assert "heroku addons:create heroku-postgresql" in line


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_on_a_dyno_is_fine(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{scheme}://u:p%40ss@host:5432/db?sslmode=require"
    put(monkeypatch, GOOD | {"DYNO": "web.1", "DATABASE_URL": url})
    assert load("http").database_url.get_secret_value() == url


def test_migrating_needs_the_database_alone(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(monkeypatch, {"DATABASE_URL": "sqlite:///here.db"})
    assert type(load_ledger()) is LedgerSettings
    assert main(["migrate"]) == 0
    assert capsys.readouterr().out.startswith("The ledger is at version ")
    assert (folder / "here.db").exists()


@pytest.mark.parametrize("command", ["http", "socket", "migrate"])
def test_wrong_settings_end_with_code_2_and_a_line_each(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(monkeypatch, {"DATABASE_URL": "mysql://"})
    assert main([command]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert all(re.match("[A-Z_]+: ", line) for line in told.err.splitlines())
    assert "DATABASE_URL: wants" in told.err


@pytest.mark.parametrize(
    "password",
    [
        "s3cr3t",
        "s3cr3t/x",
        "x@s3cr3t",
        "s3:cr3t",
        "s3cr3t%",
        "#s3cr3t",
        "1/s3cr3t",
        "1?s3cr3t",
        "?s3cr3t=1",
    ],
)
def test_a_database_that_is_not_there_ends_with_one_line_and_no_password(
    password: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put(monkeypatch, {"DATABASE_URL": f"postgres://unlatch:{password}@127.0.0.1:1/ledger"})
    assert main(["migrate"]) in (1, 2)
    told = capsys.readouterr().err
    assert told.startswith("DATABASE_URL: ")
    assert told.count("\n") == 1
    assert "cr3t" not in told


@given(
    secret=SECRETS,
    name=st.sampled_from(["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "FUSEBILL_API_KEY"]),
    other=st.sampled_from(NAMES),
    url=st.sampled_from(["mysql://u:{}@h/db", "postgres://u:{}@h:port/db", "{}"]),
)
def test_no_secret_is_ever_echoed(secret: str, name: str, other: str, url: str) -> None:
    values = GOOD | {"DATABASE_URL": url.format(secret), name: f" {secret}", other: secret}
    # whatever else is right, this one is wrong
    with pytest.MonkeyPatch.context() as monkeypatch:
        put(monkeypatch, values | {"PORT": f"{secret}"})
        told = problems("socket")
    assert MARK not in "\n".join(told)
    assert all(re.match("[A-Z_]+: [^\n]+$", line) for line in told)


@given(SECRETS)
def test_settings_never_show_a_secret(secret: str) -> None:
    settings = Settings.model_validate(
        {
            "slack_bot_token": "xoxb-1",
            "slack_signing_secret": "".join(secret.split()),
            "fusebill_api_key": MARK,
            "database_url": f"postgres://u:{MARK}@h/db",
        }
    )
    assert MARK not in repr(settings)
    assert MARK not in str(settings.model_dump())
    assert MARK not in settings.model_dump_json()


def test_settings_do_not_change(monkeypatch: pytest.MonkeyPatch) -> None:
    put(monkeypatch, GOOD)
    settings = load("http")
    with pytest.raises(ValueError, match="frozen"):
        settings.port = 1


def example() -> dict[str, str]:
    """What `.env.example` says, its commented settings too."""
    pairs = re.findall(r"^(?:# )?([A-Z][A-Z0-9_]*)=(.*)$", EXAMPLE.read_text(), re.MULTILINE)
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


def test_every_setting_and_no_other_stands_in_the_example() -> None:
    assert sorted(example()) == sorted(NAMES)


def test_the_example_shows_the_defaults(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in example().items()))
    shown = load("socket").model_dump()
    (folder / ".env").unlink()
    put(monkeypatch, GOOD)
    defaults = load("socket").model_dump()
    told = {name: value for name, value in shown.items() if name.upper() not in GOOD}
    assert told == {name: value for name, value in defaults.items() if name.upper() not in GOOD}


def test_only_what_is_required_is_not_commented_out() -> None:
    lines = EXAMPLE.read_text().splitlines()
    live = {line.split("=")[0] for line in lines if line and not line.startswith("#")}
    assert live == {"SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "FUSEBILL_API_KEY"}


async def run(environment: Mapping[str, str]) -> tuple[int | None, str]:
    """Run the bot as its host does, to its end: the exit code and what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot",
        "http",
        env={**os.environ, "PYTHONPATH": str(EXAMPLE.parent), "HOST": "127.0.0.1", **environment},
        stderr=asyncio.subprocess.PIPE,
    )
    _out, err = await process.communicate()
    return process.returncode, err.decode()


async def test_a_token_that_slack_refuses_ends_with_code_1_and_one_line() -> None:
    async with SimulatedSlack(bot_token="xoxb-another") as slack:
        code, told = await run(GOOD | {"SLACK_API_URL": slack.api_url, "PORT": "0"})
    assert code == 1
    assert told == "Slack did not let the bot in (invalid_auth): check SLACK_BOT_TOKEN\n"


async def test_a_port_that_is_taken_ends_with_code_1_and_one_line() -> None:
    runner = web.AppRunner(web.Application())
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    async with SimulatedSlack(bot_token="xoxb-1") as slack:
        code, told = await run(GOOD | {"SLACK_API_URL": slack.api_url, "PORT": str(port)})
    await runner.cleanup()
    assert code == 1
    assert told.splitlines()[-1].startswith("can't listen there: Address already in use")
    assert "Traceback" not in told
