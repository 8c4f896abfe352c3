"""Acting as a user who may not do everything, also where the tests run as root."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

NOBODY = 65534


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder that any user may look into, unlike pytest's `tmp_path`, until the block ends."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        folder.chmod(0o700)


@contextmanager
def without_rights() -> Iterator[None]:
    """As another user, if this one is root, whom no mode keeps from writing."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)
