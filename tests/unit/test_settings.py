"""Settings: read from the environment, with one line for each problem and never a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from bot.__main__ import main
from bot.settings import (
    WHERE,
    InvalidSettings,
    Mode,
    Settings,
    load,
    load_ledger,
)
from tests.support.rights import open_folder, without_rights

EXAMPLE = Path(__file__).parents[2] / ".env.example"
NAMES = [name.upper() for name in Settings.model_fields]
GOOD = {
    "SLACK_BOT_TOKEN": "xoxb-1",
    "SLACK_SIGNING_SECRET": "signing",
    "SLACK_APP_TOKEN": "xapp-1",
    "FUSEBILL_API_KEY": "MDpzYW5kYm94",
}
MARK = "s3cr3t"
GRAPHIC = frozenset(map(chr, range(0x21, 0x7F)))
SECRETS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")).map(
    lambda text: f"{MARK}{text}{MARK}"
)
WRONG = [
    ("SLACK_BOT_TOKEN", "xoxp-1", "must be a bot token, xoxb-…"),
    ("SLACK_BOT_TOKEN", "xoxb-é", "must be a bot token, xoxb-…"),
    ("SLACK_BOT_TOKEN", "xoxb-…", "still has the example's text"),
    ("SLACK_BOT_TOKEN", '"xoxb-1"', "must not have quotes around it"),
    ("SLACK_SIGNING_SECRET", " ", "must be the signing secret, as Slack's Basic Information shows"),
    ("SLACK_SIGNING_SECRET", "...", "still has the example's text"),
    ("SLACK_APP_TOKEN", "xoxb-1", "must be an app-level token, xapp-…"),
    ("FUSEBILL_API_KEY", "MDpz YW5k", "must be the key as Fusebill shows it, one line of base64"),
    ("FUSEBILL_API_KEY", "clé", "must be the key as Fusebill shows it, one line of base64"),
    ("FUSEBILL_API_KEY", "'MDpzYW5k'", "must not have quotes around it"),
    ("SLACK_API_URL", "slack.com", "must be an address like https://host/path"),
    ("SLACK_API_URL", "http://slack.com/api/", "must begin with https://"),
    ("FUSEBILL_BASE_URL", "http://127.0.0.1.evil.example/", "must begin with https://"),
    ("FUSEBILL_BASE_URL", "https://u:p@h/v1", "must not contain a user name or password"),
    ("FUSEBILL_BASE_URL", "https://h:port/", "must be an address like https://host/path"),
    ("FUSEBILL_BASE_URL", "https://[::1/", "must be an address like https://host/path"),
    ("FUSEBILL_CUSTOMER_URL", "https://a.example/", "must contain {id} where the customer's id"),
    ("FUSEBILL_CUSTOMER_URL", "https://u:p@a.example/{id}", "must not contain a user name"),
    ("HUBSPOT_APP_URL", "app.hubspot.com", "must be an address like https://host/path"),
    ("HUBSPOT_PORTAL_ID", "portal", "must be the number of the HubSpot account"),
    ("DATABASE_URL", "mysql://u:p@h/db", "must be sqlite:///path or postgres://user:password@host"),
    ("DATABASE_URL", "postgres://u:p@h:x/db", "percent-encode"),
    ("DATABASE_URL", "postgres://h1:1,h2:2/db", "must name several servers like this"),
    ("DATABASE_URL", "sqlite:///:memory:", "must name a file"),
    ("DATABASE_URL", "sqlite:///file:x.db?uri=true", "must name a file"),
    ("DATABASE_URL", "sqlite:///q?x.db", "must have no parameter but ?timeout=<seconds>"),
    ("DATABASE_URL", "sqlite:///x.db?timeout=soon", "must have a number of seconds"),
    ("PORT", "http", "must be a whole number"),
    ("PORT", "65536", "must be at most 65535"),
    ("UNLATCH_CHANNELS", "#billing", "must be channel ids (C…), comma-separated"),
    ("UNLATCH_CHANNELS", "", "is set and empty"),
    ("UNLATCH_REQUESTERS", "U0ALICE,alice", "must be user ids (U…) and user group ids (S…)"),
    ("UNLATCH_CONFIRMERS", "@bob", "must be user ids (U…) and user group ids (S…)"),
    ("UNLATCH_CONFIRMERS", ",", "is set and empty; give it a value, or remove it"),
    ("UNLATCH_NOTIFY", "@bob", "must be user ids (U…) and user group ids (S…)"),
    ("UNLATCH_TEAMS", "acme", "must be workspace ids (T…) and organisation ids (E…)"),
    ("UNLATCH_TWO_PERSON", "maybe", "must be true or false"),
    ("UNLATCH_TWO_PERSON", "", "is set and empty"),
    ("UNLATCH_REQUIRE_REASON", "2", "must be true or false"),
    ("UNLATCH_EXPIRES_AFTER_S", "1h", "must be a whole number"),
    ("UNLATCH_EXPIRES_AFTER_S", "0", "must be at least 1"),
    ("UNLATCH_RECHECK_AFTER_S", "604801", "must be at most 604800"),
    ("LOG_LEVEL", "LOUD", "must be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"),
    ("LOG_FORMAT", "xml", "must be 'json' or 'console'"),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for name in [*NAMES, "DYNO"]:
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def set_variables(monkeypatch: pytest.MonkeyPatch, values: Mapping[str, str]) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def problems(mode: Mode = "http") -> list[str]:
    with pytest.raises(InvalidSettings) as caught:
        load(mode)
    return caught.value.problems


def test_the_required_settings_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, GOOD)
    settings = load("http")
    assert settings.slack_bot_token.get_secret_value() == "xoxb-1"
    assert settings.unlatch_expires_after_s == 900
    assert settings.database_url.get_secret_value() == "sqlite:///unlatch.db"
    assert settings.log_format == "json", "there is no terminal"


@pytest.mark.parametrize(
    ("mode", "missing"),
    [
        ("http", ["SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "FUSEBILL_API_KEY"]),
        ("socket", ["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "FUSEBILL_API_KEY"]),
    ],
)
def test_all_missing_settings_are_named_at_once_with_where_their_values_are(
    mode: Mode, missing: list[str]
) -> None:
    assert sorted(problems(mode)) == sorted(f"{n}: missing; it is at {WHERE[n]}" for n in missing)


@pytest.mark.parametrize(("name", "value", "expected"), WRONG)
def test_a_wrong_setting_is_one_line_that_names_the_variable_and_what_it_must_be(
    name: str, value: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_variables(monkeypatch, GOOD | {name: value})
    (line,) = problems("http")
    assert line.startswith(f"{name}: ")
    assert expected in line
    assert "\n" not in line


def test_every_wrong_value_and_every_wrong_name_has_its_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = {name: value for name, value, _expected in WRONG} | {"UNLATCH_TWOPERSON": "true"}
    set_variables(monkeypatch, GOOD | wrong)
    assert sorted(line.split(":")[0] for line in problems("socket")) == sorted(wrong)


def test_a_two_person_rule_with_only_one_person_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    alone = {"UNLATCH_REQUESTERS": "U0ALICE", "UNLATCH_CONFIRMERS": "U0ALICE"}
    set_variables(monkeypatch, GOOD | alone | {"UNLATCH_TWO_PERSON": "true"})
    (line,) = problems()
    assert line.startswith("UNLATCH_TWO_PERSON: ")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("UNLATCH_CHANNELS", " C0A , G0B,, ", frozenset({"C0A", "G0B"})),
        ("UNLATCH_TEAMS", "T0A, E0B", frozenset({"T0A", "E0B"})),
        ("FUSEBILL_BASE_URL", "http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
        ("FUSEBILL_BASE_URL", "http://[::1]:8080/v1", "http://[::1]:8080/v1"),
        ("UNLATCH_TWO_PERSON", "true", True),
        ("UNLATCH_TWO_PERSON", "0", False),
        ("PORT", "", 3000),
        ("HUBSPOT_PORTAL_ID", "0777", "0777"),
    ],
)
def test_a_setting_is_parsed(
    name: str, value: str, expected: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_variables(monkeypatch, GOOD | {name: value})
    assert getattr(load("http"), name.lower()) == expected


def test_a_dotenv_in_the_working_folder_is_read_and_the_environment_overrides_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_variables(monkeypatch, GOOD)
    (folder / ".env").write_text("PORT=4000\nUNLATCH_CHANNELS=C0A\nSOMEBODY_ELSES=1\n")
    assert load("http").port == 4000
    assert load("http").unlatch_channels == {"C0A"}
    monkeypatch.setenv("PORT", "5000")
    assert load("http").port == 5000


def test_a_dotenv_that_is_not_text_is_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / ".env").write_bytes(b"FUSEBILL_API_KEY=\xff\xfe\n")
    assert main(["http"]) == 2
    assert capsys.readouterr().err == ".env: not readable as UTF-8 text\n"


@pytest.mark.parametrize(
    "line", [f'SLACK_BOT_TOKEN="{MARK}', f"FUSEBILL_API_KEY='{MARK}", f'PORT="3" {MARK}']
)
def test_a_line_of_the_dotenv_that_would_be_left_out_is_named_without_its_text(
    line: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_variables(monkeypatch, GOOD)
    (folder / ".env").write_text(f"# mine\nLOG_LEVEL=INFO\n{line}\nUNLATCH_TWO_PERSON=true\n")
    assert problems() == [".env: line 3 is no NAME=value, or a quote in it has no end"]


def test_the_copied_example_names_what_is_still_to_be_filled_in(folder: Path) -> None:
    (folder / ".env").write_text(EXAMPLE.read_text())
    required = ("SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "FUSEBILL_API_KEY")
    expected = [
        f"{name}: still has the example's text; put your own value there" for name in required
    ]
    assert sorted(problems()) == sorted(expected)


def test_on_a_dyno_the_ledger_must_be_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, GOOD | {"DYNO": "web.1"})
    (line,) = problems()
    assert line.startswith("DATABASE_URL: must be a PostgreSQL database")
    assert "heroku addons:create heroku-postgresql" in line
    url = "postgres://u:p%40ss@host:5432/db?sslmode=require"
    monkeypatch.setenv("DATABASE_URL", url)
    assert load("http").database_url.get_secret_value() == url


@pytest.mark.parametrize("password", ["s3cr3t", "x@s3cr3t", "s3cr3t%", "?s3cr3t=1"])
def test_an_unreachable_database_is_one_line_without_the_password(
    password: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"postgres://unlatch:{password}@127.0.0.1:1/ledger"
    set_variables(monkeypatch, {"DATABASE_URL": url})
    assert main(["migrate"]) in (1, 2)
    printed = capsys.readouterr().err
    assert printed.startswith("DATABASE_URL: ")
    assert printed.count("\n") == 1
    assert "cr3t" not in printed


@given(
    secret=SECRETS,
    name=st.sampled_from(["SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "FUSEBILL_API_KEY"]),
    other=st.sampled_from(NAMES),
    url=st.sampled_from(["mysql://u:{}@h/db", "postgres://u:{}@h:port/db", "{}"]),
)
def test_no_secret_is_ever_echoed(secret: str, name: str, other: str, url: str) -> None:
    values = GOOD | {"DATABASE_URL": url.format(secret), name: f" {secret}", other: secret}
    # PORT is always wrong, so there is at least one problem
    with pytest.MonkeyPatch.context() as monkeypatch:
        set_variables(monkeypatch, values | {"PORT": f"{secret}"})
        lines = problems("socket")
    assert MARK not in "\n".join(lines)
    assert all(re.match("[A-Z_]+: [^\n]+$", line) for line in lines)


@given(SECRETS)
def test_settings_never_show_a_secret(secret: str) -> None:
    settings = Settings.model_validate(
        {
            "slack_bot_token": "xoxb-1",
            "slack_signing_secret": "".join(filter(GRAPHIC.__contains__, secret)),
            "fusebill_api_key": MARK,
            "database_url": f"postgres://u:{MARK}@h/db",
        }
    )
    assert MARK not in repr(settings)
    assert MARK not in str(settings.model_dump())
    assert MARK not in settings.model_dump_json()


def example() -> dict[str, str]:
    """The settings in `.env.example`, including those commented out."""
    pairs = re.findall(r"^(?:# )?([A-Z][A-Z0-9_]*)=(.*)$", EXAMPLE.read_text(), re.MULTILINE)
    assert len(pairs) == len(dict(pairs))
    return dict(pairs)


def test_the_example_shows_the_defaults(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, GOOD)
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in example().items()))
    shown = load("socket").model_dump()
    (folder / ".env").unlink()
    defaults = load("socket").model_dump()
    # a list has no value that stands for its default, so the example shows one
    others = {name for name in shown if name.upper() not in GOOD and defaults[name] != frozenset()}
    assert {name: shown[name] for name in others} == {name: defaults[name] for name in others}


def test_only_the_required_settings_are_not_commented_out() -> None:
    lines = EXAMPLE.read_text().splitlines()
    live = {line.split("=")[0] for line in lines if line and not line.startswith("#")}
    assert live == {"SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "FUSEBILL_API_KEY"}


UNKNOWN = [
    ("UNLATCH_TWOPERSON", "; did you mean UNLATCH_TWO_PERSON?"),
    ("UNLATCH_ZZZZZZZZ", ""),
    ("FUSEBILL_KEY", "; did you mean FUSEBILL_API_KEY?"),
    ("UNLACTH_TWO_PERSON", "; did you mean UNLATCH_TWO_PERSON?"),
    ("DATABASE_URI", "; did you mean DATABASE_URL?"),
    ("unlatch_twoperson", "; did you mean UNLATCH_TWO_PERSON?"),
]


@pytest.mark.parametrize("where", ["environment", "dotenv"])
@pytest.mark.parametrize(("name", "hint"), UNKNOWN)
def test_a_mistyped_variable_is_one_line_that_names_what_was_meant(
    folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, hint: str, where: str
) -> None:
    set_variables(monkeypatch, GOOD)
    if where == "dotenv":
        (folder / ".env").write_text(f"{name}={MARK}\n")
    else:
        monkeypatch.setenv(name, MARK)
    assert problems() == [f"{name.upper()}: there is no such setting{hint}"]


def test_other_peoples_variables_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    slacks = ("SLACK_WEBHOOK_URL", "SLACK_BOT_TOKENS", "SLACK_CLIENT_SECRET", "HUBSPOT_API_KEY")
    hosts = ("HOSTNAME", "PORTS", "PGHOST", "PGPORT", "LOGNAME", "DATABASE_POOL_URL", "DYNO_RAM")
    others = ("LOG_LEVEL_OF_MINE", "HEROKU_POSTGRESQL_BLUE_URL", "PATH_TO_UNLATCH")
    set_variables(monkeypatch, GOOD | dict.fromkeys((*slacks, *hosts, *others), "x"))
    assert load("http").port == 3000


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HTTPS_PROXY", f"name:{MARK}@proxy:3128"),
        ("https_proxy", "proxy.example.com:3128"),
        ("HTTP_PROXY", f"http://name:{MARK}@proxy:99999"),
        ("http_proxy", f"http://name:{MARK}/@proxy:3128"),
        ("HTTPS_PROXY", f"socks5://name:{MARK}@proxy:1080"),
        ("HTTPS_PROXY", f"http://name:{MARK}@"),
        ("HTTPS_PROXY", f"http://name:{MARK}@[::1"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_one_line_without_its_password(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    set_variables(monkeypatch, GOOD | {name: value})
    (line,) = problems()
    assert line.startswith(f"{name}: must be an address like http://proxy.example.com:3128")
    assert MARK not in line
    monkeypatch.undo()
    monkeypatch.setenv(name, value)
    load_ledger()  # audit and migrate call nobody


@pytest.mark.parametrize(
    "value", ["", "http://proxy", "http://name:p%2Fw@proxy:3128", "https://[::1]:3128"]
)
def test_a_proxy_that_can_be_used_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    set_variables(monkeypatch, GOOD | {"HTTPS_PROXY": value})
    assert load("http").port == 3000


def test_a_mistyped_database_stops_audit_and_migrate_but_a_mistyped_rule_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    set_variables(monkeypatch, {"UNLATCH_TWOPERSON": "true"})
    load_ledger()
    monkeypatch.setenv("DATABASE_URI", "postgres://u:p@h/db")
    with pytest.raises(InvalidSettings, match=r"^DATABASE_URI: .* did you mean DATABASE_URL\?$"):
        load_ledger()


def put_secrets(
    folder: Path, monkeypatch: pytest.MonkeyPatch, values: Mapping[str, str | bytes]
) -> None:
    """Give each secret as a file."""
    secrets = folder / "credentials"
    secrets.mkdir()
    for name, value in values.items():
        (secrets / name).write_bytes(value.encode() if isinstance(value, str) else value)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(secrets))


def test_secrets_can_be_files_in_any_letters_and_with_a_byte_order_mark(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {name.lower(): f"{value}\n" for name, value in GOOD.items()}
    put_secrets(folder, monkeypatch, files | {"slack_bot_token": "\ufeffxoxb-1\r\n"})
    settings = load("http")
    assert settings.slack_bot_token.get_secret_value() == "xoxb-1"
    assert settings.fusebill_api_key.get_secret_value() == "MDpzYW5kYm94"
    # the environment and .env win over a file
    (folder / ".env").write_text("SLACK_BOT_TOKEN=xoxb-2\n")
    assert load("http").slack_bot_token.get_secret_value() == "xoxb-2"


def test_the_name_of_a_secrets_file_can_be_mistyped_too(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_variables(monkeypatch, GOOD)
    put_secrets(folder, monkeypatch, {"fusebill_key": MARK})
    assert problems() == ["FUSEBILL_KEY: there is no such setting; did you mean FUSEBILL_API_KEY?"]


def test_a_secret_that_is_not_text_is_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_secrets(folder, monkeypatch, GOOD | {"SLACK_BOT_TOKEN": b"\xff\xfe"})
    assert problems() == ["A file of secrets: not readable as UTF-8 text"]


@pytest.mark.parametrize(("name", "kind"), [("credentials", "folder"), ("SLACK_BOT_TOKEN", "file")])
def test_what_is_not_this_users_to_read_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    others = {each: value for each, value in GOOD.items() if each != "SLACK_BOT_TOKEN"}
    with open_folder() as folder:
        monkeypatch.chdir(folder)
        secrets = folder / "credentials"
        secrets.mkdir()
        (secrets / "SLACK_BOT_TOKEN").write_text("xoxb-1")
        closed = secrets if kind == "folder" else secrets / name
        set_variables(monkeypatch, others | {"CREDENTIALS_DIRECTORY": str(secrets)})
        closed.chmod(0)
        with without_rights():
            found = problems()
        closed.chmod(0o700)
        monkeypatch.undo()
    assert found == [f"{closed}: can't be read: Permission denied"]


@pytest.mark.parametrize("name", ["SLACK_SIGNING_SECRET", "FUSEBILL_API_KEY", "DATABASE_URL"])
def test_a_variable_with_the_path_of_a_secret_says_how_to_give_the_secret(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    given = {"DATABASE_URL": "sqlite:///ledger.db"} | GOOD
    set_variables(monkeypatch, given | {f"{name}_FILE": "/run/secrets/it"})
    load("http")  # beside the secret it may stay
    monkeypatch.delenv(name)
    expected = f"put the file's text into {name}, or name the file /run/secrets/{name}"
    assert problems()[0] == f"{name}_FILE: is not read; {expected}"
