"""Clusterings as they were made, the newest first."""

from dataclasses import dataclass
from datetime import datetime

import msgspec
from psycopg import AsyncConnection
from psycopg.types.json import Jsonb
from psycopg_pool import AsyncConnectionPool

from telemetry.cluster import Clusters, Move


@dataclass(frozen=True, slots=True, kw_only=True)
class Clustering:
    """A clustering, when it was made, and which sites changed their group with it."""

    made_at: datetime
    clusters: Clusters
    moves: tuple[Move, ...]


class ClusterStore:
    """Keeps clusterings."""

    def __init__(self, pool: AsyncConnectionPool[AsyncConnection]) -> None:
        self._pool = pool

    async def newest(self) -> Clustering | None:
        """Return the newest clustering, None before the first one."""
        async with self._pool.connection() as connection:
            cursor = await connection.execute(
                "SELECT made_at, doc, moves FROM profile_clustering ORDER BY made_at DESC, clustering_id DESC LIMIT 1"
            )
            row = await cursor.fetchone()
        if row is None:
            return None
        clusters = msgspec.convert(row[1], Clusters, strict=False)  # the keys of a JSON object are texts
        moves = msgspec.convert(row[2], tuple[Move, ...])
        return Clustering(made_at=row[0], clusters=clusters, moves=moves)

    async def put(self, made: Clustering) -> None:
        """Keep a clustering."""
        async with self._pool.connection() as connection:
            await connection.execute(
                "INSERT INTO profile_clustering (made_at, doc, moves) VALUES (%s, %s, %s)",
                [made.made_at, Jsonb(_plain(made.clusters)), Jsonb(_plain(made.moves))],
            )


def _plain(thing: object) -> object:
    return msgspec.json.decode(msgspec.json.encode(thing))
