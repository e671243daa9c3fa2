"""From a plan to commands: pure. One command per site, its bytes final once its sequence is known."""

import hashlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from edge.control.signer import Signer
from edge.plan import (
    Command,
    CommandBody,
    CommandId,
    CommandKind,
    EmptyBody,
    ModeBody,
    Plan,
    PlanId,
    ScheduleBody,
    SitePlan,
)
from telemetry.model.series import STEP
from telemetry.model.site import SiteId, SiteMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A command without its sequence; see `edge.plan.Command`."""

    command_id: CommandId
    plan_id: PlanId | None
    site_id: SiteId | None
    kind: CommandKind
    body: CommandBody
    accept_by: datetime
    not_before: datetime
    valid_until: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Minted:
    """A command with the bytes that are published, always the same, and the digest that acknowledgements bind to."""

    command: Command
    envelope: bytes
    digest: str


def numbered(drafts: Iterable[Draft], sequences: Mapping[str, int], signer: Signer) -> tuple[Minted, ...]:
    """Return the signed commands of drafts; `sequences` holds each subject's own (`str(None)` for the fleet)."""
    minted: list[Minted] = []
    for draft in drafts:
        command = Command(
            command_id=draft.command_id,
            plan_id=draft.plan_id,
            site_id=draft.site_id,
            sequence=sequences[str(draft.site_id)],
            accept_by=draft.accept_by,
            not_before=draft.not_before,
            valid_until=draft.valid_until,
            kind=draft.kind,
            body=draft.body,
        )
        envelope, digest = signer.sign(command)
        minted.append(Minted(command=command, envelope=envelope, digest=digest))
    return tuple(minted)


def plan_drafts(
    plan: Plan, sites: Collection[SiteId], accept_by: datetime, new_id: Callable[[], str]
) -> tuple[Draft, ...]:
    """Return one draft for each of the sites that the plan names, in the plan's order."""
    return tuple(
        Draft(
            command_id=CommandId(new_id()),
            plan_id=plan.plan_id,
            site_id=site_plan.site_id,
            kind=kind,
            body=body,
            accept_by=accept_by,
            not_before=plan.window_start,
            valid_until=plan.window_end,
        )
        for site_plan in plan.sites
        if site_plan.site_id in sites
        for kind, body in [_order(plan, site_plan)]
    )


def release_drafts(
    plan_id: PlanId | None,
    sites: Iterable[SiteId],
    *,
    now: datetime,
    accept_by: datetime,
    new_id: Callable[[], str],
) -> tuple[Draft, ...]:
    """Return a release for each site: return to float, at once and until `accept_by`."""
    return tuple(
        Draft(
            command_id=CommandId(new_id()),
            plan_id=plan_id,
            site_id=site_id,
            kind=CommandKind.RELEASE,
            body=EmptyBody(),
            accept_by=accept_by,
            not_before=now,
            valid_until=accept_by,
        )
        for site_id in sites
    )


def mode_draft(
    site_id: SiteId, mode: SiteMode, now: datetime, accept_by: datetime, new_id: Callable[[], str]
) -> Draft:
    """Return the command that asks a site to take a mode."""
    return Draft(
        command_id=CommandId(new_id()),
        plan_id=None,
        site_id=site_id,
        kind=CommandKind.MODE,
        body=ModeBody(mode=mode),
        accept_by=accept_by,
        not_before=now,
        valid_until=accept_by,
    )


def fleet_draft(kind: CommandKind, now: datetime, until: datetime, new_id: Callable[[], str]) -> Draft:
    """Return a stop or a clear for the whole fleet."""
    return Draft(
        command_id=CommandId(new_id()),
        plan_id=None,
        site_id=None,
        kind=kind,
        body=EmptyBody(),
        accept_by=until,
        not_before=now,
        valid_until=until,
    )


def digest_of_all(minted: Sequence[Minted]) -> str:
    """Return one SHA-256 over all commands' digests, hex: what the audit trail keeps of a dispatch."""
    lines = sorted(f"{one.command.command_id} {one.digest}\n" for one in minted)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _order(plan: Plan, site_plan: SitePlan) -> tuple[CommandKind, CommandBody]:
    if site_plan.grid_reserve is not None:
        return CommandKind.GRID_RESERVE, site_plan.grid_reserve
    if site_plan.bounds is not None:
        return CommandKind.BOUNDS, site_plan.bounds
    body = ScheduleBody(
        start=plan.window_start, step_s=round(STEP.total_seconds()), setpoint_w=site_plan.schedule_w
    )
    return CommandKind.SCHEDULE, body
