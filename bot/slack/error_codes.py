"""What each of Slack's error codes means: who can end it, and what the admin can do; no I/O.

Source: docs.slack.dev/reference/methods, the errors of chat.postMessage, chat.update, views.open,
usergroups.users.list and auth.test
"""

from __future__ import annotations

from enum import StrEnum

from bot.domain.values import value


class Remedy(StrEnum):
    """What ends an error."""

    TIME = "time"
    """It passes by itself."""
    PERSON = "person"
    """Whoever typed or pressed can end it: by an invitation, or by trying once more."""
    ADMIN = "admin"
    """No waiting helps: the app's, the bot's or the workspace's admin has to change something."""
    CHANNEL = "channel"
    """This channel takes no such post, until its rules change; another one may."""
    CONTENT = "content"
    """Slack does not take this content; the same said more simply may be accepted."""
    NOTHING = "nothing"
    """The message, the thread or the response URL is gone for good."""


@value
class Meaning:
    """The meaning of a code; `fix` is what the admin can do, empty if nothing."""

    remedy: Remedy
    fix: str = ""


_NEW_TOKEN = "Install the app, then copy SLACK_BOT_TOKEN again from “OAuth & Permissions”."  # noqa: S105  # words
ALLOWED_ADDRESSES = (
    "where the app or the workspace has a list of allowed IP addresses, add the one that this"
    " machine calls from."
)
"""The other cause of `invalid_auth`, of any token."""
_SCOPES = (
    "Paste the manifest again (printed with --user-groups where a list names a group, S…), then"
    " reinstall the app."
)
_NO_SUCH_GROUP = (
    "Check the id: in Slack, open the user group and copy it; if the group was deleted, take its id"
    " off the lists."
)
_INVITE = "type /invite and the bot's name"

_ROWS = [
    (
        *(Remedy.TIME, ""),
        """
        internal_error fatal_error service_unavailable request_timeout ratelimited rate_limited
        team_added_to_org external_channel_migrating update_failed streaming_state_conflict
        """,
    ),
    (
        *(Remedy.PERSON, "Type /invite and the bot's name in that channel"),
        "not_in_channel channel_not_found",
    ),
    (Remedy.PERSON, "", "expired_trigger_id exchanged_trigger_id invalid_trigger_id"),
    (
        *(Remedy.ADMIN, _NEW_TOKEN),
        "token_revoked token_expired account_inactive not_authed not_allowed_token_type",
    ),
    (Remedy.ADMIN, f"{_NEW_TOKEN} If it is right: {ALLOWED_ADDRESSES}", "invalid_auth"),
    (Remedy.ADMIN, f"Slack refuses this machine's network: {ALLOWED_ADDRESSES}", "accesslimited"),
    (Remedy.ADMIN, _SCOPES, "missing_scope"),
    (Remedy.ADMIN, f"{_SCOPES} In a private channel, {_INVITE}.", "no_permission"),
    (Remedy.ADMIN, _NO_SUCH_GROUP, "no_such_subteam"),
    (
        *(Remedy.ADMIN, "User groups need a paid plan of Slack: list people (U…) instead."),
        "plan_upgrade_required paid_teams_only",
    ),
    (
        Remedy.ADMIN,
        "Ask the workspace's or organisation's admins: a rule of theirs keeps the app out.",
        """
        access_denied app_access_restricted ekm_access_denied enterprise_is_restricted
        slack_connect_canvas_sharing_blocked slack_connect_file_link_sharing_blocked
        slack_connect_lists_sharing_blocked team_access_not_granted team_not_found
        two_factor_setup_required
        """,
    ),
    (
        *(Remedy.ADMIN, "The workspace sends more messages than its plan allows."),
        "message_limit_exceeded",
    ),
    (
        *(Remedy.ADMIN, "Wait until the workspace's move into an organisation is complete."),
        "org_login_required",
    ),
    (
        *(Remedy.ADMIN, "Update the bot: Slack does not take this call as it is."),
        """
        agent_prompt_display_not_allowed as_user_not_supported cant_broadcast_message
        deprecated_endpoint draft_already_deleted draft_already_sent draft_has_conflict
        draft_not_found duplicate_channel_not_found duplicate_external_id
        duplicate_message_not_found invalid_arg_name invalid_array_arg invalid_charset
        invalid_cursor invalid_form_data invalid_metadata_format invalid_metadata_schema
        invalid_post_type markdown_text_conflict metadata_must_be_sent_from_app metadata_too_large
        method_deprecated missing_file_data missing_post_type no_dual_broadcast_content_update
        send_on_behalf_not_allowed unknown_method view_too_large
        """,
    ),
    (Remedy.CHANNEL, "Unarchive that channel", "is_archived is_inactive"),
    (
        *(Remedy.CHANNEL, "Let the app post there: in Slack, the channel's posting permissions"),
        "restricted_action restricted_action_read_only_channel",
    ),
    (
        Remedy.CHANNEL,
        "Only replies may be posted there, and a card is not a reply: use another channel",
        "restricted_action_thread_only_channel",
    ),
    (
        Remedy.CHANNEL,
        "No replies may be posted there, and a card's trail is in its thread: use another channel",
        "restricted_action_non_threadable_channel restricted_action_thread_locked",
    ),
    (
        *(Remedy.CHANNEL, "Cards can't be posted there: use a channel where people work together"),
        "messages_tab_disabled",
    ),
    (
        *(Remedy.CONTENT, ""),
        """
        msg_too_long msg_blocks_too_long invalid_blocks invalid_blocks_format invalid_attachments
        only_one_table_allowed no_text block_mismatch invalid_arguments too_many_attachments
        attachment_payload_limit_exceeded too_many_contact_cards
        """,
    ),
    (
        *(Remedy.NOTHING, ""),
        """
        message_not_found cant_update_message edit_window_closed thread_not_found
        cannot_reply_to_message invalid_ts expired_url used_url
        """,
    ),
]
MEANINGS = {code: Meaning(ends, fix) for ends, fix, codes in _ROWS for code in codes.split()}
"""By code. What is not here is unknown: Slack's no, for a reason that the bot can't tell."""
UNKNOWN = Meaning(Remedy.ADMIN, "Look the code up at docs.slack.dev/reference/methods.")


BAD_TOKEN = frozenset(
    code for code, each in MEANINGS.items() if each.fix.startswith((_NEW_TOKEN, _SCOPES))
)
"""Codes of `auth.test` that only another token can end."""
THREAD_REFUSED = frozenset(
    {
        *("restricted_action_thread_locked", "restricted_action_non_threadable_channel"),
        *("thread_not_found", "cannot_reply_to_message"),
    }
)
"""Codes of a reply: the same message may be taken outside of the thread."""


def codes(remedy: Remedy) -> frozenset[str]:
    """All codes that the same ends."""
    return frozenset(code for code, meaning in MEANINGS.items() if meaning.remedy is remedy)


def meaning_of(code: str) -> Meaning:
    """The meaning of a code that is Slack's own word."""
    return MEANINGS.get(code, UNKNOWN)
