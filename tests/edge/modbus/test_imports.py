"""The adapters ship in the gateway: nothing heavy may come in with them."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("numpy", "pandas", "scipy", "psycopg", "pydantic", "edge.simulator", "edge.control", "sunspec2")


def test_the_adapters_bring_in_nothing_heavy() -> None:
    code = (
        "import sys, edge.modbus.site_port, edge.modbus.sunspec, edge.modbus.profile\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
