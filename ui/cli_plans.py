"""`cellwatt plans list | show | approve | decline`: a person's yes or no from a terminal, through the API like any other."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from telemetry.model.errors import ControlError

if TYPE_CHECKING:
    from ui.console.api_client import ApiClient

TOKEN = "CELLWATT_TOKEN"  # noqa: S105 the name of a variable
_MOST = 50
_LEAST_REASON = 3  # letters, as the API has it
_STATUSES = (
    "proposed", "validated", "rejected", "approved", "declined", "dispatched", "completed", "aborted",
)  # fmt: skip
_LEAD = (
    "Who you are is the token of your own login in CELLWATT_TOKEN, or --user NAME, which asks for your password and logs out again."
    " Where the API is says CELLWATT_API_URL, else the installation of --state-dir. Approving takes the role approver."
)
_EXITS = "Exit status: 0 done; 1 refused, or nobody confirmed; 2 no login, no API, or a wrong argument."
_ACTS = {
    "list": ("list plans, by default those that wait for a yes", "The newest first."),
    "show": ("show a plan's card", "Power, window, sites, reserve left, cost, rules, approvers."),
    "approve": (
        "say yes to a plan, after its card and a question",
        "The yes binds to exactly the envelope that the card shows. Where the policy asks for two people, both do this.",
    ),
    "decline": ("say no to a plan, and why; the agent is told", "The reason is kept in the trail."),
}


def add_plans_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", default_state: Path
) -> None:
    """Add the command."""
    plans = commands.add_parser(
        "plans",
        help="plans that wait: list, show, approve, decline",
        description=f"Look at plans and decide about them. {_LEAD}",
        epilog=_EXITS,
    )
    acts = plans.add_subparsers(title="what to do", required=True, metavar="WHAT")
    for name, (words, more) in _ACTS.items():
        one = acts.add_parser(
            name, help=words, description=f"{words[0].upper()}{words[1:]}. {more} {_LEAD}", epilog=_EXITS
        )
        _add_arguments(one, name)
        one.add_argument("--user", metavar="NAME", help="log in as this person, by password, for this once")
        one.add_argument("--zone", default="UTC", help="time zone of what is shown (default: %(default)s)")
        one.add_argument(
            "--state-dir", type=Path, default=default_state, help="the installation (default: %(default)s)"
        )
        one.set_defaults(run=_run, act=_BODIES[name])


def _add_arguments(parser: argparse.ArgumentParser, name: str) -> None:
    if name == "list":
        parser.add_argument(
            "--status",
            action="append",
            choices=_STATUSES,
            help="may be given several times (default: validated)",
        )
        return
    parser.add_argument("plan", metavar="PLAN", help="its id")
    if name == "approve":
        parser.add_argument("--yes", action="store_true", help="do not ask: the card is printed all the same")
    if name == "decline":
        parser.add_argument("--reason", help="why, three letters or more; asked for where it is not given")
    if name in {"approve", "decline"}:
        parser.add_argument(
            "--key",
            metavar="KEY",
            help="idempotency key: the same act with the same key is done once (by default a new one)",
        )


def _run(args: argparse.Namespace) -> int:
    from ui.console.api_client import ApiAwayError, ApiError, LoggedOutError
    from ui.ops.plans_cli import in_words

    act: Callable[[argparse.Namespace, ApiClient], int] = args.act
    try:
        with _client(args, os.environ) as api:
            return act(args, api)
    except (LoggedOutError, ApiAwayError) as error:
        raise ControlError(in_words(error)) from error
    except ApiError as error:
        print(f"cellwatt: {in_words(error)}", file=sys.stderr)
        return 1


@contextmanager
def _client(args: argparse.Namespace, env: Mapping[str, str]) -> "Iterator[ApiClient]":
    """Open the way to the API as whoever asks.

    Raises:
        ControlError: It is not said who that is, or where the API is.
    """
    from ui.console.api_client import ApiClient, log_in, open_http
    from ui.ops.plans_cli import WHO_ASKS

    token = env.get(TOKEN, "")
    if not token and args.user is None:
        raise ControlError(WHO_ASKS)
    with open_http(_api_url(args.state_dir, env)) as http:
        if args.user is None:
            yield ApiClient(http=http, token=token)
            return
        token, _ = log_in(http, args.user, _password())
        api = ApiClient(http=http, token=token)
        try:
            yield api
        finally:
            api.act("DELETE", "/v1/session")


def _password() -> str:
    """Read a password: without an echo from a terminal, else the first line of standard input."""
    from getpass import getpass

    return getpass() if sys.stdin.isatty() else sys.stdin.readline().rstrip("\n")


def _api_url(state_dir: Path, env: Mapping[str, str]) -> str:
    from ui.ops.files import UnsafeFileError
    from ui.ops.runtime import Runtime
    from ui.ops.secrets import StateDirectory
    from ui.settings import API_URL

    if env.get(API_URL):
        return env[API_URL]
    if not state_dir.is_dir():
        raise ControlError(
            f"{API_URL} is not set and there is no installation in {state_dir}; give one of them"
        )
    try:
        return Runtime.load(StateDirectory(state_dir)).api_url
    except UnsafeFileError as error:
        raise ControlError(str(error)) from error


def _list(args: argparse.Namespace, api: "ApiClient") -> int:
    from ui.console.formats import zone_of
    from ui.ops.plans_cli import lines_of

    found = api.items("/v1/plans", most=_MOST, status=args.status or ["validated"])
    for line in lines_of(found, zone_of(args.zone)):
        print(line)
    if not found:
        print("no plan is in that state" if args.status else "no plan waits for approval")
    return 0


def _show(args: argparse.Namespace, api: "ApiClient") -> int:
    from ui.console.formats import zone_of
    from ui.ops.plans_cli import card_of

    print(card_of(api.get(f"/v1/plans/{_in_path(args.plan)}"), zone_of(args.zone)))
    return 0


def _approve(args: argparse.Namespace, api: "ApiClient") -> int:
    from ui.console.formats import zone_of
    from ui.ops.plans_cli import card_of

    path = f"/v1/plans/{_in_path(args.plan)}"
    plan = api.get(path)
    print(card_of(plan, zone_of(args.zone)), flush=True)
    # A repeat with its key is the API's to answer: what was given once is there, and is told as it was.
    if not plan["may_approve"] and args.key is None:
        print(f"cellwatt: you cannot approve it: {plan['why_not']}", file=sys.stderr)
        return 1
    if not args.yes and not _confirmed("Approve exactly this?"):
        print("cellwatt: not approved; nobody said yes (--yes answers without being asked)", file=sys.stderr)
        return 1
    done = _decide(api, f"{path}/approve", {"envelope_digest": plan["envelope_digest"]}, args.key)
    missing = done["approvals_missing"]
    print(
        f"approved; {missing} more needed, of somebody else"
        if missing
        else "approved; the control process checks the plan again before it sends"
    )
    return 0


def _decline(args: argparse.Namespace, api: "ApiClient") -> int:
    reason = (args.reason if args.reason is not None else _asked("Why? ")).strip()
    if len(reason) < _LEAST_REASON:
        raise ControlError("a no needs a reason of at least three letters; --reason gives it")
    _decide(api, f"/v1/plans/{_in_path(args.plan)}/decline", {"reason": reason}, args.key)
    print("declined; the agent is told why")
    return 0


def _decide(api: "ApiClient", path: str, body: Mapping[str, str], key: str | None) -> Mapping[str, int]:
    """Send a decision; where no answer comes, say how to repeat it so that it is done once.

    Raises:
        ApiError: It was refused, or it is not known whether it was taken.
    """
    from ui.console.api_client import ApiAwayError

    once = key or uuid4().hex
    try:
        done: Mapping[str, int] = api.act("POST", path, body, key=once)
    except ApiAwayError as error:
        raise ApiAwayError(
            f"{error}; whether it was taken is not known, --key {once} repeats it safely"
        ) from error
    return done


def _in_path(plan_id: str) -> str:
    from urllib.parse import quote

    return quote(plan_id, safe="")


def _confirmed(question: str) -> bool:
    return _asked(f"{question} [yes/no] ").strip().lower() in {"y", "yes"}


def _asked(question: str) -> str:
    """Ask on the terminal; empty where nobody is there to answer."""
    try:
        return input(question)
    except EOFError:
        return ""


_BODIES = {"list": _list, "show": _show, "approve": _approve, "decline": _decline}
