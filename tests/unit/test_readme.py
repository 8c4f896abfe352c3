"""The README tells the truth: what it names is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bot.__main__ import main
from bot.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("name", [field.upper() for field in Settings.model_fields])
def test_every_setting_is_in_the_readme(name: str) -> None:
    assert f"`{name}`" in README


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`?((?:tests|bot)/[\w/.-]+\.\w+)", README)))
)
def test_every_file_that_the_readme_names_is_there(path: str) -> None:
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("command", sorted(set(re.findall(r"python -m bot (\w+)", README))))
def test_every_command_of_the_readme_is_there(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert command in capsys.readouterr().out


@pytest.mark.parametrize(
    "option", sorted(set(re.findall(r"python -m bot audit.*?(--\w+)", README)))
)
def test_every_option_of_audit_in_the_readme_is_there(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["audit", "--help"])
    assert option in capsys.readouterr().out


def test_the_readmes_test_command_is_what_ci_runs() -> None:
    steps = (ROOT / ".ci" / "run").read_text()
    for part in ("python3 -m venv .venv", ".venv/bin/pip install", ".venv/bin/python -m pytest"):
        assert part in README
        assert part in steps
