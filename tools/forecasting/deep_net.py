"""The deep model's network: stacked GRU layers read the past, two heads give non-crossing quantiles of each step ahead.

After MQ-RNN (Wen et al., 2017): the recurrent layers run once, and the whole horizon comes out in one shot from what
they remember and what is known of each step. Everything here takes torch as an argument, so that the module loads without.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from telemetry.model.series import QUANTILES
from tools.errors import ToolUnavailableError
from tools.forecasting.deep_windows import PAST_FEATURES, Float32

EXTRA = "pip install 'cellwatt[deep]'"
MIDDLE = QUANTILES.index(0.5)
FIRST_GAP = 0.1
CHUNK = 2048


class DeepAbsentError(ToolUnavailableError):
    """The deep model was asked for where torch is not installed."""

    def __init__(self) -> None:
        """Name the extra that brings it."""
        super().__init__(f"the deep model needs torch, which is not installed: {EXTRA}")


def torch_module(load: Callable[[str], Any] = importlib.import_module) -> Any:
    """Return torch.

    Raises:
        DeepAbsentError: It is not installed.
    """
    try:
        return load("torch")
    except ModuleNotFoundError as error:
        if error.name != "torch":  # torch is there, and something that it needs is not
            raise
        raise DeepAbsentError from error


def is_installed() -> bool:
    """Return whether torch can be loaded; it is not loaded for that."""
    return importlib.util.find_spec("torch") is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a network.

    Attributes:
        features: Of each step ahead.
        hidden: Width of each recurrent layer.
        layers: Recurrent layers, one on top of the other.
        head: Width of the heads' two hidden layers.
        dropout: Share of the recurrent and head units left out at random while training.
    """

    features: int
    hidden: int = 48
    layers: int = 2
    head: int = 64
    dropout: float = 0.25


def build(torch: Any, shape: Shape) -> Any:
    """Return a network with fresh weights from torch's generator."""
    nn = torch.nn

    def head(inputs: int) -> Any:
        return nn.Sequential(
            nn.Linear(inputs, shape.head),
            nn.ReLU(),
            nn.Dropout(shape.dropout),
            nn.Linear(shape.head, shape.head),
            nn.ReLU(),
            nn.Linear(shape.head, len(QUANTILES)),
        )

    reader = nn.GRU(
        PAST_FEATURES,
        shape.hidden,
        shape.layers,
        batch_first=True,
        dropout=shape.dropout if shape.layers > 1 else 0.0,
    )
    known = shape.hidden + shape.features
    return nn.ModuleDict({"reader": reader, "step": head(known), "mean": head(known + shape.features)})


def quantiles(torch: Any, net: Any, past: Any, ahead: Any) -> tuple[Any, Any]:
    """Return quantiles of each step and of the mean up to it, in units of the level, shape (batch, steps, quantiles)."""
    _, state = net["reader"](past)
    steps = ahead.shape[1]
    remembered = state[-1][:, None].expand(-1, steps, -1)
    known = torch.cat([remembered, ahead], dim=2)
    count = torch.arange(1, steps + 1, dtype=ahead.dtype)[None, :, None]
    so_far = torch.cumsum(ahead, dim=1) / count
    return _spread(torch, net["step"](known)), _spread(torch, net["mean"](torch.cat([known, so_far], dim=2)))


def _spread(torch: Any, raw: Any) -> Any:
    """Return quantiles that cannot cross: the median, and positive gaps added up on either side of it."""
    middle = raw[..., MIDDLE : MIDDLE + 1]
    gap = torch.nn.functional.softplus(raw) * FIRST_GAP
    up = torch.cumsum(gap[..., MIDDLE + 1 :], dim=-1)
    down = torch.cumsum(gap[..., :MIDDLE].flip(-1), dim=-1).flip(-1)
    return torch.cat([middle - down, middle, middle + up], dim=-1)


def pinball(torch: Any, found: Any, target: Any) -> Any:
    """Return the mean quantile loss where there is a target; `target` has NaN elsewhere, shape (batch, steps)."""
    levels = torch.tensor(QUANTILES, dtype=found.dtype)
    known = torch.isfinite(target)
    gap = torch.where(known, target, torch.zeros_like(target))[..., None] - found
    loss = torch.maximum(levels * gap, (levels - 1.0) * gap) * known[..., None]
    return loss.sum() / (known.sum().clamp(min=1) * len(QUANTILES))


def predict(torch: Any, net: Any, past: Float32, ahead: Float32) -> tuple[Float32, Float32]:
    """Return `quantiles` of many samples, without learning, shape (samples, steps, quantiles)."""
    net.eval()
    parts: list[tuple[Any, Any]] = []
    with torch.no_grad():
        for first in range(0, len(past), CHUNK):
            part = slice(first, first + CHUNK)
            parts.append(quantiles(torch, net, torch.from_numpy(past[part]), torch.from_numpy(ahead[part])))
    steps, means = (np.concatenate([each[k].numpy() for each in parts]) for k in (0, 1))
    return steps, means


@contextmanager
def same_every_time(torch: Any, seed: int, threads: int) -> Iterator[None]:
    """Run a block with torch's randomness and threads fixed, and leave both as they were."""
    before = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
