"""Filled gaps are marked, and nothing that judges a plan can see them."""

import ast
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import psycopg
import pytest

from telemetry.db import open_async_pool
from telemetry.filled import Mark, fill_gaps
from telemetry.ingest_store import Batch, store_batch
from telemetry.reading_store import ReadingStore
from telemetry.rollup_store import roll_up_due
from tests.contracts.contracts import SITE
from tests.services import Database
from tests.telemetry.examples import NOW, READING
from ui.ops.secrets import DatabaseRole

ROOT = Path(__file__).parents[2]
NAN = np.nan
M, L, W, N = Mark.MEASURED, Mark.LINE, Mark.WEEK, Mark.NOTHING


def test_short_gaps_become_a_line_long_ones_the_same_time_of_other_weeks() -> None:
    # Weeks of 6 steps. Step 1 is a gap of one between 1 and 3; steps 7 to 9 are a gap of three.
    values = np.array([[1.0, NAN, 3.0, 4.0, NAN, 6.0, 7.0, NAN, NAN, NAN, NAN, 12.0]])
    filled = fill_gaps(values, week_steps=6, short_steps=2)
    # Step 4: one step between 4 and 6. Steps 7..10: only 8 and 9 were measured a week before (3 and 4).
    np.testing.assert_array_equal(
        filled.values, [[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, NAN, 3.0, 4.0, NAN, 12.0]]
    )
    assert filled.marks.tolist() == [[M, L, M, M, L, M, M, N, W, W, N, M]]
    assert filled.filled_frac.tolist() == [0.5]
    assert np.isnan(values[0, 1])  # what was given is as it was


def test_a_site_that_never_measured_stays_empty() -> None:
    filled = fill_gaps(np.full((2, 8), NAN), week_steps=4)
    assert np.isnan(filled.values).all()
    assert (filled.marks == N).all()


def _imports(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    found = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    return found | {
        name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names
    }


def test_nothing_that_a_verdict_depends_on_imports_filled_values() -> None:
    """The safety core, what puts its state together, and every reader of it from the database."""
    todo = [*(ROOT / "edge" / "safety").glob("*.py"), ROOT / "tools/planning/fleet_state.py"]
    todo += [
        ROOT / "ui/bootstrap.py",
        *(ROOT / "edge" / "control").glob("*.py"),
        ROOT / "telemetry/reading_store.py",
    ]
    seen: set[Path] = set()
    while todo:
        path = todo.pop()
        if path in seen:
            continue
        seen.add(path)
        names = _imports(path)
        # Forecasts have a file of their own and say that they are forecasts.
        names = {name for name in names if not name.startswith("tools.forecasting")}
        assert "telemetry.filled" not in names, path
        todo += [
            target
            for name in names
            if name.partition(".")[0] in {"telemetry", "edge", "tools"}
            and (target := ROOT / f"{name.replace('.', '/')}.py").exists()
        ]
    assert len(seen) > 40
    users = [path for path in ROOT.glob("*/*.py") if "telemetry.filled" in _imports(path)]
    assert [path.name for path in users] == ["profile_clusters.py"]


@pytest.mark.database
async def test_what_the_validator_reads_of_a_gap_is_the_last_measured_value(database: Database) -> None:
    """Two hours measured, two missing: the newest reading stays the one before the gap, the gap has no roll-up."""
    readings = [replace(READING, sequence=k + 1, at=NOW + timedelta(minutes=k)) for k in range(120)]
    with psycopg.connect(database.dsn(DatabaseRole.INGEST), autocommit=True) as connection:
        store_batch(connection, Batch(readings=readings), NOW + timedelta(hours=2), set())
        while roll_up_due(connection, NOW + timedelta(hours=6)):
            pass
    pool = await open_async_pool(database.dsn(DatabaseRole.API), application_name="test")
    store = ReadingStore(pool)
    grid = (await store.grid(["load_w"], [SITE], NOW, NOW + timedelta(hours=4)))["load_w"]
    filled = fill_gaps(grid.astype(np.float64), week_steps=8)
    assert filled.marks.tolist() == [
        [M] * 8 + [W] * 8
    ]  # the filling did fill: a "week" of two hours repeats itself
    assert (await store.latest())[SITE].at == NOW + timedelta(minutes=119)
    again = (await store.grid(["load_w", "completeness"], [SITE], NOW, NOW + timedelta(hours=4)))["load_w"]
    assert np.isnan(again[0, 8:]).all()
    await pool.close()
