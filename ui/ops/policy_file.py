"""The approval policy of a simulated installation, written on first start."""

from pathlib import Path

from ui.ops.files import create_once

# Applies to simulated sites only: a real site needs a policy that somebody wrote for it.
DEMO_POLICY = """\
# Who must approve a plan. No file, or one that cannot be read: nobody may.
# The least tier that holds a plan in every respect applies; a plan that fits no tier is nobody's to approve.
version = 1

[automatic]
max_total_w = 60000
max_sites = 24
max_depth_frac = 0.5
objectives = ["peak_shaving", "recharge"]
modes = ["normal", "storm"]
simulated_only = true
max_validity_h = 24

[one_person]
max_total_w = 500000
max_sites = 200
max_depth_frac = 0.7
objectives = ["peak_shaving", "arbitrage", "demand_response", "recharge"]
modes = ["normal", "storm"]
simulated_only = true
max_validity_h = 24

[two_persons]
max_total_w = 5000000
max_sites = 2000
max_depth_frac = 0.8
objectives = ["peak_shaving", "arbitrage", "demand_response", "recharge", "grid_reserve", "emergency_support"]
modes = ["normal", "storm", "emergency"]
simulated_only = true
max_validity_h = 12
"""


def write_demo_policy(path: Path) -> None:
    """Write the policy unless there is one already."""
    create_once(path, DEMO_POLICY.encode)
