"""The quick form of ``make fuzz``, and that the fuzzer itself can fail."""

import json
import random
import time
from pathlib import Path

import pytest

from dense.errors import DataError

from .reader import Reader, Sample, Unsound, judge
from .readers import READERS
from .runner import run_readers

QUICK = 40


def test_readers__damaged_files__sound_values_or_one_line(tmp_path):
    """Catches foreign tracebacks, crashes, hangs, full memories and wrong values for 40 damaged inputs of every reader."""
    tallies = run_readers(list(READERS), range(QUICK), tmp_path)
    failures = [failure for tally in tallies for failure in tally.failures]
    assert not failures, "\n\n".join(map(str, failures))
    assert all(tally.inputs == QUICK for tally in tallies)
    assert sum(tally.refused for tally in tallies) > QUICK
    assert sum(tally.accepted for tally in tallies) > QUICK


@pytest.mark.parametrize("name", READERS)
def test_input__same_seed__same_bytes(tmp_path, name):
    """Catches a failure that nobody can see again: an input must follow from its seed alone."""
    reader = READERS[name]
    reader.samples = list(reader.prepare(tmp_path))
    try:
        inputs = [[reader.input(seed) for seed in range(8)] for _ in range(2)]
    finally:
        reader.samples = ()
    assert inputs[0] == inputs[1]
    assert len({sample.content for sample in inputs[0]}) > 3


def _raise(error: BaseException):
    def read(path: Path) -> None:
        raise error

    return read


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (DataError("x.json: wrong"), "refused"),
        (DataError("something: wrong"), "failed"),  # names no file
        (ValueError("x.json: wrong"), "failed"),
        (MemoryError(), "failed"),
        (RecursionError(), "failed"),
        (Unsound("an area is negative"), "failed"),
    ],
)
def test_judge__what_a_reader_raises__only_ours_that_name_the_file_pass(error, kind):
    """Catches a fuzzer that accepts everything."""
    reader = Reader("x", lambda folder: [], lambda rng, content, others: content, _raise(error))
    assert judge(reader, Path("somewhere/x.json")).kind == kind


def test_worker__crash_hang_and_memory__are_failures_with_the_input_kept(tmp_path, monkeypatch):
    """Catches a worker whose death stops the run, and limits that do not hold."""
    monkeypatch.setenv("DENSE_FUZZ_SELFTEST", "1")
    start = time.perf_counter()
    (tally,) = run_readers(["selftest"], range(4), tmp_path, limit_s=1.5)
    found = {failure.seed: failure.detail for failure in tally.failures}
    assert "exit status -" in found[0]
    assert "took more than" in found[1]
    assert "MemoryError" in found[2]
    assert sorted(found) == [0, 1, 2]
    assert tally.accepted == 1
    assert {json.loads(path.read_bytes()) for path in tmp_path.iterdir()} == {"crash", "hang", "memory"}
    assert time.perf_counter() - start < 60


def test_mutations__json__stay_json_most_of_the_time(tmp_path):
    """Catches mutations that only break the syntax, so that no check behind the parser is ever reached."""
    reader = READERS["coco"]
    sample: Sample = reader.prepare(tmp_path)[0]
    valid = 0
    for seed in range(100):
        try:
            json.loads(reader.mutate(random.Random(seed), sample.content, [sample.content]))
            valid += 1
        except (ValueError, RecursionError):
            pass
    assert valid >= 50
