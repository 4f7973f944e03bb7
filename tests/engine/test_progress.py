"""What a run writes: JSON lines that every reader takes, a console line with the time left."""

import json
import logging
import math
import sys

import pytest

from dense.engine.progress import ConsoleWriter, JSONWriter, TensorBoardWriter
from dense.errors import DependencyError


def test_json_writer__figures_not_finite__lines_stay_valid(tmp_path):
    """Catches NaN and Infinity, which are no JSON (a first step under mixed precision has an infinite norm)."""
    writer = JSONWriter(tmp_path / "metrics.json")
    writer.write(20, {"total_loss": 1.5, "grad_norm": math.inf, "lr": 1e-4})
    writer.write(40, {"total_loss": math.nan})
    writer.close()

    def refuse(name):
        raise AssertionError(name)

    lines = [json.loads(line, parse_constant=refuse) for line in (tmp_path / "metrics.json").read_text().splitlines()]
    assert lines[0] == {"iteration": 20, "total_loss": 1.5, "grad_norm": None, "lr": 1e-4}
    assert lines[1] == {"iteration": 40, "total_loss": None}


@pytest.mark.parametrize("half", ["", '{"iteration": 60, "tot', '{"iteration": 60}'])
def test_json_writer__continued_run__appends_after_a_killed_one(tmp_path, half):
    """Catches a new line glued to what a killed run left of its last one."""
    path = tmp_path / "metrics.json"
    path.write_text('{"iteration": 20}\n{"iteration": 40}\n' + half)
    writer = JSONWriter(path)
    writer.write(60, {"x": 1.0})
    writer.close()
    assert [json.loads(line)["iteration"] for line in path.read_text().splitlines()] == [20, 40, 60]


def test_json_writer__open_run__each_line_is_on_disk(tmp_path):
    """Catches lines held back until the end, lost when the run is killed."""
    writer = JSONWriter(tmp_path / "metrics.json")
    writer.write(20, {"x": 1.0})
    assert json.loads((tmp_path / "metrics.json").read_text())["iteration"] == 20
    writer.close()


def test_console_writer__line__figures_and_time_left(caplog, monkeypatch):
    """Catches auxiliary losses that fill the screen, and a wrong estimate: 2 s per step, 60 steps left."""
    clock = iter([100.0, 180.0])
    monkeypatch.setattr("dense.engine.progress.time.monotonic", lambda: next(clock))
    writer = ConsoleWriter(120)
    with caplog.at_level(logging.INFO):
        writer.write(20, {"total_loss": 3.0, "loss_ce": 1.0, "loss_ce_0": 2.0, "lr": 0.01, "time": 9.0})
        writer.write(60, {"total_loss": 2.0, "lr": 0.001, "time": 9.0})
    writer.close()
    first, second = (r.getMessage() for r in caplog.records)
    assert first.startswith("step 20/120  total_loss 3  loss_ce 1  lr 0.01  9.000 s/step")
    assert second == "step 60/120  total_loss 2  lr 0.001  2.000 s/step  0:02:00 left"


def test_console_writer__test_figures__no_division_by_zero(caplog):
    """Catches two lines of one step, training figures and test figures."""
    writer = ConsoleWriter(20)
    with caplog.at_level(logging.INFO):
        writer.write(20, {"total_loss": 1.0})
        writer.write(20, {"test/AP": 50.0})
    assert "test/AP 50" in caplog.records[1].getMessage()


def test_tensorboard_writer__scalars__are_read_back(tmp_path):
    """Catches figures under another step or name."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    writer = TensorBoardWriter(tmp_path)
    writer.write(20, {"total_loss": 1.5})
    writer.close()
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    (event,) = events.Scalars("total_loss")
    assert (event.step, event.value) == (20, 1.5)


def test_tensor_board_writer__package_missing__says_how_to_get_it(tmp_path, monkeypatch):
    """Catches a foreign ImportError after the model was built."""
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(DependencyError, match="pip install tensorboard"):
        TensorBoardWriter(tmp_path)
