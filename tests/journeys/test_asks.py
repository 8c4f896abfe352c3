"""Commands that get no card: what the person who typed sees, and that nobody else sees it."""

from __future__ import annotations

import json
import socket

import pytest

from bot.sandbox.slack.simulator import Channel
from tests.support.reading import answer_to, heard_by, operations, parts, said, without_times
from tests.support.world import OpenWorld, World

NO_IDS = [
    *("0", "#", "1,500", "2.554.529", "2 554 529", "0012 12", "2554529, 12.5", "2554529;#1x"),
    *("2554529, " + "9" * 19, "2554529, \u0663", "https://[junk/1", "2554529 " + "x" * 501),
]


async def test_an_invalid_id_is_answered_in_the_ack_and_calls_nothing(
    world: World,
) -> None:
    at_start, texts = len(world.slack.calls), [*NO_IDS, "help"]
    acks = [json.loads((await world.slack.command("U0ALICE", text)).body) for text in texts]
    await world.settled()
    assert {ack["response_type"] for ack in acks} == {"ephemeral"}
    assert [ack["text"] for ack in acks if "/unlatch &lt;Stax Bill ID&gt;" not in ack["text"]] == []
    assert (world.slack.calls[at_start:], world.fusebill.calls) == ([], [])
    assert heard_by(world) == {"U0ALICE"}


async def test_a_malformed_command_is_answered_in_one_line_with_the_usage(
    world: World,
) -> None:
    lines = [await answer_to(world, text) for text in NO_IDS]
    usage = "Type /unlatch <Stax Bill ID> [reason]"
    assert [line for line in lines if "\n" in line or not line.endswith(usage)] == []


@pytest.mark.parametrize(
    ("text", "words", "usage"),
    [
        ("history abc", "'abc' is not a Stax Bill ID", "history [Stax Bill ID]"),
        ("history 0", "No customer has the id 0.", "history [Stax Bill ID]"),
        ("find", "no letters or digits", "find <text>"),
        ("pending 2554529", "Nothing can follow “pending”.", "pending"),
        ("many 2554529", "Nothing can follow “many”.", "many"),
        ("undo", "Undo… is a button on the request's card", "history [Stax Bill ID]"),
        ("Latch", "Undo… is a button on the request's card", "history [Stax Bill ID]"),
        ("cancel 2554529", "Cancel is a button on the request's card", "pending"),
        ("confirm", "Unlatch … is a button on the request's card", "pending"),
        ("stop", "Stop is a button on the request's card", "pending"),
    ],
)
async def test_whoever_wanted_something_else_is_not_told_to_ask_for_an_unlatch(
    world: World, text: str, words: str, usage: str
) -> None:
    answer = await answer_to(world, text)
    assert words in answer
    assert answer.endswith(f" Type /unlatch {usage}")
    assert (heard_by(world), world.fusebill.calls) == ({"U0ALICE"}, [])


@pytest.mark.parametrize(
    "text",
    [
        *("#2554529", "  2554529  ", "2554529\twhy", "2554529\nwhy"),
        # copied from a card, a message or a sheet
        *("`2554529`", "```2554529``` why", "*2554529*", "_2554529_ why", "“2554529”", "'2554529'"),
        *('"2554529", why', "*`#2554529`*", "„2554529“"),
    ],
    ids=ascii,
)
async def test_an_id_may_have_a_hash_blanks_quotes_and_formats(world: World, text: str) -> None:
    assert "(2554529)" in world.card(await world.ask(text))


@pytest.mark.parametrize(
    "reason",
    [
        "R&D <b>moved</b>",
        "it's 100 % *ok* _really_",
        "see https://example.com/?a=1&b=2",
        "the payload was lost",
        "payload=1&ssl_check=1",
        "🚲 מעבר",
        "0",
    ],
)
async def test_a_reason_is_shown_as_typed(world: World, reason: str) -> None:
    assert f": {reason}\n" in world.card(await world.ask(f"2554529 {reason}"))


async def test_without_a_reason_the_card_has_no_why(world: World) -> None:
    assert ", AT.\n" in without_times(world.card(await world.ask("2554529")))


async def test_the_longest_valid_id_is_looked_up(world: World) -> None:
    assert "has no customer 999999999999999999" in await answer_to(world, "9" * 18)


@pytest.mark.parametrize(
    ("kind", "status", "expected"),
    [
        ("not_found", 404, ("has no customer 7", "Customer with id 7 not found. (HTTP 404)")),
        ("lying_status", 404, ("has no customer 7", "Customer with id 7 not found. (HTTP 404)")),
        ("key_refused", 400, ("FUSEBILL_API_KEY", "not in the correct format. (HTTP 400)")),
        ("unauthorized", 401, ("FUSEBILL_API_KEY", "denied for this request. (HTTP 401)")),
        ("malformed", 400, ("refused", "The request is malformed. (HTTP 400)")),
        ("message", 400, ("refused", "The request is invalid. (HTTP 400)")),
        ("rate_limited", 429, ("no more calls", "is exceeded. (HTTP 429)", "Try again after 2")),
        ("server_error", 500, ("is not available (HTTP 500)", "error has occurred. (HTTP 500)")),
        ("bad_gateway", 502, ("is not available (HTTP 502)", "502 gateway")),
        ("html", 200, ("not in Fusebill's form (HTTP 200: it is a web page)", "200 gateway")),
        ("html", 403, ("in front of Fusebill", "403 gateway (HTTP 403)", "Try again in a")),
        ("html", 404, ("not look like Fusebill's API", "404 gateway", "FUSEBILL_BASE_URL")),
        ("hostile_error", 409, ("<!channel> <@U0ALICE> <https://evil.example|click here>",)),
        ("long_error", 409, ("Fusebill: xxx", "x… (HTTP 409)")),
    ],
)
async def test_a_failed_read_is_explained_to_the_typist_only_in_fusebills_words(
    world: World, kind: str, status: int, expected: tuple[str, ...]
) -> None:
    world.fusebill.misbehave(kind, times=None, status=status)
    answer = await answer_to(world, "7 moved")
    assert [part for part in (*expected, "Nothing was changed.") if part not in answer] == []
    assert heard_by(world) == {"U0ALICE"}


async def test_a_lost_answer_is_reported_to_the_typist_only(world: World) -> None:
    world.fusebill.misbehave("lost_before", times=None)
    answer = await answer_to(world, "2554529")
    assert "no conclusive answer: the answer was lost. Nothing was changed." in answer
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


async def test_the_api_key_is_never_shown_even_if_fusebill_repeats_it(world: World) -> None:
    text = f"The key {world.fusebill.api_key} is no good."
    world.fusebill.misbehave("unauthorized", times=None, text=text)
    assert "Fusebill: The key [API key] is no good. (HTTP 401)" in await answer_to(world, "2554529")


async def test_a_read_that_fails_once_is_retried_silently(
    world: World,
) -> None:
    world.fusebill.misbehave("bad_gateway")
    await world.ask()
    assert operations(world) == ["get_customer", "get_customer"]
    assert not world.slack.workspace.all_ephemerals()


@pytest.mark.parametrize("kind", ["not_found", "unauthorized", "rate_limited", "malformed"])
async def test_a_refused_read_is_not_retried(world: World, kind: str) -> None:
    world.fusebill.misbehave(kind, times=None)
    await answer_to(world, "2554529")
    assert operations(world).count("get_customer") == 1


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


THOUSANDS = ["2 554 529", "2\u202f554\u202f529", "2\u00a0554\u00a0529 moved", "2,554,529", "1,500"]


@pytest.mark.parametrize("text", THOUSANDS, ids=ascii)
async def test_a_number_with_thousands_separators_is_asked_about_and_nothing_is_read(
    world: World, text: str
) -> None:
    answer = await answer_to(world, text)
    assert "one id?" in answer or "looks like one number" in answer
    assert (operations(world), heard_by(world)) == ([], {"U0ALICE"})


@pytest.mark.parametrize(
    "text",
    [
        *("\u200b2554529", "2554529\ufeff moved", "\u00ad2554529\u00ad"),
        "https://admin.staxbill.com/customers/2554529",
    ],
    ids=ascii,
)
async def test_an_id_may_be_pasted_with_what_nobody_sees_or_as_an_address(
    world: World, text: str
) -> None:
    assert "(2554529)" in world.card(await world.ask(text))


async def test_an_address_that_fits_the_admins_setting_is_an_id(open_world: OpenWorld) -> None:
    async with open_world(fusebill_customer_url="https://a.example/7/c/{id}") as world:
        card = await world.ask("https://a.example/7/c/2554529?tab=2 moved")
        assert "(2554529)" in world.card(card)


@pytest.mark.parametrize(
    "reason", ["\u2800", "\u3164", "\u115f", "\u200b\u200b", "\ufe0f"], ids=ascii
)
async def test_a_reason_that_nobody_sees_is_none(open_world: OpenWorld, reason: str) -> None:
    async with open_world(unlatch_require_reason=True) as world:
        assert "A reason is needed." in await answer_to(world, f"2554529 {reason}")
        assert operations(world) == []


@pytest.mark.parametrize(
    "channel",
    [
        Channel("D0ALICE", "directmessage"),
        Channel("D0SELF", "directmessage", member=True),
        Channel("C0GROUP", "mpdm-alice--bob-1"),
    ],
    ids=["with somebody", "with the bot", "of several"],
)
async def test_in_a_direct_message_people_are_sent_to_a_channel(
    world: World, channel: Channel
) -> None:
    world.slack.workspace.channels[channel.id] = channel
    answer = await answer_to(world, "2554529 moved", channel.id)
    assert "Use the command in a channel." in answer
    assert "/invite" not in answer
    assert (operations(world), heard_by(world)) == ([], {"U0ALICE"})


async def test_a_channel_may_be_called_like_a_direct_message(world: World) -> None:
    named = Channel("C0HELP", "directmessage-help", member=True)
    world.slack.workspace.channels[named.id] = named
    await world.slack.command("U0ALICE", "2554529 moved", channel_id=named.id)
    await world.settled()
    assert len(world.slack.workspace.messages(named.id)) == 1


async def test_find_and_help_work_in_a_direct_message(world: World) -> None:
    world.slack.workspace.channels["D0ALICE"] = Channel("D0ALICE", "directmessage")
    assert "Stolen Bikes" in await answer_to(world, "find stolen", "D0ALICE")
    assert "/unlatch <Stax Bill ID>" in await answer_to(world, "help", "D0ALICE")


async def test_a_customer_without_a_name_has_a_subject_everywhere(world: World) -> None:
    nameless = {"companyName": None, "firstName": None, "lastName": None}
    world.fusebill.customers[2554529].update(nameless)
    card = await world.ask()
    assert world.card(card).startswith("Unlatch customer 2554529?")
    await world.press("U0BOB", card, "unlatch_confirm")
    assert world.card(card).startswith("✅ Unlatched: customer 2554529")


async def test_an_emoji_code_in_a_name_stays_text_in_the_title(world: World) -> None:
    world.fusebill.customers[2554529]["companyName"] = "Boom :boom: Ltd"
    card = await world.ask()
    header = world.slack.workspace.message("C0BILLING", card.ts).blocks[0]
    assert (header["text"]["text"], header["text"]["emoji"]) == (
        *("Unlatch Boom :boom: Ltd (2554529)?", False),
    )
