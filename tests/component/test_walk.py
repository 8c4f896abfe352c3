"""The program that counts what a click passes sees the whole way, in all threads."""

from __future__ import annotations

from tests.walk import walks


async def test_the_walk_of_a_click_passes_the_listener_the_ledger_and_the_client() -> None:
    click = (await walks())[0]
    assert {"bot.inbound.listeners", "bot.fusebill.client", "bot.slack.client"} <= {*click.modules}
    # SQL is run in a thread of its own
    assert any(module.startswith("bot.ledger.database") for module in click.modules)
    assert not any(module.startswith("bot.sandbox") for module in click.modules)
