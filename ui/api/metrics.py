"""Figures of this process in Prometheus' text format."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable

# A caller may make methods up, and must not fill our memory with them.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """Counts requests and how long they took."""

    def __init__(self) -> None:
        self.requests: Counter[tuple[str, int]] = Counter()
        self.refused_logins = 0
        self.throttled = 0
        self.streams = 0
        self._took = [0] * (len(_BOUNDS_S) + 1)
        self._took_s = 0.0

    def count(self, method: str, status: int, seconds: float) -> None:
        """Count one answered request."""
        self.requests[method if method in _METHODS else "OTHER", status] += 1
        self._took[bisect_left(_BOUNDS_S, seconds)] += 1
        self._took_s += seconds

    def text(self, gauges: Iterable[tuple[str, str, float]]) -> str:
        """Return the exposition; `gauges` are further (name, help, value)."""
        lines = [
            "# HELP cellwatt_api_requests_total Requests answered.",
            "# TYPE cellwatt_api_requests_total counter",
        ]
        lines += [
            f'cellwatt_api_requests_total{{method="{method}",status="{status}"}} {count}'
            for (method, status), count in sorted(self.requests.items())
        ]
        lines += [
            "# HELP cellwatt_api_request_seconds How long requests took, streams apart.",
            "# TYPE cellwatt_api_request_seconds histogram",
        ]
        total = 0
        for bound, count in zip((*map(str, _BOUNDS_S), "+Inf"), self._took, strict=True):
            total += count
            lines.append(f'cellwatt_api_request_seconds_bucket{{le="{bound}"}} {total}')
        lines += [
            f"cellwatt_api_request_seconds_sum {self._took_s:.6f}",
            f"cellwatt_api_request_seconds_count {total}",
        ]
        counters = (
            ("cellwatt_api_refused_logins_total", "Logins refused.", self.refused_logins),
            ("cellwatt_api_throttled_total", "Requests over a caller's rate.", self.throttled),
        )
        for name, words, value in counters:
            lines += [f"# HELP {name} {words}", f"# TYPE {name} counter", f"{name} {value}"]
        for name, words, figure in (
            ("cellwatt_api_streams", "Open event streams.", float(self.streams)),
            *gauges,
        ):
            lines += [f"# HELP {name} {words}", f"# TYPE {name} gauge", f"{name} {figure:g}"]
        return "\n".join(lines) + "\n"
