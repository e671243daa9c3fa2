"""Many alerts of one kind on one feeder are one alert: a storm cuts a feeder, and not fifty sites. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from telemetry.model.incident import Severity
from tools.alerts.alert import Alert, AlertKind

FOLD_FROM, KEEP_FROM = 5, 3
"""From so many sites alerts are folded, and stay folded while there are so many [I]."""
_NAMED = 8
_WORDS = {
    AlertKind.TIME_TO_EMPTY: "sites run on their batteries",
    AlertKind.RESERVE_BREACH: "sites fall below their backup reserve",
    AlertKind.BATTERY_TEMPERATURE: "batteries leave their temperature window",
    AlertKind.BATTERY_END_OF_LIFE: "batteries reach their end of life",
    AlertKind.OUTAGE_RISK: "sites are likely to lose their mains tomorrow",
}


def fold(
    alerts: Iterable[Alert], folded: frozenset[tuple[AlertKind, str]] = frozenset()
) -> tuple[Alert, ...]:
    """Return the alerts with those of one kind and feeder as one, where there are many.

    Args:
        alerts: As found, each site's own.
        folded: Kind and feeder of what was folded at the last look: it stays so a little longer, so that a number that
            moves around the limit makes no new matters.
    """
    groups: dict[tuple[AlertKind, str], list[Alert]] = defaultdict(list)
    for one in alerts:
        groups[one.kind, one.subject_id if one.of_feeder else one.feeder_id].append(one)
    result: list[Alert] = []
    for key, members in groups.items():
        if members[0].of_feeder or len(members) < (KEEP_FROM if key in folded else FOLD_FROM):
            result += members
        else:
            result.append(_one(members))
    return tuple(sorted(result, key=lambda a: (a.due_at, a.kind, a.subject_id)))


def _one(members: Sequence[Alert]) -> Alert:
    """Return one alert for all: due when the first is, as grave as the gravest."""
    ordered = sorted(members, key=lambda a: (a.due_at, a.subject_id))
    first = ordered[0]
    hours = [a.backup_h for a in ordered if a.backup_h is not None]
    names = ", ".join(a.subject_id for a in ordered[:_NAMED])
    rest = f" and {len(ordered) - _NAMED} more" if len(ordered) > _NAMED else ""
    return Alert(
        kind=first.kind,
        subject_id=first.feeder_id,
        feeder_id=first.feeder_id,
        of_feeder=True,
        due_at=first.due_at,
        earliest_at=min(a.earliest_at for a in ordered),
        latest_at=None,
        field=first.field,
        expected=first.expected,
        limit=first.limit,
        severity=max((a.severity for a in ordered), key=list(Severity).index),
        says=f"{len(ordered)} {_WORDS[first.kind]}; first {first.subject_id}: {first.says}",
        chance_frac=first.chance_frac,
        backup_h=min(hours) if hours else None,
        more={"sites": f"{names}{rest}", "site_count": float(len(ordered))},
    )
