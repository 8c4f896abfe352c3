"""What README and docs name exists: settings, files, links, commands, options, rooms."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from bot.__main__ import main
from bot.domain.meanings import CHANGED_SINCE, LATER, OUTCOMES
from bot.domain.models import EventType
from bot.settings import Settings

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PAGES = {path: path.read_text() for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}
OPERATIONS = PAGES[ROOT / "docs" / "operations.md"]
AUDIT = PAGES[ROOT / "docs" / "audit.md"]
DEVELOPMENT = PAGES[ROOT / "docs" / "development.md"]
TEXTS = "\n".join(PAGES.values())
EXAMPLE = (ROOT / ".env.example").read_text()


def defaults_in(page: str, heading: str) -> dict[str, str]:
    """A table of settings: the text of the default for each variable."""
    section = page.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    defaults: dict[str, str] = {}
    for row in re.findall(r"^\| (`.*) \|$", section, re.MULTILINE):
        names, texts, *_ = (cell.split(", ") for cell in row.split(" | "))
        for name, text in zip(names, texts, strict=True):
            assert name not in defaults
            defaults[name.strip("`")] = text
    return defaults


def test_the_readme_is_short_and_its_lines_are_too() -> None:
    lines = README.splitlines()
    assert len(lines) <= 150
    assert [line for line in lines if len(line) > 160] == []


def test_the_readme_begins_with_a_link_for_each_reader() -> None:
    top = README.partition("\n\n")[2].partition("\n\n")[0]
    assert re.findall(r"\]\((.*?)\)", top) == [
        "#what-you-type-and-what-you-get",
        "docs/operations.md",
        "docs/audit.md",
        "docs/development.md",
    ]


def anchors(page: str) -> set[str]:
    """The headings as GitHub links to them: in lower case, without punctuation."""
    headings = re.findall(r"^##+ (.+)$", page, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_every_link_to_a_page_or_a_heading_leads_there(path: Path) -> None:
    for target in re.findall(r"\]\(([^):]+)\)", PAGES[path]):
        name, _, anchor = target.partition("#")
        linked = (path.parent / name).resolve() if name else path
        assert linked.is_file(), target
        assert not anchor or anchor in anchors(linked.read_text()), target


def test_the_code_the_example_and_the_table_name_the_same_settings() -> None:
    names = sorted(field.upper() for field in Settings.model_fields)
    assert sorted(re.findall(r"^(?:# )?([A-Z][A-Z0-9_]*)=", EXAMPLE, re.MULTILINE)) == names
    assert sorted(defaults_in(OPERATIONS, "All settings")) == names


def test_the_readmes_settings_have_the_same_defaults_as_among_all_settings() -> None:
    few = defaults_in(README, "Settings that most people set")
    assert few
    assert few.items() <= defaults_in(OPERATIONS, "All settings").items()


@pytest.mark.parametrize("name", Settings.model_fields)
def test_a_settings_default_in_the_table_is_the_one_in_the_code(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not capsys.readouterr().err  # captured: on a terminal LOG_FORMAT has another default
    field = Settings.model_fields[name]
    text = defaults_in(OPERATIONS, "All settings")[name.upper()]
    shown = re.match(r"`(.+?)`", text)
    if shown is None:
        assert field.is_required() == (text == "required")
        assert field.is_required() or not field.get_default()
        return
    default = field.get_default(call_default_factory=True, validated_data={})
    if hasattr(default, "get_secret_value"):
        default = default.get_secret_value()
    assert shown[1] == (str(default).lower() if isinstance(default, bool) else str(default))


@pytest.mark.parametrize("path", sorted(set(re.findall(r"`?((?:tests|bot)/[\w/.-]+\.\w+)", TEXTS))))
def test_every_file_that_the_pages_name_exists(path: str) -> None:
    assert (ROOT / path).is_file()


def test_the_readme_explains_every_result_that_a_card_may_show() -> None:
    table = README.partition("| the card says |")[2].partition("\n\n")[0]
    explained = re.findall(r"^\| (.+?) \|", table, re.MULTILINE)
    meanings = [*OUTCOMES.values(), *LATER.values(), CHANGED_SINCE]
    titles = [f"{each.emoji} {each.title}" for each in meanings]
    assert [each for each in titles if not each.startswith(tuple(explained))] == []


def test_the_page_for_auditors_says_what_every_event_means() -> None:
    table = AUDIT.partition("| type | what happened |")[2].partition("\n\n")[0]
    assert sorted(re.findall(r"^\| `(\w+)` ", table, re.MULTILINE)) == sorted(EventType)


@pytest.mark.parametrize("module", sorted(set(re.findall(r'\["(\w+/\w+)', DEVELOPMENT))))
def test_every_module_on_a_clicks_way_exists(module: str) -> None:
    assert (ROOT / "bot" / f"{module}.py").is_file()


def test_the_table_of_rooms_shows_every_room_and_no_other() -> None:
    shown = re.findall(r"^\| `bot/(\w+)(?:/|\.py)` ", DEVELOPMENT, re.MULTILINE)
    rooms = [
        path.stem for path in (ROOT / "bot").iterdir() if not path.name.startswith("__pycache")
    ]
    assert sorted(shown) == sorted(room for room in rooms if room != "__init__")


def test_the_diagram_of_rooms_shows_the_layers_that_are_checked() -> None:
    diagram = DEVELOPMENT.partition("flowchart TD\n")[2].partition("```")[0]
    drawn = re.findall(r"\w+", diagram.replace('main["__main__"]', "__main__"))
    layers = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    checked = re.findall(r"\w+", " ".join(layers["contracts"][0]["layers"]))
    assert sorted(checked) == sorted(set(drawn))


COMMANDS = sorted(set(re.findall(r"(?:unlatch-bot|python -m bot) ([a-z]+)", TEXTS)))


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_in_the_pages_exists(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])
    assert ended.value.code == 0
    assert command in capsys.readouterr().out


@pytest.mark.parametrize(
    ("command", "option"),
    sorted(set(re.findall(r"unlatch-bot (audit|manifest|setup)\b[^`\n#]*?(--[\w-]+)", TEXTS))),
)
def test_every_option_in_the_pages_exists(
    command: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([command, "--help"])
    assert option in capsys.readouterr().out


def test_ci_runs_the_readmes_own_test_command() -> None:
    (command,) = re.findall(r"^python3 -m venv .* pytest .*$", README, re.MULTILINE)
    venv, install, pytests = command.split(" && ")
    assert (venv, install) == (
        "python3 -m venv .venv",
        ".venv/bin/pip install -e '.[dev]'",
    )
    assert pytests.startswith(".venv/bin/python -m pytest ")
    steps = (ROOT / ".ci" / "run").read_text()
    assert "command=\"$(grep -m 1 '^python3 -m venv .* pytest ' README.md)\"" in steps
    assert 'eval "${command% && *}"' in steps
    # all that are not timed, what failed of them, and the timed ones
    assert steps.count('eval "${command##* && } -q -') == 3
