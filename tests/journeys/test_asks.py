"""Commands that get no card: what the person who typed sees, and that nobody else sees it."""

from __future__ import annotations

import json
import socket

import pytest

from bot.sandbox.slack.simulator import Channel
from tests.support.names import USE
from tests.support.reading import answer_to, heard_by, operations, parts, said
from tests.support.world import OpenWorld, World

NO_IDS = [
    *("0", "#", "1,500", "2.554.529", "2 554 529", "0012 12", "2554529, 12.5", "2554529;#1x"),
    *("2554529, " + "9" * 19, "2554529, \u0663", "https://[junk/1", "2554529 " + "x" * 501),
]


async def test_what_cannot_be_read_is_answered_in_the_ack_in_one_line_with_the_usage(
    world: World,
) -> None:
    at_start = len(world.slack.calls)
    acks = [json.loads((await world.slack.command("U0ALICE", text)).body) for text in NO_IDS]
    await world.settled()
    assert {ack["response_type"] for ack in acks} == {"ephemeral"}
    lines, usage = world.ephemerals("U0ALICE"), "Type /unlatch <Stax Bill ID> [reason]"
    assert len(lines) == len(NO_IDS)
    assert [line for line in lines if "\n" in line or not line.endswith(usage)] == []
    assert (world.slack.calls[at_start:], world.fusebill.calls) == ([], [])
    assert heard_by(world) == {"U0ALICE"}


@pytest.mark.parametrize(
    ("text", "usage"),
    [
        ("history abc", "history [Stax Bill ID]"),
        ("find", "find <text>"),
        ("pending 2554529", "pending"),
        ("many 2554529", "many"),
        ("undo", "history [Stax Bill ID]"),
        ("confirm", "pending"),
    ],
)
async def test_whoever_wanted_something_else_is_not_told_to_ask_for_an_unlatch(
    world: World, text: str, usage: str
) -> None:
    assert (await answer_to(world, text)).endswith(f" Type /unlatch {usage}")
    assert (heard_by(world), world.fusebill.calls) == ({"U0ALICE"}, [])


@pytest.mark.parametrize(
    "reason",
    ["R&D <b>moved</b> *ok* _really_", "see https://example.com/?a=1&b=2", "payload=1&ssl_check=1"],
)
async def test_a_reason_is_shown_as_typed(world: World, reason: str) -> None:
    assert f": {reason}\n" in world.card(await world.ask(f"2554529 {reason}"))


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        ("not_found", 404, ("has no customer 7", "Customer with id 7 not found. (HTTP 404)")),
        ("unauthorized", 401, ("FUSEBILL_API_KEY", "denied for this request. (HTTP 401)")),
        ("rate_limited", 429, ("no more calls", "is exceeded. (HTTP 429)", "Try again after 2")),
        ("server_error", 500, ("is not available (HTTP 500)", "error has occurred. (HTTP 500)")),
        ("html", 403, ("in front of Fusebill", "403 gateway (HTTP 403)", "Try again in a")),
        ("hostile_error", 409, ("<!channel> <@U0ALICE> <https://evil.example|click here>",)),
        ("lost_before", 200, ("no conclusive answer: the answer was lost.",)),
    ],
)
async def test_a_failed_read_is_explained_to_the_typist_only_in_fusebills_words(
    world: World, kind: str, status: int, expected: tuple[str, ...]
) -> None:
    world.fusebill.misbehave(kind, times=None, status=status)
    answer = await answer_to(world, "7 moved")
    assert [part for part in (*expected, "Nothing was changed.") if part not in answer] == []
    assert heard_by(world) == {"U0ALICE"}


async def test_an_unreachable_fusebill_is_reported_to_the_typist_only(
    open_world: OpenWorld,
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{unused.getsockname()[1]}/v1"
        async with open_world(fusebill_base_url=address) as world:
            answer = await answer_to(world, "2554529")
            assert "could not be reached: connection refused. Nothing was changed." in answer
            assert heard_by(world) == {"U0ALICE"}


async def test_a_customer_that_is_not_latched_gets_an_answer_without_a_button(
    world: World,
) -> None:
    answer = await answer_to(world, "3100017")
    (ephemeral,) = world.slack.workspace.all_ephemerals()
    assert "Harbour Light Coffee (3100017) is not latched to anything in HubSpot" in answer
    assert "button" not in {part["type"] for part in parts(ephemeral.blocks)}
    assert heard_by(world) == {"U0ALICE"}


@pytest.mark.parametrize(
    ("channel_id", "missing_scope", "advice"),
    [
        ("C0PRIVATE", "", "Type /invite <@U0UNLATCH> here, then try again."),
        ("C0PUBLIC", "chat:write.public", "Type /invite <@U0UNLATCH> here, then try again."),
        ("C0ARCHIVED", "", "This channel is archived"),
        ("C0READONLY", "", "Use the command in a channel where the bot can post."),
    ],
)
async def test_where_the_bot_cannot_post_it_says_what_to_do(
    world: World, channel_id: str, missing_scope: str, advice: str
) -> None:
    world.slack.workspace.scopes.discard(missing_scope)
    assert advice in await answer_to(world, "2554529", channel_id)
    assert said(world)[-1].method == "response_url"
    assert heard_by(world) == {"U0ALICE"}


async def test_an_address_that_fits_the_admins_setting_is_an_id(open_world: OpenWorld) -> None:
    async with open_world(fusebill_customer_url="https://a.example/7/c/{id}") as world:
        card = await world.ask("https://a.example/7/c/2554529?tab=2 moved")
        assert "(2554529)" in world.card(card)


@pytest.mark.parametrize(
    "channel",
    [Channel("D0SELF", "directmessage", member=True), Channel("C0GROUP", "mpdm-alice--bob-1")],
    ids=["with the bot", "of several"],
)
async def test_in_a_direct_message_people_are_sent_to_a_channel(
    world: World, channel: Channel
) -> None:
    world.slack.workspace.channels[channel.id] = channel
    for text in ("2554529 moved", "2554529, 3100025", "2554529 3100025", "0001337", "many"):
        answer = await answer_to(world, text, channel.id)
        assert "Use the command in a channel." in answer or "made in a channel" in answer
        assert "/invite" not in answer
    assert (operations(world), heard_by(world)) == ([], {"U0ALICE"})
    assert world.slack.views.all() == []
    # what posts nothing works here too
    assert "/unlatch <Stax Bill ID>" in await answer_to(world, "help", channel.id)
    assert "Stolen Bikes" in await answer_to(world, "find stolen", channel.id)
    found = world.slack.workspace.ephemerals("U0ALICE")[-1]
    await world.slack.click_ephemeral("U0ALICE", found, USE)
    await world.settled()
    assert "Use the command in a channel." in world.last_ephemeral("U0ALICE")
    assert heard_by(world) == {"U0ALICE"}


async def test_a_channel_may_be_called_like_a_direct_message(world: World) -> None:
    named = Channel("C0HELP", "directmessage-help", member=True)
    world.slack.workspace.channels[named.id] = named
    await world.slack.command("U0ALICE", "2554529 moved", channel_id=named.id)
    await world.settled()
    assert len(world.slack.workspace.messages(named.id)) == 1


async def test_an_emoji_code_in_a_name_stays_text_in_the_title(world: World) -> None:
    world.fusebill.customers[2554529]["companyName"] = "Boom :boom: Ltd"
    card = await world.ask()
    header = world.slack.workspace.message("C0BILLING", card.ts).blocks[0]
    assert (header["text"]["text"], header["text"]["emoji"]) == (
        *("Unlatch Boom :boom: Ltd (2554529)?", False),
    )
