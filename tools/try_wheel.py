"""Try the wheel where the checkout is not: `make try-wheel`, and `.ci/run` after the tests.

    python tools/try_wheel.py [WHEEL]                  default: the newest in dist/
    python tools/try_wheel.py --light PYTHON [WHEEL]   only the first part, with another Python

1. A new, empty environment with the wheel and its core dependencies: what must work without torch and Detectron2 does.
2. The environment that runs this, the wheel's copy in front of the checkout: a model of a shipped configuration is built.

Exit code: 0 all works, 1 something does not (the last lines say what).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

__all__ = ["main"]

ROOT = Path(__file__).resolve().parent.parent
IMPORT_LIMIT_S = 0.5

_IMPORT = """
import sys, time
start = time.perf_counter()
import dense
took = time.perf_counter() - start
loaded = {"torch", "detectron2"} & set(sys.modules)
assert not loaded, f"import dense imports {loaded}"
assert dense.__file__.startswith(sys.argv[1]), dense.__file__
print(took)
"""

_PARTS = """
import numpy as np
from pathlib import Path
import dense
from dense.data.formats import youtube_vis
from dense.structures import rle
import sys
mask = np.zeros((6, 8), bool)
mask[1:4, 2:7] = True
assert (rle.decode(rle.encode(mask)) == mask).all()
assert len(youtube_vis.read_youtube_vis(sys.argv[1]).videos) == 1
assert (Path(dense.__file__).parent / "share/configs/dvis/ytvis19/minvis_r50.yaml").is_file()
"""

_MODEL = """
import sys, torch, dense, detectron2
assert dense.__file__.startswith(sys.argv[1]), dense.__file__
from dense.ops import status
assert status().loaded, status().reason
dense.load_config("configs/dvis/ytvis19/minvis_r50.yaml")  # by name, from a folder without configs
cfg = dense.load_config("configs/world/minvis_lite0.yaml", ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", ""])
model = dense.build_model(cfg).eval()
with torch.no_grad():
    out = model([{"image": [torch.zeros(3, 64, 96, dtype=torch.uint8)] * 2, "height": 64, "width": 96}])
print(type(model).__name__, sum(p.numel() for p in model.parameters()))
"""


class TrialError(Exception):
    """Something does not work; the message says what and with which output."""


def call(*command: object, folder: Path, expect: int = 0, **extra: str) -> str:
    """Run a command away from the checkout and return its output. Raises: TrialError for another exit code."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON") and k != "VIRTUAL_ENV"}
    words = [str(word) for word in command]
    env = {**kept, "PIP_DISABLE_PIP_VERSION_CHECK": "1", **extra}
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=folder, env=env)
    if done.returncode != expect:
        said = f"{done.stdout}\n{done.stderr}".strip()[-1500:]
        raise TrialError(f"{' '.join(words)[:300]}\nexit code {done.returncode}, expected {expect}:\n{said}")
    return done.stdout


def demand(condition: bool, what: str) -> None:
    """Raises: TrialError if the condition does not hold."""
    if not condition:
        raise TrialError(what)


def write_pair(folder: Path) -> tuple[Path, Path]:
    """Ground truth of one video with one object, and a result that is exactly right."""
    masks = [{"size": [6, 8], "counts": [13, 3, 3, 3, 26]}, {"size": [6, 8], "counts": [19, 3, 3, 3, 20]}]  # column by column
    truth = {
        "videos": [{"id": 1, "width": 8, "height": 6, "length": 2, "file_names": ["a/0.jpg", "a/1.jpg"]}],
        "categories": [{"id": 1, "name": "box"}],
        "annotations": [
            {
                "id": 1,
                "video_id": 1,
                "category_id": 1,
                "iscrowd": 0,
                "segmentations": masks,
                "areas": [6, 6],
                "bboxes": [[2, 1, 2, 3], [3, 1, 2, 3]],
            }
        ],
    }
    result = [{"video_id": 1, "category_id": 1, "score": 0.9, "segmentations": masks}]
    files = folder / "truth.json", folder / "results.json"
    for file, content in zip(files, (truth, result), strict=True):
        file.write_text(json.dumps(content), encoding="utf-8")
    return files


def try_light(wheel: Path, python: str, folder: Path) -> str:
    """The wheel in an empty environment. Returns: one line. Raises: TrialError."""
    venv = folder / "venv"
    call(python, "-m", "venv", venv, folder=folder)
    own, dense = venv / "bin" / "python", venv / "bin" / "dense"
    call(own, "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel, folder=folder)
    absent = call(
        own, "-c", "import importlib.util as u; print(*[n for n in ('torch', 'detectron2') if u.find_spec(n)])", folder=folder
    )
    demand(not absent.strip(), f"the core dependencies bring {absent.strip()}")
    took = min(float(call(own, "-c", _IMPORT, venv, folder=folder)) for _ in range(3))
    demand(took < IMPORT_LIMIT_S, f"import dense: {took:.2f} s, allowed {IMPORT_LIMIT_S} s")
    demand("doctor" in call(dense, "--help", folder=folder), "dense --help: no list of commands")
    told = json.loads(call(dense, "doctor", "--json", folder=folder, expect=1))["findings"]
    missing = {f["name"]: f["remedy"] for f in told if f["state"] == "missing"}
    demand({"torch", "detectron2", "video"} <= set(missing), f"dense doctor: missing are only {sorted(missing)}")
    demand(all(r and "\n" not in r for r in missing.values()), f"dense doctor: not one line of remedy for each: {missing}")
    truth, result = write_pair(folder)
    scores = folder / "scores.json"
    shown = call(dense, "evaluate", "--gt", truth, "--predictions", result, "--json", scores, folder=folder)
    figures = json.loads(scores.read_text(encoding="utf-8"))
    demand(figures["AP"] == 100 and "100.000" in shown, f"dense evaluate: AP {figures['AP']}, expected 100\n{shown}")
    call(own, "-c", _PARTS, truth, folder=folder)
    version = call(own, "-c", "import sys; print(*sys.version_info[:3], sep='.')", folder=folder).strip()
    return f"Python {version}, empty environment: import dense {took * 1e3:.0f} ms, help, doctor, evaluate, formats, structures"


def try_model(wheel: Path, folder: Path) -> str:
    """The wheel's copy before the checkout's in this environment. Returns: one line. Raises: TrialError."""
    site = folder / "site"
    call(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel, folder=folder)
    built = call(sys.executable, "-c", _MODEL, site, folder=folder, PYTHONPATH=str(site), OMP_NUM_THREADS="1")
    return f"this environment: the wheel's copy builds and runs {built.strip().splitlines()[-1]} parameters"


def main(arguments: list[str] | None = None) -> int:
    """Run both parts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", nargs="?", metavar="WHEEL", type=Path, help="default: the newest in dist/")
    parser.add_argument("--light", metavar="PYTHON", help="only the first part, with this Python")
    options = parser.parse_args(arguments)
    wheels = sorted((ROOT / "dist").glob("dense_toolbox-*.whl"), key=lambda p: p.stat().st_mtime)
    wheel = options.wheel or (wheels[-1] if wheels else None)
    if wheel is None or not wheel.is_file():
        print(f"try_wheel: {wheel or 'dist/'}: no wheel here. `make wheel` builds it.", file=sys.stderr)
        return 1
    start = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="dense-wheel-") as name:
            folder = Path(name).resolve()
            print(try_light(wheel.resolve(), options.light or sys.executable, folder), flush=True)
            if not options.light:
                print(try_model(wheel.resolve(), folder), flush=True)
    except TrialError as error:
        print(f"try_wheel: {wheel.name}: {error}", file=sys.stderr)
        return 1
    print(f"{wheel.name}: works ({time.monotonic() - start:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
