"""The environment, checked once and frozen; a `.env` in the working folder is read too."""

from __future__ import annotations

import os
import re
import sys
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError

Mode = Literal["http", "socket"]
MAX_LINK_LENGTH = 2000
AnySettings = TypeVar("AnySettings", bound="LedgerSettings")


@dataclass(frozen=True, slots=True)
class Timing:
    """The clock in seconds.

    A worker's lease, the deed within it, the sweep, the working card; the first pause that Slack
    gets when it is unwell (it doubles); what a stop leaves to the work under way, of the 30 s that
    Heroku leaves to the process; and how long a connection may come with no whole request.
    """

    lease_s: float = 30.0
    execution_s: float = 24.0
    sweep_every_s: float = 2.0
    working_after_s: float = 1.0
    pause_s: float = 1.0
    drains_for_s: float = 20.0
    idle_s: float = 10.0


class InvalidSettings(Exception):
    """Settings are missing or wrong; `problems` holds one line for each, without any secret."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def _split(value: object) -> object:
    if isinstance(value, str):
        return frozenset(part.strip() for part in value.split(",") if part.strip())
    return value


def _ids(wanted: str, pattern: str) -> AfterValidator:
    def check(values: frozenset[str]) -> frozenset[str]:
        for value in sorted(values):
            if not re.fullmatch(pattern, value):
                # without the value: it may be a secret that was put into the wrong variable
                raise ValueError(f"wants {wanted}, comma-separated")
        return values

    return AfterValidator(check)


def _secret(wanted: str, pattern: str) -> AfterValidator:
    def check(value: SecretStr) -> SecretStr:
        # the value itself must never be part of the message
        if not re.fullmatch(pattern, value.get_secret_value()):
            raise ValueError(f"wants {wanted}")
        return value

    return AfterValidator(check)


def _web_address(value: str) -> str:
    if not re.fullmatch(r"https?://[^\s/?#]+[^\s]*", value):
        raise ValueError("wants an address like https://host/path")
    return value


WebAddress = Annotated[str, AfterValidator(_web_address)]
SigningSecret = Annotated[
    SecretStr, _secret("the signing secret, as Slack's Basic Information shows it", r"\S+")
]
AppToken = Annotated[SecretStr, _secret("an app-level token, xapp-…", r"xapp-\S+")]
People = Annotated[
    frozenset[str],
    NoDecode,
    BeforeValidator(_split),
    _ids("user ids (U…) and user group ids (S…)", "[UWS][A-Z0-9]+"),
]
Channels = Annotated[
    frozenset[str],
    NoDecode,
    BeforeValidator(_split),
    _ids("channel ids (C…)", "[CGD][A-Z0-9]+"),
]


class LedgerSettings(BaseSettings):
    """The one setting that `audit` and `migrate` need."""

    model_config = SettingsConfigDict(
        env_file=".env",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,
    )

    database_url: SecretStr = SecretStr("sqlite:///unlatch.db")

    @field_validator("database_url")
    @classmethod
    def _known_database(cls, value: SecretStr) -> SecretStr:
        if not re.match(r"(sqlite:///|postgres(ql)?(\+psycopg)?://)", value.get_secret_value()):
            raise ValueError("wants sqlite:///path or postgres://user:password@host/database")
        # what is taken apart wrongly would show half a password as a host or a port that is wrong
        try:
            apart = "@" not in (make_url(value.get_secret_value()).host or "")
        except (ArgumentError, ValueError):
            apart = False
        if not apart:
            raise ValueError(
                "wants postgres://user:password@host/database, with what is neither letter nor"
                " digit in the password percent-encoded"
            )
        return value

    @field_validator("database_url")
    @classmethod
    def _lasting_disk(cls, value: SecretStr) -> SecretStr:
        if "DYNO" in os.environ and value.get_secret_value().startswith("sqlite:"):
            raise ValueError(
                "must be a PostgreSQL database here: a Heroku dyno's disk is thrown away at every"
                " restart, and a SQLite ledger with it (heroku addons:create heroku-postgresql)"
            )
        return value


class Settings(LedgerSettings):
    """Everything the bot is told from outside; `*_s` are seconds."""

    slack_bot_token: Annotated[SecretStr, _secret("a bot token, xoxb-…", r"xoxb-\S+")]
    slack_signing_secret: SigningSecret | None = None
    slack_app_token: AppToken | None = None
    slack_api_url: WebAddress = "https://slack.com/api/"
    fusebill_api_key: Annotated[
        SecretStr, _secret("the key as Fusebill shows it, one line of base64", r"[!-~]+")
    ]
    fusebill_base_url: WebAddress = "https://secure.fusebill.com/v1"
    host: str = "0.0.0.0"  # noqa: S104  # a web process listens where its host routes to
    port: int = Field(default=3000, ge=0, le=65535)
    unlatch_channels: Channels = frozenset()
    unlatch_requesters: People = frozenset()
    unlatch_confirmers: People = frozenset()
    unlatch_two_person: bool = False
    unlatch_require_reason: bool = False
    unlatch_expires_after_s: int = Field(default=900, ge=1, le=7 * 24 * 3600)
    hubspot_portal_id: Annotated[str, Field(pattern=r"^[0-9]+$")] | None = None
    hubspot_app_url: WebAddress = "https://app.hubspot.com"
    fusebill_customer_url: WebAddress | None = None
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "console"] = Field(
        default_factory=lambda: "console" if sys.stderr.isatty() else "json"
    )

    @field_validator("fusebill_customer_url")
    @classmethod
    def _has_a_place_for_the_id(cls, value: str | None) -> str | None:
        if value is not None and "{id}" not in value:
            raise ValueError("wants {id} where the customer's id belongs")
        if value is not None and len(value) > MAX_LINK_LENGTH:
            raise ValueError(f"wants at most {MAX_LINK_LENGTH} characters, or Slack shows no link")
        return value

    @model_validator(mode="after")
    def _two_people_can_be_found(self) -> Self:
        only = self.unlatch_confirmers
        alone = len(only) == 1 and not next(iter(only)).startswith("S")
        if self.unlatch_two_person and alone and only == self.unlatch_requesters:
            raise ValueError(
                "UNLATCH_TWO_PERSON: the only one who may ask is the only one who may confirm"
            )
        return self


class _HttpSettings(Settings):
    slack_signing_secret: SigningSecret


class _SocketSettings(Settings):
    slack_app_token: AppToken


def load(mode: Mode) -> Settings:
    """Read the environment for one way of running.

    Raises: InvalidSettings.
    """
    return checked(_HttpSettings if mode == "http" else _SocketSettings)


def load_ledger() -> LedgerSettings:
    """Read `DATABASE_URL` alone.

    Raises: InvalidSettings.
    """
    return checked(LedgerSettings)


def checked(
    cls: type[AnySettings],
    **values: Any,  # noqa: ANN401  # whatever the fields take
) -> AnySettings:
    """Read the environment; `values` win over it.

    Raises: InvalidSettings.
    """
    try:
        return cls(**values)
    except ValidationError as error:
        raise InvalidSettings([_line(dict(problem)) for problem in error.errors()]) from None
    except (OSError, UnicodeError):
        raise InvalidSettings([".env: can't be read as UTF-8 text"]) from None


def _line(problem: dict[str, object]) -> str:
    """One problem as `NAME: what it wants`; never with the value it had."""
    location = problem["loc"]
    name = str(location[0]).upper() if isinstance(location, tuple) and location else ""
    if problem["type"] == "missing":
        return f"{name}: is missing"
    text = str(problem["msg"]).removeprefix("Value error, ")
    return f"{name}: {text}" if name else text
