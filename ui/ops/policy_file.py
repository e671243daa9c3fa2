"""The approval policy of a simulated installation, written on first start."""

from pathlib import Path

from ui.ops.files import create_once

# Applies to simulated sites only: a real site needs a policy that somebody wrote for it.
DEMO_POLICY = """\
# Who must approve a plan (edge/safety/approval.py). No file, or one that cannot be read: nobody may.
"""


def write_demo_policy(path: Path) -> None:
    """Write the policy unless there is one already."""
    create_once(path, DEMO_POLICY.encode)
