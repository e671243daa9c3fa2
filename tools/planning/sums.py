"""Adding up rows of sites by feeder or group."""

import numpy as np
from scipy.sparse import csr_array

from tools.planning.problem import Floats, Ints


def sum_by(group: Ints, values: Floats, count: int) -> Floats:
    """Sum rows of `values` by group, rows with group -1 left out; shape (count,) or (count, columns)."""
    used = np.flatnonzero(group >= 0)
    if values.ndim == 1:
        return np.bincount(group[used], weights=values[used], minlength=count).astype(np.float64)
    into = csr_array((np.ones(used.size), (group[used], used)), shape=(count, group.size))
    return np.asarray(into @ values)
