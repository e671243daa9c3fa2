"""Fits fanned out over workers through joblib: processes of this machine, or a Dask cluster by its address alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from tools.forecasting.forecaster import PointModel
from tools.forecasting.history import LoadHistory


@contextmanager
def workers(dask_address: str | None, *, timeout_s: float = 10.0) -> Iterator[None]:
    """Let every joblib call inside the block run on the Dask cluster at an address; None: on joblib's own processes.

    Raises:
        OSError: No scheduler answers at the address within `timeout_s`.
    """
    if dask_address is None:
        yield
        return
    import distributed  # noqa: PLC0415 - only where a cluster is set
    from joblib import parallel_config  # noqa: PLC0415

    connect: Any = distributed.Client  # untyped
    with (
        connect(dask_address, timeout=timeout_s, set_as_default=False) as client,
        parallel_config(backend="dask", client=client),
    ):
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class FannedOut:
    """A model whose sites do not learn from each other, fitted in chunks of sites by joblib's workers; a PointModel.

    Attributes:
        model: What is fitted; its path of a site must depend on that site alone.
        jobs: joblib workers; -1 takes all there are.
        chunk: Sites a task; a task should take 100 ms or more.
    """

    model: PointModel
    jobs: int = -1
    chunk: int = 500

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.model.name

    @property
    def version(self) -> str:
        """Version of the model: where it ran makes no difference."""
        return self.model.version

    @property
    def needs_days(self) -> int:
        """Days that must lie before an origin."""
        return self.model.needs_days

    def paths(self, history: LoadHistory, origins: Sequence[int], steps: int) -> npt.NDArray[np.float32]:
        """Return the paths from several origins, shape (origins, sites, steps)."""
        from joblib import Parallel, delayed  # noqa: PLC0415 - only where a fleet is fanned out

        sites = len(history.site_ids)
        parts = [np.arange(first, min(first + self.chunk, sites)) for first in range(0, sites, self.chunk)]
        found = Parallel(n_jobs=self.jobs)(
            delayed(self.model.paths)(history.rows(part), list(origins), steps) for part in parts
        )
        return np.concatenate(found, axis=1)
