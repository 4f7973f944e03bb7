"""The judge of the shared cases: that it can say no."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from dense.errors import DataError

HERE = Path(__file__).resolve().parent
SPECIFICATION = importlib.util.spec_from_file_location("shared_cases_judge_alone", HERE / "judge.py")
judge = importlib.util.module_from_spec(SPECIFICATION)
SPECIFICATION.loader.exec_module(judge)

VALUE = {"kind": "value", "facts": {"AP": 50.0, "size": [4, 3], "gone": "undefined", "tol": 1e-6}}
GOOD = {"AP": 50.0000001, "size": (4, 3), "gone": float("nan"), "more": 1}
ERROR = {"kind": "error", "must_name": ["a.json", ["polygon", "mask"]]}
WARNED = {"kind": "value_with_warning", "must_name": ["7"], "facts": {"n": 2}}


@pytest.mark.parametrize(
    ("expect", "outcome"),
    [
        (VALUE, judge.Outcome(GOOD)),
        (ERROR, judge.Outcome(error=DataError("a.json: mask 3 is wrong"))),
        (WARNED, judge.Outcome({"n": 2}, ["3 left out", "7 left out"])),
        ({"kind": "either", "alternatives": [ERROR, VALUE]}, judge.Outcome(GOOD)),
        ({"kind": "per_file", "files": {"x": ERROR}}, judge.Outcome({"x": judge.Outcome(error=DataError("a.json: mask"))})),
    ],
)
def test_faults__expectation_met__nothing(expect, outcome):
    """Catches a judge that refuses what is right."""
    assert judge.faults(expect, outcome, HERE) == []


@pytest.mark.parametrize(
    ("expect", "outcome"),
    [
        (VALUE, judge.Outcome({**GOOD, "AP": 50.1})),
        (VALUE, judge.Outcome({**GOOD, "size": (3, 4)})),
        (VALUE, judge.Outcome({**GOOD, "gone": 0.0})),
        (VALUE, judge.Outcome({"AP": 50.0})),
        (VALUE, judge.Outcome(error=DataError("a.json: mask"))),
        (ERROR, judge.Outcome(GOOD)),
        (ERROR, judge.Outcome(error=DataError("a.json: box 3 is wrong"))),
        (ERROR, judge.Outcome(error=KeyError("a.json mask"))),
        ({**ERROR, "must_not_exist": [str(HERE)]}, judge.Outcome(error=DataError("a.json: mask"))),
        (WARNED, judge.Outcome({"n": 2}, ["3 left out"])),
        (WARNED, judge.Outcome({"n": 3}, ["7 left out"])),
        ({"kind": "either", "alternatives": [ERROR, VALUE]}, judge.Outcome({"AP": 1.0})),
        ({"kind": "per_output", "outputs": {"x": ERROR}}, judge.Outcome({"x": judge.Outcome(GOOD)})),
    ],
)
def test_faults__expectation_not_met__is_said(expect, outcome):
    """Catches a judge that lets everything pass."""
    assert judge.faults(expect, outcome, HERE)


def test_faults__array__values_and_gradients_and_segments(tmp_path):
    """Catches arrays that are only compared by shape, and segments that nobody looks at."""
    np.savez(tmp_path / "case.npz", expected=np.arange(4.0), grad=np.ones(3))
    expect = {"kind": "array", "array": "expected", "gradients": ["grad"], "rtol": 0, "atol": 1e-6, "segments": []}
    good = {"array": np.arange(4.0), "grad": np.ones(3), "segments": []}
    assert judge.faults(expect, judge.Outcome(good), tmp_path) == []
    for name, wrong in (("array", np.arange(5.0)), ("array", np.zeros(4)), ("grad", np.zeros(3)), ("segments", [1])):
        assert judge.faults(expect, judge.Outcome({**good, name: wrong}), tmp_path)
