"""What a figure was measured on: the project's commit and the machine, without names of people or hosts."""

import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def describe_machine() -> dict[str, Any]:
    """Return processor, cores this process may use, memory, Python and the load average over a minute, as it is now."""
    return {
        "cpu": _cpu_model(Path("/proc/cpuinfo")),
        "cores_count": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "load_average_1min": round(os.getloadavg()[0], 2),
    }


def _cpu_model(path: Path) -> str:
    if path.exists():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def project_commit(root: Path = ROOT) -> str:
    """Return the commit of a checkout, `-changed` at its end where tracked files differ; `unknown` outside of one."""
    head = _git(root, "rev-parse", "--short=12", "HEAD")
    if not head:
        return "unknown"
    # Results that are being written do not change what was measured.
    changed = _git(
        root, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!benchmarks", ":!README.md"
    )
    return f"{head}-changed" if changed else head


def _git(root: Path, *words: str) -> str:
    program = shutil.which("git")
    if program is None:
        return ""
    done = subprocess.run(  # noqa: S603 git with words from here
        [program, "-C", str(root), *words], capture_output=True, text=True, check=False, timeout=30
    )
    return done.stdout.strip() if done.returncode == 0 else ""
