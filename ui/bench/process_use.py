"""What Linux has counted for one process: memory held and CPU spent, from /proc."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from time import monotonic

from ui.bench.harness import BenchmarkError


@dataclass(slots=True)
class Use:
    """What Linux has counted for a process."""

    wall_s: list[float] = field(default_factory=list)
    rss_mb: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    most_rss_mb: float = 0.0

    def look(self, pid: int) -> None:
        """Read it anew.

        Raises:
            BenchmarkError: The process is gone.
        """
        try:
            status = Path(f"/proc/{pid}/status").read_text().splitlines()
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError) as error:
            raise BenchmarkError("the gateway's process has ended") from error
        sizes = {
            line.split(":")[0]: line.split()[1] for line in status if line.startswith(("VmRSS", "VmHWM"))
        }
        if "VmRSS" not in sizes:
            raise BenchmarkError("the gateway's process has ended")
        self.wall_s.append(monotonic())
        self.rss_mb.append(int(sizes["VmRSS"]) / 1024.0)
        self.most_rss_mb = max(self.most_rss_mb, int(sizes.get("VmHWM", "0")) / 1024.0, self.rss_mb[-1])
        # After the name, which may hold blanks, fields 14 and 15 of proc(5) are 11 and 12: utime and stime, in ticks.
        after = stat.rpartition(")")[2].split()
        self.cpu_s.append((int(after[11]) + int(after[12])) / os.sysconf("SC_CLK_TCK"))

    def growth_mb(self) -> float:
        """Return the median of the last tenth of the looks less that of the tenth after the first sixth."""
        tenth, warm = max(1, len(self.rss_mb) // 10), len(self.rss_mb) // 6
        return median(self.rss_mb[-tenth:]) - median(self.rss_mb[warm : warm + tenth])

    def cpu_frac(self) -> float:
        """Return CPU over wall time between the first look and the last."""
        return (self.cpu_s[-1] - self.cpu_s[0]) / (self.wall_s[-1] - self.wall_s[0])
