"""An upload's rows, read and judged one by one."""

import gzip

import pytest

from tests.edge.safety.examples import NOW
from ui.api.upload import BadRow, Sender, UploadError, sort_rows, unpacked

SENDER = Sender(site_id="", sites=frozenset({"site-1", "site-2"}), feeders=frozenset({"feeder-1"}))
ONE = Sender(site_id="site-1", sites=SENDER.sites, feeders=SENDER.feeders)


def test_a_gzip_bomb_is_stopped_at_the_limit() -> None:
    bomb = gzip.compress(b"0" * 5_000_000)
    assert len(bomb) < 10_000
    with pytest.raises(UploadError, match="unpacked"):
        unpacked(bomb, 1_000_000)
    assert len(unpacked(bomb, 5_000_000)) == 5_000_000


def test_no_more_rows_than_allowed() -> None:
    body = b"[" + b",".join([b"{}"] * 4) + b"]"
    with pytest.raises(UploadError, match="3 rows"):
        sort_rows(body, "application/json", SENDER, NOW, 3)
    assert len(sort_rows(body, "application/json", SENDER, NOW, 4).bad) == 4


@pytest.mark.parametrize(
    ("line", "bad"),
    [
        ("site-1,2026-03-09T10:00:00Z,nan", BadRow(1, "load_w", "must be a finite number")),
        ("site-1,2026-03-09T10:00:00Z,inf", BadRow(1, "load_w", "must be a finite number")),
        ("site-1,2026-03-09T10:00:00Z,1e39", BadRow(1, "load_w", "must be a finite number")),
        ("site-1,2026-03-09T10:00:00Z,1,2", BadRow(1, "", "has more cells than the header")),
        (",2026-03-09T10:00:00Z,1", BadRow(1, "site_id", "a row names its site_id, or a feeder_id")),
    ],
)
def test_a_csv_cell_that_is_no_number_is_named(line: str, bad: BadRow) -> None:
    body = f"site_id,at,load_w\n{line}\n".encode()
    assert sort_rows(body, "text/csv", SENDER, NOW, 10).bad == [bad]


def test_a_row_of_its_own_site_need_not_name_it() -> None:
    body = b'{"at": "2026-03-09T10:00:00Z", "load_w": 5}'
    found = sort_rows(body, "application/x-ndjson", ONE, NOW, 10)
    assert [(number, one.site_id, one.load_w) for number, one in found.readings] == [(1, "site-1", 5.0)]
