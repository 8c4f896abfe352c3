"""Forged requests, guessed button values, and texts that try to act as markup."""

from __future__ import annotations

import re
import time
from urllib.parse import urlencode

import pytest

from bot.sandbox.slack.simulator import text_of
from tests.support.names import BIKES, CANCEL, CHANNEL, CONFIRM
from tests.support.reading import answer_to, operations, parts, said
from tests.support.world import World

SHOWN = (
    "firstName",
    "lastName",
    "companyName",
    "reference",
    "status",
    "customerAccountStatus",
    "primaryEmail",
)
HOSTILE = {
    "mentions": "<!channel> <!here> <@U0BOB> <#C0BILLING> <!subteam^S0BILLING>",
    "a link": "<https://evil.example|Free money>",
    "markup": "*bold* _it_ ~no~ `code` ```block``` &lt;!channel&gt;",
    "9,000 characters": "x" * 9_000,
    "9,000 emoji": "🚲" * 9_000,
    "9,000 line breaks": "a\n" * 4_500,
    "9,000 that need escaping": "<>&" * 3_000,
    "right to left": "\u202eabc\u2066def\u200f",
    "control characters": "\x00\x07\x1b[31m",
    "blanks alone": " \t\n ",
}
COMMAND = {
    "command": "/unlatch",
    "text": "2554529",
    "channel_id": CHANNEL,
    "user_id": "U0ALICE",
    "team_id": "T0SANDBOX",
    "response_url": "http://127.0.0.1:9/never",
}
BODY = urlencode(COMMAND).encode()


async def test_a_signature_is_valid_for_five_minutes(world: World) -> None:
    async def sent(age: int) -> int:
        headers = world.slack.sign(BODY, int(time.time()) + age)
        return (await world.slack.send_raw(BODY, headers)).status

    at_start = len(world.slack.calls)
    assert [await sent(age) for age in (-86_400, -301, 302, 86_400)] == [401] * 4
    await world.settled()
    assert (world.fusebill.calls, world.slack.calls[at_start:]) == ([], [])
    assert [await sent(age) for age in (-290, 290)] == [200] * 2


async def test_a_forged_signature_gets_401_and_nothing_happens(world: World) -> None:
    at_start, true = len(world.slack.calls), world.slack.sign(BODY)
    forged = {
        "X-Slack-Signature": ["", "v0=", "v0=" + "0" * 64, "v0=ü", "v1=" + "0" * 64],
        "X-Slack-Request-Timestamp": ["", "now", "nan", "1" * 400, "-1", "\u0661\u0662"],
    }
    tried = [true | {name: value} for name, values in forged.items() for value in values]
    tried += [{key: value for key, value in true.items() if key != name} for name in forged]
    assert [(await world.slack.send_raw(BODY, each)).status for each in tried] == [401] * len(tried)
    of_another = await world.slack.send_raw(BODY + b"&text=3100025", true)
    await world.settled()
    assert of_another.status == 401
    assert (world.fusebill.calls, world.slack.calls[at_start:]) == ([], [])


@pytest.mark.parametrize("action_id", [CONFIRM, CANCEL])
async def test_a_guessed_button_value_decides_nothing(world: World, action_id: str) -> None:
    card = await world.ask()
    values = ["", "0", "2554529", "0" * 32, "' OR 1=1 --", "%", "x" * 2000, "ü", "\x00"]
    for value in values:
        assert (await world.slack.forge_click("U0BOB", card.ts, action_id, value)).status == 200
    await world.settled()
    answers = [text_of(ephemeral.blocks) for ephemeral in world.slack.workspace.ephemerals("U0BOB")]
    assert [
        t.startswith("🤷 The bot has no record of this request, so nothing") for t in answers
    ] == [True] * 9
    assert operations(world) == ["get_customer"]
    assert world.card(card).count("[Unlatch Stolen Bikes] [Cancel]\nExpires ") == 1


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
async def test_whatever_a_text_is_slack_takes_each_message_and_the_text_does_nothing_in_it(
    world: World, hostile: str
) -> None:
    world.fusebill.customers[BIKES].update(dict.fromkeys(SHOWN, hostile))
    card = await world.ask(f"2554529 because {hostile[:490]}")
    shown = world.card(card)
    assert "2554529" in shown.splitlines()[0]
    assert "\nClears contact 101 and company 202. Can be undone.\n" in shown
    assert "\nAsked by <@U0ALICE>, 2" in shown
    assert re.search(r"\n\[Unlatch [^\n]*\] \[Cancel\]\nExpires [^\n]*$", shown)
    assert not set("\u202e\u2066\u200f\x00\x07\x1b") & set(shown)
    world.fusebill.misbehave("conflict", operation="unlatch_customer", text=hostile)
    await world.press("U0BOB", card, CONFIRM)
    # after a refused message the bot posts again in plain text, which would be a fourth call
    assert [call.answer["ok"] for call in said(world)] == [True] * 3
    for message in [call.arguments for call in said(world)]:
        drawn = list(parts(message["blocks"]))
        own = re.sub(r"<@U0(ALICE|BOB)>|<!date\^[^<>]*>", "", message["text"])
        markup = [part["text"] for part in drawn if part["type"] == "mrkdwn"]
        assert all(re.fullmatch(r"Expires <!date\^[^<>]*>", each) for each in markup)
        assert not {"link", "broadcast", "usergroup"} & {part["type"] for part in drawn}
        assert not set("<>") & set(own)


async def test_every_message_has_a_text_that_stands_alone(world: World) -> None:
    await world.confirmed()
    await answer_to(world, "1")
    texts = {call.method: call.arguments["text"] for call in said(world)[1:]}
    assert said(world)[0].arguments["text"].startswith("Unlatch Stolen Bikes (2554529)?\n")
    assert texts["chat.update"].startswith("✅ Unlatched: Stolen Bikes (2554529)\nCleared contact")
    assert "<@U0BOB> confirmed" in texts["chat.postMessage"]
    assert "has no customer 1" in texts["response_url"]
