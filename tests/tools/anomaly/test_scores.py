import numpy as np
import pytest

from tools.anomaly.scores import TickState, calibrate, cusum, ewma, signed_score, tick


def test_ewma_by_hand_and_a_gap_leaves_it() -> None:
    assert ewma(np.array([[4.0, np.nan, 2.0]]), 0.5).tolist() == [[2.0, 2.0, 2.0]]


def test_one_wild_value_moves_the_ewma_by_twelve_scales_at_most() -> None:
    assert ewma(np.array([[1e9]]), 0.5).tolist() == [[6.0]]


def test_cusum_by_hand_rests_at_zero_and_stops_at_fifty() -> None:
    upper, lower = cusum(np.array([[1.5, 1.5, -3.0, np.nan, -1.0]]), 0.5)
    assert upper.tolist() == [[1.0, 2.0, 0.0, 0.0, 0.0]]
    assert lower.tolist() == [[0.0, 0.0, 2.5, 2.5, 3.0]]
    assert cusum(np.full((1, 20), 9.0), 0.5)[0].max() == 50.0


def test_a_small_lasting_shift_scores_higher_than_its_z_and_ends_soon_after() -> None:
    rng = np.random.default_rng(0)
    learnt = calibrate(rng.standard_normal((4, 2000)))
    z = rng.standard_normal((4, 400))
    z[:, 100:300] += 1.5
    got = signed_score(z, learnt)
    assert (np.median(got[:, 200:300], axis=1) > 4.0).all()
    assert np.abs(np.median(got[:, 320:], axis=1)).max() < 2.0
    assert (signed_score(-z, learnt)[:, 250:300] < 0.0).mean() > 0.95


def test_a_tick_agrees_with_the_batch_and_skips_what_was_not_read() -> None:
    rng = np.random.default_rng(1)
    z = rng.standard_normal((3, 2, 50)).astype(np.float32)
    z[1, 1, 20:25] = np.nan
    state = TickState.rest(3, 2)
    ones, zeros = np.ones((3, 2), dtype=np.float32), np.zeros((3, 2), dtype=np.float32)
    for t in range(50):
        state = tick(state, z[:, :, t], zeros, ones).state
    assert state.ewma == pytest.approx(ewma(z, 0.1)[..., -1], abs=1e-5)
    upper, lower = cusum(z, 0.5)
    assert state.high == pytest.approx(upper[..., -1], abs=1e-4)
    assert state.low == pytest.approx(lower[..., -1], abs=1e-4)


@pytest.mark.parametrize(("observed", "alarmed"), [(106.1, True), (105.9, False), (float("nan"), False)])
def test_a_tick_alarms_beyond_six_scales(observed: float, alarmed: bool) -> None:
    one = tick(
        TickState.rest(1, 1),
        np.array([[observed]], dtype=np.float32),
        np.array([[100.0]], dtype=np.float32),
        np.array([[1.0]], dtype=np.float32),
    )
    assert one.alarmed.tolist() == [[alarmed]]
