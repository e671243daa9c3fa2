"""How much one caller may ask: a token bucket for each."""

from collections import OrderedDict
from collections.abc import Callable, Hashable

_MOST_CALLERS = 10_000


class Throttle:
    """Token buckets by caller, in memory; the least recently seen are forgotten first.

    Args:
        rate_per_s: Requests a second in the long run.
        burst: Requests at once.
        monotonic_s: A clock that only goes forward, s.
    """

    def __init__(self, rate_per_s: float, burst: int, monotonic_s: Callable[[], float]) -> None:
        self._rate_per_s = rate_per_s
        self._burst = float(burst)
        self._monotonic_s = monotonic_s
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def wait_s(self, caller: Hashable) -> float:
        """Take one token and return 0, or return after how many seconds there will be one."""
        now_s = self._monotonic_s()
        left, then_s = self._buckets.pop(caller, (self._burst, now_s))
        left = min(self._burst, left + (now_s - then_s) * self._rate_per_s)
        granted = left >= 1.0
        self._buckets[caller] = (left - 1.0 if granted else left, now_s)
        if len(self._buckets) > _MOST_CALLERS:
            self._buckets.popitem(last=False)
        return 0.0 if granted else (1.0 - left) / self._rate_per_s
