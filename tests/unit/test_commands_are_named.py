"""Every command of the reader is named wherever people look for it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import bot
from bot.domain.typed_text import parse
from bot.inbound.manifest import USAGE_HINT
from bot.messages import lists
from tests.support.hostile import shown

PAGE = Path(bot.__file__).parent / "sandbox" / "page" / "static" / "completions.js"
CASES = re.findall(r"^ +case (.+?)(?: as word)?:$", inspect.getsource(parse), re.MULTILINE)
COMMANDS = {word for case in CASES for word in re.findall(r'"(\w+)"', case)}
"""The words after which the reader does something."""


def test_the_reader_knows_these_commands() -> None:
    assert {"help", "find", "history", "pending", "many", "move"} == COMMANDS


def test_each_command_is_in_slacks_usage_hint() -> None:
    assert {word for word in COMMANDS if not re.search(rf"\b{word}\b", USAGE_HINT)} == set()


def test_each_command_is_among_the_pages_completions() -> None:
    completions = PAGE.read_text("utf-8")
    assert {word for word in COMMANDS if f'keyword: "{word}"' not in completions} == set()


def test_each_command_is_in_the_help() -> None:
    said = shown(lists.usage())
    assert {word for word in COMMANDS if not re.search(rf"/unlatch {word}\b", said)} == set()
