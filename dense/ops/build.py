"""Building the compiled operators: the extensions for ``setup.py``, and ``build_in_place`` for ``dense build-ops``.

Two binaries: ``dense.ops._C`` with the schema and the CPU kernels, and ``dense.ops._C_cuda``. The latter is built where nvcc, a
torch for CUDA and a GPU are; DENSE_CUDA=1 builds it without a GPU, DENSE_CUDA=0 never. A failure leaves it out, with a warning.
TORCH_CUDA_ARCH_LIST names the GPUs to compile for, MAX_JOBS how many of them at once.

Standard library and torch only, torch inside the functions: ``setup.py`` may load this file by its path, before an install.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

__all__ = ["ARCHITECTURES", "STABLE_ABI", "build_command", "build_in_place", "cuda_extension", "extension", "extensions"]

STABLE_ABI = "2.10"  # oldest torch that the binary works with: the first whose stable ABI has parallel_for
_TARGET = "0x020a000000000000"  # the same for the compiler
_OPS = Path(__file__).resolve().parent
_SOURCES = ("csrc/ms_deform_attn.cpp", "csrc/cpu/ms_deform_attn_kernel.cpp")
_SHARED = ("csrc/ms_deform_attn_checks.h", "csrc/ms_deform_attn_corners.h")
_HEADERS = ("csrc/cpu/ms_deform_attn_problem.h", "csrc/cpu/ms_deform_attn_loops.inl", *_SHARED)
_CUDA_SOURCES = ("csrc/cuda/ms_deform_attn_cuda.cu",)  # another stem than the .cpp, or their object files would collide
_CUDA_HEADERS = ("csrc/cuda/ms_deform_attn_item.h", *_SHARED)
_CODE = r"code=(sm|compute)_(\d+)(\d[a-z]?)"  # in flags of nvcc
ARCHITECTURES = "7.5;8.0;8.6;8.9;9.0;10.0;12.0+PTX"  # compute capabilities; PTX serves what comes later


def extension(root: str | Path = "dense/ops") -> Any:  # noqa: ANN401  a setuptools Extension, imported only here
    """Describe the binary ``dense.ops._C`` for setuptools; needs torch to be installed.

    No ``-march``: the inner loops are compiled for the baseline and for AVX2 and one is picked at run time, so a wheel works on
    old processors. The flags are those of GCC and Clang.

    Args:
        root: folder of the operators; the default suits a ``setup.py`` at the root of the repository (which must be relative).
    """
    from torch.utils.cpp_extension import CppExtension

    return CppExtension(
        "dense.ops._C",
        [str(Path(root) / source) for source in _SOURCES],
        depends=[str(Path(root) / header) for header in _HEADERS],
        define_macros=[("TORCH_TARGET_VERSION", _TARGET)],
        extra_compile_args={"cxx": ["-O3", "-g0", "-fvisibility=hidden", "-Wno-psabi"]},
        py_limited_api=True,  # holds no Python at all: loaded by torch.ops.load_library
    )


def extensions(root: str | Path = "dense/ops") -> list[Any]:
    """Describe all binaries to build here: the CPU's, and CUDA's where it can be used or is asked for.

    Warns if CUDA's is asked for and cannot be built.
    """
    found, reason = [extension(root)], ""
    try:
        if _wants_cuda():
            found.append(cuda_extension(root))
        elif os.environ.get("DENSE_CUDA") == "1":
            reason = "DENSE_CUDA is 1, but torch is built without CUDA or no CUDA toolkit was found"
    except (OSError, ValueError, LookupError, AttributeError, subprocess.SubprocessError) as error:
        reason = f"{type(error).__name__}: {error}"
    if reason:
        text = f"the CUDA kernels will not be built ({reason}). Expected CUDA_HOME, TORCH_CUDA_ARCH_LIST=8.0;9.0+PTX"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
    return found


def cuda_extension(root: str | Path = "dense/ops") -> Any:  # noqa: ANN401  a setuptools Extension, imported only here
    """Describe the binary ``dense.ops._C_cuda``; ``DENSE_CUDA`` is not looked at.

    Raises: OSError if there is no CUDA toolkit; ValueError if TORCH_CUDA_ARCH_LIST has an entry that torch does not know.
    """
    home = _cuda_home()
    if home is None:
        raise OSError(
            "no CUDA toolkit: expected bin/nvcc and the runtime's headers under CUDA_HOME, beside nvcc or /usr/local/cuda"
        )
    os.environ["CUDA_HOME"] = str(home)
    from torch.utils import cpp_extension

    cpp_extension.CUDA_HOME = str(home)  # torch guesses once, at import, and takes a wrapper script for the toolkit
    flags = _architecture_flags(home)
    jobs = os.environ.get("MAX_JOBS") or str(min(8, os.cpu_count() or 1))
    made = cpp_extension.CUDAExtension(
        "dense.ops._C_cuda",
        [str(Path(root) / source) for source in _CUDA_SOURCES],
        depends=[str(Path(root) / header) for header in _CUDA_HEADERS],
        define_macros=[("TORCH_TARGET_VERSION", _TARGET), ("USE_CUDA", None)],
        extra_compile_args={
            "cxx": ["-O3", "-g0"],
            "nvcc": ["-O3", "-Xcompiler", "-fvisibility=hidden", f"--threads={jobs}", *flags],
        },
        py_limited_api=True,
    )
    found = sorted((int(major), minor, kind != "sm") for kind, major, minor in re.findall(_CODE, " ".join(flags)))
    made.record = {  # for _C_cuda.json
        "cuda": _nvcc_says(home, "--version", r"release (\d+\.\d+)")[0],
        "architectures": [f"{major}.{minor}{'+PTX' if ptx else ''}" for major, minor, ptx in found],
        "sources": _source_hash(),
    }
    return made


def _wants_cuda() -> bool:
    import torch

    wish = os.environ.get("DENSE_CUDA")
    if wish == "0" or torch.version.cuda is None or _cuda_home() is None:
        return False
    return wish == "1" or torch.cuda.is_available()


def _cuda_home() -> Path | None:
    """Folder of a CUDA toolkit with both compiler and headers; ``nvcc`` on the PATH may be a link, or a script of another."""
    nvcc = shutil.which("nvcc")
    named = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    if nvcc:
        named[2:2] = [str(Path(nvcc).parents[1]), str(Path(nvcc).resolve().parents[1])]
    for folder in (Path(name) for name in named if name):
        if (folder / "bin" / "nvcc").is_file() and [
            *folder.glob("include/cuda_runtime.h"),
            *folder.glob("targets/*/include/cuda_runtime.h"),
        ]:
            return folder
    return None


def _nvcc_says(home: Path, option: str, pattern: str) -> list[str]:
    output = subprocess.run([str(home / "bin" / "nvcc"), option], capture_output=True, text=True, check=True).stdout
    return re.findall(pattern, output)


def _architecture_flags(home: Path) -> list[str]:
    """Flags of nvcc for TORCH_CUDA_ARCH_LIST; without it, for what this nvcc knows of ARCHITECTURES, the newest with PTX."""
    from torch.utils import cpp_extension

    wish = os.environ.get("TORCH_CUDA_ARCH_LIST")
    if not wish:
        known = set(_nvcc_says(home, "--list-gpu-code", r"sm_(\d+)\b"))
        names = [name for name in ARCHITECTURES.removesuffix("+PTX").split(";") if name.replace(".", "") in known]
        os.environ["TORCH_CUDA_ARCH_LIST"] = ";".join(names) + "+PTX"
    try:
        return cpp_extension._get_cuda_arch_flags()  # type: ignore[no-any-return]  # the only parser of torch's own names
    finally:
        if not wish:
            os.environ.pop("TORCH_CUDA_ARCH_LIST", None)


def _source_hash() -> str:
    """As dense.ops.cuda.source_hash, which cannot be imported before the operators are built; a test holds them together."""
    total = hashlib.sha256()
    for path in sorted([*_OPS.glob("csrc/cuda/*"), *_OPS.glob("csrc/*.h")]):
        total.update(path.name.encode() + b"\0" + path.read_bytes())
    return total.hexdigest()[:16]


def build_command(*, optional: bool = True) -> type:
    """Make the ``build_ext`` command for ``cmdclass``: builds each binary, then writes a record such as ``_C.json`` beside it.

    A CUDA binary that cannot be built is a warning, and the rest is built.

    Args:
        optional: that holds for the CPU's binary too, since the toolbox also works without; False lets the error through.
    """
    import torch
    from torch.utils.cpp_extension import BuildExtension

    class BuildOperators(BuildExtension):
        """``build_ext`` that records the torch version each binary was built for."""

        extensions: list[Any]
        compiler: Any

        def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  handed through
            super().__init__(*args, **{**kwargs, "use_ninja": False})  # two files; and its errors are not those of setuptools

        def run(self) -> None:
            wanted, built, compiler = self.extensions, [], self.compiler
            for self.extensions in [[one] for one in wanted]:  # one by one: what goes wrong with CUDA stops nothing else
                self.compiler = compiler  # a run replaces the name by an object
                try:
                    super().run()
                except Exception as error:  # compilers fail in many ways; each leaves the fallback
                    is_cuda = self.extensions[0].name.endswith("_cuda")
                    if not (optional or is_cuda):
                        raise
                    self.warn(
                        f"the {'CUDA kernels' if is_cuda else 'compiled operators'} were not built ({error}); "
                        "plain PyTorch is used instead, more slowly"
                    )
                else:
                    self.record(self.extensions[0])
                    built += self.extensions
            self.extensions = built  # what setuptools copies and lists

        def record(self, built: Any) -> None:  # noqa: ANN401  an Extension
            path = Path(self.get_ext_fullpath(built.name))
            record = {"torch": str(torch.__version__), "stable_abi": STABLE_ABI, "binary": path.name}
            text = json.dumps({**record, **getattr(built, "record", {})}) + "\n"
            path.with_name(f"{path.name.partition('.')[0]}.json").write_text(text, encoding="utf-8")

    return BuildOperators


def build_in_place() -> Path:
    """Compile the operators into ``dense/ops`` (20 seconds, with CUDA a minute); a process with the old ones open keeps them.

    Returns: path of the CPU's binary.
    Raises: OperatorError if there is no compiler, it fails (its messages go to stderr), or the folder cannot be written to.
    """
    from setuptools import Distribution

    from dense.errors import OperatorError

    try:
        scratch = tempfile.mkdtemp(prefix=".build-", dir=_OPS)  # beside the target, so that a rename moves the binary
    except OSError as error:
        raise OperatorError(
            f"{_OPS}: cannot be written ({error.strerror}). Build as a user who may, or install with --user."
        ) from error
    try:
        distribution = Distribution({"name": "dense-ops", "ext_modules": extensions(_OPS)})
        command = build_command(optional=False)(distribution)
        command.build_lib = command.build_temp = scratch
        command.ensure_finalized()
        command.run()
        made = {name: Path(command.get_ext_fullpath(f"dense.ops.{name}")) for name in ("_C_cuda", "_C")}
        targets = {name: _install(name, path) for name, path in made.items()}
        return targets["_C"]
    except Exception as error:
        message = (
            f"the compiled operators could not be built ({error}). Expected g++ or clang++, or the environment variable CXX; "
        )
        raise OperatorError(
            message + "install one and repeat, or go on without: plain PyTorch is used, more slowly."
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _install(name: str, built: Path) -> Path:
    """Put a fresh binary and its record into place; in between, a binary without record is not loaded.

    One that was not built this time is removed: what is left of earlier sources need not fit the others.
    """
    record, target = _OPS / f"{name}.json", _OPS / built.name
    record.unlink(missing_ok=True)
    for old in _OPS.glob(f"{name}.*so"):
        if old != target or not built.is_file():
            old.unlink()
    if built.is_file():
        built.replace(target)
        built.with_name(record.name).replace(record)
    return target
