"""Tool: which batteries are to be replaced, by month."""

from collections import Counter
from collections.abc import Mapping
from datetime import timedelta

from pydantic import Field

from tools.arguments import Arguments
from tools.health.replacement import replacement_list
from tools.health.site_health import NOTE
from tools.health_battery import HealthDeps

_MOST = 40


class ReplacementArguments(Arguments):
    """How far ahead to look."""

    months: int = Field(default=24, ge=1, le=120)


async def health_replacements(arguments: ReplacementArguments, deps: HealthDeps) -> Mapping[str, object]:
    """List batteries that may reach their end of life within some months, soonest first; order by the month shown."""
    now = deps.now()
    due, unknown = replacement_list(
        (await deps.health(now)).values(), now, timedelta(days=30.44 * arguments.months)
    )
    return {
        "within_months": arguments.months,
        "by_month": dict(sorted(Counter(line.month for line in due).items())),
        "batteries": [
            {
                "site_id": line.site_id,
                "month": line.month,
                "likely": f"{line.middle:%Y-%m}",
                "latest": f"{line.late:%Y-%m}",
                "why": line.why,
            }
            for line in due[:_MOST]
        ],
        "left_out": max(len(due) - _MOST, 0),
        "not_known": len(unknown),
        "note": NOTE,
    }
