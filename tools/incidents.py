"""Tool: what went wrong and is not yet closed."""

from collections.abc import Mapping

from pydantic import Field

from tools.arguments import Arguments, SiteIdText
from tools.deps import Deps
from tools.site_state import find_site


class IncidentArguments(Arguments):
    """All sites, or one."""

    site_id: SiteIdText | None = None
    limit: int = Field(default=5, ge=1, le=20)


async def incidents(arguments: IncidentArguments, deps: Deps) -> Mapping[str, object]:
    """List open incidents, worst first, each with the evidence to check."""
    if arguments.site_id is not None:
        find_site(await deps.fleet(), arguments.site_id)
    found = [
        one for one in await deps.incidents() if arguments.site_id is None or one.site_id == arguments.site_id
    ]
    return {
        "open": len(found),
        "incidents": [
            {
                "incident_id": one.incident_id,
                "site_id": one.site_id,
                "kind": one.kind,
                "severity": one.severity.value,
                "state": one.state.value,
                "since": one.since.isoformat(),
                "evidence": {
                    key: round(value, 3) if isinstance(value, float) else value
                    for key, value in list(one.evidence.items())[:9]
                },
            }
            for one in found[: arguments.limit]
        ],
    }
