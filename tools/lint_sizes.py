"""Hold the house's sizes: files of at most 500 lines, functions of at most 80 (tests may have longer functions).

    python tools/lint_sizes.py [FOLDER …]        default: the repository

Exit code: 0 all hold, 1 some do not (one line each), 2 wrong usage.
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FILE_LINES, FUNCTION_LINES = 500, 80
SKIPPED = {"build", "dist", "third_party", "__pycache__", "node_modules"}


def python_files(folder: Path) -> Iterator[Path]:
    """Yield the Python files below ``folder``; not through links (dense/projects), not in hidden folders."""
    for path in sorted(folder.iterdir()):
        if path.is_symlink() or path.name.startswith(".") or path.name in SKIPPED:
            continue
        if path.is_dir():
            yield from python_files(path)
        elif path.suffix == ".py":
            yield path


def too_large(path: Path, *, is_test: bool) -> Iterator[str]:
    """Yield one line for each size that ``path`` exceeds, as ``file:line: what``."""
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    if lines > FILE_LINES:
        yield f"{path}:1: {lines} lines, at most {FILE_LINES}. Split the file by idea."
    if is_test:
        return
    for node in ast.walk(ast.parse(text, str(path))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                yield f"{path}:{node.lineno}: function {node.name} has {length} lines, at most {FUNCTION_LINES}. Split it."


def main(arguments: list[str]) -> int:
    """Check the folders; see the module's docstring."""
    folders = [Path(name) for name in arguments or ["."]]
    for folder in folders:
        if not folder.is_dir():
            print(f"{folder}: no such folder. Give folders with Python files.", file=sys.stderr)
            return 2
    found = [
        line for folder in folders for path in python_files(folder) for line in too_large(path, is_test="tests" in path.parts)
    ]
    print(*found, sep="\n", end="\n" if found else "")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
