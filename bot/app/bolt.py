"""Sets up Bolt, Slack's framework: who the bot is, how requests are verified, what is logged."""

from __future__ import annotations

import asyncio
import logging

import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.logger.messages import (
    warning_client_prioritized_and_token_skipped,
    warning_token_skipped,
)
from slack_sdk.web.async_client import AsyncWebClient

from bot.settings import Settings
from bot.slack.client import BAD_TOKEN, Slack, SlackBlocked, SlackUnavailable

log = structlog.get_logger(__name__)

MAX_PAUSE_S = 30.0


async def identify(slack: Slack, pause_s: float) -> AuthorizeResult:
    """Ask once who the bot is; otherwise Bolt would ask during the first ack.

    Only Slack's own word that this token is bad ends the wait: all else an admin or time can change
    without a restart.
    """
    while True:
        try:
            answer = await slack.auth_test()
            break
        except SlackUnavailable as error:
            if isinstance(error, SlackBlocked) and error.code in BAD_TOKEN:
                raise
            again_in_s = min(max(pause_s, error.retry_after_s or 0.0), MAX_PAUSE_S)
            log.warning("waiting for slack", why=error.code, again_in_s=again_in_s)
        await asyncio.sleep(again_in_s)
        pause_s = min(pause_s * 2, MAX_PAUSE_S)
    return AuthorizeResult.from_auth_test_response(bot_token=slack.token, auth_test_response=answer)


def bolt_app(settings: Settings, client: AsyncWebClient, identity: AuthorizeResult) -> AsyncApp:
    """Bolt's app, without listeners."""

    async def authorize() -> AuthorizeResult:
        return identity

    bolt_log = logging.getLogger("slack_bolt")
    bolt_log.addFilter(_drop_token_warning)
    return AsyncApp(
        # without a name Bolt searches all loaded modules for one
        name="unlatch-bot",
        signing_secret=signing_secret(settings),
        client=client,
        authorize=authorize,
        logger=bolt_log,
        # otherwise Bolt polls for the ack every 10 ms
        process_before_response=True,
    )


def _drop_token_warning(record: logging.LogRecord) -> bool:
    """Bolt warns that it ignores SLACK_BOT_TOKEN, because the bot passes the token itself."""
    warnings = (warning_client_prioritized_and_token_skipped(), warning_token_skipped())
    return record.getMessage() not in warnings


def signing_secret(settings: Settings) -> str:
    """The secret that Slack signs its requests with; empty if it is not set (Socket Mode)."""
    secret = settings.slack_signing_secret
    return secret.get_secret_value() if secret else ""
