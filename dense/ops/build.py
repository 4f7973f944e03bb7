"""Building the compiled operators: the extension for ``setup.py``, and ``build_in_place`` for ``dense build-ops``.

Standard library and torch only, torch inside the functions: ``setup.py`` may load this file by its path, before an install.
"""

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["STABLE_ABI", "build_command", "build_in_place", "extension"]

STABLE_ABI = "2.10"  # oldest torch that the binary works with: the first whose stable ABI has parallel_for
_TARGET = "0x020a000000000000"  # the same for the compiler
_OPS = Path(__file__).resolve().parent
_SOURCES = ("csrc/ms_deform_attn.cpp", "csrc/cpu/ms_deform_attn_kernel.cpp")
_HEADERS = ("csrc/cpu/ms_deform_attn_problem.h", "csrc/cpu/ms_deform_attn_loops.inl")


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


def build_command(*, optional: bool = True) -> type:
    """Make the ``build_ext`` command for ``cmdclass``: builds, then writes ``_C.json`` beside the binary.

    Args:
        optional: a failed build is a warning, since the toolbox also works without; False lets the error through.
    """
    import torch
    from torch.utils.cpp_extension import BuildExtension

    class BuildOperators(BuildExtension):
        """``build_ext`` that records the torch version the binary was built for."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401  handed through
            super().__init__(*args, **{**kwargs, "use_ninja": False})  # two files; and its errors are not those of setuptools

        def run(self) -> None:
            try:
                super().run()
            except Exception as error:  # compilers fail in many ways; each leaves the fallback
                if not optional:
                    raise
                self.warn(f"the compiled operators were not built ({error}); plain PyTorch is used instead, more slowly")
                return
            for built in self.extensions:
                path = Path(self.get_ext_fullpath(built.name))
                record = {"torch": str(torch.__version__), "stable_abi": STABLE_ABI, "binary": path.name}
                path.with_name("_C.json").write_text(json.dumps(record) + "\n", encoding="utf-8")

    return BuildOperators


def build_in_place() -> Path:
    """Compile the operators into ``dense/ops`` (about 20 seconds); a process that has the old binary open keeps it.

    Returns: path of the binary.
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
        distribution = Distribution({"name": "dense-ops", "ext_modules": [extension(_OPS)]})
        command = build_command(optional=False)(distribution)
        command.build_lib = command.build_temp = scratch
        command.ensure_finalized()
        command.run()
        return _install(Path(command.get_ext_fullpath("dense.ops._C")))
    except Exception as error:
        message = (
            f"the compiled operators could not be built ({error}). Expected g++ or clang++, or the environment variable CXX; "
        )
        raise OperatorError(
            message + "install one and repeat, or go on without: plain PyTorch is used, more slowly."
        ) from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _install(built: Path) -> Path:
    """Rename a fresh binary and its record into place; in between, a binary without record is not loaded."""
    record = _OPS / "_C.json"
    record.unlink(missing_ok=True)
    for old in _OPS.glob("_C*.so"):
        if old.name != built.name:
            old.unlink()
    target = built.replace(_OPS / built.name)
    built.with_name("_C.json").replace(record)
    return target
