"""A ledger behind pgbouncer, which hands each transaction to any of its connections."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import SplitResult, urlsplit

import pytest

from tests.support import postgresql
from tests.support.names import BIKES, CONFIRM
from tests.support.proxy import Proxy
from tests.support.stage import stage
from tests.support.world import add_customers

PGBOUNCER = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin")
pytestmark = pytest.mark.skipif(PGBOUNCER is None, reason="pgbouncer is not installed")


@pytest.fixture
async def pooled_url(postgresql_url: str) -> AsyncIterator[str]:
    """The ledger's address behind a pgbouncer that pools by transaction."""
    opens, url = postgresql.proxied(postgresql_url)
    # pgbouncer must not run as root, and nobody else may open the server's own socket
    async with Proxy(opens) as proxy:
        server = urlsplit(url.format(port=proxy.port))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with TemporaryDirectory() as folder:
            process = await _start(Path(folder), port, server)
            try:
                await _listens(port)
                yield f"postgresql://{server.username}@127.0.0.1:{port}/ledger"
            finally:
                process.terminate()
                await process.communicate()


async def _start(folder: Path, port: int, server: SplitResult) -> asyncio.subprocess.Process:
    configuration = folder / "pgbouncer.ini"
    configuration.write_text(
        "[databases]\n"
        f"ledger = host=127.0.0.1 port={server.port} dbname={server.path[1:]}"
        f" user={server.username}\n"
        "[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        "auth_type = any\npool_mode = transaction\n"
        "ignore_startup_parameters = options\n"
    )
    folder.chmod(0o755)  # noqa: ASYNC240  # a call that never waits
    as_user = ["-u", "nobody"] if os.geteuid() == 0 else []
    return await asyncio.create_subprocess_exec(
        *(PGBOUNCER or "", "-q", *as_user, str(configuration)),
        stderr=asyncio.subprocess.PIPE,
    )


async def _listens(port: int) -> None:
    for _ in range(100):
        try:
            _reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise AssertionError("pgbouncer does not listen")


async def test_customers_are_unlatched_with_the_ledger_behind_pgbouncer(
    pooled_url: str, tmp_path: Path
) -> None:
    # so many that each of the bot's connections is used again and again
    customers = range(BIKES, BIKES + 12)
    async with stage(pooled_url, tmp_path) as staged:
        add_customers(staged.fusebill, customers)
        await staged.start()
        cards = [await staged.ask(each) for each in customers]
        for card in cards:
            await staged.slack.click("U0BOB", card.ts, CONFIRM)
        await staged.until(lambda: all("✅ Unlatched" in staged.card(card) for card in cards))
        assert staged.calls("unlatch_customer") == len(customers)
