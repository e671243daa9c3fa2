"""`cellwatt import` and `cellwatt export` as a person runs them, on a real database."""

import csv
import gzip
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from telemetry.ingest_store import Batch, store_batch
from telemetry.model.site import SiteId
from telemetry.quality import judge
from telemetry.rollup_store import roll_up_due
from tests.services import PASSWORDS, Database
from tests.telemetry.examples import READING
from ui.cli import main
from ui.ops.runtime import Runtime
from ui.ops.secrets import DatabaseRole, StateDirectory

pytestmark = pytest.mark.database
EXAMPLE = Path(__file__).parents[3] / "deploy" / "registry" / "example"
NOW = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)


@pytest.fixture
def state(database: Database, tmp_path: Path) -> Path:
    """An installation on the test's database."""
    directory = StateDirectory(tmp_path / "state")
    (tmp_path / "state" / "secrets").mkdir(mode=0o700, exist_ok=True)
    for role in DatabaseRole:
        path = tmp_path / "state" / "secrets" / f"database-{role.value}"
        path.write_text(PASSWORDS[role])
        path.chmod(0o600)
    Runtime(
        owner_dsn=database.owner_dsn, mqtt_host="127.0.0.1", mqtt_port=1, api_port=8000, console_port=8501,
        simulated_sites=1, seed=7, history_days=1, epoch=NOW,
    ).save(directory)  # fmt: skip
    return directory.path


def run(state: Path, *words: str | Path) -> int:
    return main([*map(str, words), "--state-dir", str(state)])


def sql(database: Database, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.owner_dsn, options="-c timezone=UTC") as owner:
        return owner.execute(query.encode()).fetchall()


@pytest.fixture
def registered(state: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert run(state, "import", "registry", EXAMPLE) == 0
    capsys.readouterr()
    return state


def copy_of(tmp_path: Path, name: str, old: str, new: str) -> Path:
    folder = tmp_path / "changed"
    folder.mkdir()
    for path in EXAMPLE.iterdir():
        text = path.read_text()
        (folder / path.name).write_text(text.replace(old, new) if path.name == name else text)
    return folder


def test_a_registry_is_imported_once_and_only_its_changes_afterwards(
    state: Path, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(state, "import", "registry", EXAMPLE, "--check") == 0
    assert "2 site would be added" in capsys.readouterr().out
    assert sql(database, "SELECT count(*) FROM site") == [(0,)]
    assert run(state, "import", "registry", EXAMPLE) == 0
    assert "2 site added\n1 tariff added\n0 unchanged" in capsys.readouterr().out
    assert run(state, "import", "registry", EXAMPLE) == 0
    assert capsys.readouterr().out == "18 unchanged\n"
    assert run(state, "import", "registry", copy_of(tmp_path, "tariffs.csv", "4.5", "5.5")) == 0
    assert capsys.readouterr().out == "1 tariff changed\n17 unchanged\n"
    assert sql(database, "SELECT version, doc -> 'demand_per_kw_month' FROM tariff") == [(2, 5.5)]
    assert sql(
        database,
        "SELECT before ->> 'demand_per_kw_month', after ->> 'demand_per_kw_month' FROM registry_change"
        " WHERE kind = 'tariff' ORDER BY change_id",
    ) == [(None, "4.5"), ("4.5", "5.5")]
    who = sql(database, "SELECT who, after FROM audit WHERE action = 'registry.tariff_changed'")
    assert [(name.partition(":")[0], after) for name, after in who] == [("cli", {"demand_per_kw_month": 5.5})]


def test_with_one_problem_nothing_is_written_and_what_the_database_objects_to_is_told_too(
    registered: Path, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy_of(tmp_path, "sites.csv", "harbour,shadow,false", "harbour,remote,true")
    text = (folder / "feeders.csv").read_text().replace("9500000", "9500001")
    (folder / "feeders.csv").write_text(text + "north-2,N,s,x,0\n")
    assert run(registered, "import", "registry", folder) == 1
    assert capsys.readouterr().err.splitlines() == [
        "feeders.csv:3:import_limit_w: 'x' is no number",
        "sites.csv:2:simulated: a site cannot turn from simulated to real or back; add another",
        "2 problems, nothing was written",
    ]
    assert sql(database, "SELECT version FROM feeder") == [(1,)]


ROWS = """site_id,at,boot_id,sequence,load_w,rectifier_w,battery_w,soc_frac,bus_v,alarms,mains_ok
ex-0001,{0},b,1,2000,2016,16,0.98,54.4,door;smoke,true
ex-0001,{0},b,2,2000,2016,16,1.5,54.4,,true
ex-0009,{0},b,3,2000,2016,16,0.98,54.4,,true
ex-0001,{0},b,4,heavy,2016,16,0.98,54.4,,true
ex-0001,1999-01-01T00:00:00Z,b,5,2000,2016,16,0.98,54.4,,true
"""


@pytest.mark.parametrize("packed", [False, True])
def test_good_rows_of_a_csv_are_stored_and_bad_ones_named(
    registered: Path, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str], packed: bool
) -> None:
    path = tmp_path / ("readings.csv.gz" if packed else "readings.csv")
    content = ROWS.format(NOW.isoformat()).encode()
    path.write_bytes(gzip.compress(content) if packed else content)
    assert run(registered, "import", "readings", path) == 1
    said = capsys.readouterr()
    assert said.out == "5 rows, 2 stored, 3 refused\n"
    assert [line.partition(": ")[0] for line in said.err.splitlines()[1:]] == [
        f"{path.name}:3:site_id", f"{path.name}:4:load_w", f"{path.name}:5:at",
    ]  # fmt: skip
    assert sql(
        database, "SELECT sequence, soc_frac, alarms, quality -> 'soc_frac' ->> 0 FROM reading ORDER BY 1"
    ) == [
        (1, pytest.approx(0.98), ["door", "smoke"], None),
        (2, None, [], "bad"),
    ]
    assert run(registered, "import", "readings", path) == 1  # again: nothing twice
    assert sql(database, "SELECT count(*) FROM reading") == [(2,)]
    assert sql(database, "SELECT count(*) FROM rollup_due") == [(1,)]


def test_what_is_exported_comes_back_the_same(
    registered: Path, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readings = [
        judge(
            replace(
                READING, site_id=SiteId("ex-0002" if k % 2 else "ex-0001"), sequence=k, at=NOW + timedelta(seconds=k),
                alarms=("door",) if k == 3 else (), string_a=(1.5, -2.0) if k == 4 else None,
                soc_frac=98.0 if k == 5 else 0.5,
            ),
            NOW + timedelta(minutes=5),
        )
        for k in range(200)
    ]  # fmt: skip
    with psycopg.connect(database.dsn(DatabaseRole.INGEST), autocommit=True) as connection:
        store_batch(connection, Batch(readings=readings), NOW, set())
        while roll_up_due(connection, NOW + timedelta(hours=2)):
            pass
    path, table = tmp_path / "out.parquet", "SELECT * FROM reading ORDER BY site_id, at"
    before = sql(database, table)
    assert len([row for row in before if row[-1]]) == 1  # 98.0 is set aside
    assert run(registered, "export", "readings", "--to", path) == 0
    assert "200 rows" in capsys.readouterr().out
    sql_count = sql(database, "SELECT count(*) FROM rollup_hour")
    assert run(registered, "export", "hours", "--to", tmp_path / "hours.parquet") == 0
    assert pq.read_table(tmp_path / "hours.parquet").num_rows == sql_count[0][0] == 2
    with psycopg.connect(database.owner_dsn, autocommit=True) as owner:
        owner.execute("TRUNCATE reading")
    assert run(registered, "import", "readings", path) == 0
    assert sql(database, table) == before
    part = tmp_path / "part.parquet"
    assert run(
        registered, "export", "readings", "--to", part, "--site", "ex-0002",
        "--start", NOW.isoformat(), "--end", (NOW + timedelta(seconds=10)).isoformat(),
    ) == 0  # fmt: skip
    assert pq.read_table(part).column("sequence").to_pylist() == [1, 3, 5, 7, 9]


def test_an_export_of_nothing_has_columns_and_no_rows(registered: Path, tmp_path: Path) -> None:
    path = tmp_path / "none.parquet"
    assert run(registered, "export", "rollups", "--to", path) == 0
    table = pq.read_table(path)
    assert (table.num_rows, table.schema.field("bucket").type) == (0, pa.timestamp("us", tz="UTC"))


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("x.json", b"{}", "give a .csv"),
        ("x.csv", b"site_id,at,lod_w\n", "unknown columns lod_w"),
        ("x.csv", b"", "none at all"),
        ("x.parquet", b"no parquet at all", "x.parquet"),
        ("x.csv.gz", b"\x1f\x8b\x08\x00broken", "x.csv.gz"),
    ],
)
def test_a_file_that_cannot_be_read_ends_with_2(
    registered: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, content: bytes, why: str
) -> None:
    (tmp_path / name).write_bytes(content)
    assert run(registered, "import", "readings", tmp_path / name) == 2
    assert why in capsys.readouterr().err


def test_documents_are_imported_once(
    registered: Path, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "docs"
    folder.mkdir()
    (folder / "relay.md").write_text("# Relay K7\n\nThe disconnect relay K7 clicks twice before it opens.\n")
    with (folder / "notes.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["title", "text"], ["Fan", "The fan of ex-0002 was changed."]])
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    assert run(registered, "import", "documents", folder) == 1
    said = capsys.readouterr()
    assert said.out.startswith("2 added, 0 replaced, 0 unchanged, 0 left out as copies, 1 unreadable")
    assert "broken.pdf" in said.err
    (folder / "broken.pdf").unlink()
    assert run(registered, "import", "documents", folder) == 0
    assert capsys.readouterr().out.startswith("0 added, 0 replaced, 2 unchanged")
    assert sql(database, "SELECT count(*) FROM document") == [(2,)]


def test_without_an_installation_it_is_said_plainly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "none", "import", "registry", EXAMPLE) == 2
    assert "there is no installation" in capsys.readouterr().err
