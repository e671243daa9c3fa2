"""The console as a process of its own."""

import os
import subprocess
import sys
from pathlib import Path

from ui.settings import API_URL, CONSOLE_PORT, READY_FILE

_RUN = "import os, sys; from ui.processes.console import run_console; sys.exit(run_console(os.environ))"


def start(folder: Path, port: int, **changes: str) -> subprocess.Popen[bytes]:
    """Start it; it writes `ready` into the folder once it serves."""
    env = {
        **os.environ,
        API_URL: "http://127.0.0.1:9",
        CONSOLE_PORT: str(port),
        READY_FILE: str(folder / "ready"),
        "HOME": str(folder),
        **changes,
    }
    return subprocess.Popen([sys.executable, "-c", _RUN], env=env, stderr=subprocess.PIPE)
