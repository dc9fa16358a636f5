"""Runs the benchmarks that ``BENCH`` names (default: all) at ``SCALE`` (small, full) and prints what they found.

Called by: ``make bench``. Must not: judge; the README and the issues name the goals.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Mapping

from rich.console import Console
from rich.table import Table

from benchmarks import close, extranet, idle, prefixes, quotas, rate, road

Benchmark = Callable[[str], Mapping[str, float | int]]

ALL: Mapping[str, Benchmark] = {
    "road": road.run,
    "quotas": quotas.run,
    "prefixes": prefixes.run,
    "close": close.run,
    "rate": rate.run,
    "idle": idle.run,
    "extranet": extranet.run,
}
console = Console(stderr=True)


def main() -> int:
    """Run, print a table on stderr and the JSON on stdout. 2 for a benchmark or scale that there is not."""
    names = [n for n in os.environ.get("BENCH", "").split(",") if n] or list(ALL)
    scale = os.environ.get("SCALE", "small").split(",")[-1]
    unknown = [n for n in names if n not in ALL]
    if unknown or scale not in {"small", "full"}:
        print(
            f"没有这样的基准或规模：{'、'.join(unknown) or scale}；可选：{'、'.join(ALL)}；small、full", file=sys.stderr
        )
        return 2
    load1 = os.getloadavg()[0]
    results: dict[str, float | int] = {}
    for name in names:
        console.rule(name)
        found = ALL[name](scale)
        table = Table("key", "value", box=None)
        for key, value in found.items():
            table.add_row(key, f"{value:.4g}" if isinstance(value, float) else str(value))
        console.print(table)
        results |= found
    head = {"cpus": os.cpu_count(), "load1": load1, "python": platform.python_version()}
    print(json.dumps({**head, "results": results}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
