"""Says of a failed call to Slack why it failed and what the admin can do about it."""

from __future__ import annotations

from http import HTTPStatus

import aiohttp

from bot.slack.client import SlackBusy, SlackError, is_retryable
from bot.slack.error_codes import meaning_of


def why(error: SlackError) -> str:
    """Slack's error code; where no connection came about, also to which host and why."""
    # the text of other errors may hold an address with a password
    if isinstance(cause := error.__cause__, aiohttp.ClientConnectorError):
        return f"{error.code}: {cause}"
    return error.code


def fix(error: SlackError, refused: str = "") -> str:
    """What to do; if Slack itself says no, `refused` or else what its code means."""
    if not is_retryable(error):
        return refused or meaning_of(error.code).fix
    if isinstance(error, SlackBusy):
        wait = f"{error.retry_after_s:.0f} s" if error.retry_after_s else "a minute"
        return f"Slack answers, but accepts no more calls now: try again in {wait}."
    if isinstance(error.__cause__, aiohttp.ClientConnectorError):
        return "Check SLACK_API_URL, HTTPS_PROXY, and that this machine can reach Slack."
    if _is_strange(error.code):
        return (
            "Slack does not answer like this: check SLACK_API_URL, and what stands between this"
            " machine and Slack."
        )
    return "Check that this machine can reach Slack, then try again in a minute."


def _is_strange(code: str) -> bool:
    """Whether somebody else seems to have answered for Slack."""
    status = code.removeprefix("http_")
    if status != code and status.isdecimal():
        return int(status) < HTTPStatus.INTERNAL_SERVER_ERROR
    return code in ("unreadable_answer", "incomplete_answer")
