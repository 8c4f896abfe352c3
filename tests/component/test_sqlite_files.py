"""A SQLite ledger that can't be opened: the message names the file or folder in the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from sqlite3 import connect
from tempfile import TemporaryDirectory

import pytest

from bot.ledger.database.engine import LedgerUnavailable, open_engine, require_writable
from bot.ledger.database.migrating import migrate
from tests.support.rights import open_folder, without_rights

WRITABLE, FOR_READING, SHUT = 0o777, 0o555, 0o000


@pytest.fixture
def folder() -> Iterator[Path]:
    # a user without rights may not be able to load modules, so this loads all that are needed
    with TemporaryDirectory() as name:
        ledger_in(Path(name))
    with open_folder() as folder:
        yield folder


def ledger_in(folder: Path) -> str:
    url = f"sqlite:///{folder}/ledger.db"
    engine = open_engine(url)
    migrate(engine)
    engine.dispose()
    return url


def refusal(url: str) -> str:
    """Why a user without rights can't create or update the ledger."""
    engine = open_engine(url)
    with without_rights(), pytest.raises(LedgerUnavailable) as caught:
        migrate(engine)
    engine.dispose()
    return str(caught.value)


def test_a_folder_for_reading_takes_no_new_ledger(folder: Path) -> None:
    folder.chmod(FOR_READING)
    expected = f"this user may not create files in {folder}, which SQLite needs"
    assert refusal(f"sqlite:///{folder}/ledger.db") == expected


def test_somebody_elses_ledger_is_named(folder: Path) -> None:
    url = ledger_in(folder)
    folder.chmod(WRITABLE)
    (folder / "ledger.db").chmod(SHUT)
    assert refusal(url) == f"this user may not read and write {folder}/ledger.db"


def test_a_folder_that_is_closed_to_this_user_is_named(folder: Path) -> None:
    inner = folder / "inner"
    inner.mkdir()
    folder.chmod(SHUT)
    expected = f"there is no folder {inner}, or this user may not look into it"
    assert refusal(f"sqlite:///{inner}/ledger.db") == expected


def test_what_is_in_the_way_for_another_reason_keeps_sqlites_words(folder: Path) -> None:
    (folder / "ledger.db").mkdir()
    engine = open_engine(f"sqlite:///{folder}/ledger.db")
    with pytest.raises(LedgerUnavailable, match="unable to open database file"):
        migrate(engine)
    engine.dispose()


def test_a_locked_ledger_is_still_told_as_locked(folder: Path) -> None:
    url = ledger_in(folder)
    with closing(connect(folder / "ledger.db")) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerUnavailable, match="database is locked"):
            require_writable(url)
