"""Loading the binary: refused with a reason where it does not fit, never loaded on trust."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dense.ops import library, status

ROOT = Path(__file__).resolve().parents[2]


def folder_with(tmp_path, record, content=b"not a library"):
    (tmp_path / "_C.abi3.so").write_bytes(content)
    if record is not None:
        (tmp_path / "_C.json").write_text(record if isinstance(record, str) else json.dumps(record), encoding="utf-8")
    return tmp_path


def run_python(code, **environment):
    env = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("record", "running", "words"),
    [
        ({"torch": "2.9.0"}, "2.14.1", "needs exactly torch 2.9.0, this is torch 2.14.1"),
        ({"torch": "2.14.1+cu130"}, "2.14.1+cpu", "needs exactly torch 2.14.1\\+cu130"),
        ({"torch": "2.14.1", "stable_abi": "2.10"}, "2.9.1", "needs torch 2.10 or newer, this is torch 2.9.1"),
        ({"torch": "2.14.1", "stable_abi": "2.10"}, "3.0.0", "needs torch 2.10 or newer"),
        ({"torch": "2.14.1", "stable_abi": 2.1}, "2.15.0", "needs torch 2.1 or newer"),
        (None, "2.14.1", "no readable record"),
        ("{", "2.14.1", "no readable record"),
        ("[]", "2.14.1", "no readable record"),
        ({"stable_abi": "2.10"}, "2.14.1", "no readable record"),
    ],
)
def test_load__binary_of_another_torch__refused_with_both_versions(tmp_path, monkeypatch, record, running, words):
    """A binary opened on trust: it crashes, or worse, computes something."""
    monkeypatch.setattr(torch.ops, "load_library", lambda path: pytest.fail("was opened"))
    found = library.load(folder_with(tmp_path, record), running)
    assert not found.loaded
    assert re.search(words, found.reason), found.reason
    assert found.torch_built_for == (record["torch"] if isinstance(record, dict) and "torch" in record else "")


@pytest.mark.parametrize("running", ["2.14.1", "2.10.0", "2.15.0a0+git123"])
def test_load__stable_binary_and_newer_torch__opened(tmp_path, monkeypatch, running):
    """A refusal where the stable ABI promises that it works."""
    opened = []
    monkeypatch.setattr(torch.ops, "load_library", opened.append)
    found = library.load(folder_with(tmp_path, {"torch": "2.14.1", "stable_abi": "2.10"}), running)
    assert found.loaded
    assert found.torch_built_for == "2.14.1"
    assert opened == [str(tmp_path / "_C.abi3.so")]


def test_load__torn_file__reason_instead_of_exception(tmp_path):
    """A damaged file that stops `import dense.ops`."""
    found = library.load(folder_with(tmp_path, {"torch": str(torch.__version__)}), str(torch.__version__))
    assert not found.loaded
    assert "could not be loaded" in found.reason
    assert "\n" not in found.reason


def test_load__no_binary__says_so(tmp_path):
    """A reason that blames something else."""
    assert library.load(tmp_path, "2.14.1") == library.OperatorStatus(False, "the operators have not been compiled", "")


def test_status__switch_set__fallback_without_warning():
    """A switch without effect; a warning to whoever set it."""
    code = (
        "import warnings; warnings.simplefilter('error')\n"
        "import torch; from dense.ops import ms_deform_attn, status\n"
        "assert not status().loaded and 'DENSE_NO_EXTENSION' in status().reason\n"
        "a = ms_deform_attn(torch.ones(1, 4, 1, 2), [(2, 2)], torch.full((1, 1, 1, 1, 1, 2), 0.5), torch.ones(1, 1, 1, 1, 1))\n"
        "assert a.tolist() == [[[1.0, 1.0]]]\n"
    )
    run = run_python(code, DENSE_NO_EXTENSION="1")
    assert run.returncode == 0, run.stderr


def test_warn_once__no_binary__one_warning_with_reason_and_command():
    """Silence about a slow path, or a warning per call."""
    code = (
        "import warnings, torch\n"
        "from dense.ops import library\n"
        "refused = library.OperatorStatus(False, '_C.so needs exactly torch 1.0, this is torch 2.0', '1.0')\n"
        "library.status = lambda: refused\n"
        "from dense.ops import ms_deform_attn\n"
        "with warnings.catch_warnings(record=True) as caught:\n"
        "    warnings.simplefilter('always')\n"
        "    for _ in range(3):\n"
        "        ms_deform_attn(torch.ones(1, 1, 1, 1), [(1, 1)], torch.ones(1, 1, 1, 1, 1, 2), torch.ones(1, 1, 1, 1, 1))\n"
        "[message] = [str(warning.message) for warning in caught]\n"
        "assert 'needs exactly torch 1.0' in message and 'python -m dense build-ops' in message, message\n"
    )
    run = run_python(code, DENSE_NO_EXTENSION="1")
    assert run.returncode == 0, run.stderr


@pytest.mark.skipif(not status().loaded, reason=status().reason)
def test_status__binary_in_place__names_it_and_its_torch():
    """A doctor that shows nothing, or a kernel that is asked for and not there."""
    record = json.loads((ROOT / "dense/ops/_C.json").read_text(encoding="utf-8"))
    assert status().torch_built_for == record["torch"]
    assert record["binary"] in status().reason
    assert library.has_kernel("ms_deform_attn", "cpu")
    assert library.has_kernel("ms_deform_attn_backward", "cpu")
    assert not library.has_kernel("ms_deform_attn", "mps")
