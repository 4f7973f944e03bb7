"""Whether what came out of a case is what the collection of hard cases expects: all its kinds of expectation."""

import math
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dense.errors import DenseError


@dataclass
class Outcome:
    """What running a case gave: facts by name, warnings, or the error; arrays of an ``array`` case are among the facts."""

    facts: dict[str, Any] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    error: Exception | None = None


def faults(expect: dict[str, Any], outcome: Outcome, folder: Path) -> list[str]:
    """What is wrong with an outcome, in words; nothing where the expectation is met."""
    return _KINDS[expect["kind"]](expect, outcome, folder)


def _value(expect, outcome, folder):
    if outcome.error is not None:
        return [f"raised {describe(outcome.error)}"]
    tolerance = expect["facts"].get("tol", 1e-9)
    found = []
    for name, wanted in expect["facts"].items():
        if name in ("tol", "time_tol", "times_relative_allowed"):
            continue
        if name not in outcome.facts:
            found.append(f"fact {name} was not looked at")
        elif name == "times":
            found += _times(wanted, outcome.facts[name], expect["facts"])
        elif not equal(wanted, outcome.facts[name], tolerance):
            found.append(f"{name} is {outcome.facts[name]}, expected {wanted}")
    return found


def _times(wanted, given, facts):
    """Times in seconds; relative to the first frame where the case allows that."""
    ways = [wanted, [time - wanted[0] for time in wanted]] if facts.get("times_relative_allowed") else [wanted]
    good = any(equal(way, given, facts["time_tol"]) for way in ways)
    return [] if good else [f"times are {given}, expected {wanted}"]


def _value_with_warning(expect, outcome, folder):
    found = _value(expect, outcome, folder)
    if not any(names_all(text, expect["must_name"]) for text in outcome.warnings):
        found.append(f"no warning names {expect['must_name']}: {outcome.warnings}")
    return found


def _error(expect, outcome, folder):
    if outcome.error is None:
        return [f"no error, facts {outcome.facts}"]
    if not isinstance(outcome.error, DenseError):
        return [f"a foreign error: {describe(outcome.error)}"]
    text = str(outcome.error)
    found = [] if names_all(text, expect["must_name"]) else [f"{text!r} does not name {expect['must_name']}"]
    found += [f"{name} exists: code of the file was run" for name in expect.get("must_not_exist", []) if Path(name).exists()]
    return found + (["more than one line"] if "\n" in text else [])


def _either(expect, outcome, folder):
    tried = [faults(alternative, outcome, folder) for alternative in expect["alternatives"]]
    return [] if [] in tried else [f"no alternative holds: {tried}"]


def _array(expect, outcome, folder):
    if outcome.error is not None:
        return [f"raised {describe(outcome.error)}"]
    arrays = np.load(folder / "case.npz")
    found = []
    for name in (expect["array"], *expect.get("gradients", [])):
        wanted, given = arrays[name], outcome.facts["array"] if name == expect["array"] else outcome.facts[name]
        if given.shape != wanted.shape:
            found.append(f"{name} has shape {given.shape}, expected {wanted.shape}")
        elif not np.allclose(given, wanted, rtol=expect["rtol"], atol=expect["atol"]):
            found.append(f"{name} is off by {np.abs(given - wanted).max()}")
    if "segments" in expect and outcome.facts["segments"] != expect["segments"]:
        found.append(f"segments are {outcome.facts['segments']}, expected {expect['segments']}")
    return found


def _per(key):
    """Each file or output by its own entry; the outcome's facts are outcomes by name."""

    def judge(expect, outcome, folder):
        if outcome.error is not None:
            return [f"raised {describe(outcome.error)}"]
        rows = [(name, faults(one, outcome.facts[name], folder)) for name, one in expect[key].items()]
        return [f"{name}: {found}" for name, found in rows if found]

    return judge


_KINDS = {
    "value": _value,
    "value_with_warning": _value_with_warning,
    "error": _error,
    "either": _either,
    "array": _array,
    "per_file": _per("files"),
    "per_output": _per("outputs"),
}


def equal(wanted, given, tolerance):
    """Equal, numbers within ``tolerance``; "undefined" is NaN or None; a dict may hold more than is wanted."""
    if wanted == "undefined":
        return given is None or (isinstance(given, float) and math.isnan(given))
    if isinstance(wanted, dict):
        return isinstance(given, dict) and all(k in given and equal(v, given[k], tolerance) for k, v in wanted.items())
    if isinstance(wanted, list):
        same_length = isinstance(given, list | tuple) and len(given) == len(wanted)
        return same_length and all(equal(a, b, tolerance) for a, b in zip(wanted, given, strict=True))
    if isinstance(wanted, int | float) and not isinstance(wanted, bool):
        return isinstance(given, int | float) and abs(wanted - given) <= tolerance
    return wanted == given


def names_all(text, words):
    """Whether a text has every word; of an inner list any one."""
    return all(any(one in text for one in ([word] if isinstance(word, str) else word)) for word in words)


def describe(error):
    """An error for the message of a failed test; a foreign one with its frames."""
    return "".join(traceback.format_exception(error))[-1500:] if not isinstance(error, DenseError) else repr(error)
