"""`cellwatt mcp`: its arguments, and what it calls."""

import argparse
import os
from pathlib import Path


def add_mcp_command(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    mcp = commands.add_parser(
        "mcp",
        help="offer the agent's read and propose tools to other programs (Model Context Protocol)",
        description="Offer the read and propose tools over MCP: on stdio with the API token in CELLWATT_TOKEN, or with --http on a"
        " loopback port, where each request brings its own API token. No tool approves, dispatches or changes a setting.",
    )
    mcp.add_argument(
        "--http", type=int, metavar="PORT", help="streamable HTTP on 127.0.0.1 at /mcp, not stdio"
    )
    mcp.add_argument("--state-dir", type=Path, help="take settings from the installation that runs there")
    mcp.set_defaults(run=_mcp)


def _mcp(args: argparse.Namespace) -> int:
    from ui.ops.runtime import Installation, Runtime
    from ui.ops.secrets import StateDirectory
    from ui.processes.mcp import run_mcp
    from ui.processes.running import log_to, run_until_stopped

    log_to()
    env = dict(os.environ)
    if args.state_dir is not None:
        state = StateDirectory(args.state_dir)
        env = Installation(state=state, runtime=Runtime.load(state)).env("mcp") | env
    return run_until_stopped(lambda: run_mcp(env, args.http))
