"""`cellwatt control stop | clear | abort PLAN | rotate-key`: orders from the machine itself, without agent or API."""

import argparse
import asyncio
import getpass
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ui.ops.control_cli import Answer

_WAIT_S = 10.0
_ORDERS = {
    "stop": "return every site to float, at once; nothing is dispatched until `clear`",
    "clear": "end a stop",
    "abort": "return a plan's sites to float",
    "rotate-key": "make a new signing key; control takes it up at its next start",
}


def add_control_orders(parser: argparse.ArgumentParser, default_state: Path) -> None:
    """Add the orders below `cellwatt control`, which without one is the process itself."""
    orders = parser.add_subparsers(title="orders", metavar="ORDER")
    for name, words in _ORDERS.items():
        one = orders.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
        if name == "abort":
            one.add_argument("plan", help="its id")
        if name != "rotate-key":
            one.add_argument("--reason", default="", help="why, for the trail")
        one.add_argument(
            "--state-dir", type=Path, default=default_state, help="the installation (default: %(default)s)"
        )
        one.set_defaults(run=_rotate if name == "rotate-key" else _ask, order=name)


def _env(state_dir: Path) -> Mapping[str, str]:
    from ui.ops.runtime import Installation, Runtime
    from ui.ops.secrets import StateDirectory

    state = StateDirectory(state_dir)
    return Installation(state=state, runtime=Runtime.load(state)).env("control")


def _ask(args: argparse.Namespace) -> int:
    answer = asyncio.run(_asked(_env(args.state_dir), args.order, getattr(args, "plan", None), args.reason))
    if answer.outcome == "unanswered":
        print(f"{args.order}: no control process answered; it is carried out as soon as one runs")
        return 1
    print(f"{args.order}: {answer.outcome} {answer.doc}")
    return 0 if answer.outcome == "done" else 1


async def _asked(env: Mapping[str, str], order: str, plan: str | None, reason: str) -> "Answer":
    from edge.control.request_store import RequestStore
    from edge.plan import PlanId
    from telemetry.db import open_async_pool
    from ui.ops.control_cli import ask_control
    from ui.settings import DATABASE_URL, need, process_clock

    dsn = need(env, DATABASE_URL)
    pool = await open_async_pool(dsn, application_name="cellwatt-control-order", max_size=1)
    try:
        return await ask_control(
            RequestStore(pool, dsn),
            order,
            who=getpass.getuser(),
            reason=reason,
            at=process_clock(env).now(),
            within=timedelta(seconds=_WAIT_S),
            plan_id=None if plan is None else PlanId(plan),
        )
    finally:
        await pool.close()


def _rotate(args: argparse.Namespace) -> int:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from edge.control.key_folder import KeyFolder
    from edge.envelope import public_bytes
    from ui.ops.control_cli import rotate_key
    from ui.ops.secret_files import read_seed
    from ui.settings import KEY_SET_FOLDER, ROOT_SEED_FILE, SIGNING_SEED_FILE, need, need_file, process_clock

    env = _env(args.state_dir)
    root = Ed25519PrivateKey.from_private_bytes(read_seed(need_file(env, ROOT_SEED_FILE)))
    folder = KeyFolder(Path(need(env, KEY_SET_FOLDER)), public_bytes(root))
    name = rotate_key(folder, need_file(env, SIGNING_SEED_FILE), root, process_clock(env).now())
    print(f"the new key is {name}; restart control to use it")
    return 0
