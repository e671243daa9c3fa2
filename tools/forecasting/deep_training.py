"""Training of the deep model: it stops where days that were kept back stop getting better, and is then calibrated on them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from telemetry.model.series import QUANTILES
from tools.forecasting.deep_net import Shape, build, pinball, predict, quantiles
from tools.forecasting.deep_windows import Float32

LEAST_STRETCH, MOST_STRETCH = 0.5, 3.0
NO_GAP = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """How far a training is.

    Attributes:
        done: Epochs passed.
        most: Epochs that there can be.
        loss: Quantile loss of the days kept back, in units of the sites' levels.
        best: Lowest so far.
        over: Whether it was the last.
    """

    done: int
    most: int
    loss: float
    best: float
    over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Inputs, scaled, and targets of one part of the training days."""

    past: Float32
    ahead: Float32
    step: Float32
    mean: Float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How a network is trained.

    Attributes:
        epochs: Most epochs.
        patience: Epochs without a better loss on the days kept back, after which it ends.
        samples: Samples of an epoch, drawn anew for each.
        batch: Samples of a step.
        learning_rate: Of Adam, at the start; it falls to a tenth along a cosine.
    """

    epochs: int = 40
    patience: int = 8
    samples: int = 4096
    batch: int = 128
    learning_rate: float = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Factors by which each quantile's distance from the median is stretched, shape (quantiles,): steps and means."""

    step: Float32
    mean: Float32


def train(
    torch: Any,
    shape: Shape,
    taught: Samples,
    kept_back: Samples,
    schedule: Schedule,
    seed: int,
    tell: Callable[[Epoch], None] | None,
) -> tuple[Any, int]:
    """Return the network at its best epoch and the number of that epoch, counted from 1."""
    net = build(torch, shape)
    learner = torch.optim.Adam(net.parameters(), lr=schedule.learning_rate)
    slower = torch.optim.lr_scheduler.CosineAnnealingLR(
        learner, schedule.epochs, eta_min=schedule.learning_rate / 10.0
    )
    rng = np.random.default_rng(seed)
    best, best_epoch, weights = np.inf, 0, copy.deepcopy(net.state_dict())
    for epoch in range(1, schedule.epochs + 1):
        chosen = rng.permutation(len(taught.past))[: schedule.samples]
        net.train()
        for first in range(0, len(chosen), schedule.batch):
            learner.zero_grad()
            loss = _loss(torch, net, taught, chosen[first : first + schedule.batch])
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            learner.step()
        slower.step()
        now = _judged(torch, net, kept_back)
        if now < best:
            best, best_epoch, weights = now, epoch, copy.deepcopy(net.state_dict())
        over = epoch == schedule.epochs or epoch - best_epoch >= schedule.patience
        if tell is not None:
            tell(Epoch(done=epoch, most=schedule.epochs, loss=now, best=float(best), over=over))
        if over:
            break
    net.load_state_dict(weights)
    net.eval()
    return net, best_epoch


def _loss(torch: Any, net: Any, samples: Samples, rows: npt.NDArray[np.intp]) -> Any:
    step, mean = quantiles(
        torch, net, torch.from_numpy(samples.past[rows]), torch.from_numpy(samples.ahead[rows])
    )
    return pinball(torch, step, torch.from_numpy(samples.step[rows])) + pinball(
        torch, mean, torch.from_numpy(samples.mean[rows])
    )


def _judged(torch: Any, net: Any, samples: Samples) -> float:
    step, mean = predict(torch, net, samples.past, samples.ahead)
    losses = [
        pinball(torch, torch.from_numpy(found), torch.from_numpy(target))
        for found, target in ((step, samples.step), (mean, samples.mean))
    ]
    return float(sum(losses))


def stretch_of(torch: Any, net: Any, samples: Samples) -> Stretch:
    """Return the factors that make the quantiles hold on the days kept back."""
    step, mean = predict(torch, net, samples.past, samples.ahead)
    return Stretch(step=stretches(step, samples.step), mean=stretches(mean, samples.mean))


def stretches(found: Float32, target: Float32) -> Float32:
    """Return the factor of each quantile's distance from the median with which its share of targets lies below it.

    A network is surer of days that it learnt from than of others; one factor for each quantile, pooled over the fleet,
    mends that without touching where the network is more and where it is less sure.

    Args:
        found: Quantiles, shape (samples, steps, quantiles).
        target: What came, NaN where unknown, shape (samples, steps).

    Source:
        Conformalised quantile regression (Romano et al., NeurIPS 2019), with a ratio in the place of a difference.
    """
    out = np.ones(len(QUANTILES), dtype=np.float32)
    middle = found[..., QUANTILES.index(0.5)]
    known = np.isfinite(target)
    for k, level in enumerate(QUANTILES):
        if level == 0.5 or not known.any():
            continue
        gap = np.maximum(np.abs(found[..., k] - middle), NO_GAP)
        side = 1.0 if level > 0.5 else -1.0
        ratio = side * (target - middle)[known] / gap[known]
        out[k] = np.clip(np.quantile(ratio, max(level, 1.0 - level)), LEAST_STRETCH, MOST_STRETCH)
    return out


def stretched(found: Float32, factors: Float32) -> Float32:
    """Return quantiles with their distances from the median stretched, none crossing another."""
    middle = found[..., QUANTILES.index(0.5), None]
    return np.sort(middle + (found - middle) * factors, axis=-1)
