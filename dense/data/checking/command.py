"""Command line of the checker: what a data set holds, and everything that is wrong with it."""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence

from dense.command_line import new_parser, run_command
from dense.data.checking.formats import check_target
from dense.data.checking.report import CheckReport
from dense.data.checking.sheet import write_contact_sheet
from dense.data.checking.targets import FORMATS, find_targets
from dense.errors import ConfigError
from dense.io import write_json

__all__ = ["build_parser", "main"]

_EXAMPLES = """examples:
  dense check-data datasets/world                                    every annotation file of a folder
  dense check-data ytvis_2019_train --json faults.json               a registered data set
  dense check-data train.json --frames-dir JPEGImages --contact-sheet sheet.png
  dense check-data instances_val2017.json --no-pictures              records only
  dense check-data VSPW_480p                                         the lists of VSPW: train, val, test
  dense check-data images:labels:names.json                          folders of pictures and label maps

An error is what a reader refuses; a warning is what readers cope with, but may not be what was meant.
Exit code: 0 no error, 1 errors (with --strict also warnings) or wrong input, 2 wrong usage.
"""


def build_parser() -> argparse.ArgumentParser:
    """The arguments of ``dense check-data``."""
    parser = new_parser("dense check-data", "Check whole data sets: every fault with record and position.", _EXAMPLES)
    parser.add_argument("data", nargs="+", metavar="DATA", help="registered name, annotation file, or folder")
    parser.add_argument("--format", choices=FORMATS, help="default: found out from the file (OVIS is youtube-vis)")
    parser.add_argument("--frames-dir", metavar="DIR", help="folder of the pictures (default: looked for near the file)")
    parser.add_argument("--maps-dir", metavar="DIR", help="folder of panoptic PNG files (default: looked for near the file)")
    parser.add_argument("--no-pictures", action="store_true", help="do not look at the pictures")
    parser.add_argument("--headers-only", action="store_true", help="pictures: sizes, but not whether they are cut off")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="threads that read files (default %(default)s)")
    parser.add_argument("--most", type=int, default=5, metavar="N", help="faults shown of each kind (default %(default)s)")
    parser.add_argument("--json", metavar="OUT.json", help="write everything here, each fault included")
    parser.add_argument("--contact-sheet", metavar="OUT.png", help="draw samples here, faulty ones first")
    parser.add_argument("--samples", type=int, default=24, metavar="N", help="of each data set, for --contact-sheet")
    parser.add_argument("--strict", action="store_true", help="warnings count as errors")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; ``argv`` without the program's name.

    Returns: 0 no fault, 1 faults or wrong input (one line on stderr). Wrong usage exits with 2.
    """
    arguments = build_parser().parse_args(argv)
    return run_command(lambda: _check(arguments), debug=arguments.debug)


def _check(arguments: argparse.Namespace) -> int:
    for name, lowest in (("workers", 1), ("most", 0), ("samples", 0)):
        if getattr(arguments, name) < lowest:
            raise ConfigError(f"--{name} is {getattr(arguments, name)}, expected {lowest} or more.")
    found = [
        target
        for name in arguments.data
        for target in find_targets(name, arguments.format, arguments.frames_dir, arguments.maps_dir)
    ]
    reports = []
    for target in found:
        report = check_target(
            target,
            pictures=not arguments.no_pictures,
            decode=not arguments.headers_only,
            workers=arguments.workers,
        )
        sys.stdout.write(_shown(report, arguments.most))
        reports.append(report)
    if arguments.json is not None:
        write_json(arguments.json, {"data_sets": [report.to_json() for report in reports]}, indent=1)
    if arguments.contact_sheet is not None and not write_contact_sheet(arguments.contact_sheet, reports, arguments.samples):
        sys.stdout.write(f"{arguments.contact_sheet}: not written, there is no frame to show\n")
    errors, warnings = (sum(getattr(report, what) for report in reports) for what in ("errors", "warnings"))
    sys.stdout.write(f"{_number(errors, 'error')}, {_number(warnings, 'warning')}\n")
    return int(bool(errors or (arguments.strict and warnings)))


def _shown(report: CheckReport, most: int) -> str:
    """The report for a terminal: at most ``most`` faults of each kind."""
    counts = ", ".join(f"{n} {what}" for what, n in report.counts.items())
    lines = [f"{report.source}  ({report.format})", f"  {counts or 'nothing could be read'}"]
    if report.sizes:
        common = ", ".join(f"{size} ({n})" for size, n in report.sizes.most_common(4))
        rest = len(report.sizes) - 4
        lines.append(f"  sizes: {common}" + (f", {rest} more" if rest > 0 else ""))
    if report.lengths:
        lines.append(f"  frames per video: {min(report.lengths)} to {max(report.lengths)}")
    lines += _category_lines(report)
    shown: Counter[tuple[str, str]] = Counter()
    for (severity, kind), count in report.kinds().items():
        lines.append(f"  {severity}: {kind}: {count}")
        for fault in report.faults:
            if (fault.severity, fault.kind) == (severity, kind) and shown[severity, kind] < most:
                shown[severity, kind] += 1
                lines.append(f"    {fault.message}")
        if count > shown[severity, kind]:
            lines.append(f"    … and {count - shown[severity, kind]} more (--most, --json)")
    if not report.faults:
        lines.append("  no fault")
    return "\n".join([*lines, "", ""])


def _category_lines(report: CheckReport) -> list[str]:
    """A table of the categories that occur."""
    rows = [row for row in report.categories.values() if row.objects]
    if not rows:
        return []
    owner = "videos" if report.lengths else "images"
    table = [("id", "category", "objects", owner, "pixels")]
    table += [
        (str(r.id), r.name + ("" if r.isthing else " (stuff)"), str(r.objects), str(len(r.owners)), str(r.pixels)) for r in rows
    ]
    widths = [max(len(row[k]) for row in table) for k in range(5)]
    return [
        "    "
        + "  ".join(text.ljust(w) if k == 1 else text.rjust(w) for k, (text, w) in enumerate(zip(row, widths, strict=True)))
        for row in table
    ]


def _number(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")
