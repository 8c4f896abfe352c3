"""A release: one version, a wheel with what is needed and no more, pinned packages."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

from bot import __version__
from bot.__main__ import main

ROOT = Path(__file__).parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
REQUIREMENTS = (ROOT / "requirements.txt").read_text()
READERS = ("people who ask and confirm", "admin", "auditor")
NOT_INSTALLED = "bot/sandbox/screenshots/"
"""The README's pictures."""


def test_the_command_line_says_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert (ended.value.code, capsys.readouterr().out) == (0, f"unlatch-bot {__version__}\n")
    assert re.fullmatch(r"\d+\.\d+\.\d+", __version__)


def test_the_version_stands_in_one_place() -> None:
    assert PYPROJECT["project"]["dynamic"] == ["version"]
    assert PYPROJECT["tool"]["setuptools"]["dynamic"]["version"] == {"attr": "bot.__version__"}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from a copy."""
    source, built = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("built")
    for name in ("bot", "tests"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    build = f"from setuptools import build_meta; build_meta.build_wheel({str(built)!r})"
    subprocess.run([sys.executable, "-c", build], cwd=source, check=True, capture_output=True)
    (path,) = built.iterdir()
    assert path.name == f"unlatch_bot-{__version__}-py3-none-any.whl"
    return zipfile.ZipFile(path)


def test_the_wheel_holds_all_that_the_bot_needs_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    needed = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "bot").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    packed = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert packed == {name for name in needed if not name.startswith(NOT_INSTALLED)}
    assert "bot/sandbox/page/static/index.html" in packed
    assert "bot/ledger/migrations/versions/0001_requests_and_events.py" in packed


def test_the_wheel_says_its_licence_and_its_python(wheel: zipfile.ZipFile) -> None:
    folder = f"unlatch_bot-{__version__}.dist-info"
    assert wheel.read(f"{folder}/licenses/LICENSE") == (ROOT / "LICENSE").read_bytes()
    metadata = wheel.read(f"{folder}/METADATA").decode()
    for line in ("License-Expression: MIT", "Requires-Python: >=3.11", f"Version: {__version__}"):
        assert f"\n{line}\n" in metadata


def test_every_package_is_pinned_with_hashes_and_none_comes_from_a_certain_host() -> None:
    pinned = re.split(r"\n(?=\S)", re.sub(r"^#.*\n", "", REQUIREMENTS, flags=re.MULTILINE))
    for package in pinned:
        assert re.match(r"[a-z0-9-]+==\S+( ;[^\\]+)? \\\n    --hash=sha256:[0-9a-f]{64}", package)
    assert not re.search(r"://|index-url|find-links|@ ", REQUIREMENTS)
    names = {package.partition("==")[0] for package in pinned}
    wanted = {re.split(r"[<>=\[]", each)[0] for each in PYPROJECT["project"]["dependencies"]}
    assert wanted <= names


def test_the_changelog_says_what_an_upgrade_needs() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text()
    first, *versions = re.findall(r"^## \[(\S+)\]", changelog, re.MULTILINE)
    assert first in {"Unreleased", __version__}
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in versions)
    newest = changelog.partition("\n## ")[2].partition("\n## ")[0]
    assert "\n### Upgrading\n" in newest


def test_each_entry_of_the_changelog_fits_a_screen_and_is_grouped_by_reader() -> None:
    _, *entries = re.split(r"^## ", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)
    for entry in entries:
        assert len(entry.splitlines()) <= 60
        groups = set(re.findall(r"^### (.+)$", entry, re.MULTILINE))
        assert groups >= {f"For the {each}" for each in READERS}
        assert groups <= {f"For the {each}" for each in READERS} | {"Upgrading", "Removed"}
