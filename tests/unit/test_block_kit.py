"""Block Kit elements: every text is cut to fit, and no value becomes markup."""

from __future__ import annotations

import re
import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given, strategies as st

from bot.messages.block_kit import (
    Inline,
    Line,
    bold,
    button,
    buttons,
    channel,
    code,
    cut,
    date,
    escape,
    header,
    lines,
    link,
    message,
    say,
    size,
    text,
    user,
)
from bot.sandbox.slack.validation.block_kit import problems
from tests.support.hostile import NOON, TEXTS, mentions_and_links, refused_by_slack

BIDI_CONTROLS = set("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
LIMITS = st.integers(min_value=2, max_value=300)


def units(value: str) -> int:
    """The length of a text in UTF-16 units, as JavaScript and Slack count it."""
    return len(value.encode("utf-16-le", "surrogatepass")) // 2


@given(TEXTS, LIMITS)
def test_a_cut_text_fits_has_no_control_characters_and_an_ellipsis_if_something_is_missing(
    value: str, limit: int
) -> None:
    kept = cut(value, limit)
    assert units(kept) <= limit
    assert not BIDI_CONTROLS & set(kept)
    assert {unicodedata.category(c) for c in kept}.isdisjoint({"Cc", "Cs"})
    assert cut(kept, limit) == kept
    if units(value) <= limit and value.isprintable() and not BIDI_CONTROLS & set(value):
        assert kept == " ".join(value.split())
    else:
        assert kept == " ".join(kept.split()) or kept.endswith("…")


@pytest.mark.parametrize(
    ("value", "limit", "kept"),
    [
        ("Stolen Bikes", 12, "Stolen Bikes"),
        ("Stolen Bikes", 11, "Stolen Bik…"),
        ("Stolen\r\n\tBikes", 20, "Stolen Bikes"),
        ("a\x00b\ud83dc", 20, "a b c"),
        ("\u202e9254552\u202c", 20, "9254552"),
        ("🚲🚲🚲", 6, "🚲🚲🚲"),
        ("🚲🚲🚲", 5, "🚲🚲…"),
        ("🚲🚲🚲", 4, "🚲…"),
        ("", 5, ""),
        ("\u202e" * 100, 5, "…"),
    ],
)
def test_a_text_is_cut_between_characters(value: str, limit: int, kept: str) -> None:
    assert cut(value, limit) == kept


@given(TEXTS)
def test_an_escaped_text_holds_no_markup_and_can_be_unescaped(value: str) -> None:
    escaped = escape(value)
    assert not set("<>") & set(escaped)
    unescaped = escaped.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert unescaped == value


@given(TEXTS, LIMITS)
def test_a_value_is_never_empty_and_never_too_long(value: str, limit: int) -> None:
    inline = text(value, limit=limit)
    assert 1 <= units(inline["text"]) <= limit
    assert inline["type"] == "text"


@given(st.lists(TEXTS, min_size=1, max_size=5))
def test_slack_accepts_a_message_of_any_values_which_mention_nobody(values: list[str]) -> None:
    built = message(
        header(f"It says {values[0]}"), [[say("It says: "), text(each)] for each in values]
    )
    assert refused_by_slack(built) == []
    assert mentions_and_links(built) == set()
    assert units(built.blocks[0]["text"]["text"]) <= 150
    assert units(message([[say("x" + "".join(values))]]).text) <= 3000


def counted(part: object) -> int:
    """The texts, values and URLs of blocks, wherever they are."""
    if isinstance(part, list):
        return sum(map(counted, part))
    if not isinstance(part, dict):
        return 0
    own = [part.get(name) for name in ("text", "url", "value", "fallback")]
    return sum(units(each) for each in own if isinstance(each, str)) + counted([*part.values()])


@given(st.lists(TEXTS, min_size=1), TEXTS)
def test_the_size_of_blocks_is_that_of_all_their_texts(values: list[str], label: str) -> None:
    inlines = [[text(value), link("https://a.example/ü😀", value), date(NOON)] for value in values]
    blocks = [header(label), lines(inlines), buttons(button(label, "go", label, aloud=label))]
    assert size(blocks) == counted(blocks)


def test_a_messages_text_says_the_same_as_its_blocks() -> None:
    built = message(
        header("Unlatch <B&B>?"),
        None,
        [[bold("By: "), user("U0BOB"), say(" in "), channel("C0BILLING")], [date(NOON)]],
        [[link("https://a.example", "1<2"), say(" "), code("/unlatch 1")]],
        buttons(button("Go", "go", "1", aloud="Go there")),
    )
    assert built.text == (
        "Unlatch &lt;B&amp;B&gt;?\n"
        "By: <@U0BOB> in <#C0BILLING>\n"
        "<!date^1795435200^{date_short_pretty} at {time}|2026-11-23 12:00:00 UTC>\n"
        "1&lt;2 /unlatch 1"
    )
    assert [block["type"] for block in built.blocks] == [
        "header",
        "rich_text",
        "rich_text",
        "actions",
    ]
    assert problems(built.blocks) == []


@pytest.mark.parametrize(
    ("inline", "expected"),
    [
        (say(" a "), {"type": "text", "text": " a "}),
        (bold("a"), {"type": "text", "text": "a", "style": {"bold": True}}),
        (code("a"), {"type": "text", "text": "a", "style": {"code": True}}),
        (text("\u202e"), {"type": "text", "text": "…"}),
        (link(None, "7"), code("7")),
        (link("https://a", "7"), {"type": "link", "url": "https://a", "text": "7"}),
    ],
)
def test_each_inline_has_its_block_kit_form(inline: Inline, expected: Inline) -> None:
    assert inline == expected


def test_a_date_is_seconds_since_1970_with_a_fallback_in_utc() -> None:
    inline = date(datetime(2026, 1, 2, 3, 4, 5, 999, tzinfo=UTC))
    assert inline["timestamp"] == 1767323045
    assert inline["fallback"] == "2026-01-02 03:04:05 UTC"


@pytest.mark.parametrize("style", ["", "primary", "danger"])
def test_a_button_carries_its_id_as_text(style: str) -> None:
    element = button("Unlatch", "unlatch_confirm", "5f0c", style, aloud="Unlatch Bikes")
    assert element["value"] == "5f0c"
    assert element["accessibility_label"] == "Unlatch Bikes"
    assert element.get("style", "") == style
    actions = buttons(None, element)
    assert actions is not None
    assert problems([actions]) == []


@given(st.lists(st.lists(TEXTS.map(text), min_size=1, max_size=3), min_size=1, max_size=3))
def test_lines_become_sections_of_one_block(content: list[Line]) -> None:
    (block,) = message(content).blocks
    assert [section["elements"] for section in block["elements"]] == content


@pytest.mark.parametrize(
    "tail", [[text("&" * 20)], [user("U0ALICE")], [date(datetime(2026, 1, 1, tzinfo=UTC))]]
)
def test_a_text_is_never_cut_within_an_entity_or_a_mention(tail: Line) -> None:
    for lead in range(2_985, 3_001):
        shown = message([[say("x" * lead), *tail, say("y" * 3_000)]]).text
        assert len(shown) <= 3_000
        body = shown.removesuffix("…")
        assert re.sub(r"&(amp|lt|gt);|<[^<>]+>", "", body).strip("xy") == ""
