"""Fixtures of all tests: shared data, golden files, fixed seeds, one torch thread per worker."""

import importlib.util
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

HERE = Path(__file__).resolve().parent
# Before torch is imported anywhere: two workers with as many threads as cores each would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the shared data, from the environment variable DENSE_SHARED; the test is skipped without it."""
    folder = os.environ.get("DENSE_SHARED", "")
    if not folder:
        pytest.skip("DENSE_SHARED is not set")
    path = Path(folder)
    if not path.is_dir():  # a wrong path would otherwise silently skip half of the tests
        pytest.fail(f"DENSE_SHARED={folder}: no such folder. Correct or unset the variable.")
    return path


@pytest.fixture(scope="session")
def golden() -> Callable[[str], Path]:
    """Function from a name below tests/golden to its path; a missing file fails the test, it never skips it."""

    def find(name: str) -> Path:
        path = HERE / "golden" / name
        if not path.exists():
            pytest.fail(f"tests/golden/{name}: no such file. It belongs to the repository: git checkout tests/golden")
        return path

    return find


@pytest.fixture(scope="session")
def parity() -> ModuleType:
    """``tests/golden/fill.py``: the rule for the weights behind the golden arrays, and readers of them."""
    specification = importlib.util.spec_from_file_location("golden_fill", HERE / "golden" / "fill.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.fixture
def frugal():
    """Context in which little memory (megabytes, Linux only) and time (seconds) may be taken: for files that ask for a lot."""

    def status(field: str) -> int:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(field):
                return int(line.split()[1]) // 1024
        return 0

    @contextmanager
    def watch(megabytes: int = 300, seconds: float = 10) -> Iterator[None]:
        is_linux = Path("/proc/self/clear_refs").exists()
        if is_linux:
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak so far
        before, start = status("VmRSS") if is_linux else 0, time.perf_counter()
        yield
        assert time.perf_counter() - start < seconds
        assert not is_linux or status("VmHWM") - before < megabytes

    return watch


@pytest.fixture(autouse=True)
def _same_every_time() -> None:
    """Seed what draws numbers and hold torch to one thread; torch and NumPy only if something has imported them already."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        torch = sys.modules["torch"]
        torch.manual_seed(0)
        if torch.get_num_threads() != 1 and os.environ.get("PYTEST_XDIST_WORKER"):
            torch.set_num_threads(1)
