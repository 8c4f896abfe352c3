"""The simulated Slack is as strict as Slack, to Slack's own client library and over HTTP."""

from __future__ import annotations

import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import aiohttp
import pytest
from aiohttp import web
from slack_sdk.errors import SlackApiError
from slack_sdk.signature import SignatureVerifier
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.sandbox.page.api import PageApi
from bot.sandbox.slack.simulator import SimulatedSlack, text_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


BUTTON = {
    "type": "button",
    "action_id": "confirm",
    "value": "r1",
    "text": {"type": "plain_text", "text": "Unlatch customer"},
}
CARD: list[dict[str, Any]] = [{"type": "actions", "elements": [BUTTON]}]


@dataclass
class Bot:
    """A minimal bot that records the forms it receives and answers with `status` and `text`."""

    slack: SimulatedSlack
    status: int = 200
    text: str = ""
    forms: list[dict[str, Any]] = field(default_factory=list)

    async def receive(self, request: web.Request) -> web.Response:
        verifier = SignatureVerifier(self.slack.signing_secret)
        body = await request.read()
        if not verifier.is_valid_request(body, dict(request.headers)):
            return web.Response(status=401)
        form = {key: values[0] for key, values in parse_qs(body.decode(), True).items()}
        self.forms.append(json.loads(form["payload"]) if "payload" in form else form)
        return web.Response(status=self.status, text=self.text)


@asynccontextmanager
async def a_bot(slack: SimulatedSlack) -> AsyncIterator[Bot]:
    bot = Bot(slack)
    app = web.Application()
    app.add_routes([web.post("/slack/events", bot.receive)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    slack.request_url = f"http://127.0.0.1:{runner.addresses[0][1]}/slack/events"
    try:
        yield bot
    finally:
        await runner.cleanup()


def client_of(slack: SimulatedSlack, token: str | None = None) -> AsyncWebClient:
    return AsyncWebClient(token=token or slack.bot_token, base_url=slack.api_url)


async def refusal(slack: SimulatedSlack, method: str, token: str = "", **arguments: object) -> str:
    try:
        await client_of(slack, token).api_call(method, json=arguments)
    except SlackApiError as error:
        return str(error.response["error"])
    return "ok"


async def test_a_card_is_posted_updated_and_answered_in_its_thread() -> None:
    async with SimulatedSlack() as slack:
        client = client_of(slack)
        who = await client.auth_test()
        assert (who["team_id"], who["user_id"]) == ("T0SANDBOX", "U0UNLATCH")
        assert "chat:write" in who.headers["x-oauth-scopes"]
        posted = await client.chat_postMessage(channel="C0BILLING", text="ask", blocks=CARD)
        ts = posted["ts"]
        assert text_of(slack.workspace.message("C0BILLING", ts).blocks) == "[Unlatch customer]"
        await client.chat_postMessage(channel="C0BILLING", text="asked", thread_ts=ts)
        await client.chat_update(channel="C0BILLING", ts=ts, text="done")
        (card,) = slack.workspace.messages("C0BILLING")
        (reply,) = slack.workspace.thread("C0BILLING", ts)
        assert (card.text, card.blocks, card.edited, reply.text) == ("done", [], True, "asked")
        link = await client.chat_getPermalink(channel="C0BILLING", message_ts=reply.ts)
        assert f"thread_ts={ts}" in link["permalink"]
        group = await client.usergroups_users_list(usergroup="S0BILLING")
        assert group["users"] == ["U0ALICE", "U0BOB"]
        methods = [call.method for call in slack.calls]
        assert methods[:3] == ["auth.test", "chat.postMessage", "chat.postMessage"]


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


async def test_faults_last_for_their_number_of_calls_and_hooks_see_each_call() -> None:
    async with SimulatedSlack() as slack:
        seen = list[str]()

        async def look(method: str) -> None:
            seen.append(f"{method} {len(slack.workspace.messages('C0BILLING'))}")

        slack.before = slack.after = look
        slack.faults.fail("chat.postMessage", status=429, retry_after=7)
        slack.faults.fail("chat.postMessage", drop="after")
        client = client_of(slack)
        client.retry_handlers = []
        with pytest.raises(SlackApiError) as limited:
            await client.chat_postMessage(channel="C0BILLING", text="x")
        assert limited.value.response.headers["Retry-After"] == "7"
        assert limited.value.response["error"] == "ratelimited"
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.chat_postMessage(channel="C0BILLING", text="x")
        assert len(slack.workspace.messages("C0BILLING")) == 1
        assert seen[-2:] == ["chat.postMessage 0", "chat.postMessage 1"]
        slack.faults.down = True
        with pytest.raises(aiohttp.ClientConnectionError):
            await client.auth_test()
        slack.faults.clear()
        slack.faults.fail("*", error="token_revoked", times=None)
        assert [await refusal(slack, "auth.test") for _ in "ab"] == ["token_revoked"] * 2
        assert [call.status for call in slack.calls] == [429, 200, 0, 200, 200]


async def test_a_command_is_signed_and_its_answer_becomes_an_ephemeral() -> None:
    async with SimulatedSlack() as slack, a_bot(slack) as bot:
        bot.text = json.dumps({"text": "working on it"})
        delivery = await slack.command("U0ALICE", "2554529 <why> & how")
        assert delivery.status == 200
        form = bot.forms[0]
        assert form["text"] == "2554529 &lt;why&gt; &amp; how"
        assert (form["team_id"], form["channel_name"]) == ("T0SANDBOX", "billing")
        assert [ephemeral.text for ephemeral in slack.workspace.ephemerals("U0ALICE")] == [
            "working on it"
        ]
        await slack.command("U0GUEST", "")
        assert (bot.forms[1]["team_id"], bot.forms[1]["text"]) == ("T0PARTNER", "")
        body = b"command=%2Funlatch"
        stale = slack.sign(body, int(time.time()) - 400)
        assert (await slack.send_raw(body, stale)).status == 401
        assert (await slack.send_raw(body, slack.sign(body))).status == 200


async def test_a_bot_that_fails_gets_slacks_error_message() -> None:
    async with SimulatedSlack() as slack:
        await slack.command("U0BOB", "1")
        async with a_bot(slack) as bot:
            bot.status = 500
            assert (await slack.command("U0BOB", "1")).status == 500
        assert [ephemeral.text for ephemeral in slack.workspace.ephemerals("U0BOB")] == [
            '/unlatch failed with the error "dispatch_failed"',
            '/unlatch failed with the error "dispatch_failed"',
        ]


async def test_a_click_payload_holds_the_button_its_message_and_the_person() -> None:
    async with SimulatedSlack() as slack, a_bot(slack) as bot:
        ts = slack.workspace.post("C0BILLING", "U0UNLATCH", "ask", CARD).ts
        await slack.click("U0GUEST", ts, "confirm", value="r1")
        click = bot.forms[0]
        assert click["user"]["team_id"] == "T0PARTNER"
        assert click["team"]["id"] == "T0SANDBOX"
        assert click["container"]["message_ts"] == click["message"]["ts"] == ts
        action = click["actions"][0]
        assert (action["action_id"], action["value"], action["block_id"]) == ("confirm", "r1", "b0")
        with pytest.raises(LookupError):
            await slack.click("U0BOB", ts, "confirm", value="r2")
        await slack.forge_click("U0BOB", ts, "confirm", "r2")
        assert bot.forms[1]["actions"][0]["value"] == "r2"
        ephemeral = slack.workspace.add_ephemeral("U0BOB", "C0BILLING", "pick", CARD)
        await slack.click_ephemeral("U0BOB", ephemeral, "confirm")
        assert bot.forms[2]["container"]["is_ephemeral"] is True
        assert "message" not in bot.forms[2]


async def test_a_response_url_takes_five_answers_within_half_an_hour() -> None:
    async with SimulatedSlack() as slack, a_bot(slack) as bot:
        await slack.command("U0ALICE", "1")
        webhook = AsyncWebhookClient(bot.forms[0]["response_url"])
        statuses = [(await webhook.send(text=str(n))).status_code for n in range(6)]
        assert statuses == [200] * 5 + [404]
        assert len(slack.workspace.ephemerals("U0ALICE")) == 5
        assert slack.calls[-1].answer["error"] == "used_url"
        await slack.command("U0ALICE", "1")
        second = AsyncWebhookClient(bot.forms[1]["response_url"])
        assert (await second.send(text="", response_type="in_channel")).status_code == 400
        await second.send(text="hear", response_type="in_channel", replace_original=True)
        assert slack.workspace.messages("C0BILLING")[0].text == "hear"
        slack.responses.clock = lambda: time.time() + 1801
        assert (await second.send(text="x")).status_code == 404


async def test_the_response_url_of_a_click_replaces_and_deletes_the_message() -> None:
    async with SimulatedSlack() as slack, a_bot(slack) as bot:
        message = slack.workspace.post("C0BILLING", "U0UNLATCH", "ask", CARD)
        ephemeral = slack.workspace.add_ephemeral("U0BOB", "C0BILLING", "pick", CARD)
        await slack.click("U0BOB", message.ts, "confirm")
        await slack.click_ephemeral("U0BOB", ephemeral, "confirm")
        on_message, on_ephemeral = (AsyncWebhookClient(form["response_url"]) for form in bot.forms)
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
