"""Files for the places where the bot runs, which `python -m bot example …` prints.

They are what the pages tell admins to use, so tests check them against what the bot serves.
"""

from __future__ import annotations

from importlib.resources import files

EXAMPLES = {
    "env": "env.example",
    "systemd": "unlatch-bot.service",
    "kubernetes": "kubernetes.yaml",
    "alerts": "alerts.yaml",
}


def example(name: str) -> str:
    """The text of an example. Raises: KeyError."""
    return files(__name__).joinpath(EXAMPLES[name]).read_text(encoding="utf-8")
