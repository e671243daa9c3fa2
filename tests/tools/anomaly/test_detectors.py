from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np
import pytest

from tools.anomaly.detectors import Learnt, learn
from tools.anomaly.findings import Thresholds, find, stretches
from tools.anomaly.forest import learn_forest
from tools.anomaly.frame import FleetFrame
from tools.anomaly.incidents import group
from tools.anomaly.kinds import Kind, KindScore
from tools.anomaly.relations import proportional_share
from tools.anomaly.sensors import gap_length, run_length
from ui.bench.anomaly import average_precision, kind_score
from ui.bench.fault_scene import DAY, Scene, make_scene

LEARN = 14 * DAY


@cache
def scored() -> tuple[Scene, FleetFrame, FleetFrame, Learnt, tuple[KindScore, ...]]:
    """A small simulated scene, learnt and scanned once for all tests."""
    scene = make_scene(7, sites=36, learn_days=14, test_days=7)
    past, now = scene.frame.columns(0, LEARN), scene.frame.columns(LEARN, scene.frame.steps)
    learnt = learn(past)
    return scene, past, now, learnt, learnt.scan(now)


def test_the_detectors_find_injected_faults_where_a_forest_does_not() -> None:
    scene, past, now, _, scores = scored()
    labels = scene.labels()[:, LEARN:]
    ours = average_precision(labels, np.max([s.score for s in scores], axis=0))
    forest = average_precision(labels, learn_forest(past, seed=0, trees=50).scan(now))
    assert ours >= 0.89
    assert ours > forest


@pytest.mark.parametrize("kind", list(Kind))
def test_each_kind_is_found_by_its_own_score(kind: Kind) -> None:
    scene, _, _, _, scores = scored()
    labels = scene.labels(kind)[:, LEARN:]
    assert labels.any()
    assert average_precision(labels, kind_score(scores, kind)) >= 0.6


def test_normal_times_give_no_more_than_one_incident_per_site_month() -> None:
    scene, _, now, _, scores = scored()
    healthy = np.flatnonzero(~scene.labels().any(axis=1))
    names = {now.site_ids[k] for k in healthy}
    found = {(f.site_id, f.since.date()) for f in find(now, scores, Thresholds()) if f.site_id in names}
    assert healthy.size >= 5
    assert len(found) <= healthy.size * 7 / 30 + 1


def test_a_finding_names_since_when_and_by_how_much() -> None:
    scene, _, now, _, scores = scored()
    fault = max((f for f in scene.faults if f.kind is Kind.ENERGY_THEFT), key=lambda f: f.last - f.first)
    site = now.site_ids[fault.site]
    found = [f for f in find(now, scores, Thresholds()) if f.site_id == site and f.kind is Kind.ENERGY_THEFT]
    assert found
    # A mild theft is told as a loss at first (D-anomaly-2): the incident of both names the hour at which it began.
    [members] = [one for one in group(find(now, scores, Thresholds())) if found[0] in one]
    assert abs(min(one.since for one in members) - scene.frame.at(fault.first)) <= timedelta(hours=2)
    assert 100.0 < found[0].residual < 700.0  # 150 to 600 W were taken
    assert found[0].observed - found[0].expected == pytest.approx(found[0].residual, rel=0.5)
    assert "meter" in found[0].check_first


def test_a_stuck_sensor_is_not_called_a_strange_load() -> None:
    _, _, now, learnt, _ = scored()
    frozen = {name: v.copy() for name, v in now.fields.items()}
    frozen["load_w"][0, 200:300] = frozen["load_w"][0, 200]
    scores = learnt.scan(replace(now, fields=frozen))
    stuck = kind_score(scores, Kind.SENSOR_STUCK)
    assert stuck[0, 299] > 50.0
    assert kind_score(scores, Kind.LOAD)[0, 220:300].max() == 0.0


def test_runs_and_gaps_are_counted_by_hand() -> None:
    assert run_length(np.array([[5.0, 5.0, 5.0, 6.0, np.nan, np.nan]])).tolist() == [[0, 1, 2, 0, 0, 0]]
    frame = FleetFrame(
        site_ids=("a",),
        start=datetime(2024, 1, 1, tzinfo=UTC),
        step=timedelta(minutes=15),
        zone="UTC",
        fields={"x": np.array([[np.nan, np.nan, 1.0, np.nan]]), "y": np.array([[np.nan, 1.0, 1.0, np.nan]])},
        peers=np.zeros(1, dtype=np.int64),
    )
    assert gap_length(frame).tolist() == [[1, 0, 0, 1]]


def test_a_constant_excess_is_theft_and_a_share_of_the_output_is_loss() -> None:
    rng = np.random.default_rng(3)
    output = 2000.0 + 600.0 * np.sin(np.arange(96) / 15.0)[None]
    noise = rng.normal(0.0, 5.0, (1, 96))
    raised = np.ones((1, 96), dtype=bool)
    assert proportional_share(200.0 + noise, output, raised)[0, -1] < 0.05
    assert proportional_share(0.08 * output + noise, output, raised)[0, -1] > 0.95


def test_stretches_begin_after_a_hold_and_end_after_a_calm() -> None:
    limits = Thresholds(begin=2.0, end=1.0, hold=2, calm=2, strong=5.0)
    score = np.array([0.0, 3.0, 0.0, 3.0, 3.0, 0.5, 3.0, 0.5, 0.5, 0.0, 11.0])
    # One step above is none; steps 3-6 are one stretch over a dip; step 10 is strong enough alone.
    assert stretches(score, limits) == [(3, 7), (10, 11)]


@pytest.mark.parametrize(
    "change",
    [
        {"peers": np.zeros(2, dtype=np.int64)},
        {"fields": {}},
        {"start": datetime(2024, 1, 1)},  # noqa: DTZ001 - naive on purpose
    ],
)
def test_a_malformed_frame_is_refused(change: dict[str, object]) -> None:
    _, _, now, _, _ = scored()
    with pytest.raises(ValueError):
        replace(now, **change)  # type: ignore[arg-type]
