"""The Slack app manifest: valid keys, the fewest scopes, the command and path the bot serves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bot.__main__ import main
from bot.inbound.manifest import manifest
from bot.settings import Mode
from tests.support.world import OpenWorld

URL = "https://bot.example.com"
# from docs.slack.dev/reference/app-manifest: the keys that an app like this one can need
KNOWN = {
    "_metadata.major_version",
    "_metadata.minor_version",
    "display_information.name",
    "display_information.description",
    "display_information.long_description",
    "display_information.background_color",
    "features.bot_user.display_name",
    "features.bot_user.always_online",
    "features.slash_commands.command",
    "features.slash_commands.url",
    "features.slash_commands.description",
    "features.slash_commands.usage_hint",
    "features.slash_commands.should_escape",
    "oauth_config.scopes.bot",
    "settings.interactivity.is_enabled",
    "settings.interactivity.request_url",
    "settings.org_deploy_enabled",
    "settings.socket_mode_enabled",
    "settings.token_rotation_enabled",
}


def keys(value: object, path: str = "") -> Iterator[str]:
    """The path of every value in a manifest; a list's items share one path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from keys(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for item in value:
            yield from keys(item, path)
    else:
        yield path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    assert main(["manifest", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("url", [URL, None])
def test_it_has_only_keys_that_slack_knows_and_the_fewest_scopes(url: str | None) -> None:
    assert set(keys(manifest(url))) <= KNOWN
    few = ["chat:write", "chat:write.public", "commands"]
    assert manifest(url)["oauth_config"]["scopes"] == {"bot": few}
    scopes = manifest(url, user_groups=True)["oauth_config"]["scopes"]["bot"]
    assert scopes == [*few, "usergroups:read"]


@pytest.mark.parametrize("url", [URL, f"{URL}/"])
def test_over_http_all_requests_go_to_one_url_and_in_socket_mode_there_is_none(url: str) -> None:
    over_http, socket = manifest(url), manifest(None)
    (command,) = over_http["features"]["slash_commands"]
    assert command["url"] == f"{URL}/slack/events"
    assert over_http["settings"]["interactivity"]["request_url"] == command["url"]
    assert over_http["settings"]["socket_mode_enabled"] is False
    assert socket["settings"]["socket_mode_enabled"] is True
    assert socket["settings"]["interactivity"] == {"is_enabled": True}
    assert "http" not in json.dumps(socket)


def test_its_texts_are_within_slacks_limits() -> None:
    printed = manifest(URL)
    shown = printed["display_information"]
    (command,) = printed["features"]["slash_commands"]
    assert len(shown["name"]) <= 35
    assert len(shown["description"]) <= 140
    assert len(printed["features"]["bot_user"]["display_name"]) <= 80
    assert len(command["command"]) <= 32
    assert len(command["description"]) <= 2000
    assert len(command["usage_hint"]) <= 1000


def test_the_command_line_prints_it_and_needs_no_settings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PORT", "wrong")
    assert printed(capsys, "--socket") == manifest(None)
    # the path that Slack calls may be in the address already
    for end in ("", "/", "/slack/events", "/slack/events/"):
        assert printed(capsys, "--url", f"{URL}{end}") == manifest(URL)


@pytest.mark.parametrize("end", ["?x=1", "/#top"])
def test_an_address_that_can_have_no_path_after_it_is_refused(
    end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["manifest", "--url", f"{URL}{end}"])
    assert "must be an address like https://bot.example.com" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [[], ["--url", "http://bot.example.com"], ["--url", "bot"], ["--url", URL, "--socket"]],
)
def test_other_arguments_are_refused_with_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exited:
        main(["manifest", *arguments])
    assert exited.value.code == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("mode", ["http", "socket"])
async def test_the_bot_serves_the_manifests_command_and_any_other_that_slack_signs(
    open_world: OpenWorld, mode: Mode
) -> None:
    async with open_world(mode=mode) as world:
        (command,) = manifest(world.address)["features"]["slash_commands"]
        if mode == "http":
            world.slack.request_url = command["url"]
        for name in (command["command"], "/unlatch-test"):
            await world.slack.command("U0ALICE", "help", command=name)
            assert f"{name} history" in world.last_ephemeral("U0ALICE")


def test_a_test_app_has_its_own_command_and_name(capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, "--socket", "--command", "/unlatch-test", "--name", "Unlatch (test)")
    (command,) = shown["features"]["slash_commands"]
    assert command["command"] == "/unlatch-test"
    assert shown["display_information"]["name"] == "Unlatch (test)"
    assert shown["features"]["bot_user"]["display_name"] == "unlatch-test"
    assert shown["oauth_config"] == manifest(None)["oauth_config"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--command", "unlatch"),
        ("--command", "/Unlatch"),
        ("--command", "/unlatch test"),
        ("--command", "/" + "x" * 32),
        ("--name", " "),
        ("--name", "x" * 36),
    ],
)
def test_a_name_that_slack_would_refuse_is_refused_first(
    option: str, value: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["manifest", "--socket", option, value])
    assert f"argument {option}: must " in capsys.readouterr().err
