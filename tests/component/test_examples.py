"""What `python -m bot example` prints is sound, and fits what the bot serves and reads."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from bot.__main__ import main
from bot.app.examples import EXAMPLES, example
from bot.ops.metrics import Metrics
from bot.settings import Settings, Timing
from tests.support.world import OpenWorld, World

ROOT = Path(__file__).parents[2]
SYSTEMD_ANALYZE = shutil.which("systemd-analyze")
PROMTOOL = shutil.which("promtool")
MAX_EXPOSURE = 3.0
CLOSING_S = 10
"""More than the bot needs to close its connections after the work is finished."""


def is_secret(name: str) -> bool:
    field = Settings.model_fields[name]
    return "SecretStr" in str(field.annotation)


SECRETS = {name.upper() for name in Settings.model_fields if is_secret(name)}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_command_prints_the_example(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["example", name]) == 0
    assert capsys.readouterr().out == example(name)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit, with a program that is there on every machine."""
    path = tmp_path / "unlatch-bot.service"
    path.write_text(example("systemd").replace("/opt/unlatch-bot/bin/unlatch-bot", "/bin/true"))
    return path


def analyze(*arguments: str) -> str:
    if SYSTEMD_ANALYZE is None:
        pytest.skip("this test needs Debian's systemd")
    ran = subprocess.run(
        [SYSTEMD_ANALYZE, "--no-pager", *arguments], capture_output=True, text=True, check=False
    )
    printed = ran.stdout + ran.stderr
    assert ran.returncode == 0, printed
    return printed


def test_systemd_takes_the_unit_without_a_word(unit: Path) -> None:
    assert analyze("verify", str(unit)) == ""


def test_systemd_rates_the_units_exposure_low(unit: Path) -> None:
    rated = re.search(
        r"exposure level for \S+: ([0-9.]+)", analyze("security", "--offline=true", str(unit))
    )
    assert rated
    assert float(rated[1]) < MAX_EXPOSURE


def test_the_units_credentials_are_the_secrets_that_http_needs() -> None:
    loaded = dict(re.findall(r"^LoadCredential=(\w+):(\S+)$", example("systemd"), re.MULTILINE))
    assert loaded.keys() == SECRETS - {"SLACK_APP_TOKEN", "DATABASE_URL"}
    assert {path.rpartition("/")[2] for path in loaded.values()} == loaded.keys()


@pytest.mark.parametrize("command", ["check", "audit"])
def test_the_units_own_advice_looks_at_the_ledger_that_the_unit_writes(command: str) -> None:
    text = example("systemd").replace("\\\n#", "")
    (written,) = re.findall(r"^Environment=.*\bDATABASE_URL=(\S+)$", text, re.MULTILINE)
    (program,) = re.findall(r"^ExecStart=(\S+) ", text, re.MULTILINE)
    (advised,) = re.findall(rf"^# .*{program} {command}$", text, re.MULTILINE)
    assert f"DATABASE_URL={written} " in advised
    assert "User=unlatch-bot" in text
    assert "runuser -u unlatch-bot " in advised


def test_hosts_wait_until_the_bot_has_finished_its_work() -> None:
    (waits,) = re.findall(r"^TimeoutStopSec=(\d+)$", example("systemd"), re.MULTILINE)
    deployment, _service = documents()
    pod = deployment["spec"]["template"]["spec"]
    before = pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    needed = Timing().drains_for_s + CLOSING_S
    assert int(waits) > needed
    assert pod["terminationGracePeriodSeconds"] - before > needed


def documents() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(example("kubernetes")))


async def test_kubernetes_probes_what_the_bot_serves(world: World) -> None:
    deployment, service = documents()
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    (port,) = container["ports"]
    environment = {each["name"]: each["value"] for each in container["env"]}
    assert environment["PORT"] == str(port["containerPort"])
    assert service["spec"]["ports"][0]["targetPort"] == port["name"]
    assert service["spec"]["selector"].items() <= (
        deployment["spec"]["template"]["metadata"]["labels"].items()
    )
    paths = {}
    async with aiohttp.ClientSession() as session:
        for name in ("startupProbe", "livenessProbe", "readinessProbe"):
            probe = container[name]["httpGet"]
            assert probe["port"] == port["name"]
            async with session.get(f"{world.address}{probe['path']}") as response:
                paths[name] = (probe["path"], response.status)
    assert paths == {
        "startupProbe": ("/healthz", 200),
        "livenessProbe": ("/healthz", 200),
        "readinessProbe": ("/readyz", 200),
    }


def test_kubernetes_runs_the_bot_without_rights() -> None:
    pod = documents()[0]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    for container in (*pod["containers"], *pod["initContainers"]):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}


def test_kubernetes_gives_the_bot_its_settings_and_no_others() -> None:
    pod = documents()[0]["spec"]["template"]["spec"]
    # the variables for a service called unlatch-bot begin like the bot's settings
    assert pod["enableServiceLinks"] is False
    for container in (*pod["containers"], *pod["initContainers"]):
        names = {each["name"].lower() for each in container.get("env", [])}
        assert names <= Settings.model_fields.keys()
    comment = example("kubernetes").partition("apiVersion")[0]
    named = set(re.findall(r"--from-\w+=(\w+)", comment))
    assert named == SECRETS - {"SLACK_APP_TOKEN"}


def test_kubernetes_runs_commands_that_exist(capsys: pytest.CaptureFixture[str]) -> None:
    pod = documents()[0]["spec"]["template"]["spec"]
    for container in (*pod["containers"], *pod["initContainers"]):
        *_, bot, command = container["command"]
        assert bot == "bot"
        with pytest.raises(SystemExit) as ended:
            main([command, "--help"])
        assert ended.value.code == 0
    capsys.readouterr()


def test_the_procfiles_commands_exist(capsys: pytest.CaptureFixture[str]) -> None:
    lines = (ROOT / "Procfile").read_text().splitlines()
    commands = [re.fullmatch(r"\w+: python -m bot (\w+)", line) for line in lines]
    for command in commands:
        assert command
        with pytest.raises(SystemExit) as ended:
            main([command[1], "--help"])
        assert ended.value.code == 0
    capsys.readouterr()


def promtool(folder: Path, command: str, tests: str = "") -> str:
    """Run promtool on the alerts, or on tests of them."""
    if PROMTOOL is None:
        pytest.skip("this test needs promtool, from Debian's prometheus")
    (folder / "alerts.yaml").write_text(example("alerts"))
    file = folder / ("tests.yaml" if tests else "alerts.yaml")
    if tests:
        file.write_text(tests)
    ran = subprocess.run(
        [PROMTOOL, command, "rules", str(file)], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


def test_prometheus_takes_the_alerts(tmp_path: Path) -> None:
    assert "SUCCESS: 7 rules found" in promtool(tmp_path, "check")


FIRED = {
    "UnlatchNotReady": [('up{job="unlatch-bot"}', "1"), ("unlatch_ready", "0")],
    "UnlatchDegraded": [("unlatch_degraded", "1")],
    "UnlatchOverdue": [("unlatch_overdue_seconds", "400")],
    "UnlatchUndelivered": [("unlatch_undelivered_total", "0+0x9 1")],
    "UnlatchReclaimed": [("unlatch_reclaimed_total", "0+0x9 1")],
    "UnlatchRejected": [('unlatch_rejected_total{reason="signature"}', "0+0x9 20")],
    "UnlatchFusebillLimit": [
        ('unlatch_fusebill_rate_limit_remaining{window="minute"}', "40-1x20 20")
    ],
}


def rules() -> dict[str, str]:
    (group,) = yaml.safe_load(example("alerts"))["groups"]
    return {rule["alert"]: rule["expr"] for rule in group["rules"]}


@pytest.mark.parametrize("name", rules())
def test_an_alert_fires_on_its_symptom_and_only_then(tmp_path: Path, name: str) -> None:
    quiet = [
        ('up{job="unlatch-bot"}', "1"),
        ("unlatch_ready", "1"),
        ("unlatch_degraded", "0"),
        ("unlatch_overdue_seconds", "1"),
        ("unlatch_undelivered_total", "3"),
        ("unlatch_reclaimed_total", "3"),
        ('unlatch_rejected_total{reason="signature"}', "3"),
        ('unlatch_fusebill_rate_limit_remaining{window="minute"}', "900"),
        ('unlatch_fusebill_rate_limit_remaining{window="day"}', "170000"),
        # no calls since: both are of a window that is over
        ('unlatch_fusebill_rate_limit_remaining{window="minute", instance="b"}', "900 9"),
        ('unlatch_fusebill_rate_limit_remaining{window="day", instance="b"}', "9"),
    ]
    query = f'count(ALERTS{{alertname="{name}", alertstate="firing"}})'

    def case(values: list[tuple[str, str]], expected: list[dict[str, object]]) -> dict[str, Any]:
        return {
            "interval": "1m",
            "input_series": [{"series": m, "values": f"{v}+0x60"} for m, v in values],
            "promql_expr_test": [{"expr": query, "eval_time": "15m", "exp_samples": expected}],
        }

    symptom = [*FIRED[name], *(each for each in quiet if each[0] not in dict(FIRED[name]))]
    tests = {
        "rule_files": ["alerts.yaml"],
        "evaluation_interval": "1m",
        "tests": [case(symptom, [{"labels": "{}", "value": 1}]), case(quiet, [])],
    }
    assert "SUCCESS" in promtool(tmp_path, "test", json.dumps(tests))


def test_the_alerts_use_metrics_that_the_bot_has() -> None:
    named = {name for expr in rules().values() for name in re.findall(r"unlatch_\w+", expr)}
    assert named <= set(Metrics().meanings())


def test_the_page_for_admins_lists_every_metric_with_its_meaning() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    listed = dict(re.findall(r"`(unlatch_\w+)` \| ([^|\n]+?) \|", page))
    assert listed == Metrics().meanings()


async def gauge(world: World, name: str) -> float:
    async with aiohttp.request("GET", f"{world.address}/metrics") as response:
        lines = (await response.text()).splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name} "))


async def test_a_metric_says_whether_the_bot_is_ready(world: World) -> None:
    assert await gauge(world, "unlatch_ready") == 1
    world.bot.stopping.set()
    assert await gauge(world, "unlatch_ready") == 0


async def test_a_metric_says_whether_slack_is_in_trouble(
    world: World, open_world: OpenWorld
) -> None:
    assert await gauge(world, "unlatch_degraded") == 0
    async with open_world() as other:
        other.slack.faults.fail("auth.test", error="token_revoked", times=None)
        assert await gauge(other, "unlatch_degraded") == 1
        assert await gauge(other, "unlatch_ready") == 1


async def test_a_metric_says_how_long_the_ledger_has_waited_for_a_sweep(
    open_world: OpenWorld,
) -> None:
    no_sweep = Timing(sweep_every_s=3600)
    async with open_world(timing=no_sweep, unlatch_expires_after_s=1) as world:
        assert await gauge(world, "unlatch_overdue_seconds") == 0
        await world.ask()
        await asyncio.sleep(1.2)
        assert 0 < await gauge(world, "unlatch_overdue_seconds") < 60
