"""The simulated Slack is as strict as Slack, to Slack's own client library and over HTTP."""

from __future__ import annotations

import json
import time
from typing import Any

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.sandbox.page.api import PageApi
from bot.sandbox.slack.response_urls import Origin
from bot.sandbox.slack.simulator import SimulatedSlack

BUTTON = {
    "type": "button",
    "action_id": "confirm",
    "value": "r1",
    "text": {"type": "plain_text", "text": "Unlatch customer"},
}
CARD: list[dict[str, Any]] = [{"type": "actions", "elements": [BUTTON]}]


def client_of(slack: SimulatedSlack, token: str | None = None) -> AsyncWebClient:
    return AsyncWebClient(token=token or slack.bot_token, base_url=slack.api_url)


async def refusal(slack: SimulatedSlack, method: str, token: str = "", **arguments: object) -> str:
    try:
        await client_of(slack, token).api_call(method, json=arguments)
    except SlackApiError as error:
        return str(error.response["error"])
    return "ok"


async def test_what_slack_refuses_is_refused_with_slacks_error_codes() -> None:
    async with SimulatedSlack() as slack:
        human = slack.workspace.post("C0BILLING", "U0ALICE", "hi")
        post, update = "chat.postMessage", "chat.update"
        bad = [{"type": "section", "text": {"type": "mrkdwn", "text": ""}}]
        long = [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 2900}}] * 5
        assert [
            await refusal(slack, "chat.shout"),
            await refusal(slack, "auth.test", "xoxb-other"),
            await refusal(slack, "auth.test", " "),
            await refusal(slack, "apps.connections.open"),
            await refusal(slack, "conversations.info", channel="C0BILLING"),
            await refusal(slack, post, channel="C0NOWHERE", text="x"),
            await refusal(slack, post, channel="C0PRIVATE", text="x"),
            await refusal(slack, post, channel="C0ARCHIVED", text="x"),
            await refusal(slack, post, channel="C0READONLY", text="x"),
            await refusal(slack, post, channel="C0BILLING"),
            await refusal(slack, post, channel="C0BILLING", text="x", blocks=bad),
            await refusal(slack, post, channel="C0BILLING", text="x", blocks="["),
            await refusal(slack, post, channel="C0BILLING", text="x", blocks=long),
            await refusal(slack, post, channel="C0BILLING", text="x" * 40_001),
            await refusal(slack, post, channel="C0BILLING", text="x", thread_ts="1.1"),
            await refusal(slack, post, channel="C0PUBLIC", text="x"),
            await refusal(slack, update, channel="C0BILLING", ts="1.1", text="x"),
            await refusal(slack, update, channel="C0BILLING", ts=human.ts, text="x"),
        ] == [
            "unknown_method",
            "invalid_auth",
            "not_authed",
            "not_allowed_token_type",
            "missing_scope",
            "channel_not_found",
            "channel_not_found",
            "is_archived",
            "restricted_action",
            "no_text",
            "invalid_blocks",
            "invalid_blocks_format",
            "msg_blocks_too_long",
            "msg_too_long",
            "thread_not_found",
            "ok",
            "message_not_found",
            "cant_update_message",
        ]
        slack.workspace.scopes.discard("chat:write.public")
        assert await refusal(slack, post, channel="C0PUBLIC", text="x") == "not_in_channel"
        slack.workspace.scopes.add("channels:read")
        assert await refusal(slack, "conversations.info", channel="C0BILLING") == "ok"


async def test_a_rate_limit_holds_per_channel_and_is_off_until_set() -> None:
    async with SimulatedSlack() as slack:
        now = 100.0
        slack.limits.clock = lambda: now
        client = client_of(slack)
        client.retry_handlers = []

        async def post(channel: str = "C0BILLING") -> str:
            try:
                await client.chat_postMessage(channel=channel, text="x")
            except SlackApiError as error:
                response = error.response
                retry_after = response.headers["Retry-After"]
                return f"{response.status_code} {response['error']} {retry_after}"
            return "ok"

        wait_1, wait_2 = "429 ratelimited 1", "429 ratelimited 2"

        assert [await post() for _ in range(5)] == ["ok"] * 5
        slack.limits.limit("chat.postMessage", per_s=0.5, burst=2)
        assert [await post() for _ in range(4)] == ["ok", "ok", wait_2, wait_2]
        assert await post("C0PUBLIC") == "ok"
        await client.auth_test()
        now += 1.5
        assert await post() == wait_1
        now += 0.5
        assert [await post() for _ in range(2)] == ["ok", wait_2]
        now += 60
        assert [await post() for _ in range(3)] == ["ok", "ok", wait_2]
        slack.limits.lift()
        assert await post() == "ok"


def response_url(slack: SimulatedSlack, *origin: Any) -> AsyncWebhookClient:
    """Answers at a new response URL of a person, a channel, and the message they pressed if any."""
    return AsyncWebhookClient(f"{slack.url}{slack.responses.issue(Origin(*origin))}")


async def test_a_response_url_takes_five_answers_within_half_an_hour() -> None:
    async with SimulatedSlack() as slack:
        first, second = (response_url(slack, "U0ALICE", "C0BILLING") for _ in "ab")
        statuses = [(await first.send(text=str(n))).status_code for n in range(6)]
        assert statuses == [200] * 5 + [404]
        assert len(slack.workspace.ephemerals("U0ALICE")) == 5
        assert slack.calls[-1].answer["error"] == "used_url"
        assert (await second.send(text="", response_type="in_channel")).status_code == 400
        await second.send(text="hear", response_type="in_channel", replace_original=True)
        assert slack.workspace.messages("C0BILLING")[0].text == "hear"
        slack.responses.clock = lambda: time.time() + 1801
        assert (await second.send(text="x")).status_code == 404


async def test_the_response_url_of_a_click_replaces_and_deletes_the_message() -> None:
    async with SimulatedSlack() as slack:
        message = slack.workspace.post("C0BILLING", "U0UNLATCH", "ask", CARD)
        ephemeral = slack.workspace.add_ephemeral("U0BOB", "C0BILLING", "pick", CARD)
        on_message = response_url(slack, "U0BOB", "C0BILLING", message)
        on_ephemeral = response_url(slack, "U0BOB", "C0BILLING", ephemeral)
        await on_message.send(text="gone", replace_original=True)
        await on_ephemeral.send(text="picked", replace_original=True)
        assert slack.workspace.message("C0BILLING", message.ts).blocks == []
        assert [shown.text for shown in slack.workspace.ephemerals("U0BOB")] == ["picked"]
        await on_message.send(delete_original=True)
        await on_ephemeral.send(delete_original=True)
        assert slack.workspace.messages("C0BILLING") == []
        assert slack.workspace.ephemerals("U0BOB") == []


async def test_the_page_is_served_only_to_this_machine() -> None:
    slack = SimulatedSlack()
    PageApi(slack)
    async with slack, aiohttp.ClientSession(slack.url) as session:
        line = json.dumps({"user_id": "U0ALICE", "text": "x"})
        as_json = {"Content-Type": "application/json"}
        async with session.post("/page/command", data=line) as plain:
            assert plain.status == 415
        rebound = as_json | {"Host": "evil.example"}
        async with session.post("/page/command", data=line, headers=rebound) as foreign:
            assert foreign.status == 403
        async with session.get("/page/events", headers={"Host": "evil.example"}) as foreign:
            assert foreign.status == 403
        async with session.post("/page/command", data="[]", headers=as_json) as odd:
            assert odd.status == 400
        async with session.get("/page/..%2Fapi.py") as outside:
            assert outside.status == 404
        assert slack.workspace.messages("C0BILLING") == []
