"""Modals: the bot opens one with a `trigger_id`, somebody fills it in, and the bot answers.

Sources: docs.slack.dev/surfaces/modals, docs.slack.dev/reference/methods/views.open,
docs.slack.dev/reference/interaction-payloads/view-interactions-payload.
"""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from bot.sandbox.slack.validation import view_checks
from bot.sandbox.slack.wire import Refused
from bot.sandbox.slack.workspace import APP_ID, BOT_ID, Workspace, with_block_ids

if TYPE_CHECKING:
    from collections.abc import Callable

    from bot.sandbox.slack.validation.view_checks import Values

TRIGGER_LIFETIME_S = 3.0
TROUBLE = "We had some trouble connecting. Try again?"


@dataclass(frozen=True, slots=True)
class OpenView:
    """A modal that somebody sees: its content, and what Slack shows as wrong with it.

    `errors` are texts by `block_id`; `problem` is Slack's own text about a failed submission.
    """

    id: str
    user_id: str
    view: dict[str, Any]
    values: Values = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    problem: str = ""
    hash: str = ""


@dataclass(slots=True)
class _Trigger:
    user_id: str
    at: float
    used: bool = False


class Views:
    """The open modals, the newest of each person on top; tests may replace `clock` (seconds)."""

    def __init__(self, workspace: Workspace) -> None:
        self.clock: Callable[[], float] = time.monotonic
        self._workspace = workspace
        self._triggers: dict[str, _Trigger] = {}
        self._open: dict[str, OpenView] = {}

    def issue(self, trigger_id: str, user_id: str) -> None:
        """Register the `trigger_id` of what somebody typed or pressed."""
        self._triggers[trigger_id] = _Trigger(user_id, self.clock())

    def all(self) -> list[OpenView]:
        """Every open modal, the newest last."""
        return list(self._open.values())

    def of(self, user_id: str) -> OpenView:
        """The modal that a person sees. Raises: LookupError if there is none."""
        return [view for view in self._open.values() if view.user_id == user_id][-1]

    def get(self, view_id: str) -> OpenView:
        """An open modal. Raises: LookupError."""
        return self._open[view_id]

    def open(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """Answer `views.open`. Raises: Refused where Slack would not open it."""
        view = _parsed(arguments.get("view"))
        if found := view_checks.problems(view):
            raise Refused("invalid_arguments", response_metadata={"messages": found})
        if view_checks.too_large(view):
            raise Refused("view_too_large")
        trigger = self._triggers.get(str(arguments.get("trigger_id")))
        if trigger is None:
            raise Refused("invalid_trigger_id")
        if trigger.used:
            raise Refused("exchanged_trigger_id")
        if self.clock() - trigger.at > TRIGGER_LIFETIME_S:
            raise Refused("expired_trigger_id")
        trigger.used = True
        shown = self._show(f"V{secrets.token_hex(5).upper()}", trigger.user_id, view)
        return {"view": self.payload(shown)}

    def fill(self, view_id: str, typed: dict[str, str]) -> OpenView:
        """Type texts into a modal's inputs, by `block_id`. Raises: LookupError."""
        shown = self._open[view_id]
        values: Values = {}
        for block in view_checks.inputs(shown.view):
            value = typed.get(block["block_id"]) or None
            values[block["block_id"]] = {block["element"]["action_id"]: value}
        refused = view_checks.refusals(shown.view, values)
        return self._keep(replace(shown, values=values, errors=refused, problem=""))

    def close(self, view_id: str) -> None:
        """Close a modal; nothing if it is closed already."""
        self._open.pop(view_id, None)
        self._workspace.touch()

    def clear(self) -> None:
        """Close every modal."""
        self._open.clear()

    def answer(self, view_id: str, body: str, *, failed: bool) -> None:
        """Take the bot's answer to a submission; what Slack can't use is shown as its trouble."""
        shown = self._open.get(view_id)
        if shown is None:
            return
        try:
            self._take(shown, None if failed else _answer(body))
        except Refused:
            self._keep(replace(shown, problem=TROUBLE))

    def payload(self, shown: OpenView) -> dict[str, Any]:
        """A view as it appears in Slack's answers and payloads."""
        state = {
            block["block_id"]: {
                action: _typed(block["element"], value)
                for action, value in shown.values.get(block["block_id"], {}).items()
            }
            for block in view_checks.inputs(shown.view)
        }
        defaults = {"private_metadata": "", "callback_id": "", "submit": None, "close": None}
        flags = {"clear_on_close": False, "notify_on_close": False, "external_id": ""}
        return {
            **defaults,
            **flags,
            **shown.view,
            "id": shown.id,
            "team_id": self._workspace.team_id,
            "state": {"values": state},
            "hash": shown.hash,
            "previous_view_id": None,
            "root_view_id": shown.id,
            "app_id": APP_ID,
            "app_installed_team_id": self._workspace.team_id,
            "bot_id": BOT_ID,
        }

    def _take(self, shown: OpenView, answer: dict[str, Any] | None) -> None:
        if answer is None:
            raise Refused("dispatch_failed")
        match answer.get("response_action"):
            case None if not answer:
                self.close(shown.id)
            case "clear":
                for other in [v for v in self._open.values() if v.user_id == shown.user_id]:
                    self.close(other.id)
            case "errors":
                self._keep(replace(shown, errors=_errors(answer, shown.view)))
            case "update" | "push" as action:
                view = _parsed(answer.get("view"))
                if view_checks.problems(view):
                    raise Refused("invalid_arguments")
                new_id = f"V{secrets.token_hex(5).upper()}"
                self._show(shown.id if action == "update" else new_id, shown.user_id, view)
            case _:
                raise Refused("invalid_arguments")

    def _show(self, view_id: str, user_id: str, view: dict[str, Any]) -> OpenView:
        content = view | {"blocks": with_block_ids(view["blocks"])}
        values: Values = {
            block["block_id"]: {
                block["element"]["action_id"]: block["element"].get("initial_value")
                or block["element"].get("initial_option", {}).get("value")
            }
            for block in view_checks.inputs(content)
        }
        return self._keep(OpenView(view_id, user_id, content, values))

    def _keep(self, shown: OpenView) -> OpenView:
        kept = replace(shown, hash=f"{time.time():.6f}.{secrets.token_hex(4)}")
        self._open[shown.id] = kept
        self._workspace.touch()
        return kept


def _typed(element: dict[str, Any], value: str | None) -> dict[str, Any]:
    """What somebody typed into an input, or chose, as payloads have it."""
    if element["type"] == "static_select":
        return {"type": "static_select", "selected_option": view_checks.option(element, value)}
    return {"type": element["type"], "value": value}


def _parsed(view: object) -> dict[str, Any]:
    if isinstance(view, str):
        try:
            view = json.loads(view)
        except ValueError:
            view = None
    if not isinstance(view, dict):
        raise Refused("invalid_arguments")
    return view


def _answer(body: str) -> dict[str, Any]:
    if not body.strip():
        return {}
    try:
        answer = json.loads(body)
    except ValueError:
        raise Refused("invalid_json") from None
    if not isinstance(answer, dict):
        raise Refused("json_not_object")
    return answer


def _errors(answer: dict[str, Any], view: dict[str, Any]) -> dict[str, str]:
    """The bot's errors; Slack takes them only for input blocks of the view, and only texts."""
    errors = answer.get("errors")
    known = {block["block_id"] for block in view_checks.inputs(view)}
    if not isinstance(errors, dict) or not errors or not errors.keys() <= known:
        raise Refused("invalid_arguments")
    if not all(isinstance(text, str) and text for text in errors.values()):
        raise Refused("invalid_arguments")
    return errors
