"""The gateway's own extra, installed alone: what a power cabinet gets."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.edge.gateway.test_process import cabinet, document, write
from tests.services import Broker

pytestmark = pytest.mark.broker
ROOT_FOLDER = Path(__file__).parents[3]
# What the extra brings, itself and its dependencies; anything else in a cabinet is a mistake.
ALLOWED = {
    "cellwatt",
    "cffi",
    "cryptography",
    "msgspec",
    "paho",
    "pycparser",
    "pymodbus",
    "serial",
    "typing_extensions",
    "yaml",
}


async def output(*command: str, cwd: Path) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command, cwd=cwd, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    text, _ = await process.communicate()
    return process.returncode or 0, text.decode()


async def test_the_gateway_loads_nothing_beyond_its_extra(tmp_path: Path) -> None:
    script = (
        "import sys, json; import edge.gateway.process, edge.gateway.check; "
        "names = {n.split('.')[0] for n in sys.modules}; "
        "from importlib.metadata import packages_distributions as d; known = d(); "
        "ours = {'agents', 'edge', 'knowledge', 'telemetry', 'tools', 'ui'}; "
        "print(json.dumps(sorted(n for n in names if n in known or n in ours)))"
    )
    code, text = await output(sys.executable, "-c", script, cwd=ROOT_FOLDER)
    assert code == 0, text
    loaded: Sequence[str] = json.loads(text)
    ours = {"agents", "edge", "knowledge", "telemetry", "tools", "ui"}
    assert {name for name in loaded if not name.startswith("_")} <= (ALLOWED | {"edge", "telemetry"})
    assert set(loaded) & ours == {"edge", "telemetry"}


@pytest.mark.proof
async def test_the_extra_alone_in_a_fresh_environment_checks_a_site(broker: Broker, tmp_path: Path) -> None:
    home = tmp_path / "venv"
    code, text = await output(sys.executable, "-m", "venv", str(home), cwd=tmp_path)
    assert code == 0, text
    pip = (str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    wanted = f"{ROOT_FOLDER}[gateway]"
    code, text = await output(*pip, "-c", str(ROOT_FOLDER / "constraints.txt"), wanted, cwd=tmp_path)
    assert code == 0, text
    _, listed = await output(str(home / "bin" / "python"), "-m", "pip", "list", "--format=json", cwd=tmp_path)
    names = {row["name"].lower() for row in json.loads(listed.splitlines()[0])}
    assert not names & {"numpy", "pandas", "psycopg", "fastapi", "langgraph", "scipy"}
    async with cabinet() as (_, server):
        path = write(tmp_path, document(broker, tmp_path, server.port))
        # From a folder that is not the project's: what runs is what was installed.
        code, text = await output(str(home / "bin" / "cellwatt-gateway"), str(path), "--check", cwd=tmp_path)
    assert code == 0, text
    assert "FIX" not in text
    assert "ok  reserves: none: no fast frequency meter is declared (site.fast)" in text
