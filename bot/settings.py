"""Reads and checks the settings: the environment, `.env` in the working folder, secrets' files."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict, SettingsError
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

from bot.environment import (
    AppToken,
    Channels,
    People,
    PortalId,
    ServerAddress,
    SigningSecret,
    Teams,
    WebAddress,
    broken_lines,
    check_sqlite,
    mistakes,
    secret,
    secrets_folders,
    variables,
    wrong_proxies,
)

Mode = Literal["http", "socket"]
MAX_LINK_LENGTH = 2000
BYTE_ORDER_MARK = "\N{ZERO WIDTH NO-BREAK SPACE}"
AnySettings = TypeVar("AnySettings", bound="LedgerSettings")


PLAIN_PROBLEMS = {
    "missing": "missing",
    "bool_parsing": "must be true or false",
    "int_parsing": "must be a whole number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
}
"""An admin's words for the library's. Source: docs.pydantic.dev/latest/errors/validation_errors"""


APP = "api.slack.com/apps > your app"
WHERE = {
    "SLACK_BOT_TOKEN": f"{APP} > OAuth & Permissions > Bot User OAuth Token",
    "SLACK_SIGNING_SECRET": f"{APP} > Basic Information > Signing Secret",
    "SLACK_APP_TOKEN": (
        f"{APP} > Basic Information > App-Level Tokens > Generate, with the scope connections:write"
    ),
    "FUSEBILL_API_KEY": "Fusebill (Stax Bill) > Settings > Integrations > API Key",
}
"""Where an admin finds the value of each secret."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the bot waits for what, in seconds. Not settings: only tests change them."""

    hold_s: float = 30.0
    """How long a process holds a job without renewing that, before another may take it over. As
    long as a call may take (`fusebill_write_s`), and half as long as one may run unseen: see
    `bot.domain.policy.sent_since`."""
    execution_s: float = 24.0
    """The limit for executing a request, retries included; calls that change something, and what is
    looked for after one that may still run, have their own."""
    fusebill_read_s: float = 8.0
    """The limit for one read or search in Fusebill."""
    fusebill_write_s: float = 30.0
    """The limit for one call that changes something in Fusebill: given up, it may still run."""
    looks_for_s: float = 30.0
    """How long a customer is read after a call that may still run, to see what comes of it."""
    retry_s: float = 0.3
    """The first pause after a call to Fusebill failed; it doubles with each further failure."""
    look_s: float = 0.5
    """The first pause before a customer is read again that a change does not show on yet; it
    doubles with each further look."""
    sweep_every_s: float = 2.0
    """The pause between two looks at which jobs are due."""
    forget_every_s: float = 600.0
    """The pause between two looks for what is kept no longer: people's acts, and response URLs."""
    working_after_s: float = 1.0
    """How long an execution may take before the card shows that it is in progress."""
    progress_every_s: float = 3.0
    """The least time between two updates of a card that shows how far the work is."""
    pause_s: float = 1.0
    """The first pause after Slack failed; it doubles with each further failure."""
    recheck_pause_s: float = 30.0
    """The first pause after a customer could not be read for its recheck; it doubles."""
    drains_for_s: float = 20.0
    """How long a stop waits for running work. Heroku kills the process after 30 s."""
    idle_s: float = 10.0
    """How long an HTTP connection may stay open without a complete request."""

    @property
    def hold(self) -> timedelta:
        """`hold_s` as the difference of two times."""
        return timedelta(seconds=self.hold_s)


class InvalidSettings(Exception):
    """Settings are missing or wrong; `problems` has one line for each, without its value."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class LedgerSettings(BaseSettings):
    """The one setting that `audit` and `migrate` need."""

    model_config = SettingsConfigDict(
        env_file=".env",
        # of the classes below, a process needs one
        defer_build=True,
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    database_url: SecretStr = SecretStr("sqlite:///unlatch.db")

    @field_validator("*", mode="before")
    @classmethod
    def _without_byte_order_mark(cls, value: object) -> object:
        """Windows editors and PowerShell put a mark that nobody sees before a file's text."""
        return value.removeprefix(BYTE_ORDER_MARK) if isinstance(value, str) else value

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: SecretStr) -> SecretStr:
        if not re.match(r"(sqlite:///|postgres(ql)?(\+psycopg)?://)", value.get_secret_value()):
            raise ValueError("must be sqlite:///path or postgres://user:password@host/database")
        if re.match(r"[^/]*//([^/?]*@)?[^@/?]*:[0-9]+,[^@/?]*([/?]|$)", value.get_secret_value()):
            raise ValueError(
                "must name several servers like this:"
                " postgres://user:password@/database?host=first:5432&host=second:5432"
            )
        # a password that is not encoded could end up in an error as part of the host or port
        try:
            url = make_url(value.get_secret_value())
            encoded = "@" not in (url.host or "")
        except (ArgumentError, ValueError):
            encoded = False
        if not encoded:
            raise ValueError(
                "must be postgres://user:password@host/database; in the password, percent-encode"
                " everything but letters and digits"
            )
        if url.drivername == "sqlite":
            check_sqlite(url, value.get_secret_value())
        return value

    @field_validator("database_url")
    @classmethod
    def _lasting_disk(cls, value: SecretStr) -> SecretStr:
        if "DYNO" in os.environ and value.get_secret_value().startswith("sqlite:"):
            raise ValueError(
                "must be a PostgreSQL database on Heroku: a dyno loses its disk, and so a SQLite"
                " ledger, at every restart (heroku addons:create heroku-postgresql)"
            )
        return value


class Settings(LedgerSettings):
    """All settings of the bot; `*_s` are seconds."""

    slack_bot_token: Annotated[SecretStr, secret("a bot token, xoxb-…", r"xoxb-[!-~]+")]
    slack_signing_secret: SigningSecret | None = None
    slack_app_token: AppToken | None = None
    slack_api_url: ServerAddress = "https://slack.com/api/"
    fusebill_api_key: Annotated[
        SecretStr, secret("the key as Fusebill shows it, one line of base64", r"[!-~]+")
    ]
    fusebill_base_url: ServerAddress = "https://secure.fusebill.com/v1"
    host: str = "0.0.0.0"  # noqa: S104  # the host routes requests to the process
    port: int = Field(default=3000, ge=0, le=65535)
    unlatch_channels: Channels = frozenset()
    unlatch_requesters: People = frozenset()
    unlatch_confirmers: People = frozenset()
    unlatch_teams: Teams = frozenset()
    unlatch_two_person: bool = False
    unlatch_require_reason: bool = False
    unlatch_move: bool = False
    unlatch_expires_after_s: int = Field(default=900, ge=1, le=7 * 24 * 3600)
    unlatch_notify: People = frozenset()
    unlatch_recheck_after_s: int = Field(default=3600, ge=0, le=7 * 24 * 3600)
    hubspot_portal_id: PortalId | None = None
    hubspot_app_url: WebAddress = "https://app.hubspot.com"
    fusebill_customer_url: WebAddress | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = Field(
        default_factory=lambda: "console" if sys.stderr.isatty() else "json"
    )

    @field_validator("fusebill_customer_url")
    @classmethod
    def _check_customer_url(cls, value: str | None) -> str | None:
        if value is not None and "{id}" not in value:
            raise ValueError("must contain {id} where the customer's id goes")
        if value is not None and len(value) > MAX_LINK_LENGTH:
            raise ValueError(f"must have at most {MAX_LINK_LENGTH} characters: Slack's limit")
        return value

    @model_validator(mode="after")
    def _two_person_rule_can_be_met(self) -> Self:
        confirmers = self.unlatch_confirmers
        alone = len(confirmers) == 1 and not next(iter(confirmers)).startswith("S")
        if self.unlatch_two_person and alone and confirmers == self.unlatch_requesters:
            raise ValueError(
                "UNLATCH_TWO_PERSON: only one person may ask, and only the same person may confirm"
            )
        return self

    @property
    def signing_secret(self) -> str:
        """The secret that Slack signs its requests with; empty if it is not set (Socket Mode)."""
        secret = self.slack_signing_secret
        return secret.get_secret_value() if secret else ""


class _HttpSettings(Settings):
    slack_signing_secret: SigningSecret


class _SocketSettings(Settings):
    slack_app_token: AppToken


def load(
    mode: Mode,
    **values: Any,  # noqa: ANN401  # whatever the fields take
) -> Settings:
    """Read the settings for one mode; `values` override the environment.

    Raises: InvalidSettings.
    """
    return checked(_HttpSettings if mode == "http" else _SocketSettings, **values)


def load_ledger() -> LedgerSettings:
    """Read `DATABASE_URL` alone. Raises: InvalidSettings."""
    return checked(LedgerSettings)


def checked(
    cls: type[AnySettings],
    **values: Any,  # noqa: ANN401  # whatever the fields take
) -> AnySettings:
    """Read the settings; `values` override the environment. Raises: InvalidSettings."""
    dotenv = values.get("_env_file", cls.model_config.get("env_file"))
    folders = secrets_folders()
    try:
        if broken := broken_lines(dotenv):
            raise InvalidSettings(broken)
        known, wanted = ({name.upper() for name in each.model_fields} for each in (Settings, cls))
        wrong_names = mistakes(variables(dotenv, folders), known, wanted)
        if issubclass(cls, Settings):
            wrong_names += wrong_proxies()
    except (OSError, UnicodeError) as error:
        raise InvalidSettings([_unreadable(error, ".env")]) from None
    try:
        settings = cls(**{"_secrets_dir": folders or None, **values})
    except ValidationError as error:
        wrong_values = [_line(dict(problem)) for problem in error.errors()]
        raise InvalidSettings(wrong_names + wrong_values) from None
    except (OSError, UnicodeError, SettingsError) as error:
        raise InvalidSettings([_unreadable(error, "A file of secrets")]) from None
    if wrong_names:
        raise InvalidSettings(wrong_names)
    return settings


def _unreadable(error: Exception, what: str) -> str:
    """One line; the system names the file or folder itself, perhaps one that is not this user's."""
    for each in (error, error.__cause__):
        if isinstance(each, OSError) and each.filename:
            return f"{each.filename}: can't be read: {each.strerror}"
    return f"{what}: not readable as UTF-8 text"


def _line(problem: dict[str, object]) -> str:
    """One problem as `NAME: what it must be`, without the value."""
    location = problem["loc"]
    name = str(location[0]).upper() if isinstance(location, tuple) and location else ""
    plain = PLAIN_PROBLEMS.get(str(problem["type"]))
    limits = problem.get("ctx")
    if plain is None:
        text = str(problem["msg"]).removeprefix("Value error, ")
    else:
        text = plain.format_map(limits if isinstance(limits, dict) else {})
    if problem["type"] == "missing" and name in WHERE:
        text += f"; it is at {WHERE[name]}"
    return f"{name}: {text}" if name else text
