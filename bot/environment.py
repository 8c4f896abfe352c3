"""Finds what an admin mistyped: names of variables, and values that can't be a setting's.

pydantic-settings ignores a variable that it doesn't know, so a rule with a typo would silently not
apply. A check of a value says what is expected, never the value, which may be a secret.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, TypeVar
from urllib.parse import urlsplit

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from pydantic import AfterValidator, BeforeValidator, SecretStr
from pydantic_settings import NoDecode
from sqlalchemy import URL

T = TypeVar("T")

OURS = ("UNLATCH_", "FUSEBILL_")
"""Every variable with such a name must be a setting."""
OTHERS = ("SLACK_", "HUBSPOT_")
"""Other programs have variables with such names too."""
RULES = "UNLATCH_"
FILE = "_FILE"
"""How many images name a variable that holds a secret's path instead of the secret."""
NEAR = 0.9
SIMILAR = 0.6
PROXIES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy")
"""Who calls Slack and Fusebill obeys these, and none of them is a setting of the bot."""
SHORTEST = 8
"""A shorter name, such as PORT, is near to too many others (PORTS, HOSTS)."""
QUOTED = r"""(["']).*\1"""
EXAMPLE_ENDS = ("...", "…")
"""How `.env.example` and the pages end what has to be filled in."""


def secrets_folders() -> list[Path]:
    """The folders with a file for each secret, the last one wins: containers', then systemd's.

    Sources: docs.docker.com/engine/swarm/secrets, systemd.io/CREDENTIALS
    """
    folders = [Path("/run/secrets")]
    if credentials := os.environ.get("CREDENTIALS_DIRECTORY"):
        folders.append(Path(credentials))
    return [folder for folder in folders if folder.is_dir()]


def this_bot(words: str) -> str:
    """A command of the bot, as whoever started this one can type it.

    Installed by pipx, uvx or into a folder of its own, there is no `python` that knows the bot; on
    Heroku there is no `unlatch-bot`.
    """
    installed = Path(sys.argv[0]).stem == "unlatch-bot"
    return f"{'unlatch-bot' if installed else 'python -m bot'} {words}"


def broken_lines(dotenv: str | None) -> list[str]:
    """One problem for each line of the file that would be left out, such as one with half a quote.

    Raises: OSError and UnicodeError if it can't be read.
    """
    if not dotenv or not Path(dotenv).is_file():
        return []
    with Path(dotenv).open(encoding="utf-8") as file:
        numbers = [each.original.line for each in parse_stream(file) if each.error]
    return [
        f"{dotenv}: line {number} is no NAME=value, or a quote in it has no end"
        for number in numbers
    ]


def variables(dotenv: str | None, folders: Iterable[Path] = ()) -> dict[str, str]:
    """Everything that is set, by its name in capitals; a secret's file has no value here.

    Raises: OSError and UnicodeError if `dotenv` can't be read.
    """
    names = [file.name for folder in folders for file in folder.iterdir() if file.is_file()]
    found = dict.fromkeys((name.upper() for name in names), "…")
    read = dotenv_values(dotenv) if dotenv else {}
    found |= {name.upper(): value or "" for name, value in read.items()}
    return found | {name.upper(): value for name, value in os.environ.items()}


def wrong_proxies() -> list[str]:
    """One line for each proxy that can't be used, without its address: that may hold a password."""
    return [
        f"{name}: must be an address like http://proxy.example.com:3128, with %2F for a / in a"
        " password"
        for name in PROXIES
        if os.environ.get(name, "").strip() and not _is_proxy(os.environ[name])
    ]


def _is_proxy(address: str) -> bool:
    try:
        parts = urlsplit(address)
        # a port that is none raises here
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def mistakes(found: Mapping[str, str], known: Iterable[str], wanted: Iterable[str]) -> list[str]:
    """One line for each wrong name or empty rule; `wanted` are those of `known` that are read."""
    known, wanted = sorted(known), set(wanted)
    lines = [
        f"{name}: is set and empty; give it a value, or remove it"
        for name in sorted(wanted & found.keys())
        if name.startswith(RULES) and not found[name].strip(" \t,")
    ]
    for name in sorted(found.keys() - set(known)):
        if (setting := name.removesuffix(FILE)) != name and setting in wanted:
            # a script that starts the container may have read it, and leave both set
            where = f"into {setting}, or name the file /run/secrets/{setting}"
            if not found.get(setting):
                lines.append(f"{name}: is not read; put the file's text {where}")
            continue
        meant = _meant(name, known)
        ours = name.startswith(OURS) and any(each.startswith(OURS) for each in wanted)
        if ours or meant in wanted:
            hint = f"; did you mean {meant}?" if meant else ""
            lines.append(f"{name}: there is no such setting{hint}")
    return lines


def _meant(name: str, known: Iterable[str]) -> str | None:
    """The setting that a name is nearly, if any."""
    if name.startswith(OTHERS) or len(name) < SHORTEST:
        return None
    cutoff = SIMILAR if name.startswith(OURS) else NEAR
    return next(iter(get_close_matches(name, known, n=1, cutoff=cutoff)), None)


def _split(value: object) -> object:
    if isinstance(value, str):
        return frozenset(part.strip() for part in value.split(",") if part.strip())
    return value


def _each(expected: str, pattern: str) -> AfterValidator:
    """A check that a text, or each of several, matches the `pattern`."""

    def check(value: T) -> T:
        texts = value if isinstance(value, frozenset) else [str(value)]
        if not all(re.fullmatch(pattern, each) for each in texts):
            # without the value: it may be a secret in the wrong variable
            raise ValueError(f"must be {expected}")
        return value

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


PortalId = Annotated[str, _each("the number of the HubSpot account, like 1234567", "[0-9]+")]
WebAddress = Annotated[str, AfterValidator(_web_address)]
"""An address that people open."""
ServerAddress = Annotated[str, AfterValidator(_web_address), AfterValidator(_private_address)]
"""An address that the bot sends its secrets to."""
SigningSecret = Annotated[
    SecretStr, secret("the signing secret, as Slack's Basic Information shows it", r"[!-~]+")
]
AppToken = Annotated[SecretStr, secret("an app-level token, xapp-…", r"xapp-[!-~]+")]
Ids = Annotated[frozenset[str], NoDecode, BeforeValidator(_split)]
People = Annotated[
    Ids, _each("user ids (U…) and user group ids (S…), comma-separated", "[UWS][A-Z0-9]+")
]
Channels = Annotated[Ids, _each("channel ids (C…), comma-separated", "[CGD][A-Z0-9]+")]
Teams = Annotated[
    Ids, _each("workspace ids (T…) and organisation ids (E…), comma-separated", "[TE][A-Z0-9]+")
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
