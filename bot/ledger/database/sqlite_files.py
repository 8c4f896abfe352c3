"""What the file system does to a SQLite ledger: who may open it, and what is in the way."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PRIVATE = 0o600
"""Only the owner may read and write."""


def create_private(file: Path) -> None:
    """Create the file for its owner alone, whatever the umask; of a link, the file that it names.

    SQLite gives its -wal and -shm files the same mode; a file that exists keeps its own.
    """
    # where it can't be created, opening it says why
    with suppress(OSError):
        # a link whose target does not exist yet counts as existing
        descriptor = os.open(file.resolve(), os.O_CREAT | os.O_EXCL | os.O_RDWR, PRIVATE)
        try:
            os.fchmod(descriptor, PRIVATE)
        finally:
            os.close(descriptor)


def is_kept(file: Path) -> bool:
    """Whether a ledger is a copy that nobody writes, where this user may not write either.

    SQLite reads a WAL file's database only if it can create the files beside it, or is told that
    the file can't change. Source: sqlite.org/wal.html, "Read-Only Databases"
    """
    # SQLite has its other files beside the one that a link names
    file = file.resolve()
    return not _may(file.parent, os.W_OK) and not file.with_name(f"{file.name}-wal").exists()


@contextmanager
def opening(file: Path) -> Iterator[None]:
    """Name the file or folder that is in the way; SQLite's own error names neither.

    Raises: sqlite3.Error.
    """
    try:
        yield
    except sqlite3.OperationalError as error:
        if "unable to open" in str(error) and (why := _in_the_way(file.absolute())):
            raise sqlite3.OperationalError(why) from error
        raise


def _in_the_way(file: Path) -> str | None:
    folder = file.parent
    if not _may(folder, os.F_OK):
        return f"there is no folder {folder}, or this user may not look into it"
    if _may(file, os.F_OK) and not _may(file, os.R_OK | os.W_OK):
        return f"this user may not read and write {file}"
    if not _may(folder, os.W_OK | os.X_OK):
        return f"this user may not create files in {folder}, which SQLite needs"
    return None


def _may(path: Path, mode: int) -> bool:
    return os.access(path, mode, effective_ids=os.access in os.supports_effective_ids)
