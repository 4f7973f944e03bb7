"""The trial of killed runs: it must see what it is for."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TOOL = ROOT / "tools" / "try_resume.py"


@pytest.fixture
def tool(monkeypatch):
    """The script as a module."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    spec = importlib.util.spec_from_file_location("tool_try_resume", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def finished(tmp_path):
    """Function that writes the folder of a finished run."""
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file

    def write(name, rows=((1, 0.5), (2, 0.25)), weight=1.0):
        folder = tmp_path / name
        (folder / "inference").mkdir(parents=True)
        lines = [json.dumps({"iteration": step, "total_loss": loss, "time": step}) for step, loss in rows]
        (folder / "metrics.json").write_text("\n".join(lines) + "\n")
        save_file({"w": torch.tensor([weight])}, str(folder / "model_final.safetensors"))
        (folder / "last_checkpoint").write_text("model_0000002.pth")
        (folder / "inference" / "results.json").write_text("[]")
        return folder

    return write


def test_compare__equal_with_a_step_done_twice__passes(tool, finished):
    """Catches steps that are done again after a kill taken for a difference, and the clock compared."""
    tool.compare(finished("killed", ((1, 0.5), (2, 0.25), (2, 0.25))), finished("whole"))


def test_compare__different__says_what(tool, finished):
    """Catches a trial that cannot fail: a loss off by its last bit, a missing step, a weight, a temporary file."""
    whole = finished("whole")
    cases = {
        "twice": ({"rows": ((1, 0.5), (2, 0.25), (2, 0.25 + 2**-54))}, "after a kill"),
        "loss": ({"rows": ((1, 0.5), (2, 0.25 + 2**-54))}, "total_loss"),
        "step": ({"rows": ((2, 0.25),)}, "differ"),
        "weight": ({"weight": 1.0000001}, "final weights: 1 of 1"),
        "temporary": ({}, "temporary files"),
    }
    for name, (change, words) in cases.items():
        folder = finished(name, **change)
        if name == "temporary":
            (folder / ".model_0000002.pth.abcdefgh.tmp").write_bytes(b"")
        with pytest.raises(tool.DifferenceError, match=words):
            tool.compare(folder, whole)


@pytest.mark.slow
def test_try_resume__three_kills__equal():
    """Catches whatever a killed and continued run does differently."""
    done = subprocess.run([sys.executable, str(TOOL), "--times", "3"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("3 kills")
