"""The floors of the house: what must be importable without what."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# import dense within half a second (the promise); a busy machine gets more, and the test is about torch not being pulled in.
SECONDS = float(os.environ.get("DENSE_TEST_IMPORT_SECONDS", "0.5"))


def run_python(script: str) -> subprocess.CompletedProcess[str]:
    """Run ``script`` in a new interpreter in the repository's root."""
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=120)


def modules_below(folder: str) -> list[str]:
    """Return the names of the modules in ``folder``; new ones are covered without a change here."""
    paths = sorted((ROOT / folder).rglob("*.py"))
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths]
    return [name.removesuffix(".__init__") for name in names if not name.endswith("__main__")]


def test_import_dense__new_interpreter__pulls_in_no_heavy_package() -> None:
    """Catches an import of torch, NumPy or Detectron2 on the way to `import dense`."""
    done = run_python(
        "import sys, dense; print(sorted({'torch', 'numpy', 'detectron2', 'av', 'cv2', 'timm'} & set(sys.modules)))"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_import_dense__new_interpreter__quick() -> None:
    """Catches slow work at import; the best of three, measured as processor time so that other load does not count."""
    script = "import time; t = time.process_time(); import dense; print(time.process_time() - t)"
    assert min(float(run_python(script).stdout) for _ in range(3)) < SECONDS


def test_command_line__help__imports_no_torch() -> None:
    """Catches a command's code being imported before it is called."""
    done = run_python(
        "import sys; from dense.__main__ import main; code = main(['--help']); sys.exit(code or 'torch' in sys.modules)"
    )
    assert done.returncode == 0, done.stderr
    assert "demo-world" in done.stdout


@pytest.mark.parametrize(
    "folder", ["dense/ops", "dense/layers", "dense/structures", "dense/video", "dense/data/formats", "dense/evaluation"]
)
def test_lower_floors__detectron2_blocked__import(folder: str) -> None:
    """Catches a module of the lower floors that needs Detectron2, also through something it imports."""
    names = modules_below(folder)
    assert names, f"{folder}: no modules found"
    script = (
        f"import sys, importlib\nsys.modules['detectron2'] = None\nfor name in {names!r}:\n    importlib.import_module(name)"
    )
    done = run_python(script)
    assert done.returncode == 0, done.stderr[-2000:]
