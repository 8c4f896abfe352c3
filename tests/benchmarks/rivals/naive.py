"""The naive bot: Bolt and slack_sdk unchanged, with one shared `httpx.AsyncClient`."""

from __future__ import annotations

import json
import os
from typing import Any

import httpx
from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from tests.benchmarks.rivals import cards

app = AsyncApp(
    signing_secret=os.environ["SLACK_SIGNING_SECRET"],
    client=AsyncWebClient(
        token=os.environ["SLACK_BOT_TOKEN"], base_url=os.environ["SLACK_API_URL"]
    ),
)
fusebill = httpx.AsyncClient(
    base_url=os.environ["FUSEBILL_BASE_URL"],
    headers={
        "Authorization": f"Basic {os.environ['FUSEBILL_API_KEY']}",
        "Content-Type": "application/json",
    },
)


@app.command("/unlatch")
async def on_unlatch(ack: AsyncAck, body: dict[str, Any], client: AsyncWebClient) -> None:
    """Read the customer, then post the card."""
    await ack()
    customer_id, reason = body["text"].split(" ", 1)
    answer = await fusebill.get(f"/customers/{customer_id}")
    answer.raise_for_status()
    text, blocks = cards.card(answer.json(), body["user_id"], reason)
    await client.chat_postMessage(channel=body["channel_id"], text=text, blocks=blocks)


@app.action("unlatch_confirm")
async def on_confirm(ack: AsyncAck, body: dict[str, Any], client: AsyncWebClient) -> None:
    """Read the customer again, unlatch it, then update the card and reply in the thread."""
    await ack()
    value = json.loads(body["actions"][0]["value"])
    channel, ts, person = body["channel"]["id"], body["message"]["ts"], body["user"]["id"]
    before = await fusebill.get(f"/customers/{value['id']}")
    before.raise_for_status()
    if before.json()["hubSpotId"] != value["hubSpotId"]:
        return
    done = await fusebill.post(f"/HubSpot/UnlatchCustomer/{value['id']}")
    done.raise_for_status()
    text, blocks = cards.result(value, person)
    await client.chat_update(channel=channel, ts=ts, text=text, blocks=blocks)
    await client.chat_postMessage(channel=channel, thread_ts=ts, text=cards.reply(value, person))


if __name__ == "__main__":
    app.start(port=int(os.environ["PORT"]), host="127.0.0.1")
