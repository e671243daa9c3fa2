"""Tool: how far a site's data can be believed."""

from collections.abc import Mapping

from tools.deps import Deps
from tools.errors import ToolUnavailableError
from tools.site_state import SiteArguments, find_site


async def data_quality(arguments: SiteArguments, deps: Deps) -> Mapping[str, object]:
    """Show a site's quality score, the lowest score that dispatch takes, and what spoke against the data."""
    fleet = await deps.fleet()
    site = find_site(fleet, arguments.site_id)
    score = fleet.state.quality_score.get(site.site_id)
    if score is None:
        raise ToolUnavailableError(f"no data of {site.site_id} has been judged yet")
    reasons = (await deps.readings.quality_reasons()).get(site.site_id, {})
    return {
        "site_id": site.site_id,
        "score": round(score, 3),
        "needed_for_dispatch": fleet.limits.policy.min_quality_score,
        "doubts": dict(list(reasons.items())[:10]),
    }
