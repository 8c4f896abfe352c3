"""What the values of settings must look like: a check says what is expected, never the value."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode
from sqlalchemy import URL

QUOTED = r"""(["']).*\1"""
EXAMPLE_ENDS = ("...", "…")
"""How `.env.example` and the README end what has to be filled in."""


def _split(value: object) -> object:
    if isinstance(value, str):
        return frozenset(part.strip() for part in value.split(",") if part.strip())
    return value


def _ids(expected: str, pattern: str) -> AfterValidator:
    def check(values: frozenset[str]) -> frozenset[str]:
        for value in sorted(values):
            if not re.fullmatch(pattern, value):
                # without the value: it may be a secret in the wrong variable
                raise ValueError(f"must be {expected}, comma-separated")
        return values

    return AfterValidator(check)


def secret(expected: str, pattern: str) -> AfterValidator:
    """A check that a secret is what is `expected`: its whole text matches the `pattern`."""

    def check(value: SecretStr) -> SecretStr:
        # the message must never contain the value
        if value.get_secret_value().endswith(EXAMPLE_ENDS):
            raise ValueError("still has the example's text; put your own value there")
        if re.fullmatch(QUOTED, value.get_secret_value()):
            # `docker run --env-file` and files of secrets keep them as part of the value
            raise ValueError("must not have quotes around it")
        if not re.fullmatch(pattern, value.get_secret_value()):
            raise ValueError(f"must be {expected}")
        return value

    return AfterValidator(check)


def _web_address(value: str) -> str:
    try:
        parts = urlsplit(value)
        # a port that is none raises here
        well_formed = bool(parts.hostname) and (parts.port or 0) >= 0
    except ValueError:
        well_formed = False
    if not well_formed or not re.fullmatch(r"https?://[^\s/?#]+[^\s]*", value):
        raise ValueError("must be an address like https://host/path")
    if "@" in parts.netloc:
        raise ValueError("must not contain a user name or password")
    return value


def _private_address(value: str) -> str:
    """Without TLS, everybody on the way could read the key that the bot sends along."""
    parts = urlsplit(value)
    if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
        raise ValueError("must begin with https://; http:// is for this machine alone")
    return value


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _portal(value: str) -> str:
    if not re.fullmatch("[0-9]+", value):
        raise ValueError("must be the number of the HubSpot account, like 1234567")
    return value


PortalId = Annotated[str, AfterValidator(_portal)]
WebAddress = Annotated[str, AfterValidator(_web_address)]
"""An address that people open."""
ServerAddress = Annotated[str, AfterValidator(_web_address), AfterValidator(_private_address)]
"""An address that the bot sends its secrets to."""
SigningSecret = Annotated[
    SecretStr, secret("the signing secret, as Slack's Basic Information shows it", r"[!-~]+")
]
AppToken = Annotated[SecretStr, secret("an app-level token, xapp-…", r"xapp-[!-~]+")]
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
Teams = Annotated[
    frozenset[str],
    NoDecode,
    BeforeValidator(_split),
    _ids("workspace ids (T…) and organisation ids (E…)", "[TE][A-Z0-9]+"),
]


def check_sqlite(url: URL, text: str) -> None:
    """Check that the address names a file that stays; `text` is as typed. Raises: ValueError."""
    file = url.database or ""
    if file in ("", ":memory:") or file.startswith("file:"):
        raise ValueError("must name a file, like sqlite:///unlatch.db: else the ledger is lost")
    # SQLAlchemy drops what is no name=value: a file named q?x.db would be q
    if url.query.keys() - {"timeout"} or ("?" in text and not url.query):
        raise ValueError("must have no parameter but ?timeout=<seconds> after the file")
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]+)?", str(url.query.get("timeout", "0"))):
        raise ValueError("must have a number of seconds after ?timeout=")
