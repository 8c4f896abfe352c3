"""The Python that runs all variants written in it: one build, so that ratios compare programs.

It has the bot's own dependencies and nothing else. Libraries load what they find beside them:
structlog and httpx load rich, which developers' tools bring along.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
REQUIREMENTS = REPOSITORY / "requirements.txt"
DEBIAN = "/usr/bin/python3"
"""Built with profile-guided optimization (PGO), as the Pythons are that people run."""

PACKAGES = ("aiohttp", "slack-bolt", "slack-sdk", "httpx", "sqlalchemy", "psycopg")
"""Those that the report names with their versions."""

_PROBE = """
import platform, sys, sysconfig
from importlib.metadata import version
import bot.app.server
debian = "deb_system" in sysconfig.get_scheme_names()
optimized = debian or "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
build = ("Debian's build, " if debian else "") + ("with PGO" if optimized else "without PGO")
packages = [f"{name} {version(name)}" for name in sys.argv[1:]]
print(", ".join([f"Python {platform.python_version()} ({build})", *packages]))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python with the bot's dependencies; `versions` says which, and whether PGO built it."""

    path: str
    versions: str

    @classmethod
    def of(cls, python: str) -> Interpreter:
        """Install the dependencies for a Python, once. Raises: SystemExit if that fails."""
        path = _installed(python)
        variables = {"PATH": os.environ["PATH"], "PYTHONPATH": str(REPOSITORY)}
        return cls(path, _output([path, "-c", _PROBE, *PACKAGES], variables).strip())


def default_python() -> str:
    """Debian's Python if it is there and can run the bot; otherwise this one."""
    newest = Path(DEBIAN).resolve().name.removeprefix("python3.")
    return DEBIAN if newest.isdecimal() and int(newest) >= 11 else sys.executable


def kept_folder() -> Path:
    """Where the variants' dependencies are installed: outside the repository, for the next run."""
    return Path(tempfile.gettempdir()) / "unlatch-bot-benchmarks"


def _installed(python: str) -> str:
    folder = kept_folder() / f"python{Path(python).resolve()}".replace(os.sep, "-")
    installed = folder / REQUIREMENTS.name
    path = str(folder / "bin" / "python")
    if not installed.exists() or installed.read_text() != REQUIREMENTS.read_text():
        install = ["-m", "pip", "install", "--quiet", "--require-hashes", "-r", str(REQUIREMENTS)]
        _output([python, "-m", "venv", "--clear", str(folder)])
        _output([path, *install])
        installed.write_text(REQUIREMENTS.read_text())
    return path


def _output(command: list[str], variables: dict[str, str] | None = None) -> str:
    ended = subprocess.run(command, env=variables, check=False, capture_output=True, text=True)
    if ended.returncode:
        why = (ended.stderr or ended.stdout).strip().splitlines()[-1]
        raise SystemExit(f"The bot does not run on {command[0]}: {why}")
    return ended.stdout
