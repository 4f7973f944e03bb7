"""Run the tests of the CUDA kernels on this machine's GPU; if all pass, record that they have run (dense/ops/cuda_runs.json).

    DENSE_CUDA=1 python -m dense build-ops && python tools/record_cuda_run.py

Until a run is recorded for the present sources, `dense.ops.status()` and the doctor call the kernels "compiled, not yet run".
Exit code: 0 recorded, 1 a test failed or there is nothing to run, 2 wrong usage.
"""

import argparse
import datetime
import json
import subprocess
import sys
from pathlib import Path

import torch

from dense.io import write_json
from dense.ops import cuda, library, status

ROOT = Path(__file__).resolve().parents[1]


def obstacle() -> str:
    """Say why no run can be recorded; empty if one can."""
    if not torch.cuda.is_available():
        return "no GPU is visible. Expected one that torch can use: see `python -m dense.doctor`."
    if not status().loaded or not library.cuda_binary().loaded:
        return f"CUDA kernels: {status().cuda}. Build them first: DENSE_CUDA=1 python -m dense build-ops."
    record = json.loads(cuda.RUNS.with_name("_C_cuda.json").read_text(encoding="utf-8"))
    if record.get("sources") != cuda.source_hash():
        return "the binary is older than its sources. Build it anew: DENSE_CUDA=1 python -m dense build-ops."
    return ""


def main(arguments: list[str] | None = None) -> int:
    """See the module's docstring."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args(arguments)
    reason = obstacle()
    if reason:
        print(f"record_cuda_run: {reason}", file=sys.stderr)
        return 1
    code = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "tests/gpu/test_ms_deform_attn.py"], cwd=ROOT, check=False
    ).returncode
    if code:
        print("record_cuda_run: a test failed, nothing was recorded.", file=sys.stderr)
        return 1
    run = {
        "device": torch.cuda.get_device_name(),
        "capability": ".".join(str(part) for part in torch.cuda.get_device_capability()),
        "torch": str(torch.__version__),
        "date": f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}",
        "sources": cuda.source_hash(),
    }
    write_json(cuda.RUNS, [*cuda.read_runs(), run], indent=1)
    print(f"recorded: {run}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
