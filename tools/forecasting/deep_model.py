"""A trained network with all that it takes to use it: forecasts from it, and its file (no pickle is ever read)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import numpy as np

from tools.forecasting.deep_net import Shape, build, predict, same_every_time, torch_module
from tools.forecasting.deep_training import Stretch, stretched
from tools.forecasting.deep_windows import Float32, Scaling, windows
from tools.forecasting.fleet_forecast import QUANTILES
from tools.forecasting.forecaster import NoForecastError, PointModel
from tools.forecasting.history import LoadHistory, filled
from tools.forecasting.ridge import BatchedRidge

FORMAT = "cellwatt-deep-1"


class DeepFileError(ValueError):
    """A file is not a deep model that can be used here; the message says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepModel:
    """What a training left.

    Attributes:
        net: The network.
        shape: Its sizes.
        scaling: Of the features of the steps ahead.
        stretch: What makes its quantiles hold.
        base: Model whose path it corrects.
        past_h: Hours that it reads.
        steps: Steps of the horizon it learnt.
        step: Grid spacing it learnt.
        regressors: Names of the known drivers it learnt, in order.
        trained_until: First instant that it has not seen, aware UTC: a score before it says nothing.
        version: Of the rule, its settings and the epoch kept.
    """

    net: Any
    shape: Shape
    scaling: Scaling
    stretch: Stretch
    base: PointModel
    past_h: int
    steps: int
    step: timedelta
    regressors: tuple[str, ...]
    trained_until: datetime
    version: str

    def quantile_paths(
        self, history: LoadHistory, origins: Sequence[int], steps: int, lower_bound: float | None
    ) -> tuple[Float32, Float32]:
        """Return quantiles of steps and of energy (Wh for W), both of shape (origins, sites, quantiles, steps).

        Raises:
            NoForecastError: The history has another grid or other regressors, or the horizon is longer than what was learnt.
        """
        self._check(history, steps)
        found = windows(history, filled(history), origins, steps, self.base, self.past_h)
        torch = torch_module()
        with same_every_time(torch, 0, 1):
            step, mean = predict(torch, self.net, found.past, self.scaling(found.ahead))
        unit = found.level[:, None, None]
        values = found.base[..., None] + stretched(step, self.stretch.step) * unit
        count = np.arange(1, steps + 1, dtype=np.float32)[:, None]
        base = np.cumsum(found.base, axis=1)[..., None]
        energy = (base + stretched(mean, self.stretch.mean) * unit * count) * np.float32(history.step_h)
        if lower_bound is not None:
            values = np.maximum(values, np.float32(lower_bound))
            if lower_bound >= 0.0:
                energy = np.maximum.accumulate(np.maximum(energy, np.float32(0.0)), axis=1)
        shape = (len(origins), len(history.site_ids), steps, len(QUANTILES))
        return values.reshape(shape).swapaxes(2, 3), energy.reshape(shape).swapaxes(2, 3)

    def _check(self, history: LoadHistory, steps: int) -> None:
        names = tuple(one.name for one in history.regressors)
        if history.step != self.step:
            raise NoForecastError(f"the network learnt steps of {self.step}, not of {history.step}")
        if names != self.regressors:
            raise NoForecastError(f"the network learnt the regressors {self.regressors}, not {names}")
        if steps > self.steps:
            raise NoForecastError(f"the network learnt {self.steps} steps ahead, not {steps}")

    def save(self, path: Path) -> None:
        """Write the model's file; a reader sees the old one or the new one, never a part."""
        torch = torch_module()
        content = {
            "format": FORMAT,
            "shape": asdict(self.shape),
            "scaling": {k: torch.from_numpy(v.copy()) for k, v in asdict(self.scaling).items()},
            "stretch": {k: torch.from_numpy(v.copy()) for k, v in asdict(self.stretch).items()},
            "base": self.base.version,
            "past_h": self.past_h,
            "steps": self.steps,
            "step_s": int(self.step.total_seconds()),
            "regressors": list(self.regressors),
            "trained_until": self.trained_until.isoformat(),
            "version": self.version,
            "weights": self.net.state_dict(),
        }
        part = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            torch.save(content, part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)


def load_deep(path: Path, base: PointModel | None = None) -> DeepModel:
    """Return the model of a file; numbers and texts are read from it, never code.

    Args:
        path: What `DeepModel.save` wrote.
        base: The model that its network corrects, by default the ridge; it must be of the version learnt with.

    Raises:
        DeepFileError: It is no such file, or was learnt with another base.
        DeepAbsentError: torch is not installed.
    """
    torch = torch_module()
    under = BatchedRidge() if base is None else base
    try:
        content = torch.load(path, weights_only=True, map_location="cpu")
    except (UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise DeepFileError(f"{path.name} is not a deep model's file") from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise DeepFileError(f"{path.name} is not a file of the format {FORMAT}")
    if content["base"] != under.version:
        raise DeepFileError(f"{path.name} was learnt with the base {content['base']}, not {under.version}")
    shape = Shape(**content["shape"])
    with same_every_time(torch, 0, 1):
        net = build(torch, shape)
    net.load_state_dict(content["weights"])
    net.eval()
    return DeepModel(
        net=net,
        shape=shape,
        scaling=Scaling(**{k: v.numpy() for k, v in content["scaling"].items()}),
        stretch=Stretch(**{k: v.numpy() for k, v in content["stretch"].items()}),
        base=under,
        past_h=content["past_h"],
        steps=content["steps"],
        step=timedelta(seconds=content["step_s"]),
        regressors=tuple(content["regressors"]),
        trained_until=datetime.fromisoformat(content["trained_until"]),
        version=content["version"],
    )
