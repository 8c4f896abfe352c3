"""The simulated Slack validates Block Kit as Slack does, and renders blocks as text."""

from __future__ import annotations

from typing import Any

import pytest

from bot.sandbox.slack.validation.block_kit import problems, size, text_of


def plain(text: str = "x") -> dict[str, Any]:
    return {"type": "plain_text", "text": text}


def mrkdwn(text: str = "x") -> dict[str, Any]:
    return {"type": "mrkdwn", "text": text}


def button(**changes: object) -> dict[str, Any]:
    return {"type": "button", "action_id": "go", "text": plain("Go"), "value": "1", **changes}


def actions(*elements: object) -> dict[str, Any]:
    return {"type": "actions", "elements": list(elements)}


def rich(*elements: object) -> dict[str, Any]:
    section = {"type": "rich_text_section", "elements": list(elements)}
    return {"type": "rich_text", "elements": [section]}


CONFIRM = {"title": plain(), "text": mrkdwn(), "confirm": plain(), "deny": plain()}
CARD: list[dict[str, Any]] = [
    {"type": "header", "text": plain("Unlatch Stolen Bikes?")},
    {"type": "section", "text": mrkdwn("*who*"), "fields": [plain("a"), mrkdwn("b")]},
    {"type": "section", "text": plain("hit"), "accessory": button(action_id="use")},
    {"type": "divider"},
    rich(
        {"type": "text", "text": "by ", "style": {"bold": True}},
        {"type": "user", "user_id": "U0ALICE"},
        {"type": "date", "timestamp": 1, "format": "{date}", "fallback": " then"},
        {"type": "link", "url": "https://a.example", "text": " there"},
        {"type": "emoji", "name": "lock"},
    ),
    {"type": "context", "elements": [mrkdwn("_fine_"), plain("print")]},
    actions(button(style="danger", confirm=CONFIRM), button(action_id="no", text=plain("No"))),
]


def test_a_valid_card_has_no_problems_and_its_text_is_what_people_see() -> None:
    assert problems(CARD) == []
    assert text_of(CARD).splitlines() == [
        "Unlatch Stolen Bikes?",
        "*who*",
        "a",
        "b",
        "hit",
        "[Go]",
        "---",
        "by <@U0ALICE> then there:lock:",
        "_fine_ print",
        "[Go] [No]",
    ]


def test_lists_and_preformatted_text_are_rendered_line_by_line() -> None:
    item = {"type": "rich_text_section", "elements": [{"type": "text", "text": "one"}]}
    listed = {"type": "rich_text_list", "style": "bullet", "elements": [item, item]}
    preformatted = {"type": "rich_text_preformatted", "elements": [{"type": "text", "text": "raw"}]}
    block = {"type": "rich_text", "elements": [listed, preformatted]}
    assert problems([block]) == []
    assert text_of([block]) == "- one\n- one\nraw"


@pytest.mark.parametrize(
    ("block", "expected"),
    [
        ({"type": "alert", "text": plain()}, "unsupported block type: alert"),
        ({"type": "header", "text": mrkdwn()}, "text object of type plain_text"),
        ({"type": "header", "text": plain("x" * 151)}, "less than 151 characters"),
        ({"type": "header", "text": plain(""), "block_id": "h"}, "more than 0 characters"),
        ({"type": "section"}, "text or fields"),
        ({"type": "section", "text": None}, "must not be null"),
        ({"type": "section", "text": mrkdwn("x" * 3001)}, "less than 3001"),
        ({"type": "section", "fields": [plain("x" * 2001)]}, "/blocks/0/fields/0/text]"),
        ({"type": "section", "text": plain(), "elements": []}, "invalid additional property"),
        ({"type": "section", "text": plain(), "accessory": plain()}, "unsupported element type"),
        ({"type": "divider", "block_id": "x" * 256}, "less than 256"),
        (actions(), "between 1 and 25"),
        (actions(button(), button()), "`action_id` go already exists"),
        (actions(button(text=plain("x" * 76))), "less than 76"),
        (actions(button(style="default")), "must be one of primary, danger"),
        (actions(button(value=1)), "must be a string"),
        (actions(button(url="javascript:alert(1)")), "invalid url"),
        (actions(button(confirm=CONFIRM | {"title": plain("x" * 101)})), "less than 101"),
        (actions(button(confirm={"title": plain()})), "missing required field: deny"),
        (rich(), "between 1 and"),
        (rich({"type": "text", "text": ""}), "more than 0 characters"),
        (rich({"type": "text", "text": "x", "style": {"bold": 1}}), "must be a boolean"),
        (rich({"type": "broadcast", "range": "all"}), "must be one of here"),
        (rich({"type": "shout"}), "unsupported element type: shout"),
    ],
)
def test_what_slack_refuses_is_reported(block: object, expected: str) -> None:
    found = problems([block])
    assert any(expected in line for line in found), found


def test_there_are_at_most_fifty_blocks_with_unique_ids() -> None:
    assert problems([{"type": "divider"}] * 50) == []
    assert "no more than 50" in problems([{"type": "divider"}] * 51)[0]
    assert "already exists" in problems([{"type": "divider", "block_id": "a"}] * 2)[0]
    assert problems({"type": "divider"}) != []


def test_the_size_counts_texts_values_and_addresses() -> None:
    blocks = [actions(button(url="https://a.example")), {"type": "section", "text": plain("four")}]
    assert size(blocks) == len("Go") + len("1") + len("https://a.example") + len("four")
