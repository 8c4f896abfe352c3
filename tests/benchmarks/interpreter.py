"""The Python that runs all variants written in it: one build, so that ratios compare programs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
DEBIAN = "/usr/bin/python3.11"
"""Built with profile-guided optimization (PGO), as the Pythons are that people run."""

_PROBE = """
import json, platform, sysconfig
import bot.app.server
debian = "deb_system" in sysconfig.get_scheme_names()
optimized = debian or "--enable-optimizations" in (sysconfig.get_config_var("CONFIG_ARGS") or "")
build = ("Debian's build, " if debian else "") + ("with PGO" if optimized else "without PGO")
print(json.dumps(f"{platform.python_version()} ({build})"))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python that sees this one's packages; `build` is its version, and whether PGO built it."""

    path: str
    build: str

    @classmethod
    def at(cls, path: str) -> Interpreter:
        """Ask the Python at `path`. Raises: SystemExit if the bot does not run on it."""
        variables = {"PATH": os.environ["PATH"], "PYTHONPATH": python_path()}
        probe = subprocess.run(
            [path, "-c", _PROBE], env=variables, check=False, capture_output=True, text=True
        )
        if probe.returncode:
            version = f"{sys.version_info.major}.{sys.version_info.minor}"
            raise SystemExit(
                f"The bot does not run on {path}: {probe.stderr.strip().splitlines()[-1]}\n"
                f"It shares the packages of {sys.executable}, so it must be a Python {version}."
            )
        return cls(path, json.loads(probe.stdout))


def default_python() -> str:
    """Debian's Python if it is there and fits this one's packages; otherwise this one."""
    fits = sys.version_info[:2] == (3, 11) and Path(DEBIAN).exists()
    return DEBIAN if fits else sys.executable


def python_path() -> str:
    """Where any Python finds the bot, the rivals and the packages of this one."""
    return os.pathsep.join([str(REPOSITORY), sysconfig.get_path("purelib")])
