"""`cellwatt notify`: who is told what, and whether messages arrive."""

import argparse
import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from telemetry.model.errors import ControlError

if TYPE_CHECKING:
    from tools.notify.sender import Tested
    from tools.notify.settings import NotifySettings

FILE_NAME = "notify.toml"


def add_notify_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", default_state: Path
) -> None:
    """Add the command."""
    notify = commands.add_parser(
        "notify",
        help="messages to people: who is told what, and a test message",
        description="Messages go out through Apprise (mail, Slack, Telegram, ntfy, webhooks and many more). Who is told "
        f"what stands in {FILE_NAME} in the state directory, mode 0600, because it holds the targets' secrets.",
    )
    kinds = notify.add_subparsers(title="what to do", required=True, metavar="WHAT")
    for name, words, run in (
        ("init", "write an example file to fill in", _init),
        ("show", "list the targets, without their secrets", _show),
        ("test", "send a test message and say whether it was taken (exit 1: it was not)", _test),
    ):
        one = kinds.add_parser(name, help=words, description=f"{words[0].upper()}{words[1:]}.")
        one.add_argument(
            "--state-dir", type=Path, default=default_state, help="the installation (default: %(default)s)"
        )
        if name == "test":
            one.add_argument("--target", help="this one alone (default: all of them)")
        one.set_defaults(run=run)


def _init(args: argparse.Namespace) -> int:
    from tools.notify.settings import EXAMPLE
    from ui.ops.files import UnsafeFileError, create_once, private_folder

    try:
        path = private_folder(args.state_dir) / FILE_NAME
    except UnsafeFileError as error:
        raise ControlError(str(error)) from error
    if path.exists():
        raise ControlError(f"{path} is there already; it is left as it is")
    create_once(path, EXAMPLE.encode)
    print(f"{path}: fill in the targets; the API reads it again by itself")
    return 0


def _show(args: argparse.Namespace) -> int:
    from tools.notify.notifier import target_views

    for one in target_views(_settings(args.state_dir)):
        parts = [f"{one.at_least.value} and graver" if one.direct else "by escalation only"]
        parts += [f"kinds {', '.join(one.kinds)}"] if one.kinds else []
        parts += ["quiet hours hold"] if one.quiet else []
        parts += [f"escalation after {minutes:g} min" for minutes in one.escalation_after_min]
        print(f"{one.name:<24} {one.scheme:<8} {'; '.join(parts)}")
    return 0


def _test(args: argparse.Namespace) -> int:
    settings = _settings(args.state_dir)
    if args.target is not None and settings.named(args.target) is None:
        known = ", ".join(one.name for one in settings.target) or "none"
        raise ControlError(f"no target {args.target!r}; there is: {known}")
    results = asyncio.run(_send(settings, args.target))
    for one in results:
        print(f"{one.target:<24} {one.delivery.detail}")
    return 0 if results and all(one.delivery.ok for one in results) else 1


async def _send(settings: "NotifySettings", name: str | None) -> "tuple[Tested, ...]":
    from tools.notify.sender import Courier, send_test

    courier = Courier()
    try:
        return await send_test(settings, courier, name=name)
    finally:
        courier.close()


def _settings(state_dir: Path) -> "NotifySettings":
    from tools.notify.settings import load_settings

    found = load_settings(state_dir / FILE_NAME)
    if found is None:
        raise ControlError(
            f"there is no {state_dir / FILE_NAME}; `cellwatt notify init` writes one to fill in"
        )
    return found
