"""The check of repeated code, run as `make lint` runs it, on small checkouts."""

import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).resolve().parent.parent / "tools" / "lint_repeats.py"
BLOCK = [f"value_{i} = compute({i})" for i in range(10)]


@pytest.fixture
def check(tmp_path):
    """Function that writes files into a new checkout, tracks them and runs the tool: exit status and what it printed."""

    def run(files, *arguments, tracked=True):
        for name, lines in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)
        if tracked:
            subprocess.run(["git", "add", "-A"], cwd=tmp_path, check=True)
        done = subprocess.run(
            [sys.executable, str(TOOL), *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        return done.returncode, done.stdout + done.stderr

    return run


def filler(count, stem="other"):
    """Lines that repeat nothing."""
    return [f"{stem}_{i} = {i}" for i in range(count)]


def test_lint_repeats__block_in_two_files__fails_and_names_both_places(check):
    """Catches a check that sees nothing, and places counted from the wrong line."""
    status, said = check({"dense/a.py": ["first = 1", *BLOCK], "tests/b.py": [*BLOCK, "last = 2"]})
    assert status == 1
    assert "dense/a.py:2-11 ~ tests/b.py:1-10: the same 10 lines" in said
    assert "20 of 22 lines" in said


def test_lint_repeats__nine_lines__are_no_block(check):
    """Catches blocks that are counted one line too short."""
    status, said = check({"dense/a.py": ["first = 1", *BLOCK[:9]], "dense/b.py": [*BLOCK[:9], "last = 2"]})
    assert status == 0
    assert "0 of 20 lines" in said


def test_lint_repeats__comments_docstrings_blank_lines_indentation__do_not_hide_a_repeat(check):
    """Catches a repeat that a comment or another depth hides, and a hash inside a string taken for a comment."""
    plain = [*BLOCK[:9], "text = 'a # b'"]
    dressed = ["def f():", '    """Says something."""']
    for line in plain:
        dressed += [f"    {line}  # why", "", "    # more"]
    status, said = check({"dense/a.py": plain, "dense/b.py": dressed})
    assert status == 1
    assert "dense/a.py:1-10 ~ dense/b.py:3-30: the same 10 lines" in said
    assert check({"dense/a.py": [*plain[:9], "text = 'a # c'"]})[0] == 0


def test_lint_repeats__equal_imports_and_docstrings__do_not_count(check):
    """Catches headers of files taken for repeated code."""
    header = ['"""Text.', *(f"line {i}" for i in range(20)), '"""', "from x import (", *(f"    n{i}," for i in range(20)), ")"]
    status, said = check({"dense/a.py": [*header, "a = 1"], "dense/b.py": [*header, "b = 1"]})
    assert status == 0
    assert "0 of 2 lines" in said


def test_lint_repeats__small_share__passes_just_below_the_limit_only(check):
    """Catches a limit other than 2 % of the counted lines."""
    pair = {"dense/a.py": BLOCK, "dense/b.py": BLOCK}
    assert check({**pair, "dense/c.py": filler(980)})[0] == 0  # 20 of 1000
    assert check({**pair, "dense/c.py": filler(979)})[0] == 1


def test_lint_repeats__block_three_times_and_a_longer_one__two_pairs_longest_first(check):
    """Catches places that are lost or listed several times."""
    longer = [*BLOCK, "more = 1", "even_more = 2"]
    _, said = check({"dense/a.py": longer, "dense/b.py": longer, "tools/c.py": BLOCK})
    assert said.splitlines()[1:] == [
        "dense/a.py:1-12 ~ dense/b.py:1-12: the same 12 lines",
        "dense/b.py:1-10 ~ tools/c.py:1-10: the same 10 lines",
    ]


def test_lint_repeats__untracked_files__do_not_count(check):
    """Catches builds and notes beside the code that fail the check."""
    status, said = check({"dense/a.py": BLOCK, "dense/b.py": BLOCK}, tracked=False)
    assert status == 0
    assert "0 of 0 lines" in said


def test_lint_repeats__folder_that_is_not_there__is_wrong_usage(check):
    """Catches a typing error that passes for a clean tree."""
    status, said = check({"dense/a.py": BLOCK}, "densse")
    assert status == 2
    assert "densse: no such folder" in said


def test_lint_repeats__outside_a_checkout__says_so(tmp_path):
    """Catches a traceback where there is no git."""
    done = subprocess.run([sys.executable, str(TOOL)], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Run this in a checkout" in done.stderr
    assert "Traceback" not in done.stderr
