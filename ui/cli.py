"""`cellwatt`: one command per process, and one that brings them all up."""

import argparse
import os
import signal
import sys
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from importlib import import_module
from pathlib import Path

from telemetry.model.errors import ControlError
from ui.cli_bench import add_bench_commands
from ui.cli_control import add_control_orders
from ui.cli_data import add_data_commands
from ui.cli_llm import add_llm_commands
from ui.cli_mcp import add_mcp_command
from ui.cli_notify import add_notify_commands
from ui.cli_ops import add_ops_commands
from ui.cli_plans import add_plans_commands

_STATE = Path(".cellwatt")
_PROCESS_HELP = {
    "ingest": "store what sites send: MQTT in, PostgreSQL out",
    "control": "authorise, sign and send approved plans (the only holder of the signing key)",
    "loop": "run the agent: the automated cycle and the operators' conversations",
    "api": "serve the REST API",
    "console": "serve the operators' console",
    "simulate": "run the simulated sites: a real gateway core for each",
}

_BODIES = {
    "ingest": ("ui.processes.ingest", "run_ingest"),
    "simulate": ("ui.processes.simulate", "run_simulation"),
    "control": ("ui.processes.control", "run_control"),
    "loop": ("ui.processes.loop", "run_loop"),
    "api": ("ui.processes.api", "run_api"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit status (2: something is missing or wrong, and the message says what)."""
    args = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], int] = args.run
    try:
        return run(args)
    except ControlError as error:
        print(f"cellwatt: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="cellwatt",
        description="The backup batteries of cellular base stations as a virtual power plant.",
        epilog="Start with `cellwatt up`: it needs nothing configured. `cellwatt status` shows what runs.",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_up(commands)
    _add_demo(commands)
    status = commands.add_parser("status", help="show the processes of an installation")
    _add_state(status)
    status.set_defaults(run=_status)
    add_plans_commands(commands, _STATE)
    add_ops_commands(commands, _STATE)
    add_notify_commands(commands, _STATE)
    add_data_commands(commands, _STATE)
    add_bench_commands(commands)
    add_llm_commands(commands)
    add_mcp_command(commands)
    for name, words in _PROCESS_HELP.items():
        one = commands.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
        one.add_argument("--state-dir", type=Path, help="take settings from the installation that runs there")
        one.set_defaults(run=_process, process=name)
        if name == "control":
            add_control_orders(one, _STATE)
    return parser


def _add_state(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--state-dir", type=Path, default=_STATE, help="the installation (default: %(default)s)"
    )


def _add_up(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    up = commands.add_parser(
        "up",
        help="bring the whole system up on simulated sites, in the foreground",
        description="Bring everything up in the foreground: PostgreSQL, Mosquitto, a simulated fleet, all processes. "
        "Ctrl-C takes everything down again. DATABASE_URL, MQTT_URL and OPENAI_BASE_URL replace the embedded parts.",
    )
    _add_state(up)
    up.add_argument(
        "--sites", type=int, default=24, help="simulated sites of a first start (default: %(default)s)"
    )
    up.add_argument(
        "--speed", type=float, default=1.0, help="domain seconds per second (default: %(default)s)"
    )
    up.add_argument("--seed", type=int, default=7, help="of the simulated fleet (default: %(default)s)")
    up.add_argument(
        "--ingest-workers",
        type=int,
        choices=range(1, 17),
        default=1,
        metavar="N",
        help="processes that share what sites send, 1 to 16 (default: %(default)s)",
    )
    up.add_argument(
        "--history-days", type=int, default=28, help="simulated past of a first start (default: 28)"
    )
    up.add_argument(
        "--start", type=datetime.fromisoformat, help="domain instant of a first start, ISO 8601 with offset"
    )
    up.set_defaults(run=_up)


def _add_demo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    demo = commands.add_parser(
        "demo",
        help="run one evening peak from forecast to report, without a screen (simulated)",
        description="Start a temporary installation, let the agent shave one evening peak, print what was forecast, "
        "compared, approved, sent, acknowledged and delivered. Exits non-zero and names the stage that failed.",
    )
    demo.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    demo.add_argument("--sites", type=int, default=24, help="simulated sites (default: %(default)s)")
    demo.add_argument("--seed", type=int, default=7, help="of the simulated fleet (default: %(default)s)")
    demo.add_argument("--state-dir", type=Path, help="keep the installation there (default: a temporary one)")
    demo.set_defaults(run=_demo)


def _up(args: argparse.Namespace) -> int:
    from ui.ops.steps import steps_for
    from ui.ops.up import System, UpOptions, describe

    if args.start is not None and args.start.tzinfo is None:
        raise ControlError("--start needs an offset, for instance 2026-11-24T17:00+01:00")
    steps = steps_for()
    stop, serving = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: _stop_once(stop, serving))
    options = UpOptions(
        state_dir=args.state_dir,
        sites=args.sites,
        speed=args.speed,
        seed=args.seed,
        history_days=args.history_days,
        start=args.start,
        ingest_workers=args.ingest_workers,
        env=os.environ,
        embedded_model=True,
    )
    try:
        with System(options, steps) as system:
            steps.close()
            serving.set()
            print("\n".join(describe(system)), flush=True)
            system.begin_model(lambda words: print(words, flush=True))
            while not stop.wait(0.2):
                system.tick()
    except KeyboardInterrupt:
        return 130
    finally:
        steps.close()
    return 0


def _stop_once(stop: threading.Event, serving: threading.Event) -> None:
    """Stop in good order when up; while still starting, leave at once (what was started is stopped on the way out)."""
    if not stop.is_set() and not serving.is_set():
        stop.set()
        raise KeyboardInterrupt
    stop.set()


def _demo(args: argparse.Namespace) -> int:
    from ui.ops.demo import DemoOptions, run_demo

    return run_demo(
        DemoOptions(sites=args.sites, seed=args.seed, state_dir=args.state_dir, json_path=args.json)
    )


def _status(args: argparse.Namespace) -> int:
    from ui.ops.secrets import StateDirectory
    from ui.ops.supervisor import read_status

    status = read_status(StateDirectory(args.state_dir).status_path)
    if status is None:
        print(f"nothing has run in {args.state_dir}; start with `cellwatt up`")
        return 1
    print("running" if status.alive else "not running (this is what it said last)")
    for each in status.processes:
        print(f"{each.name:<12} {each.state.value:<12} pid {each.pid or '-':<8} restarts {each.restarts}")
    return 0 if status.alive else 1


def _process(args: argparse.Namespace) -> int:
    from ui.processes.running import log_to, run_until_stopped

    log_to()
    env = _process_env(args.process, args.state_dir)
    if args.process == "console":
        from ui.processes.console import run_console

        return run_console(env)
    body = _body(args.process)
    return run_until_stopped(lambda: body(env))


def _process_env(process: str, state_dir: Path | None) -> Mapping[str, str]:
    if state_dir is None:
        return os.environ
    from ui.ops.runtime import Installation, Runtime
    from ui.ops.secrets import StateDirectory

    state = StateDirectory(state_dir)
    installation = Installation(state=state, runtime=Runtime.load(state))
    return installation.env(process) | dict(os.environ)


def _body(process: str) -> Callable[[Mapping[str, str]], Awaitable[None]]:
    """Import only what one process needs: the others' libraries cost it seconds and memory."""
    module, name = _BODIES[process]
    body: Callable[[Mapping[str, str]], Awaitable[None]] = getattr(import_module(module), name)
    return body


if __name__ == "__main__":
    sys.exit(main())
