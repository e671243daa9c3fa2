"""Sites grouped by the shape of their load: the groups, their typical sites, and who changed lately and why."""

from datetime import datetime

from fastapi import APIRouter

from telemetry.cluster_store import ClusterStore
from ui.api.access import ServicesHere, may
from ui.api.roles import Role
from ui.api.schemas import Schema

router = APIRouter(prefix="/v1", tags=["insight"])


class ProfileCluster(Schema):
    """One group: `profile` is its typical site's load by hour in units of its own mean, 24 of a working day, 24 of a weekend."""

    label: int
    medoid_site_id: str
    profile: list[float]
    site_ids: list[str]


class ProfileMove(Schema):
    """A site that changed its group with the newest clustering, and why."""

    site_id: str
    before: int
    after: int
    reason: str


class ProfileClusters(Schema):
    """The newest clustering; `made_at` is null and `clusters` empty before there is enough history.

    `silhouette` (-1..1) says how well apart groups are, `stability` (up to 1) how well they are found again in other days.
    """

    made_at: datetime | None
    silhouette: float | None
    stability: float | None
    clusters: list[ProfileCluster]
    moves: list[ProfileMove]


@router.get("/profile-clusters", **may(Role.VIEWER))
async def profile_clusters(services: ServicesHere) -> ProfileClusters:
    """Show which sites are alike in the shape of their load over day and week; how much they use does not count."""
    newest = await ClusterStore(services.pool).newest()
    if newest is None:
        return ProfileClusters(made_at=None, silhouette=None, stability=None, clusters=[], moves=[])
    found = newest.clusters
    return ProfileClusters(
        made_at=newest.made_at,
        silhouette=found.silhouette,
        stability=found.stability,
        clusters=[
            ProfileCluster(
                label=label,
                medoid_site_id=found.medoids[label],
                profile=list(found.profiles[label]),
                site_ids=sorted(name for name, mine in found.labels.items() if mine == label),
            )
            for label in sorted(found.medoids)
        ],
        moves=[
            ProfileMove(site_id=one.site_id, before=one.before, after=one.after, reason=one.reason)
            for one in newest.moves
        ],
    )
