from dataclasses import replace

import numpy as np
import pytest

from telemetry.cluster import cluster, moves, reliable_directions, shapes

# 28 days from a Monday.
WEEKEND = np.arange(28) % 7 >= 5
HOUR = np.arange(24)
OFFICE = np.where((HOUR >= 9) & (HOUR < 17), 2.0, 0.5)  # 8 x 2 + 16 x 0.5 = 24: mean 1
EVENING = np.where((HOUR >= 18) & (HOUR < 22), 3.0, 0.6)  # 4 x 3 + 20 x 0.6 = 24: mean 1
FLAT = np.ones(24)
KINDS = {"office": (OFFICE, FLAT), "evening": (EVENING, EVENING), "flat": (FLAT, FLAT)}


def _fleet(names: list[str], *, seed: int = 1) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    random = np.random.default_rng(seed)
    rows = []
    for place, name in enumerate(names):
        weekday, weekend = KINDS[name]
        days = [weekend if is_weekend else weekday for is_weekend in WEEKEND]
        rows.append(1000.0 * (place + 1) * np.concatenate(days))
    return np.array(rows) * random.normal(1.0, 0.05, (len(names), 24 * 28))


FLEET = ["office", "evening", "flat"] * 5
SITES = [f"s{place:02d}" for place in range(15)]


def test_a_shape_is_the_mean_weekday_and_weekend_in_units_of_the_mean() -> None:
    load = np.array([np.concatenate([2.0 * FLAT, 6.0 * FLAT])])
    assert shapes(load, np.array([False, True])).tolist() == [[0.5] * 24 + [1.5] * 24]


def test_an_hour_that_is_missing_on_some_days_is_the_mean_of_the_others() -> None:
    load = np.concatenate([[4.0] * 24, [2.0] * 24, [3.0] * 24])[None]
    load[0, 5] = np.nan
    shape = shapes(load, np.array([False, False, True]))
    # 05 h: 2 W alone; else 3 W. Mean (23 x 3 + 2 + 24 x 3) / 48 = 143 / 48.
    assert shape[0, 5] == pytest.approx(2.0 * 48 / 143)
    assert shape[0, 6] == pytest.approx(3.0 * 48 / 143)


def test_days_that_are_not_whole_are_refused() -> None:
    with pytest.raises(ValueError, match="whole days"):
        shapes(np.ones((1, 47)), np.array([False, True]))
    with pytest.raises(ValueError, match="whole days"):
        shapes(np.ones((1, 48)), np.array([False, False]))


def test_what_differs_from_day_to_day_does_not_count_however_large_it_is() -> None:
    """Two kinds of site differ by 0.2 at noon always; all of them differ by far more in the evening, each day otherwise."""
    random = np.random.default_rng(4)
    days = np.ones((40, 28, 24))
    days[20:, :, 12] += 0.2
    days[:, :, 20] += random.normal(0.0, 0.5, (40, 28))
    days += random.normal(0.0, 0.02, days.shape)
    load = days.reshape(40, -1)
    directions = reliable_directions(load, WEEKEND)
    noon, evening = np.abs(directions[12, -1]), np.abs(directions[20, -1])
    assert noon > 10.0 * evening
    found = cluster([f"s{k:02d}" for k in range(40)], load, WEEKEND, seed=1, most=4)
    assert found.k == 2
    assert len({found.labels[f"s{k:02d}"] for k in range(20)}) == 1
    assert found.labels["s00"] != found.labels["s39"]
    assert found.stability > 0.95


def test_three_kinds_of_load_are_found_whatever_their_size() -> None:
    found = cluster(SITES, _fleet(FLEET), WEEKEND, seed=1, most=4)
    assert found.k == 3
    assert found.stability > 0.99
    groups = {
        kind: {found.labels[s] for s, k in zip(SITES, FLEET, strict=True) if k == kind} for kind in KINDS
    }
    assert {kind: len(labels) for kind, labels in groups.items()} == {"office": 1, "evening": 1, "flat": 1}
    (evening,) = groups["evening"]
    assert np.argmax(found.profiles[evening]) % 24 in range(18, 22)
    assert FLEET[SITES.index(found.medoids[evening])] == "evening"


def test_labels_keep_their_meaning_and_a_site_that_changes_gets_a_reason() -> None:
    before = cluster(SITES, _fleet(FLEET), WEEKEND, seed=1, most=4)
    changed = ["evening", *FLEET[1:]]
    after = cluster(SITES, _fleet(changed, seed=9), WEEKEND, seed=7, most=4, before=before)
    (move,) = moves(before, after)
    assert (move.site_id, move.before, move.after) == ("s00", before.labels["s00"], before.labels["s01"])
    # An office has 0.5 at 18..21 h, an evening site 3.0: 2.5 of the mean more.
    assert "more of its load on weekdays" in move.reason
    assert moves(after, after) == ()


def test_a_group_that_did_not_exist_before_gets_a_new_label() -> None:
    two = [name for name in FLEET if name != "flat"]
    before = cluster(SITES[:10], _fleet(two), WEEKEND, seed=1, most=4)
    assert before.k == 2
    after = cluster(SITES, _fleet(FLEET), WEEKEND, seed=1, most=4, before=before)
    assert set(after.medoids) == {0, 1, 2}


def test_a_site_without_a_shape_is_in_no_group() -> None:
    load = _fleet(FLEET)
    load[3, 10::24] = np.nan
    found = cluster(SITES, load, WEEKEND, seed=1, most=4)
    assert set(SITES) - set(found.labels) == {"s03"}
    assert replace(found).k == 3
