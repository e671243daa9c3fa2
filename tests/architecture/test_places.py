"""What may stand where: SQL in stores, no download host and no path of somebody's machine anywhere."""

import re
from pathlib import Path

import pytest

from tests.architecture.tree import PACKAGES, ROOT, project_files, sql_texts, text_of

# The pool and the migration runner; and the site's own SQLite file, which is no part of the database.
SQL_BESIDES_STORES = {Path("telemetry/db.py"), Path("edge/gateway/buffer.py")}
# Put together here so that this file does not name them.
HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("files", "pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("conda", "anaconda", "org"),
        ("registry-1", "docker", "io"),
        ("ghcr", "io"),
        ("quay", "io"),
        ("proxy", "golang", "org"),
    )
)
REGISTRY_HOST = re.compile("|".join(re.escape(host) for host in HOSTS), re.IGNORECASE)
INDEX_OPTION = re.compile(r"--(extra-)?index-url|--trusted-host")
# Folders below which people and machines keep things; `/home/` alone, as in a message, names nobody's.
MACHINE_PATH = re.compile(r"(?<![\w.$}-])/(?:work|home/\w+|root|Users/\w+)/[\w.]")


def findings(pattern: re.Pattern[str], text: str) -> list[str]:
    return [
        f"line {number}: {found[0]}"
        for number, line in enumerate(text.splitlines(), start=1)
        if (found := pattern.search(line))
    ]


def in_files(pattern: re.Pattern[str]) -> list[str]:
    texts = ((path, text_of(ROOT / path)) for path in project_files())
    return [f"{path} {each}" for path, text in texts for each in findings(pattern, text)]


def test_no_file_names_a_registry() -> None:
    assert in_files(REGISTRY_HOST) == []


def test_no_file_chooses_a_package_index() -> None:
    assert [each for each in in_files(INDEX_OPTION) if not each.startswith("tests/architecture/")] == []


def test_no_file_names_a_path_of_one_machine() -> None:
    assert in_files(MACHINE_PATH) == []


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("see /ho" + "me/anna/cellwatt", True),
        ("cd '/wo" + "rk/main'", True),
        ("open(/ro" + "ot/.cache)", True),
        ("the folder ~/.cache or $HOME/x", False),
        ("https://example.org/work/main", False),
        ("var/lib/work/x", False),
        ("nothing below /ro" + "ot is read", False),
    ],
)
def test_a_path_of_one_machine_is_recognised(line: str, found: bool) -> None:
    assert bool(findings(MACHINE_PATH, line)) is found


def test_a_registry_is_recognised() -> None:
    assert findings(REGISTRY_HOST, f"ok\nfrom https://{HOSTS[1]}/x.whl") == [f"line 2: {HOSTS[1]}"]
    assert findings(REGISTRY_HOST, "https://docs.python.org/3/") == []


def test_sql_is_written_in_stores_only() -> None:
    code = [path for path in project_files() if path.parts[0] in PACKAGES and path.suffix == ".py"]
    assert len(code) > 100
    elsewhere = [
        path for path in code if not path.name.endswith("_store.py") and path not in SQL_BESIDES_STORES
    ]
    found = [f"{path}:{line} {text}" for path in elsewhere for line, text in sql_texts(text_of(ROOT / path))]
    assert found == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('rows = ask("SELECT 1 FROM site")', [1]),
        ('x = 1\nask(f"DELETE FROM {table}")', [2]),
        ('ask("""\n  INSERT INTO site (a)\n  VALUES (1)""")', [1]),
        ('ask(b"UPDATE site SET a = 1")', [1]),
        ('ask("WITH new AS (SELECT 1) SELECT * FROM new")', [1]),
        ('def f():\n    """SELECT what is best."""', []),
        ('say("SELECTED sites")', []),
        ('say("UPDATE the README")', []),
        ('say("with a plan AS (it was)")', []),
        ("# SELECT 1 FROM site", []),
    ],
)
def test_sql_is_recognised(source: str, lines: list[int]) -> None:
    assert [line for line, _ in sql_texts(source)] == lines
