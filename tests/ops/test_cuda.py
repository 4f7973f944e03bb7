"""The CUDA binary: refused where it does not fit, described honestly, and compiled where nvcc is."""

import importlib.util
import json
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from dense.ops import build, cuda, library, ms_deform_attn, status

ROOT = Path(__file__).resolve().parents[2]
RECORD = {"torch": "2.14.1+cu130", "stable_abi": "2.10", "cuda": "13.0", "architectures": ["7.5", "12.0+PTX"], "sources": "abc"}


def code_in(content):
    """Kinds and architectures of the device code in a binary, from its own tables (cuobjdump is not part of every toolkit)."""
    found, start = set(), content.find(b"\x50\xed\x55\xba")
    while start >= 0:
        size, length = struct.unpack_from("<HQ", content, start + 6)
        entry, end = start + size, start + size + length
        while entry < end:
            kind, size, length = struct.unpack_from("<HxxIQ", content, entry)
            found.add(({1: "ptx", 2: "elf"}.get(kind, kind), *struct.unpack_from("<I", content, entry + 28)))
            entry += size + length
        start = content.find(b"\x50\xed\x55\xba", end)
    return found


def folder_with(tmp_path, record):
    (tmp_path / "_C_cuda.abi3.so").write_bytes(b"not a library")
    if record is not None:
        (tmp_path / "_C_cuda.json").write_text(json.dumps(record), encoding="utf-8")
    return tmp_path


@pytest.mark.parametrize(
    ("record", "torch_version", "cuda_version", "words"),
    [
        (RECORD, "2.14.1+cpu", None, "this torch is built without CUDA"),
        (RECORD, "2.14.1+cu126", "12.6", "needs CUDA 13.0, this torch has CUDA 12.6"),
        ({**RECORD, "cuda": None}, "2.14.1", "13.0", "this torch has CUDA 13.0"),
        (RECORD, "2.9.0+cu130", "13.0", "needs torch 2.10 or newer"),
        ({"cuda": "13.0"}, "2.14.1", "13.0", "no readable record _C_cuda.json"),
        (None, "2.14.1", "13.0", "no readable record _C_cuda.json"),
    ],
)
def test_load_cuda__another_torch_or_cuda__refused(tmp_path, monkeypatch, record, torch_version, cuda_version, words):
    """A binary opened on trust beside another CUDA runtime."""
    monkeypatch.setattr(torch.ops, "load_library", lambda path: pytest.fail("was opened"))
    found = library.load_cuda(folder_with(tmp_path, record), torch_version, cuda_version)
    assert not found.loaded
    assert words in found.text


def test_load_cuda__torn_file_or_none__reason(tmp_path):
    """A damaged file that stops `import dense.ops`, or a missing one that is taken for a damaged one."""
    assert library.load_cuda(tmp_path, "2.14.1", "13.0") == cuda.CudaBinary(False, "not compiled")
    found = library.load_cuda(folder_with(tmp_path, RECORD), "2.14.1", "13.0")
    assert not found.loaded
    assert "could not be loaded" in found.text


def test_load_cuda__switched_off__not_opened(tmp_path, monkeypatch):
    """A switch without effect."""
    monkeypatch.setenv("DENSE_CUDA", "0")
    monkeypatch.setattr(torch.ops, "load_library", lambda path: pytest.fail("was opened"))
    assert "DENSE_CUDA is 0" in library.load_cuda(folder_with(tmp_path, RECORD), "2.14.1", "13.0").text


def test_load_cuda__newer_minor_version_of_cuda__opened(tmp_path, monkeypatch):
    """A refusal where CUDA promises that it works."""
    opened = []
    monkeypatch.setattr(torch.ops, "load_library", opened.append)
    found = library.load_cuda(folder_with(tmp_path, RECORD), "2.15.0+cu132", "13.2")
    assert found.loaded
    assert found.architectures == ("7.5", "12.0+PTX")
    assert opened == [str(tmp_path / "_C_cuda.abi3.so")]


def test_load__only_the_cuda_binary__not_taken_for_the_other(tmp_path):
    """A pattern for file names that fits both."""
    assert not library.load(folder_with(tmp_path, RECORD), "2.14.1").loaded
    assert library.load(tmp_path, "2.14.1").reason == "the operators have not been compiled"


def test_describe__runs_of_these_or_other_sources__called_run_or_not(tmp_path, monkeypatch):
    """Kernels that are called tried although only an older version of them was."""
    runs = [{"device": "A", "date": "2027-01-01", "sources": "old"}]
    monkeypatch.setattr(cuda, "read_runs", lambda: runs)
    assert "compiled, not yet run" in cuda.describe(RECORD).text
    runs.append({"device": "NVIDIA H100", "date": "2027-02-01", "sources": "abc"})
    assert "run on NVIDIA H100 (2027-02-01)" in cuda.describe(RECORD).text


def test_read_runs__damaged_or_missing__empty(tmp_path):
    """A status that raises because of a text file."""
    for text in ("{", "{}", "[1]", ""):
        (tmp_path / "runs.json").write_text(text, encoding="utf-8")
        assert cuda.read_runs(tmp_path / "runs.json") == []
    assert cuda.read_runs(tmp_path / "none.json") == []
    assert isinstance(json.loads(cuda.RUNS.read_text(encoding="utf-8")), list)


@pytest.mark.parametrize(
    ("architectures", "capability", "runs"),
    [
        (["8.0"], (8, 0), True),
        (["8.0"], (8, 6), True),
        (["8.6"], (8, 0), False),
        (["8.0"], (9, 0), False),
        (["8.0", "8.0+PTX"], (9, 0), True),
        (["12.0+PTX"], (9, 0), False),
        (["7.5", "12.0", "12.0+PTX"], (12, 1), True),
        (["9.0a"], (9, 0), True),
        (["9.0a"], (9, 1), False),
        ([], (9, 0), False),
    ],
)
def test_covers__architectures_and_device__cuda_rules(architectures, capability, runs):
    """A kernel launched on a GPU that it has no code for, or a fallback where it has."""
    assert cuda.covers(architectures, capability) == runs


def test_has_kernel__no_code_for_the_gpu__fallback_and_one_warning(monkeypatch):
    """A launch that fails, or a silent slow path, on a GPU that the binary was not compiled for."""
    monkeypatch.setattr(torch._C, "_dispatch_has_kernel_for_dispatch_key", lambda *_: True)
    monkeypatch.setattr(library, "status", lambda: library.OperatorStatus(True, "loaded", "2.14.1", "compiled, not yet run"))
    monkeypatch.setattr(library, "cuda_binary", lambda: cuda.CudaBinary(True, "compiled", ("8.0",)))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "NVIDIA H100")
    assert not library.has_kernel.__wrapped__("ms_deform_attn", "cuda:0")
    with pytest.warns(RuntimeWarning, match=r"no code for NVIDIA H100 \(9\.0\).*DENSE_CUDA=1"):
        library.warn_once.__wrapped__("cuda")
    monkeypatch.setattr(library, "cuda_binary", lambda: cuda.CudaBinary(True, "compiled", ("9.0",)))
    assert library.has_kernel.__wrapped__("ms_deform_attn", "cuda:0")


def test_warn_once__no_cuda_kernels__says_how_to_build_them(monkeypatch):
    """A GPU that is slow without anybody knowing why."""
    monkeypatch.setattr(library, "status", lambda: library.OperatorStatus(True, "loaded", "2.14.1", "not compiled"))
    monkeypatch.setattr(library, "cuda_binary", lambda: cuda.CudaBinary(False, "not compiled"))
    with pytest.warns(RuntimeWarning, match="CUDA kernels: not compiled.*DENSE_CUDA=1"):
        library.warn_once.__wrapped__("cuda")


def test_status__this_process__tells_of_cuda():
    """A doctor that has nothing to say of the CUDA kernels."""
    if status().loaded:
        assert re.match("not compiled|not loaded: |compiled, (not yet run|run on )", status().cuda)


def test_source_hash__build_and_status__the_same():
    """Two texts of one function that drift apart, so that no recorded run ever counts."""
    assert build._source_hash() == cuda.source_hash()


@pytest.mark.parametrize(
    ("wish", "gpu", "wanted"), [("", False, False), ("", True, True), ("0", True, False), ("1", False, True)]
)
def test_wants_cuda__switch_and_gpu__as_documented(monkeypatch, wish, gpu, wanted):
    """A set-up that takes minutes for kernels nobody can use, or leaves them out where they were asked for."""
    monkeypatch.setenv("DENSE_CUDA", wish)
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(build, "_cuda_home", lambda: Path("/toolkit"))
    assert build._wants_cuda() == wanted
    monkeypatch.setattr(torch.version, "cuda", None)
    assert not build._wants_cuda()


@pytest.mark.parametrize(
    ("home", "architectures", "words"), [(None, "8.0", "no CUDA toolkit was found"), ("real", "8.9;nonsense", "nonsense")]
)
def test_extensions__cuda_asked_for_and_impossible__warning_and_the_rest(monkeypatch, home, architectures, words):
    """A toolkit that is missing, or a list of GPUs mistyped, which stops the CPU kernels from being built, or says nothing."""
    if home and build._cuda_home() is None:
        pytest.skip("no CUDA toolkit")
    if home is None:
        monkeypatch.setattr(build, "_cuda_home", lambda: None)
    monkeypatch.setenv("DENSE_CUDA", "1")
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", architectures)
    monkeypatch.setenv("CUDA_HOME", os.environ.get("CUDA_HOME", ""))
    with pytest.warns(RuntimeWarning, match=f"will not be built.*{words}"):
        made = build.extensions()
    assert [one.name for one in made] == ["dense.ops._C"]


@pytest.mark.parametrize("missing", ["headers", "nvcc"])
def test_cuda_home__script_elsewhere__toolkit_with_headers_only(tmp_path, monkeypatch, missing):
    """A folder taken for the toolkit because a script named nvcc lies in it: the compiler then finds no headers."""
    toolkit, decoy = tmp_path / "toolkit", tmp_path / "decoy"
    for folder in (toolkit, decoy):
        (folder / "bin").mkdir(parents=True)
        (folder / "include").mkdir()
        for file in ("bin/nvcc", "include/cuda_runtime.h"):
            (folder / file).touch()
    (decoy / ("bin/nvcc" if missing == "nvcc" else "include/cuda_runtime.h")).unlink()
    monkeypatch.setenv("CUDA_HOME", str(decoy))
    monkeypatch.setenv("CUDA_PATH", str(toolkit))
    assert build._cuda_home() == toolkit


@pytest.fixture
def copied_build(tmp_path):
    """The module build.py in a copy of dense/ops."""
    folder = tmp_path / "ops"
    shutil.copytree(ROOT / "dense" / "ops", folder, ignore=shutil.ignore_patterns("_C*", "__pycache__", ".build-*"))
    spec = importlib.util.spec_from_file_location("build_copy", folder / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler")
def test_build_in_place__cuda_source_refused__the_other_binary_and_one_warning(copied_build, monkeypatch, caplog):
    """A toolkit that does not work and takes the CPU kernels with it, or a CUDA binary of older sources left behind."""
    from setuptools import Extension

    folder = Path(copied_build.__file__).parent
    (folder / "good.cpp").write_text('extern "C" int good() { return 1; }\n', encoding="utf-8")
    (folder / "bad.cpp").write_text("#error no such GPU\n", encoding="utf-8")
    for name in ("_C_cuda.abi3.so", "_C_cuda.json", "_C.old.so"):
        (folder / name).write_bytes(b"old")
    made = [
        Extension(f"dense.ops.{name}", [str(folder / source)], py_limited_api=True)
        for name, source in (("_C_cuda", "bad.cpp"), ("_C", "good.cpp"))
    ]
    monkeypatch.setattr(copied_build, "extensions", lambda root: made)
    assert copied_build.build_in_place() == folder / "_C.abi3.so"
    assert sorted(path.name for path in folder.glob("_C*")) == ["_C.abi3.so", "_C.json"]
    assert caplog.text.count("the CUDA kernels were not built") == 1


@pytest.mark.slow
@pytest.mark.skipif(build._cuda_home() is None or torch.version.cuda is None, reason="no CUDA toolkit, or a torch without CUDA")
def test_cuda_extension__nvcc_present__binary_with_code_and_ptx_that_loads(copied_build, monkeypatch):
    """A source that nvcc refuses, code for other GPUs than recorded, a symbol that is missing when it is loaded."""
    folder = Path(copied_build.__file__).parent
    monkeypatch.setenv("DENSE_CUDA", "1")
    monkeypatch.setenv("TORCH_CUDA_ARCH_LIST", "7.5+PTX")
    copied_build.build_in_place()
    binary = folder / "_C_cuda.abi3.so"
    assert binary.is_file()
    record = json.loads((folder / "_C_cuda.json").read_text(encoding="utf-8"))
    assert record["architectures"] == ["7.5", "7.5+PTX"]
    assert record["cuda"].split(".")[0] == torch.version.cuda.split(".")[0]
    content = binary.read_bytes()
    assert b"forward_kernel" in content
    assert b"backward_kernel" in content
    assert code_in(content) == {("ptx", 75), ("elf", 75)}
    code = (
        "import torch\n"
        f"torch.ops.load_library({str(folder / '_C.abi3.so')!r})\n"
        f"torch.ops.load_library({str(binary)!r})\n"
        "for name in ('ms_deform_attn', 'ms_deform_attn_backward'):\n"
        "    assert torch._C._dispatch_has_kernel_for_dispatch_key(f'dense::{name}', 'CUDA'), name\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr


class Backwards(TorchDispatchMode):
    """Notes what the backward operator is called with."""

    def __init__(self):
        super().__init__()
        self.deterministic = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        if function is torch.ops.dense.ms_deform_attn_backward.default:
            self.deterministic.append(len(args) > 5 and args[5])
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("wanted", [False, True])
def test_backward__deterministic_algorithms__kernel_is_told(wanted):
    """Atomic additions although they were forbidden: the kernel cannot ask for torch's switch itself."""
    value, weights = torch.ones(1, 4, 1, 2, requires_grad=True), torch.ones(1, 1, 1, 1, 1)
    output = ms_deform_attn(value, [(2, 2)], torch.full((1, 1, 1, 1, 1, 2), 0.5), weights)
    torch.use_deterministic_algorithms(wanted)
    try:
        with Backwards() as calls:
            torch.autograd.grad(output.sum(), value)
    finally:
        torch.use_deterministic_algorithms(False)
    if status().loaded:
        assert calls.deterministic == [wanted]
