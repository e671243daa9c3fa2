"""What relations and exchanged sensors are read from, by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from tools.anomaly.detectors import learn
from tools.anomaly.frame import FleetFrame
from tools.anomaly.kinds import Kind
from tools.anomaly.relations import capacity_ah, dc_excess_w
from tools.anomaly.swapped import page
from tools.anomaly.ticker import FleetTicker
from ui.bench.fault_scene import DAY, make_scene


def test_capacity_is_the_charge_taken_over_the_fall_of_soc() -> None:
    # 20 A for nine quarter hours; SoC falls 0.02 a quarter hour: 8 x 5 Ah over 0.16 = 250 Ah.
    amps = np.full((1, 12), -20.0)
    soc = 0.9 - 0.02 * np.arange(12.0)[None]
    found = capacity_ah(amps, soc)
    assert np.isnan(found[0, :8]).all()
    assert found[0, 8:] == pytest.approx(250.0)
    assert np.isnan(
        capacity_ah(amps, 0.9 - 0.005 * np.arange(12.0)[None])
    ).all()  # a fall of 0.04 is too little
    assert np.isnan(capacity_ah(-amps, soc)).all()


def test_the_dc_balance_is_load_less_what_is_given() -> None:
    fields = {
        "load_w": np.array([[2000.0]]), "rectifier_w": np.array([[1000.0]]), "pv_w": np.array([[300.0]]),
        "bus_v": np.array([[50.0]]), "battery_a": np.array([[-12.0]]),
    }  # fmt: skip
    assert dc_excess_w(fields)[0, 0] == pytest.approx(100.0)


def test_exchange_needs_an_exchanged_reading_that_is_good_in_itself() -> None:
    keep = np.full((2, 10), 6.0)
    swap = np.array([[1.0] * 10, [5.5] * 10])
    summed = page(keep, swap)
    assert summed[0, 0] == pytest.approx(8.0 - 0.1)  # 17.5 clipped to 8
    assert summed[1].max() == 0.0
    keep[0, 5:] = np.nan
    assert page(keep, swap)[0, 9] == page(keep, swap)[0, 4]


@pytest.fixture(scope="module")
def scene() -> FleetFrame:
    return make_scene(4, sites=24, learn_days=15, test_days=2).frame


def test_each_new_kind_is_found_where_it_was_put(scene: FleetFrame) -> None:
    past, clean = scene.columns(0, 15 * DAY), make_scene(4, sites=24, learn_days=15, test_days=2).frame
    now = clean.columns(14 * DAY, 16 * DAY)
    fields = {name: values.copy() for name, values in now.fields.items()}
    fields["grid_v"][0, 100:] *= 0.9
    fields["load_w"][1, 100:] *= 1.1
    fields["battery_c"][2, 100:], fields["ambient_c"][2, 100:] = (
        fields["ambient_c"][2, 100:].copy(),
        fields["battery_c"][2, 100:].copy(),
    )
    fields["string_gap_frac"][3, 100:] += 0.3
    fields["battery_c"][4, 100:] -= 6.0
    learnt = learn(past)
    scores = learnt.scan(
        FleetFrame(
            **{f: getattr(now, f) for f in ("site_ids", "start", "step", "zone", "peers")}, fields=fields
        )
    )
    wanted = (
        (Kind.MAINS_QUALITY, 0), (Kind.SENSOR_DRIFT, 1), (Kind.SENSOR_SWAPPED, 2), (Kind.WEAK_STRING, 3), (Kind.TEMPERATURE, 4),
    )  # fmt: skip
    for kind, site in wanted:
        score = np.max([one.score for one in scores if one.kind is kind], axis=0)
        assert score[site, 108:].max() > 3.0, kind
        assert score[site, 108:].max() > 2.0 * np.median(score[:, 108:].max(axis=1)), kind


def test_a_ticker_agrees_with_the_relations_it_was_made_from(scene: FleetFrame) -> None:
    past = scene.columns(0, 15 * DAY)
    learnt = learn(past)
    ticker = FleetTicker.learn(learnt, past)
    one, _ = ticker.step(scene.columns(15 * DAY + 40, 15 * DAY + 41), ticker.rest())
    theft = next(k for k, c in enumerate(ticker.relations) if c.relation.kind.name == "energy_theft")
    relation = ticker.relations[theft].relation
    from tools.anomaly.relations import drivers_of

    at = scene.columns(15 * DAY + 40, 15 * DAY + 41)
    expected = relation.fit.expected(drivers_of(at, relation.kind))
    z = (at.fields["grid_w"] - expected) / relation.fit.scale[:, None]
    assert one.z[theft] == pytest.approx(z[:, 0], abs=0.02, nan_ok=True)
    assert ticker.score(one).shape == (24,)
    assert scene.start == datetime(2024, 5, 6, tzinfo=UTC)
    assert scene.step == timedelta(minutes=15)


def test_nothing_is_said_of_a_relation_at_a_site_that_never_showed_it() -> None:
    steps = 14 * 96
    rng = np.random.default_rng(4)
    amps = np.full((6, steps), 0.3)
    amps[:5, ::40] = -20.0  # all but the last discharge now and then
    gap = np.abs(0.02 * rng.standard_normal((6, steps)))
    frame = FleetFrame(
        site_ids=tuple("abcdef"), start=datetime(2026, 1, 5, tzinfo=UTC), step=timedelta(minutes=15), zone="UTC",
        fields={"battery_a": amps, "string_gap_frac": gap}, peers=np.zeros(6, dtype=np.int64),
    )  # fmt: skip
    learnt = learn(frame)
    later = replace(
        frame, fields={"battery_a": np.full((6, 8), -20.0), "string_gap_frac": np.full((6, 8), 0.3)}
    )
    [weak] = [one for one in learnt.scan(later) if one.kind is Kind.WEAK_STRING]
    # Fifteen spreads of the others' 2 %; of the last one's strings nothing is known, so it expects nothing.
    assert (weak.score[:5, 2:] > 1.0).all()
    assert (weak.score[5] == 0.0).all()
    assert np.isnan(weak.expected[5]).all()
