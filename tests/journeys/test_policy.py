"""Who may ask and decide; each refusal is private, and recorded in the ledger."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from bot.sandbox.slack.simulator import Delivery, PostedMessage, SimulatedSlack, User
from bot.sandbox.slack.workspace import Team
from tests.support.ledger import audit_rows
from tests.support.names import CANCEL, CHANNEL, CONFIRM
from tests.support.reading import without_times
from tests.support.stage import stage
from tests.support.world import OpenWorld, World

TWO = "You made this request yourself. The two-person rule needs somebody else to confirm."
CONFIRMERS = "You are not on the list of people who may confirm."
CANCELLERS = "You are not on the list of people who may cancel somebody else's request."
GROUP_REFUSED = (
    "Slack does not tell the bot who is in the user group S0NOSUCH (no_such_subteam), so it can't"
    " know whether you may confirm. Trying again won't help: tell the bot's admin."
)


def ephemeral_readers(world: World) -> set[str]:
    """The users who got an ephemeral."""
    return {ephemeral.user_id for ephemeral in world.slack.workspace.all_ephemerals()}


def refusals(world: World) -> dict[str, float]:
    """What `/metrics` counts as refused, by reason."""
    (family,) = world.bot.metrics.refusals.collect()
    return {s.labels["reason"]: s.value for s in family.samples if s.name.endswith("_total")}


@dataclass(frozen=True, slots=True)
class Case:
    """A person who is refused under these settings: the reason shown, and its label."""

    user_id: str
    why: str
    label: str
    settings: dict[str, Any] = field(default_factory=dict)
    text: str = "2554529 moved"
    action_id: str = CONFIRM


def only(**people: set[str]) -> dict[str, Any]:
    """Settings that list people, and user groups to list."""
    listed = {f"unlatch_{name}": frozenset(ids) for name, ids in people.items()}
    return listed | {"user_groups": {"S0OPS": ["U0BOB"], "S0PARTNERS": ["U0GUEST"]}}


ASK_STRANGER = "People from other organisations may not ask for an unlatch here."
ASK_LIST = "You are not on the list of people who may ask for an unlatch."
NO_REASON = "A reason is needed. Type it after the id."
ASKS = {
    "in another channel": Case(
        *("U0ALICE", "The command can't be used in this channel.", "channel"),
        {"unlatch_channels": frozenset({"C0PUBLIC"})},
    ),
    "not listed": Case("U0ALICE", ASK_LIST, "not_listed", only(requesters={"U0BOB"})),
    "not in the group": Case("U0ALICE", ASK_LIST, "not_listed", only(requesters={"S0OPS"})),
    "a guest": Case("U0GUEST", ASK_STRANGER, "stranger"),
    "blanks for a reason": Case(
        "U0ALICE", NO_REASON, "reason", {"unlatch_require_reason": True}, text="2554529 \t \u2800"
    ),
    "a group that slack can't list": Case(
        "U0ALICE",
        "Slack does not tell the bot who is in the user group S0NOSUCH (no_such_subteam), so it",
        *("unknown_members", only(requesters={"S0NOSUCH"})),
    ),
}


@pytest.mark.parametrize("case", ASKS.values(), ids=ASKS)
async def test_a_refused_ask_is_answered_privately_reads_nothing_and_is_in_the_ledger(
    open_world: OpenWorld, case: Case
) -> None:
    async with open_world(**case.settings) as world:
        answer = await world.reply_to(case.text, case.user_id)
        await world.settled()
        assert answer.startswith(f"🔒 {case.why}")
        assert not world.slack.workspace.messages(CHANNEL)
        assert (ephemeral_readers(world), world.fusebill.calls) == ({case.user_id}, [])
        assert refusals(world) == {case.label: 1}
        (row,) = audit_rows(world.database_url)
        assert (row["event"], row["who"], row["customer_id"], row["channel_id"]) == (
            *("ask_denied", case.user_id, 2554529, CHANNEL),
        )
        assert row["why"].startswith(case.why)


@pytest.mark.parametrize(
    ("user_id", "settings"),
    [
        ("U0BOB", only(requesters={"U0ALICE", "S0NOSUCH", "S0OPS"})),
        ("U0GUEST", only(requesters={"U0GUEST"})),
        ("U0GUEST", only(requesters={"S0PARTNERS"})),
        ("U0ALICE", only(confirmers={"U0BOB"}) | {"unlatch_channels": frozenset({CHANNEL})}),
    ],
    ids=["one group of two", "guest", "guest in a group", "channel"],
)
async def test_an_allowed_person_gets_a_card(
    open_world: OpenWorld, user_id: str, settings: dict[str, Any]
) -> None:
    async with open_world(**settings) as world:
        card = await world.ask(user_id=user_id)
        assert f"Asked by <@{user_id}>" in world.card(card)


CLICKS = {
    "not listed": Case("U0ALICE", CONFIRMERS, "not_listed", only(confirmers={"U0BOB"})),
    "not in the group": Case("U0ALICE", CONFIRMERS, "not_listed", only(confirmers={"S0OPS"})),
    "asked it oneself and listed": Case(
        "U0ALICE", TWO, "two_person", only(confirmers={"U0ALICE"}) | {"unlatch_two_person": True}
    ),
    "a guest": Case("U0GUEST", "People from other organisations may not confirm here.", "stranger"),
    "a group that slack can't list": Case(
        "U0BOB", GROUP_REFUSED, "unknown_members", only(confirmers={"S0NOSUCH"})
    ),
    "cancels and is not listed": Case(
        *("U0BOB", CANCELLERS, "not_listed"),
        only(confirmers={"U0ALICE"}),
        action_id=CANCEL,
    ),
    "cancels and is a guest": Case(
        "U0GUEST",
        "People from other organisations may not cancel somebody else's request here.",
        "stranger",
        action_id=CANCEL,
    ),
}


@pytest.mark.parametrize("case", CLICKS.values(), ids=CLICKS)
async def test_a_refused_click_is_answered_privately_and_changes_only_ledger_and_thread(
    open_world: OpenWorld, case: Case
) -> None:
    async with open_world(**case.settings) as world:
        card = await world.ask()
        shown = world.card(card)
        await world.press(case.user_id, card, case.action_id)
        assert world.last_ephemeral(case.user_id) == f"🔒 {case.why}"
        assert world.slack.views.all() == [], "there is no form to decline"
        assert ephemeral_readers(world) == {case.user_id}
        assert world.card(card) == shown
        assert [call.operation for call in world.fusebill.calls] == ["get_customer"]
        assert refusals(world) == {case.label: 1}
        denied = [r for r in audit_rows(world.database_url) if r["event"] == "decision_denied"]
        assert [(row["who"], row["why"]) for row in denied] == [(case.user_id, case.why)]
        line = f"<@{case.user_id}> was refused · AT: {case.why}"
        assert without_times(world.thread(card)).splitlines()[-1] == line


@pytest.mark.parametrize(
    ("user_id", "settings"),
    [
        ("U0BOB", only(confirmers={"S0NOSUCH", "S0OPS"})),
        ("U0ALICE", only(confirmers={"U0ALICE"})),
        ("U0GUEST", only(confirmers={"U0GUEST"}) | {"unlatch_two_person": True}),
        ("U0GUEST", only(confirmers={"S0PARTNERS"})),
        ("U0BOB", only(requesters={"U0ALICE"})),
    ],
    ids=["one group of two", "oneself", "guest", "guest in a group", "no requester"],
)
async def test_an_allowed_person_can_confirm(
    open_world: OpenWorld, user_id: str, settings: dict[str, Any]
) -> None:
    async with open_world(**settings) as world:
        card = await world.ask()
        await world.press(user_id, card, CONFIRM)
        assert f"By <@{user_id}>" in world.card(card)
        assert world.fusebill.customers[2554529]["hubSpotId"] is None


@pytest.mark.parametrize("group", ["U0BOB", "S0NOSUCH"])
async def test_the_requester_may_always_cancel(open_world: OpenWorld, group: str) -> None:
    async with open_world(**only(confirmers={group}), unlatch_two_person=True) as world:
        card = await world.ask()
        await world.press("U0ALICE", card, CANCEL)
        assert "By <@U0ALICE>" in world.card(card)
        assert world.fusebill.customers[2554529]["hubSpotId"] == 101


async def test_a_guest_listed_by_id_may_cancel_their_own_request(
    open_world: OpenWorld,
) -> None:
    # Slack can name different teams for the same person in a command and in a click
    async with open_world(**only(requesters={"U0GUEST"}, confirmers={"U0BOB"})) as world:
        card = await world.ask(user_id="U0GUEST")
        await world.press("U0GUEST", card, CANCEL)
        assert "By <@U0GUEST>" in world.card(card)


@pytest.mark.parametrize(
    ("text", "customer_id", "tried"),
    [
        ("find stolen", None, "/unlatch find stolen"),
        ("history 2554529", 2554529, "/unlatch history"),
        ("history", None, "/unlatch history"),
    ],
)
async def test_whoever_may_not_ask_may_not_search_or_read_history(
    open_world: OpenWorld, text: str, customer_id: int | None, tried: str
) -> None:
    async with open_world(unlatch_requesters=frozenset({"U0BOB"})) as world:
        assert (await world.reply_to(text)).startswith(f"🔒 {ASK_LIST}")
        await world.settled()
        assert (ephemeral_readers(world), world.fusebill.calls) == ({"U0ALICE"}, [])
        (row,) = audit_rows(world.database_url)
        assert (row["event"], row["who"], row["customer_id"]) == (
            *("ask_denied", "U0ALICE", customer_id),
        )
        assert row["details"] == {"reason": tried}
        assert refusals(world) == {"not_listed": 1}


async def test_a_search_needs_no_reason_and_anybody_may_see_the_help(open_world: OpenWorld) -> None:
    async with open_world(unlatch_require_reason=True) as world:
        assert "Stolen Bikes" in await world.reply_to("find bikes")
        assert "/unlatch history [Stax Bill ID]" in await world.reply_to("help", "U0GUEST")


@pytest.mark.parametrize(
    ("rule", "label", "advice"),
    [
        (
            {"unlatch_channels": frozenset({"C0PUBLIC"})},
            "channel",
            "Cancel it and ask again in a channel where the command can be used.",
        ),
        (
            {"unlatch_requesters": frozenset({"U0BOB"})},
            "not_listed",
            "Whoever made this request may not ask for an unlatch any more.",
        ),
        (
            {"unlatch_require_reason": True},
            "reason",
            "no longer allow it. Cancel it and ask again with a reason.",
        ),
    ],
    ids=str,
)
async def test_a_rule_set_after_the_card_applies_at_the_click(
    tmp_path: Path, rule: dict[str, Any], label: str, advice: str
) -> None:
    async with stage(f"sqlite:///{tmp_path}/ledger.db", tmp_path) as staged:
        before = await staged.start()
        await staged.slack.command("U0ALICE", "2554529")
        await staged.until(lambda: '"asked"' in staged.log)
        [card] = staged.slack.workspace.messages(CHANNEL)
        await before.kill()
        await staged.start(**rule)
        await staged.slack.click("U0BOB", card.ts, CONFIRM)
        await staged.until(lambda: staged.slack.workspace.ephemerals("U0BOB"))
        assert advice in staged.slack.workspace.ephemerals("U0BOB")[-1].text
        assert staged.calls("unlatch_customer") == 0
        assert f'"label": "{label}"' in staged.log
        await staged.until(lambda: advice in staged.thread(card))


GRID = "E0HOME"


def join_grid(slack: SimulatedSlack) -> None:
    """Put the bot's workspace into an organisation, with a sister workspace and its Dana."""
    teams = slack.workspace.teams
    teams["T0SANDBOX"] = Team("T0SANDBOX", "Sandbox", "sandbox", GRID)
    teams["T0SISTER"] = Team("T0SISTER", "Sister", "sister", GRID)
    slack.workspace.users["U0DANA"] = User("U0DANA", "dana", "Dana", "T0SISTER")
    slack.workspace.users["U0ORG"] = User("U0ORG", "olu", "Olu", GRID)


def click_body(slack: SimulatedSlack, card: PostedMessage, **changes: Any) -> dict[str, Any]:
    """A click on **Unlatch customer**, as Slack sends it, with changes."""
    [button] = [
        element
        for block in card.blocks
        if block["type"] == "actions"
        for element in block["elements"]
        if element["action_id"] == CONFIRM
    ]
    return {
        "type": "block_actions",
        "user": {"id": "U0DANA", "team_id": "T0SISTER"},
        "team": {"id": "T0SANDBOX", "domain": "sandbox"},
        "enterprise": None,
        "container": {"type": "message", "message_ts": card.ts, "channel_id": CHANNEL},
        "response_url": f"{slack.url}actions/none",
        "actions": [{**button, "block_id": "b"}],
    } | changes


async def send_click(world: World, body: dict[str, Any]) -> Delivery:
    form = urlencode({"payload": json.dumps(body)}).encode()
    delivery = await world.slack.send_raw(form, world.slack.sign(form))
    await world.settled()
    return delivery


GRID_CLICKS: dict[str, tuple[dict[str, Any], frozenset[str], bool]] = {
    "no workspace": (
        {"user": {"id": "U0ORG"}, "team": None, "enterprise": {"id": GRID, "name": "Home"}},
        *(frozenset(), True),
    ),
    "a sister workspace that Slack places in the organisation": (
        {"team": {"id": "T0SISTER", "domain": "sister", "enterprise_id": GRID}},
        *(frozenset(), True),
    ),
    "a workspace that nothing places in the organisation": ({}, frozenset(), False),
    "a partner, in a click that names the app's organisation": (
        {
            "user": {"id": "U0GUEST", "team_id": "T0PARTNER"},
            "team": {"id": "T0SANDBOX", "enterprise_id": GRID},
            "enterprise": {"id": GRID},
        },
        *(frozenset(), False),
    ),
    "a partner's organisation on the list": (
        {"user": {"id": "U0GUEST", "team_id": "E0PARTNER"}},
        *(frozenset({"E0PARTNER"}), True),
    ),
}


@pytest.mark.parametrize("case", GRID_CLICKS.values(), ids=GRID_CLICKS)
async def test_in_a_grid_a_click_counts_if_the_person_is_at_home(
    open_world: OpenWorld, case: tuple[dict[str, Any], frozenset[str], bool]
) -> None:
    changes, teams, allowed = case
    async with open_world(slack_set_up=join_grid, unlatch_teams=teams) as world:
        card = await world.ask()
        assert (await send_click(world, click_body(world.slack, card, **changes))).status == 200
        assert ("✅ Unlatched" in world.card(card)) is allowed
        assert refusals(world) == ({} if allowed else {"stranger": 1})


@pytest.mark.parametrize("mode", ["http", "socket"])
async def test_a_command_from_a_sister_workspace_gets_a_card_that_can_be_confirmed(
    open_world: OpenWorld, mode: str
) -> None:
    async with open_world(mode=mode, slack_set_up=join_grid) as world:
        card = await world.ask(user_id="U0DANA")
        # a click judges the requester again, by what the ledger kept
        await world.press("U0BOB", card, CONFIRM)
        assert "✅ Unlatched" in world.card(card)


async def test_a_listed_group_is_asked_before_anybody_is_called_a_stranger(
    open_world: OpenWorld,
) -> None:
    async with open_world(
        user_groups={"S0OPS": ["U0DANA"]},
        slack_set_up=join_grid,
        unlatch_confirmers=frozenset({"S0OPS"}),
    ) as world:
        card = await world.ask()
        await send_click(world, click_body(world.slack, card))
        assert "By <@U0DANA>" in world.card(card)


async def test_without_a_grid_an_organisation_in_a_payload_changes_nothing(
    open_world: OpenWorld,
) -> None:
    async with open_world() as world:
        card = await world.ask()
        body = click_body(world.slack, card, enterprise={"id": ""}, team={"id": "T0SANDBOX"})
        await send_click(world, body)
        assert refusals(world) == {"stranger": 1}
