"""The table of Slack's error codes: every documented code, who ends it, what the admin can do."""

from __future__ import annotations

import pytest

from bot.slack.error_codes import MEANINGS, UNKNOWN, Remedy, meaning_of
from bot.slack.errors import (
    BAD_TOKEN,
    SlackBlocked,
    SlackRefused,
    SlackUnavailable,
    advice,
    failure,
)

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
# docs.slack.dev/reference/methods, each page's "Errors"
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


@pytest.mark.parametrize("method", DOCUMENTED)
def test_every_documented_code_of_a_method_has_a_row(method: str) -> None:
    assert [code for code in DOCUMENTED[method].split() if code not in MEANINGS] == []


def error(code: str) -> Exception:
    """The error for Slack's own answer with this code."""
    return failure(200, {"ok": False, "error": code}, {})


@pytest.mark.parametrize("code", sorted(MEANINGS))
def test_the_error_of_a_code_is_as_lasting_as_its_row_says(code: str) -> None:
    remedy = MEANINGS[code].remedy
    if remedy is Remedy.TIME:
        expected = type(error(code)) is not SlackBlocked and isinstance(
            error(code), SlackUnavailable
        )
    elif remedy in (Remedy.CONTENT, Remedy.NOTHING):
        expected = type(error(code)) is SlackRefused
    else:
        expected = type(error(code)) is SlackBlocked
    assert expected


@pytest.mark.parametrize("code", sorted(MEANINGS))
def test_what_only_an_admin_or_another_channel_ends_says_how(code: str) -> None:
    meaning = MEANINGS[code]
    must_say = meaning.remedy in (Remedy.ADMIN, Remedy.CHANNEL)
    assert bool(meaning.fix) >= must_say
    assert "try again" not in meaning.fix.lower()


def test_a_refused_token_is_for_the_admin() -> None:
    assert {MEANINGS[code].remedy for code in BAD_TOKEN} == {Remedy.ADMIN}


def test_an_unknown_code_is_for_the_admin_to_look_up() -> None:
    assert meaning_of("some_new_code") is UNKNOWN
    assert advice(SlackBlocked("some_new_code")) == {"check": UNKNOWN.fix}


def test_somebody_elses_answer_is_no_code_of_slack() -> None:
    # a gateway may answer with a status and a text that looks like a code
    assert advice(SlackUnavailable("invalid_auth")) == {}
