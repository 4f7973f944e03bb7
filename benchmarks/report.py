"""``python -m benchmarks.report``: write ``RESULTS.md`` from the JSON files in ``benchmarks/results``, one section each.

The files are those of ``python -m benchmarks --json benchmarks/results/NAME.json``.
"""

import sys
from pathlib import Path
from typing import Any

from benchmarks.__main__ import table
from dense.io import atomic_write, read_json

__all__ = ["main", "report"]

_FOLDER = Path(__file__).resolve().parent
_TOP = """# Results of the benchmarks

Written by `python -m benchmarks.report` from the JSON files in `results/`; not by hand. Outputs are compared before anything is
timed; times are the best of several runs; *floor* is what the memory or the multiply-adds of this machine allow at best, in the
same run; *peak* is the extra memory of one run. A promise that is not kept stands here as measured.
"""


def promises(row: dict[str, Any]) -> list[str]:
    """One line for each figure that is promised against this row's peer."""
    lines = []
    for word in ("faster", "smaller"):
        promised, found = row.get(f"promised {word}", 0), row.get(f"ours {word}")
        if promised:
            state = "not measured" if found is None else ("kept" if found >= promised else "NOT kept")
            figure = "" if found is None else f"{found:.1f} times, "
            lines.append(f"* {row['case']}: {word} than {row['by']}: {figure}promised {promised:g} times: **{state}**")
    return lines


def report(measured: dict[str, dict[str, Any]]) -> str:
    """The page.

    Args:
        measured: title → content of a JSON file, ``header`` (lines) and ``rows``.
    """
    parts = [_TOP]
    for title, content in measured.items():
        rows = content["rows"]
        stated = [line for row in rows for line in promises(row)]
        shown = content.get("table") or table(rows)  # of benchmarks that measure something else than time and memory
        lines = [f"## {title}", "", "```", *content["header"], "", *(line.rstrip() for line in shown), "```"]
        parts.append("\n".join([*lines, *(["", *stated] if stated else []), ""]))
    return "\n".join(parts)


def main() -> int:
    """Write the page; 1 if there is nothing to write it from."""
    files = sorted((_FOLDER / "results").glob("*.json"))
    if not files:
        print(f"{_FOLDER / 'results'}: no JSON file. Make one: python -m benchmarks --json benchmarks/results/NAME.json")
        return 1
    with atomic_write(_FOLDER / "RESULTS.md") as stream:
        stream.write(report({file.stem.replace("_", " "): read_json(file) for file in files}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
