"""An empty Bolt app on aiohttp: what a cold start costs at least."""

from __future__ import annotations

import os

from slack_bolt.async_app import AsyncAck, AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

app = AsyncApp(
    signing_secret=os.environ["SLACK_SIGNING_SECRET"],
    client=AsyncWebClient(
        token=os.environ["SLACK_BOT_TOKEN"], base_url=os.environ["SLACK_API_URL"]
    ),
)


@app.command("/unlatch")
async def on_unlatch(ack: AsyncAck) -> None:
    """Acknowledge and do nothing."""
    await ack()


if __name__ == "__main__":
    app.start(port=int(os.environ["PORT"]), host="127.0.0.1")
