"""What a run was measured on, as people read it."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path

from tests.benchmarks.interpreter import Interpreter
from tests.benchmarks.servers import Cores
from tests.benchmarks.variants import bolt_js_folder, node


def machine(cores: Cores) -> str:
    """The processor, the cores that were used, and the system."""
    models = {
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    }
    used = f"servers on core {cores.server}, load on core {cores.load} of {os.cpu_count()}"
    return f"{', '.join(sorted(models))}, {platform.system()} {platform.machine()}, {used}"


def versions(python: Interpreter) -> str:
    """Python and its build, the packages that matter, Node and its Bolt if installed."""
    parts = [python.versions]
    bolt = bolt_js_folder() / "node_modules" / "@slack" / "bolt" / "package.json"
    if bolt.exists():
        version = subprocess.run([node(), "--version"], check=True, capture_output=True, text=True)
        parts.append(f"Node {version.stdout.strip().removeprefix('v')}")
        parts.append(f"@slack/bolt {json.loads(bolt.read_text())['version']}")
    return ", ".join(parts)
