"""Compiling the binary: what is handed to setuptools, and what a failed or a fresh build leaves behind."""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dense.errors import OperatorError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def build(tmp_path):
    """The module, loaded by its path from a copy of dense/ops, as setup.py does; its folder is the copy."""
    folder = tmp_path / "ops"
    ignored = shutil.ignore_patterns("_C*", "__pycache__", ".build-*")
    shutil.copytree(ROOT / "dense" / "ops", folder, ignore=ignored)
    spec = importlib.util.spec_from_file_location("build_copy", folder / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_extension__default_root__portable_and_complete(build, monkeypatch):
    """A wheel that only runs on the machine it was built on; a source left out; absolute paths, which setuptools refuses."""
    monkeypatch.chdir(ROOT)
    made = build.extension()
    flags = " ".join(made.extra_compile_args["cxx"])
    assert "-O3" in flags
    assert "-march" not in flags
    assert {Path(source) for source in made.sources} == {
        path.relative_to(ROOT) for path in ROOT.glob("dense/ops/csrc/**/*.cpp")
    }
    assert all(Path(header).is_file() for header in made.depends)


def test_build_in_place__no_compiler__error_and_old_binary_kept(build, monkeypatch):
    """A failed build that takes the working binary with it, or ends in a foreign traceback."""
    folder = Path(build.__file__).parent
    (folder / "_C.abi3.so").write_bytes(b"old")
    (folder / "_C.json").write_text("{}", encoding="utf-8")
    monkeypatch.setenv("CXX", str(folder / "no-such-compiler"))
    monkeypatch.setenv("CC", str(folder / "no-such-compiler"))
    with pytest.raises(OperatorError, match="could not be built") as caught:
        build.build_in_place()
    assert "\n" not in str(caught.value)
    assert (folder / "_C.abi3.so").read_bytes() == b"old"
    assert (folder / "_C.json").is_file()
    assert not list(folder.glob(".build-*"))


@pytest.mark.slow
def test_build_in_place__sources__binary_with_record_that_loads(build):
    """A build whose record names another torch, which is left half installed, or which does not load."""
    folder = Path(build.__file__).parent
    (folder / "_C.old.so").write_bytes(b"old")
    built = build.build_in_place()
    assert [path.name for path in folder.glob("_C*.so")] == [built.name]
    assert not list(folder.glob(".build-*"))
    record = json.loads((folder / "_C.json").read_text(encoding="utf-8"))
    assert record == {"torch": str(torch.__version__), "stable_abi": build.STABLE_ABI, "binary": built.name}
    # Without the package's __init__.py, which would register the operator first.
    code = (
        "import pathlib, sys, torch, types\n"
        "package = sys.modules['dense.ops'] = types.ModuleType('dense.ops')\n"
        f"package.__path__ = [{str(folder)!r}]\n"
        "from dense.ops import library\n"
        f"found = library.load(pathlib.Path({str(folder)!r}), str(torch.__version__))\n"
        "assert found.loaded, found\n"
        "assert library.torch.ops.dense.ms_deform_attn.default\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
