"""The simulated Slack is as strict about modals as Slack: triggers, limits, answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from bot.sandbox.slack.simulator import SimulatedSlack
from bot.sandbox.slack.validation.view_checks import problems
from bot.sandbox.slack.views import TROUBLE
from tests.support.names import CHANNEL


def plain(text: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


def input_block(**more: Any) -> dict[str, Any]:
    element = {"type": "plain_text_input", "action_id": "why", "max_length": 5}
    return {"type": "input", "block_id": "why", "label": plain("Why"), "element": element, **more}


def modal(**more: Any) -> dict[str, Any]:
    frame = {"type": "modal", "title": plain("A form"), "submit": plain("Send")}
    return {**frame, "blocks": [input_block()], **more}


@pytest.fixture
async def slack() -> AsyncIterator[SimulatedSlack]:
    """A Slack with a card whose button the tests press."""
    async with SimulatedSlack() as opened:
        yield opened


async def opened_with(slack: SimulatedSlack, trigger_id: str, view: dict[str, Any]) -> Any:
    headers = {"Authorization": f"Bearer {slack.bot_token}"}
    body = {"trigger_id": trigger_id, "view": view}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{slack.api_url}views.open", json=body) as response,
    ):
        return await response.json()


async def form_of(slack: SimulatedSlack, **more: Any) -> str:
    """The id of a form that Alice sees."""
    slack.views.issue("1.2.a", "U0ALICE")
    answer = await opened_with(slack, "1.2.a", modal(**more))
    assert answer["ok"], answer
    return str(answer["view"]["id"])


async def answering(slack: SimulatedSlack, *answers: web.Response) -> list[dict[str, Any]]:
    """Let an app give these answers, one after the other; returns what it receives."""
    received: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        received.append(dict(await request.post()))
        return answers[len(received) - 1]

    slack.serve_also([web.post("/app", take)], lambda: None)
    await slack.__aexit__()
    await slack.__aenter__()
    slack.request_url = f"{slack.url}app"
    return received


async def test_a_trigger_works_once_for_three_seconds(slack: SimulatedSlack) -> None:
    assert (await opened_with(slack, "9.9.z", modal()))["error"] == "invalid_trigger_id"
    slack.views.issue("1.2.a", "U0ALICE")
    assert (await opened_with(slack, "1.2.a", modal()))["ok"]
    assert (await opened_with(slack, "1.2.a", modal()))["error"] == "exchanged_trigger_id"
    slack.views.issue("1.2.b", "U0ALICE")
    now = slack.views.clock()
    slack.views.clock = lambda: now + 3.1
    assert (await opened_with(slack, "1.2.b", modal()))["error"] == "expired_trigger_id"
    assert len(slack.views.all()) == 1


@pytest.mark.parametrize(
    ("view", "pointer"),
    [
        (modal(title=plain("x" * 25)), "/view/title/text"),
        (modal(title={"type": "mrkdwn", "text": "x"}), "/view/title"),
        (modal(type="home"), "/view/type"),
        (modal(private_metadata="x" * 3001), "/view/private_metadata"),
        (modal(blocks=[]), "/view/blocks"),
        (modal(blocks=[input_block(label=plain("x" * 2001))]), "/view/blocks/0/label/text"),
        (modal(blocks=[input_block(element={"type": "text"})]), "/view/blocks/0/element/type"),
        (modal(blocks=[input_block(), input_block()]), "/view/blocks"),
        (modal(blocks=[{"type": "divider"}, {"type": "header"}]), "/view/blocks/1"),
        (modal(colour="red"), "/view/colour"),
    ],
)
def test_a_view_outside_slacks_limits_is_refused(view: dict[str, Any], pointer: str) -> None:
    assert any(f"{pointer}]" in line for line in problems(view)), problems(view)


def test_a_valid_view_has_a_submit_button_and_inputs_of_1_to_3000_characters() -> None:
    assert problems(modal(close=plain("Back"), private_metadata="{}")) == []
    for length in (0, 3001, "5"):
        element = {"type": "plain_text_input", "action_id": "why", "max_length": length}
        assert problems(modal(blocks=[input_block(element=element)]))
    view = modal()
    del view["submit"]
    assert any("must have a submit button" in line for line in problems(view))


async def test_slack_itself_refuses_what_is_missing_or_too_long(slack: SimulatedSlack) -> None:
    form = await form_of(slack)
    received = await answering(slack, web.Response())
    assert await slack.submit(form, {"why": ""}) is None
    assert slack.views.get(form).errors == {"why": "Please complete this required field."}
    assert await slack.submit(form, {"why": "longer"}) is None
    assert slack.views.get(form).errors == {"why": "Must be 5 characters or fewer."}
    assert received == []


async def test_an_answer_shows_errors_replaces_the_form_or_closes_it(
    slack: SimulatedSlack,
) -> None:
    form = await form_of(slack)
    errors = {"response_action": "errors", "errors": {"why": "Not so."}}
    view = {**modal(), "title": plain("Again")}
    await answering(
        slack,
        web.json_response(errors),
        web.json_response({"response_action": "update", "view": view}),
        web.Response(),
    )
    await slack.submit(form, {"why": "so"})
    shown = slack.views.get(form)
    assert (shown.errors, shown.values) == ({"why": "Not so."}, {"why": {"why": "so"}})
    await slack.submit(form, {"why": "so"})
    assert slack.views.get(form).view["title"] == plain("Again")
    await slack.submit(form, {"why": "so"})
    assert slack.views.all() == []


@pytest.mark.parametrize(
    "answer",
    [
        web.json_response({"response_action": "errors", "errors": {"other": "x"}}),
        web.json_response({"response_action": "update", "view": {"type": "modal"}}),
        web.json_response({"response_action": "reload"}),
        web.Response(text="ok"),
        web.Response(status=500),
    ],
    ids=["unknown block", "bad view", "bad action", "text", "500"],
)
async def test_any_other_answer_is_trouble_and_the_form_stays(
    slack: SimulatedSlack, answer: web.Response
) -> None:
    form = await form_of(slack)
    await answering(slack, answer)
    await slack.submit(form, {"why": "so"})
    assert slack.views.get(form).problem == TROUBLE


async def test_a_click_brings_a_trigger_for_the_person_who_clicked(slack: SimulatedSlack) -> None:
    received = await answering(slack, web.Response())
    button = {"type": "button", "action_id": "a", "text": plain("A"), "value": "1"}
    blocks = [{"type": "actions", "elements": [button]}]
    card = slack.workspace.post(CHANNEL, slack.workspace.bot.id, "A card", blocks)
    await slack.click("U0BOB", card.ts, "a")
    [trigger] = [part for part in str(received[0]["payload"]).split('"') if part.count(".") == 2]
    assert (await opened_with(slack, trigger, modal()))["ok"]
    assert slack.views.of("U0BOB").view["title"] == plain("A form")


# Menus of one choice


def option(value: str, text: str = "A column") -> dict[str, Any]:
    return {"text": plain(text), "value": value}


def menu(**more: Any) -> dict[str, Any]:
    element = {"type": "static_select", "action_id": "column", "options": [option("1")], **more}
    return {"type": "input", "block_id": "menu", "label": plain("Which?"), "element": element}


@pytest.mark.parametrize(
    "more",
    [
        {"options": []},
        {"options": [option(str(number)) for number in range(101)]},
        {"options": [option("1", "x" * 76)]},
        {"options": [option("1" * 76)]},
        {"options": [{"text": plain("no value")}]},
        {"options": ["1"]},
        {"initial_option": option("2")},
        {"multiline": True},
    ],
    ids=[
        *("no options", "101 options", "a long text", "a long value", "no value"),
        *("a text for an option", "another beginning", "a field of texts"),
    ],
)
def test_slack_refuses_menus_that_it_could_not_show(more: dict[str, Any]) -> None:
    assert problems(modal(blocks=[menu()])) == []
    assert problems(modal(blocks=[menu(**more)])) != []


async def test_a_choice_is_sent_as_the_option_that_was_chosen(slack: SimulatedSlack) -> None:
    received = await answering(slack, web.Response())
    other = option("2", "Other")
    form = await form_of(
        slack, blocks=[menu(options=[option("1"), other], initial_option=option("1"))]
    )
    assert slack.views.get(form).values == {"menu": {"column": "1"}}
    for chosen in ("", "3"):
        assert await slack.submit(form, {"menu": chosen}) is None
        errors = slack.views.get(form).errors
        assert errors == {"menu": "Please complete this required field."}
    assert received == []
    await slack.submit(form, {"menu": "2"})
    view = json.loads(received[-1]["payload"])["view"]
    assert view["state"]["values"]["menu"] == {
        "column": {"type": "static_select", "selected_option": other}
    }
