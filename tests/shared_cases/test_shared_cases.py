"""Every case of the shared collection of hard inputs: its value, or its kind of error; and the checker on the same files.

Needs DENSE_SHARED. ``*_runs.py`` say how a case is run (by the longest beginning of its name), ``judge.py`` what it must give.
"""

import importlib
import importlib.util
import json
import logging
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from dense.errors import DataError

HERE = Path(__file__).resolve().parent
SHARED = os.environ.get("DENSE_SHARED", "")


def _has(module: str, name: str = "") -> bool:
    try:
        return not name or hasattr(importlib.import_module(module), name)
    except ImportError:
        return False


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:
        return False


# Cases of parts that do not exist yet: beginning of the name, why, and how we notice that the part has come.
WAITING = {}


def _load(name: str) -> ModuleType:
    """A module beside this file."""
    specification = importlib.util.spec_from_file_location(f"shared_cases_{name}", HERE / f"{name}.py")
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


judge = _load("judge")
TABLE = json.loads((Path(SHARED) / "cases" / "expected.json").read_text(encoding="utf-8"))["cases"] if SHARED else {}
RUNNABLE = [name for name in TABLE if not name.startswith(tuple(WAITING))]


def runs() -> dict[str, Any]:
    return {prefix: run for name in ("data_runs", "media_runs", "model_runs") for prefix, run in _load(name).RUNS.items()}


def run_of(name: str, known: dict[str, Any]) -> Any:
    """The run of a case, ``None`` if there is none."""
    fitting = [prefix for prefix in known if name.startswith(prefix)]
    return known[max(fitting, key=len)] if fitting else None


@dataclass(frozen=True)
class Case:
    """A case for its run: name, folder, entry of the table, and what runs may need."""

    name: str
    folder: Path
    entry: dict[str, Any]
    caplog: Any
    capsys: Any
    drawn_number: Any
    corner_of_red: Any

    @property
    def inputs(self) -> dict[str, Any]:
        return self.entry["inputs"]

    @property
    def expect(self) -> dict[str, Any]:
        return self.entry["expect"]

    @property
    def facts(self) -> dict[str, Any]:
        return self.expect.get("facts", {})

    def paths(self, *names: str) -> list[Path | None]:
        """Paths of inputs, ``None`` for those the case has not."""
        return [self.folder / self.inputs[name] if name in self.inputs else None for name in names]

    def outcome_of(self, run: Any) -> Any:
        """What a function gives or raises, with the warnings logged on the way."""
        self.caplog.clear()
        try:
            facts, error = run(), None
        except Exception as raised:  # noqa: BLE001  the judge tells ours from foreign ones
            facts, error = {}, raised
        warned = [r.getMessage() for r in self.caplog.records if r.levelno >= logging.WARNING]
        return judge.Outcome(facts, warned, error)


def _helpers() -> ModuleType:
    specification = importlib.util.spec_from_file_location("video_fixtures", HERE.parent / "video" / "conftest.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def _plain(fixture: Any) -> Any:
    """What a fixture without arguments returns."""
    return fixture.__wrapped__() if hasattr(fixture, "__wrapped__") else fixture._get_wrapped_function()()


@pytest.fixture
def case_named(shared, caplog, capsys):
    """Function from a case's name to the case."""
    helpers = _helpers()

    def find(name):
        tools = (_plain(helpers.drawn_number), _plain(helpers.corner_of_red))
        return Case(name, shared / "cases" / name, TABLE[name], caplog, capsys, *tools)

    return find


@pytest.mark.parametrize("name", RUNNABLE)
def test_shared_case__run__gives_its_value_or_error(case_named, name, tmp_path, monkeypatch, caplog):
    """Catches every fault that the collection was made from; nothing may run code of the files."""
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.WARNING)
    case = case_named(name)
    run = run_of(name, runs())
    assert run is not None, f"{name}: a new case; say in *_runs.py how it is run, or in WAITING why it is not"
    outcome = case.outcome_of(lambda: run(case))
    assert judge.faults(case.expect, outcome, case.folder) == []
    assert not list(tmp_path.glob("PWNED*"))


@pytest.mark.parametrize("prefix", WAITING)
def test_shared_case__waiting_for_a_part__part_is_still_missing(shared, prefix):
    """Catches a part that has come while its cases are still left out: write their run, and take them from WAITING."""
    why, has_come = WAITING[prefix]
    assert any(name.startswith(prefix) for name in TABLE), f"{prefix}: no such case any more"
    assert not has_come(), f"{prefix}: {why} has come; add a run for its cases and take them from WAITING"


def test_shared_cases__collection__is_the_one_we_know(shared):
    """Catches a table that was read half: 121 cases, each either run or waiting."""
    assert len(TABLE) == json.loads((shared / "cases" / "expected.json").read_text())["count"] >= 121
    assert len(RUNNABLE) == len(TABLE) - sum(name.startswith(tuple(WAITING)) for name in TABLE)
    known = runs()
    assert [name for name in RUNNABLE if run_of(name, known) is None] == []
    assert [prefix for prefix, run in known.items() if not any(run_of(n, known) is run for n in RUNNABLE)] == []


CHECKED = [n for n in RUNNABLE if n.startswith(("coco-", "yt-", "pan-", "pq-")) and not n.startswith("coco-eval-")]


@pytest.mark.parametrize("name", CHECKED)
def test_check_target__shared_case__lists_what_the_reader_refuses(case_named, name):
    """Catches a checker that passes what a reader refuses, or refuses what it reads."""
    from dense.data.checking import Target, check_target

    case = case_named(name)
    source, images, gt, png = case.paths("annotations", "images", "gt", "gt_png")
    target = Target(
        "coco-panoptic" if gt else "coco" if name.startswith("coco") else "youtube-vis", str(source or gt), images, png
    )
    report = check_target(target, pictures=images is not None)
    errors = [fault.message for fault in report.faults if fault.severity == "error"]
    try:
        refused = False
        (_load("data_runs").coco if name.startswith("coco-") else _read)(case)
    except DataError:
        refused = True
    alternatives = [case.expect, *case.expect.get("alternatives", [])]
    words = next((one["must_name"] for one in alternatives if one["kind"] == "error"), [])
    assert bool(errors) == refused
    assert not refused or any(judge.names_all(message, words) for message in errors), (errors, words)


def _read(case: Case) -> None:
    """The reader of the case's file, without results."""
    from dense.data.formats import read_panoptic, read_youtube_vis

    path, images, gt, png = case.paths("annotations", "images", "gt", "gt_png")
    if gt is None:
        read_youtube_vis(path, images, check_files=images is not None)
    else:
        dataset = read_panoptic(gt, png)
        for image in dataset.images:
            dataset.ids(image)
