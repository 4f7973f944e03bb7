"""``python -m benchmarks [NAME ...]``: verify that outputs agree, time, print a table; ``--json`` keeps the figures."""

import argparse
import importlib
import math
import os
import pkgutil
import sys

import benchmarks
from benchmarks.case import Case
from benchmarks.measure import Machine, best_seconds, header, peak_extra_bytes
from dense.io import write_json

__all__ = ["main"]

_COLUMNS = ("case", "by", "ms", "x floor", "ours faster", "peak MiB", "ours smaller")


def available() -> list[str]:
    """Names of all benchmark files, such as ``ops.ms_deform_attn``."""
    found = pkgutil.walk_packages(benchmarks.__path__, "benchmarks.")
    return sorted(m.name.removeprefix("benchmarks.") for m in found if not m.ispkg and m.name.count(".") > 1)


def measure(case: Case, machine: Machine) -> list[dict[str, object]]:
    """Verify, then time us and each peer; one row each, and one for the floor."""
    expected = case.ours()
    for peer in case.peers.values():
        case.agree(expected, peer())
    floor = machine.floor_seconds(case.bytes, case.flops)
    rows: list[dict[str, object]] = [{"case": case.name, "by": "floor", "ms": floor * 1e3}]
    ours: dict[str, float] = {}
    for name, task in {"ours": case.ours, **case.peers}.items():
        found = {"s": best_seconds(task), "peak": peak_extra_bytes(task, case.device)}
        ours = ours or found
        row = {
            "case": case.name,
            "by": name,
            "ms": found["s"] * 1e3,
            "x floor": found["s"] / floor,
            "peak MiB": found["peak"] / 2**20,
        }
        if name != "ours":
            row |= {"ours faster": found["s"] / ours["s"], "ours smaller": found["peak"] / max(ours["peak"], 1.0)}
            row |= {"promised faster": case.faster, "promised smaller": case.smaller}
        rows.append(row)
    return rows


def table(rows: list[dict[str, object]]) -> list[str]:
    """Lay the rows out in columns."""
    cells = [list(_COLUMNS)]
    for row in rows:
        values = [row.get(column, "") for column in _COLUMNS]
        cells.append([("" if math.isnan(v) else f"{v:.2f}") if isinstance(v, float) else str(v) for v in values])
    widths = [max(len(line[i]) for line in cells) for i in range(len(_COLUMNS))]
    return [
        "  ".join(c.ljust(w) if i < 2 else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True)))
        for line in cells
    ]


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks named on the command line, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"one of: {', '.join(available())}; none: all")
    parser.add_argument("--json", metavar="FILE", help="write the figures to this file too")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(available()))
    if unknown:
        parser.error(f"no benchmark {', '.join(unknown)}; there are: {', '.join(available())}")
    load = os.getloadavg()[0]  # of others: ours has not begun
    machines, rows = {"cpu": Machine.measured()}, []
    for name in options.names or available():
        for case in importlib.import_module(f"benchmarks.{name}").cases():
            if case.device not in machines:
                machines[case.device] = Machine.measured(case.device)
            rows += measure(case, machines[case.device])
    top = [*header(machines), f"load average before: {load:.1f}"]
    print("\n".join([*top, "", *table(rows)]))
    if options.json:
        write_json(options.json, {"header": top, "rows": rows}, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
