"""Detectors on a simulated fleet with injected faults, beside an isolation forest; and the speed of a fleet tick.

Everything here is simulated (`fault_scene.py`). Detectors and forest learn on the same first weeks and are scored
on the same later ones; average precision counts every 15-minute step of every site.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from tools.anomaly.detectors import Kind, KindScore, learn
from tools.anomaly.findings import Thresholds, find
from tools.anomaly.forest import learn_forest
from tools.anomaly.frame import FleetFrame
from tools.anomaly.incidents import group
from tools.anomaly.scores import TickState, tick
from ui.bench.fault_scene import DAY, Scene, make_scene

LEARN_DAYS, TEST_DAYS = 21, 14
TICK_SITES, TICK_FEATURES = 10_000, 30
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating]


def average_precision(labels: Bools, scores: Floats) -> float:
    """Return the mean precision at each true step when steps are taken from the strangest on; ties as one."""
    from sklearn.metrics import average_precision_score  # noqa: PLC0415 - slow to import

    return float(average_precision_score(labels.ravel(), scores.ravel()))


def tick_ms(seed: int, repeats: int = 15) -> float:
    """Return the median wall time of scoring one reading of 10,000 sites with 30 features, ms."""
    rng = np.random.default_rng(seed)
    state = TickState.rest(TICK_SITES, TICK_FEATURES)
    observed = rng.standard_normal((repeats, TICK_SITES, TICK_FEATURES), dtype=np.float32)
    expected = np.zeros((TICK_SITES, TICK_FEATURES), dtype=np.float32)
    inverse = np.ones_like(expected)
    taken = []
    for one in observed:
        begin = time.perf_counter()
        state = tick(state, one, expected, inverse).state
        taken.append(time.perf_counter() - begin)
    return float(np.median(taken)) * 1e3


def kind_score(scores: tuple[KindScore, ...], kind: Kind) -> Floats:
    """Return the strongest score of a kind at each step, shape (sites, steps)."""
    return np.asarray(np.max([s.score for s in scores if s.kind is kind], axis=0))


def false_incidents_per_site_month(scene: Scene, now: FleetFrame, scores: tuple[KindScore, ...]) -> float:
    """Return incidents that touch no injected fault of their site (or the six hours after it), per 30 site-days."""
    grace = DAY // 4
    labels = scene.labels()
    touched = labels.copy()
    for shift in range(1, grace + 1):
        touched[:, shift:] |= labels[:, :-shift]
    first = scene.frame.steps - now.steps
    false = 0
    for members in group(find(now, scores, Thresholds())):
        row = now.site_ids.index(members[0].site_id)
        begin = first + (min(f.since for f in members) - now.start) // now.step
        ends = [f.until or now.at(now.steps) for f in members]
        end = first + (max(ends) - now.start) // now.step
        false += not touched[row, begin:end].any()
    return false / (len(now.site_ids) * now.steps / DAY / 30.0)


def rates(past: FleetFrame, now: FleetFrame, seed: int, copies: int) -> dict[str, float]:
    """Return readings scored per CPU second by the detectors and by the forest, on a fleet of many copies."""
    many = replace(
        now,
        site_ids=tuple(f"{s}-{k}" for k in range(copies) for s in now.site_ids),
        fields={name: np.tile(v[:, :DAY], (copies, 1)) for name, v in now.fields.items()},
        peers=np.concatenate([now.peers + k * 10_000 for k in range(copies)]),
    )
    whole_past = replace(
        past,
        site_ids=many.site_ids,
        fields={name: np.tile(v, (copies, 1)) for name, v in past.fields.items()},
        peers=many.peers,
    )
    learnt, forest = learn(whole_past), learn_forest(past, seed=seed)
    count = len(many.site_ids) * many.steps
    begin = time.process_time()
    learnt.scan(many)
    middle = time.process_time()
    forest.scan(
        replace(
            many,
            fields={n: v[: len(now.site_ids)] for n, v in many.fields.items()},
            site_ids=now.site_ids,
            peers=now.peers,
        )
    )
    end = time.process_time()
    return {
        "anomaly_all_detectors_readings_per_cpu_s": count / max(middle - begin, 1e-9),
        "anomaly_isolation_forest_readings_per_cpu_s": count / copies / max(end - middle, 1e-9),
    }


def run(seed: int, *, sites: int = 64, scenes: int = 3, copies: int = 16) -> dict[str, Any]:
    """Score detectors and forest on several scenes, seeds `seed` x 100 + 10 onward (0..9 were tuned on)."""
    by_kind: dict[Kind, list[float]] = {kind: [] for kind in Kind}
    ours, forest_ap, false = [], [], []
    past = now = None
    for k in range(scenes):
        scene = make_scene(100 * seed + 10 + k, sites=sites, learn_days=LEARN_DAYS, test_days=TEST_DAYS)
        past, now = (
            scene.frame.columns(a, b)
            for a, b in ((0, LEARN_DAYS * DAY), (LEARN_DAYS * DAY, scene.frame.steps))
        )
        scores = learn(past).scan(now)
        first = LEARN_DAYS * DAY
        ours.append(average_precision(scene.labels()[:, first:], np.max([s.score for s in scores], axis=0)))
        for kind in Kind:
            by_kind[kind].append(average_precision(scene.labels(kind)[:, first:], kind_score(scores, kind)))
        forest_ap.append(
            average_precision(scene.labels()[:, first:], learn_forest(past, seed=seed).scan(now))
        )
        false.append(false_incidents_per_site_month(scene, now, scores))
    assert past is not None
    assert now is not None
    figures = {
        "anomaly_fleet_tick_10000_sites_ms": tick_ms(seed),
        "anomaly_faults_average_precision_frac": float(np.mean(ours)),
        "anomaly_isolation_forest_average_precision_frac": float(np.mean(forest_ap)),
        "anomaly_weakest_kind_average_precision_frac": min(float(np.mean(v)) for v in by_kind.values()),
        "anomaly_false_incidents_per_site_month": float(np.mean(false)),
    }
    figures |= {
        f"anomaly_{kind.value}_average_precision_frac": float(np.mean(v)) for kind, v in by_kind.items()
    }
    figures |= rates(past, now, seed, copies)
    figures["anomaly_detectors_over_forest_rate_ratio"] = (
        figures["anomaly_all_detectors_readings_per_cpu_s"]
        / figures["anomaly_isolation_forest_readings_per_cpu_s"]
    )
    figures["anomaly_detectors_minus_forest_average_precision_frac"] = float(
        np.mean(ours) - np.mean(forest_ap)
    )
    goals = {
        "anomaly_fleet_tick_10000_sites_ms": {"op": "<=", "value": 20.0, "gating": True},
        "anomaly_faults_average_precision_frac": {"op": ">=", "value": 0.90, "gating": True},
        "anomaly_weakest_kind_average_precision_frac": {"op": ">=", "value": 0.75, "gating": False},
        "anomaly_false_incidents_per_site_month": {"op": "<=", "value": 1.0, "gating": True},
        "anomaly_detectors_minus_forest_average_precision_frac": {"op": ">=", "value": 0.0, "gating": True},
        "anomaly_detectors_over_forest_rate_ratio": {"op": ">=", "value": 20.0, "gating": False},
    }
    return {"figures": figures, "goals": goals}
