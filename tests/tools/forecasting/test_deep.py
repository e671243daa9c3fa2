"""The deep model itself: these need torch (`pip install 'cellwatt[deep]'`), and are skipped where it is not."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from tests.tools.forecasting.fleets import DAY, daily_weekly, history_of

torch = pytest.importorskip("torch", reason="the deep model's extra is not installed (cellwatt[deep])")

from tools.forecasting.deep import Deep, fitted  # noqa: E402 (after the skip)
from tools.forecasting.deep_model import DeepFileError, DeepModel, load_deep  # noqa: E402 (after the skip)
from tools.forecasting.deep_net import Shape, pinball  # noqa: E402 (after the skip)
from tools.forecasting.deep_training import Epoch, Schedule  # noqa: E402 (after the skip)
from tools.forecasting.forecaster import NoForecastError  # noqa: E402 (after the skip)
from tools.forecasting.history import LoadHistory  # noqa: E402 (after the skip)
from tools.forecasting.naive import SeasonalNaive  # noqa: E402 (after the skip)

SMALL = Deep(
    shape=Shape(features=0, hidden=16, head=16, dropout=0.1),
    schedule=Schedule(epochs=4, samples=512, learning_rate=2e-3),
    kept_back_days=3,
    horizon=timedelta(hours=12),
)
HALF = DAY // 2


def fleet(days: int = 29) -> LoadHistory:
    return history_of(daily_weekly(8, days, seed=5))


@pytest.fixture(scope="module")
def heard() -> list[Epoch]:
    return []


@pytest.fixture(scope="module")
def model(heard: list[Epoch]) -> DeepModel:
    history = fleet().before(28 * DAY)
    return replace(SMALL, tell=heard.append).fit(history).model


def test_it_forecasts_a_day_that_it_has_not_seen_better_than_the_week_before(model: DeepModel) -> None:
    whole = fleet()
    past, actual = whole.before(28 * DAY), whole.values[:, 28 * DAY : 28 * DAY + HALF]
    forecast = fitted(model, past).predict(past.end, HALF)
    naive = SeasonalNaive().paths(past, [past.steps], HALF)[0]
    assert np.abs(actual - forecast.at(0.5)).mean() < np.abs(actual - naive).mean()
    assert forecast.model == ("deep",) * 8
    assert forecast.values.shape == (8, 9, HALF)
    assert (np.diff(forecast.values, axis=1) >= 0.0).all()
    assert (np.diff(forecast.cumulative_wh, axis=1) >= 0.0).all()
    assert (np.diff(forecast.cumulative_wh, axis=2) >= 0.0).all()
    inside = (actual >= forecast.at(0.1)) & (actual <= forecast.at(0.9))
    assert 0.6 < inside.mean() < 0.95
    total = actual.sum(axis=1) * 0.25
    assert (total >= forecast.cumulative_at(0.025)[:, -1]).mean() >= 0.75
    assert (total <= forecast.cumulative_at(0.975)[:, -1]).mean() >= 0.75


def test_every_epoch_is_told_and_the_last_one_says_so(model: DeepModel, heard: list[Epoch]) -> None:
    assert [one.done for one in heard] == list(range(1, len(heard) + 1))
    assert [one.over for one in heard] == [False] * (len(heard) - 1) + [True]
    best = min(range(len(heard)), key=lambda k: heard[k].loss) + 1
    assert model.version.endswith(f":e{best}")


def test_the_same_seed_gives_the_same_forecast_and_torchs_own_state_is_left_alone(model: DeepModel) -> None:
    past = fleet().before(28 * DAY)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    again = SMALL.fit(past).predict(past.end, 8)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert np.array_equal(again.values, fitted(model, past).predict(past.end, 8).values)


def test_a_saved_model_is_the_same_model(model: DeepModel, tmp_path: Path) -> None:
    past = fleet().before(28 * DAY)
    model.save(tmp_path / "deep.pt")
    assert [one.name for one in tmp_path.iterdir()] == ["deep.pt"]
    loaded = load_deep(tmp_path / "deep.pt")
    assert (loaded.version, loaded.trained_until) == (model.version, past.end)
    one, two = (fitted(each, past).predict(past.end, HALF) for each in (model, loaded))
    assert np.array_equal(one.values, two.values)
    assert np.array_equal(one.cumulative_wh, two.cumulative_wh)


def test_code_in_a_file_is_refused_not_run(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (str(tmp_path / "ran"),)

    torch.save({"format": Bomb()}, tmp_path / "bomb.pt")
    with pytest.raises(DeepFileError, match="is not a deep model's file"):
        load_deep(tmp_path / "bomb.pt")
    assert not (tmp_path / "ran").exists()


def test_other_files_and_other_bases_are_refused(model: DeepModel, tmp_path: Path) -> None:
    torch.save({"format": "else"}, tmp_path / "else.pt")
    with pytest.raises(DeepFileError, match="not a file of the format cellwatt-deep-1"):
        load_deep(tmp_path / "else.pt")
    model.save(tmp_path / "deep.pt")
    with pytest.raises(DeepFileError, match="was learnt with the base"):
        load_deep(tmp_path / "deep.pt", base=SeasonalNaive())


def test_it_does_not_speak_of_what_it_has_not_learnt(model: DeepModel) -> None:
    past = fleet().before(28 * DAY)
    ready = fitted(model, past)
    with pytest.raises(NoForecastError, match="learnt 48 steps ahead, not 49"):
        ready.predict(past.end, HALF + 1)
    with pytest.raises(NoForecastError, match="learnt steps of 0:15:00"):
        model.quantile_paths(replace(past, step=timedelta(minutes=30)), [past.steps], 4, 0.0)


def test_energy_counts_from_the_start_of_the_forecast(model: DeepModel) -> None:
    past = fleet().before(28 * DAY)
    ready = fitted(model, past)
    at_once, later = ready.predict(past.end, HALF), ready.predict(past.end + timedelta(hours=2), HALF - 8)
    gone = at_once.cumulative_at(0.5)[:, 7:8]
    assert np.allclose(later.cumulative_at(0.5), at_once.cumulative_at(0.5)[:, 8:] - gone, atol=0.5)
    assert np.array_equal(later.values, at_once.values[:, :, 8:])


def test_training_does_not_look_past_the_origin() -> None:
    values = daily_weekly(4, 29, seed=6)
    spoiled = values.copy()
    spoiled[:, 28 * DAY :] = 9e5
    short = replace(SMALL, schedule=Schedule(epochs=1, samples=128))
    one, two = (short.paths(history_of(v), [28 * DAY], 8) for v in (values, spoiled))
    assert np.array_equal(one, two)


def test_quantile_loss_by_hand() -> None:
    found = torch.zeros(1, 2, 9)
    # 1 above zero costs each quantile its level, 4.5 in all over nine; a gap costs nothing.
    target = torch.tensor([[1.0, float("nan")]])
    assert float(pinball(torch, found, target)) == pytest.approx(4.5 / 9)
