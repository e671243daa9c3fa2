"""What the demo reads from the database to tell its story, as the owner; read-only."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row


@dataclass(frozen=True, slots=True)
class DemoStore:
    """Read-only questions about one run of the scenario."""

    owner: psycopg.Connection

    def events(self, kinds: Sequence[str]) -> list[dict[str, Any]]:
        """Return the first automated cycle's events of these kinds, oldest first; looks at the running plan are others."""
        return self._rows(
            "SELECT event_no, at, kind, body FROM thread_event WHERE kind = ANY(%s) AND thread_id ="
            " (SELECT thread_id FROM thread WHERE kind = 'loop' ORDER BY created_at, thread_id LIMIT 1)"
            " ORDER BY event_no",
            [list(kinds)],
        )

    def dispatched(self) -> dict[str, Any] | None:
        """Return the plan that control has authorised, with its document and both verdicts."""
        rows = self._rows(
            "SELECT p.plan_id, p.status, p.window_start, p.window_end, p.doc, o.outcome, o.doc AS outcome_doc"
            " FROM plan p JOIN dispatch_request r USING (plan_id) JOIN dispatch_outcome o USING (request_id)"
            " ORDER BY r.request_id LIMIT 1",
            [],
        )
        return rows[0] if rows else None

    def verdicts(self, plan_id: str) -> list[dict[str, Any]]:
        """Return what each gate said of a plan, oldest first."""
        return self._rows(
            "SELECT gate, approved, doc FROM plan_verdict WHERE plan_id = %s ORDER BY verdict_id", [plan_id]
        )

    def approvers(self, plan_id: str) -> list[str]:
        """Return who said yes."""
        rows = self._rows("SELECT approver FROM approval WHERE plan_id = %s ORDER BY approval_id", [plan_id])
        return [row["approver"] for row in rows]

    def command_states(self, plan_id: str) -> dict[str, int]:
        """Return how many schedule commands are in which state."""
        rows = self._rows(
            "SELECT state, count(*)::int AS n FROM command WHERE plan_id = %s AND kind = 'schedule' GROUP BY state",
            [plan_id],
        )
        return {row["state"]: row["n"] for row in rows}

    def answers(self, plan_id: str) -> list[dict[str, Any]]:
        """Return the first answer of each site to the plan, with the seconds from signing to that answer."""
        return self._rows(
            "SELECT DISTINCT ON (c.command_id) c.site_id, a.verdict, a.reason, a.read_back_v,"
            " extract(epoch FROM a.received_at - c.created_at)::float8 AS seconds FROM command c"
            " JOIN acknowledgement a USING (command_id) WHERE c.plan_id = %s AND c.kind = 'schedule'"
            " ORDER BY c.command_id, a.acknowledgement_id",
            [plan_id],
        )

    def report(self, plan_id: str) -> dict[str, Any] | None:
        """Return the report of a plan, None before it is written."""
        rows = self._rows("SELECT doc FROM dispatch_report WHERE plan_id = %s", [plan_id])
        return rows[0]["doc"] if rows else None

    def lowest_soc(
        self, site_ids: Sequence[str], start: datetime, end: datetime
    ) -> dict[str, Mapping[str, float]]:
        """Return each site's lowest SoC in a window, with the load and SoH it had then."""
        rows = self._rows(
            "SELECT DISTINCT ON (site_id) site_id, soc_frac::float8, load_w::float8, soh_frac::float8 FROM reading"
            " WHERE site_id = ANY(%s) AND at >= %s AND at < %s AND soc_frac IS NOT NULL AND load_w > 0"
            " ORDER BY site_id, soc_frac",
            [list(site_ids), start, end],
        )
        return {row["site_id"]: row for row in rows}

    def feeder_quarters(self, feeder_id: str, start: datetime, end: datetime) -> list[dict[str, Any]]:
        """Return a feeder's background and its sites' import by quarter of an hour, W."""
        return self._rows(
            "WITH b AS (SELECT date_bin('15 minutes', at, 'epoch') AS slot, avg(background_w) AS w FROM feeder_reading"
            " WHERE feeder_id = %s AND at >= %s AND at < %s GROUP BY 1),"
            " s AS (SELECT bucket AS slot, sum(grid_w)::float8 AS grid_w FROM rollup JOIN site USING (site_id)"
            " WHERE feeder_id = %s AND bucket >= %s AND bucket < %s GROUP BY 1)"
            " SELECT slot, b.w AS background_w, s.grid_w FROM b JOIN s USING (slot) ORDER BY slot",
            [feeder_id, start, end, feeder_id, start, end],
        )

    def late_roll_ups(self, before: datetime) -> int:
        """Return how many quarter hours that ended before an instant still wait to be rolled up."""
        rows = self._rows(
            "SELECT count(*)::int AS n FROM rollup_due WHERE bucket <= %s", [before - timedelta(minutes=15)]
        )
        return int(rows[0]["n"])

    def _rows(self, query: str, arguments: Sequence[object]) -> list[dict[str, Any]]:
        with self.owner.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query.encode(), arguments).fetchall()
