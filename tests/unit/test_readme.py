"""What the README names exists: settings, files, commands, options, rooms."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bot.__main__ import main
from bot.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
DEVELOPMENT = (ROOT / "docs" / "development.md").read_text()
EXAMPLE = (ROOT / ".env.example").read_text()


def settings_table() -> dict[str, str]:
    """The README's table of settings: the text of the default for each variable."""
    section = README.partition("\n### Settings\n")[2].partition("\n## ")[0]
    defaults: dict[str, str] = {}
    for row in re.findall(r"^\| (`.*) \|$", section, re.MULTILINE):
        names, texts, *_ = (cell.split(", ") for cell in row.split(" | "))
        for name, text in zip(names, texts, strict=True):
            assert name not in defaults
            defaults[name.strip("`")] = text
    return defaults


def test_the_code_the_example_and_the_readme_name_the_same_settings() -> None:
    names = sorted(field.upper() for field in Settings.model_fields)
    assert sorted(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]*)=", EXAMPLE, re.MULTILINE)) == names
    assert sorted(settings_table()) == names


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_settings_default_in_the_readme_is_the_one_in_the_code(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not capsys.readouterr().err  # captured: on a terminal LOG_FORMAT has another default
    field = Settings.model_fields[name]
    text = settings_table()[name.upper()]
    shown = re.match(r"`(.+?)`", text)
    if shown is None:
        assert field.is_required() == (text == "required")
        assert field.is_required() or not field.get_default()
        return
    default = field.get_default(call_default_factory=True, validated_data={})
    if hasattr(default, "get_secret_value"):
        default = default.get_secret_value()
    assert shown[1] == (str(default).lower() if isinstance(default, bool) else str(default))


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`?((?:tests|bot)/[\w/.-]+\.\w+)", README + DEVELOPMENT)))
)
def test_every_file_that_the_readme_names_exists(path: str) -> None:
    assert (ROOT / path).is_file()


def test_the_readmes_map_shows_every_room_and_no_other() -> None:
    shown = re.findall(r"(?:^|  )bot/(\w+)(?:/|\.py) ", README, re.MULTILINE)
    rooms = [
        path.stem for path in (ROOT / "bot").iterdir() if not path.name.startswith("__pycache")
    ]
    assert sorted(shown) == sorted(room for room in rooms if room != "__init__")


@pytest.mark.parametrize("command", sorted(set(re.findall(r"python -m bot (\w+)", README))))
def test_every_command_in_the_readme_exists(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert command in capsys.readouterr().out


@pytest.mark.parametrize(
    "option", sorted(set(re.findall(r"python -m bot audit.*?(--\w+)", README)))
)
def test_every_option_of_audit_in_the_readme_exists(
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
