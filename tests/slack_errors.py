"""`python -m tests.slack_errors` writes docs/slack-errors.md: what Slack's error codes lead to.

A bot between the simulators meets each code that Slack documents for a method that it calls, and
what people are told is read off what they got. `tests/resilience/test_slack_errors.py` compares.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

from structlog.testing import capture_logs

from bot.app.composition import build
from bot.app.server import listening
from bot.sandbox.fusebill.simulator import SimulatedFusebill
from bot.sandbox.slack.simulator import PostedMessage, SimulatedSlack
from bot.slack.error_codes import MEANINGS, Remedy
from bot.slack.errors import BUSY, SlackError
from tests.support.faults import TIMING
from tests.support.names import BIKES, CANCEL, CHANNEL, CONFIRM
from tests.support.world import World, settings_for

PAGE = Path(__file__).parent.parent / "docs" / "slack-errors.md"
COMMON = """
    access_denied accesslimited account_inactive app_access_restricted deprecated_endpoint
    ekm_access_denied enterprise_is_restricted fatal_error internal_error invalid_arg_name
    invalid_arguments invalid_array_arg invalid_auth invalid_charset invalid_form_data
    invalid_post_type method_deprecated missing_post_type missing_scope no_permission
    not_allowed_token_type not_authed org_login_required ratelimited request_timeout
    service_unavailable team_access_not_granted team_added_to_org token_expired token_revoked
    two_factor_setup_required
"""
CONTENT = """
    as_user_not_supported channel_not_found invalid_blocks invalid_blocks_format
    invalid_metadata_format invalid_metadata_schema markdown_text_conflict
    metadata_must_be_sent_from_app metadata_too_large msg_too_long no_text
    slack_connect_file_link_sharing_blocked team_not_found too_many_attachments
"""
DOCUMENTED = {
    "auth.test": COMMON,
    "chat.postMessage": COMMON
    + CONTENT
    + """
    agent_prompt_display_not_allowed attachment_payload_limit_exceeded cannot_reply_to_message
    draft_already_deleted draft_already_sent draft_has_conflict draft_not_found
    duplicate_channel_not_found duplicate_message_not_found is_archived message_limit_exceeded
    messages_tab_disabled missing_file_data msg_blocks_too_long not_in_channel rate_limited
    restricted_action restricted_action_non_threadable_channel restricted_action_read_only_channel
    restricted_action_thread_locked restricted_action_thread_only_channel
    send_on_behalf_not_allowed slack_connect_canvas_sharing_blocked
    slack_connect_lists_sharing_blocked too_many_contact_cards
    """,
    "chat.update": COMMON
    + CONTENT
    + """
    block_mismatch cant_broadcast_message cant_update_message edit_window_closed
    external_channel_migrating invalid_attachments is_inactive message_not_found
    no_dual_broadcast_content_update streaming_state_conflict update_failed
    """,
    "usergroups.users.list": COMMON + "invalid_cursor no_such_subteam plan_upgrade_required",
    "views.open": COMMON
    + """
    duplicate_external_id exchanged_trigger_id expired_trigger_id invalid_trigger_id view_too_large
    """,
}
"""By method: docs.slack.dev/reference/methods, each page's "Errors"."""

SIMPLER = "*Nothing: it is shown at once, more simply, and as a whole later.*"
LATER = "*Nothing: it is shown as soon as Slack's limit allows it.*"
OPEN = "*Nothing: the form was opened before, by the same press.*"
WAITS = "*The bot waits, and asks again.*"
ENDS = "*The bot ends, and says what to do.*"
HEAD = """\
# What Slack's error codes lead to

Written by `python -m tests.slack_errors`, from what people got in a workspace of the sandbox; a
test compares. Codes: docs.slack.dev/reference/methods. A letter is a text below; no letter: Slack
documents the code not for this method.

- **card**: a command's new card is refused (`chat.postMessage`); told to whoever asked
- **result**: a confirmed card is refused (`chat.update`); told to who asked and who confirmed
- **form**: **Cancel** on somebody else's card (`views.open`); told to who pressed
- **group**: a press, where a user group may confirm (`usergroups.users.list`); told to who pressed
- **start**: the bot starts (`auth.test`)
- **what the admin reads**: in the log, as `check`, beside the code as `why`
"""
COLUMNS = {
    "card": "chat.postMessage",
    "result": "chat.update",
    "form": "views.open",
    "group": "usergroups.users.list",
    "start": "auth.test",
}

PACE = replace(TIMING, working_after_s=60.0, pause_s=0.01)
Trial = Callable[[World, str], Awaitable[str]]


@dataclass(slots=True)
class Findings:
    """What people were told, by method and code; what the log says to the admin, by code."""

    told: dict[tuple[str, str], str] = field(default_factory=dict)
    checks: dict[str, str] = field(default_factory=dict)

    def page(self) -> str:
        """The page, with a line for each code."""
        texts = dict.fromkeys(self.told[key] for key in sorted(self.told, key=_in_order))
        letters = {text: _letter(number) for number, text in enumerate(texts)}
        codes = sorted({code for _method, code in self.told})
        rows = [
            [f"`{code}`"]
            + [letters.get(self.told.get((method, code), ""), "") for method in COLUMNS.values()]
            + [self.checks.get(code, "")]
            for code in codes
        ]
        head = ["code", *COLUMNS, "what the admin reads"]
        table = [head, ["-" * 3] * len(head), *rows]
        said = [f"- **{letter}** {text}" for text, letter in letters.items()]
        return "\n".join([HEAD, *said, "", *(f"| {' | '.join(row)} |" for row in table), ""])


def _in_order(key: tuple[str, str]) -> tuple[int, str]:
    method, code = key
    return list(COLUMNS.values()).index(method), code


def _letter(number: int) -> str:
    return chr(ord("A") + number)


async def new_card(world: World, code: str) -> str:
    """Type a command while Slack refuses its card."""
    before = len(world.slack.workspace.messages(CHANNEL))

    def is_shown() -> bool:
        return len(world.slack.workspace.messages(CHANNEL)) > before

    _refuse(world, "chat.postMessage", code)
    typing = world.slack.command("U0ALICE", f"{_customer(world)} moved")
    return await _told(world, "U0ALICE", typing, is_shown) or _shown_all_the_same(code)


async def result(world: World, code: str) -> str:
    """Confirm a card while Slack refuses its result."""
    card = await _card(world)

    def is_shown() -> bool:
        return "✅ Unlatched" in world.card(card)

    _refuse(world, "chat.update", code)
    click = world.slack.click("U0BOB", card.ts, CONFIRM)
    return await _told(world, "U0ALICE", click, is_shown) or _shown_all_the_same(code)


async def form(world: World, code: str) -> str:
    """Press **Cancel** on somebody else's card while Slack refuses the form."""
    card = await _card(world)
    _refuse(world, "views.open", code)
    click = world.slack.click("U0BOB", card.ts, CANCEL)
    return await _told(world, "U0BOB", click, lambda: not len(world.bot.tasks)) or OPEN


async def group(world: World, code: str) -> str:
    """Confirm a card while Slack refuses to name the members of the confirmers' group."""
    card = await _card(world)
    _refuse(world, "usergroups.users.list", code)
    await world.bot.user_groups.refresh()
    return await _told(world, "U0BOB", world.slack.click("U0BOB", card.ts, CONFIRM))


TRIALS: Mapping[str, Trial] = {
    "chat.postMessage": new_card,
    "chat.update": result,
    "views.open": form,
    "usergroups.users.list": group,
}
_numbers = count(6_000_001)
NUMBER = re.compile("6000[0-9]{3}")


def _customer(world: World) -> int:
    number = next(_numbers)
    world.fusebill.customers[number] = dict(world.fusebill.customers[BIKES], id=number)
    return number


async def _card(world: World) -> PostedMessage:
    world.slack.faults.clear()
    return await world.ask(f"{_customer(world)} moved")


def _refuse(world: World, method: str, code: str) -> None:
    # what is refused for its content is taken in another form; a limit lasts a moment
    is_short = MEANINGS[code].remedy is Remedy.CONTENT or code in BUSY
    world.slack.faults.clear()
    world.slack.faults.fail(method, error=code, times=1 if is_short else None)


async def _told(
    world: World,
    user_id: str,
    act: Awaitable[object],
    is_over: Callable[[], bool] = lambda: False,
) -> str:
    """What a person is told after an act; empty if it is over before that."""
    before = len(world.ephemerals(user_id))
    await act
    await world.slack.workspace.until(
        lambda: len(world.ephemerals(user_id)) > before or is_over(), 60.0
    )
    return " ".join(" ".join(world.ephemerals(user_id)[before:]).split())


def _shown_all_the_same(code: str) -> str:
    return SIMPLER if MEANINGS[code].remedy is Remedy.CONTENT else LATER


@asynccontextmanager
async def _world(method: str, code: str) -> AsyncIterator[World]:
    listed = {"unlatch_confirmers": frozenset({"S0OPS"})} if method.startswith("user") else {}
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        slack = await stack.enter_async_context(SimulatedSlack())
        if listed:
            # what was read once is known for five minutes
            slack.faults.fail(method, error=code, times=None)
        fusebill = await stack.enter_async_context(SimulatedFusebill())
        settings = settings_for(slack, fusebill, folder, **listed)
        bot = await stack.enter_async_context(build(settings, PACE))
        address, _ended = await stack.enter_async_context(listening(bot, settings, "http"))
        slack.request_url = f"{address}/slack/events"
        yield World(slack, fusebill, bot, address, settings.database_url.get_secret_value())
        slack.faults.clear()


async def _meet(world: World, method: str, codes: list[str], found: Findings) -> None:
    """Meet codes one after the other, in one workspace."""
    for code in codes:
        said = await TRIALS[method](world, code)
        world.slack.faults.clear()
        found.told[method, code] = NUMBER.sub(str(BIKES), said).replace(code, "*code*")


async def _start(codes: list[str], found: Findings) -> None:
    with TemporaryDirectory() as folder:
        async with SimulatedSlack() as slack, SimulatedFusebill() as fusebill:
            settings = settings_for(slack, fusebill, Path(folder))
            for code in codes:
                slack.faults.fail("auth.test", error=code)
                try:
                    async with build(settings, PACE):
                        found.told["auth.test", code] = WAITS
                except SlackError:
                    found.told["auth.test", code] = ENDS


async def findings() -> Findings:
    """Meet each documented code of each method."""
    found = Findings()
    with capture_logs() as lines:
        await _start(DOCUMENTED["auth.test"].split(), found)
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as meetings:
            for method in TRIALS:
                for codes in _companies(method):
                    # one after the other: a process has one ledger, and migrates one at a time
                    world = await stack.enter_async_context(_world(method, codes[0]))
                    meetings.create_task(_meet(world, method, codes, found))
    found.checks = {line["why"]: line["check"] for line in lines if line.keys() >= {"why", "check"}}
    return found


def _companies(method: str) -> list[list[str]]:
    """A method's codes, those together that one workspace meets."""
    codes = DOCUMENTED[method].split()
    passing = [code for code in codes if MEANINGS[code].remedy is Remedy.TIME]
    rest = [code for code in codes if code not in passing]
    # Slack's no about a group stays its last word while it can't be reached, so that comes last; a
    # card is posted or drawn again for seconds before anybody is told
    match method:
        case "chat.postMessage":
            return [*([code] for code in passing), rest]
        case "chat.update":
            return [codes[first::10] for first in range(10)]
        case _:
            return [passing + rest]


if __name__ == "__main__":
    PAGE.write_text(asyncio.run(findings()).page(), encoding="utf-8")
    sys.stdout.write(f"wrote {PAGE}\n")
