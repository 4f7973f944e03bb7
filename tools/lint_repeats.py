"""Hold the house's limit on repeated code: blocks of 10 lines that stand in several places cover at most 2 % of all lines.

    python tools/lint_repeats.py [FOLDER …]        default: dense projects tools tests benchmarks, all together

Only files that git tracks count. A line counts without its indentation and comment; blank lines, docstrings and imports do not
count. Exit code: 0 it holds (the share is printed), 1 it does not (the longest repeats too), 2 wrong usage.
"""

import ast
import io
import subprocess
import sys
import tokenize
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

BLOCK, SHARE, SHOWN = 10, 2.0, 20  # lines, percent, repeats printed
FOLDERS = ("dense", "projects", "tools", "tests", "benchmarks")


@dataclass(frozen=True)
class Repeat:
    """A run of ``length`` counted lines at two places, each (file, first line, last line)."""

    length: int
    first: tuple[str, int, int]
    second: tuple[str, int, int]

    def __str__(self) -> str:
        places = (f"{file}:{start}-{end}" for file, start, end in (self.first, self.second))
        return f"{' ~ '.join(places)}: the same {self.length} lines"


def counted_lines(text: str) -> list[tuple[int, str]]:
    """(line number from 1, normalised line) of each line of a Python file that counts, in order. Raises: SyntaxError."""
    lines = text.splitlines()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            row, column = token.start
            lines[row - 1] = lines[row - 1][:column]
    passed_over: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.stmt) and (isinstance(node, ast.Import | ast.ImportFrom) or _is_text(node)):
            passed_over.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    plain = ((number, " ".join(line.split())) for number, line in enumerate(lines, start=1))
    return [(number, line) for number, line in plain if line and number not in passed_over]


def _is_text(node: ast.stmt) -> bool:
    """A docstring, or another string that stands alone."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def find_repeats(files: dict[str, list[tuple[int, str]]], block: int = BLOCK) -> tuple[int, list[Repeat]]:
    """Blocks that stand in more than one place.

    Args:
        files: name → what ``counted_lines`` gives.
        block: least number of lines of a block.

    Returns: how many lines stand in a repeated block, each place counted; and the repeats, longest first. What stands in three
        places is two repeats.
    """
    places: dict[tuple[str, ...], list[tuple[str, int]]] = defaultdict(list)
    for name, lines in files.items():
        texts = [line for _, line in lines]
        for start in range(len(texts) - block + 1):
            places[tuple(texts[start : start + block])].append((name, start))
    covered: set[tuple[str, int]] = set()
    starts: dict[tuple[str, str, int], list[int]] = defaultdict(list)  # (file, other file, distance) → starts in the first
    for found in places.values():
        if len(found) > 1:
            covered.update((name, start + k) for name, start in found for k in range(block))
        for (one, i), (other, j) in pairwise(found):
            starts[one, other, j - i].append(i)
    repeats = []
    for (one, other, distance), indices in starts.items():
        for first, last in _runs(sorted(indices)):
            end = last + block - 1
            here = one, files[one][first][0], files[one][end][0]
            there = other, files[other][first + distance][0], files[other][end + distance][0]
            repeats.append(Repeat(end - first + 1, here, there))
    return len(covered), sorted(repeats, key=lambda r: (-r.length, r.first, r.second))


def _runs(numbers: Sequence[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of consecutive numbers."""
    first = previous = numbers[0]
    for number in numbers[1:]:
        if number != previous + 1:
            yield first, previous
            first = number
        previous = number
    yield first, previous


def tracked_files(folders: Sequence[str]) -> list[Path]:
    """The Python files below the folders that git tracks. Raises: OSError or CalledProcessError without git."""
    command = ["git", "ls-files", "-z", "--", *(f"{folder}/*.py" for folder in folders)]
    listed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [path for path in map(Path, listed.split("\0")) if path.is_file()]


def main(arguments: list[str]) -> int:
    """Check the folders; see the module's docstring."""
    missing = [name for name in arguments if not Path(name).is_dir()]
    if missing:
        print(f"{missing[0]}: no such folder. Give folders with Python files.", file=sys.stderr)
        return 2
    try:
        paths = tracked_files([name.rstrip("/") for name in arguments] or FOLDERS)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"git cannot list the files here ({error}). Run this in a checkout.", file=sys.stderr)
        return 2
    files = {str(path): counted_lines(path.read_text(encoding="utf-8")) for path in paths}
    total = sum(map(len, files.values()))
    repeated, repeats = find_repeats(files)
    share = 100 * repeated / max(total, 1)
    print(f"repeated blocks of {BLOCK} lines: {repeated} of {total} lines, {share:.2f} % (at most {SHARE:g} %)")
    if share <= SHARE:
        return 0
    print(*repeats[:SHOWN], sep="\n")
    return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
