"""Two processes with parts of a batch against one with all of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dense.modeling.objectives.cacr import CACR, CACRMomentum
from dense.modeling.objectives.clip import CLIP
from dense.modeling.objectives.dcl import DCL, DCLW
from dense.modeling.objectives.focal_contrastive import FocalContrastive
from dense.modeling.objectives.infonce import InfoNCE
from dense.modeling.objectives.multiview import MVDHEL, MVInfoNCE
from dense.modeling.objectives.negclip import DeGLA, NegCLIP
from dense.modeling.objectives.swav import SwAV

SIZE, DIM, TAU = 8, 6, 0.2
SPLITS = (4, 3)  # samples of the first process


def swav():
    torch.manual_seed(4)
    return SwAV(prototypes=5, dim=DIM, temperature=TAU).double()


OBJECTIVES = {
    "ntxent": lambda: InfoNCE(temperature=TAU, chunk_size=3),
    "oneway": lambda: InfoNCE(form="oneway", temperature=TAU),
    "queue": lambda: InfoNCE(form="queue", temperature=TAU, queue_size=12, dim=DIM).double(),
    "supcon": lambda: InfoNCE(form="multi_positive", temperature=TAU),
    "dcl": lambda: DCL(temperature=TAU),
    "dclw": lambda: DCLW(temperature=TAU),
    "swav": swav,
    "mv_infonce": lambda: MVInfoNCE(temperature=TAU),
    "mv_dhel": lambda: MVDHEL(temperature=TAU),
    "cacr": lambda: CACR(),
    "cacr_rbf": lambda: CACRMomentum(temperature=TAU),
    "cacr_euclidean": lambda: CACRMomentum(temperature=TAU, cost="euclidean"),
    "clip": lambda: CLIP(temperature=TAU, chunk_size=3),
    "focal": lambda: FocalContrastive(temperature=TAU, chunk_size=3),
    "negclip": lambda: NegCLIP(temperature=TAU),
    "degla": lambda: DeGLA(temperature=TAU, chunk_size=5),
}
LEARNT = ("clip", "focal", "negclip", "degla")


def step(name, part):
    """Two steps of one objective on some samples: loss and gradients of a shared projection (and of learnt parameters)."""
    torch.manual_seed(1)
    inputs = torch.randn(2, 2, SIZE, 4, dtype=torch.float64)
    weights = torch.rand(SIZE, dtype=torch.float64) + 0.5
    seen = torch.rand(2, SIZE) > 0.2
    labels = torch.arange(SIZE) % 3
    projection = torch.randn(4, DIM, dtype=torch.float64, requires_grad=True)
    objective, losses = OBJECTIVES[name](), []
    for given in inputs:
        views = [view[part] @ projection for view in given]
        extra = {"key": views.pop()} if name.startswith("cacr_") else {}
        if name.startswith("mv_"):
            extra["visible"] = seen[:, part]
        if name == "supcon":
            extra["labels"] = labels[part]
        if name in ("negclip", "degla"):
            extra["hard"] = (given[0, part, None] * torch.tensor([[[0.5], [-2.0]]]) + given[1, part, None] ** 2) @ projection
            extra["hard_mask"] = seen.T[part]
            extra["captions"] = labels[part]
            extra["hard_ids"] = torch.stack([labels[part], labels[part] + 1], dim=1)
        if name == "degla":
            extra |= {"teacher_image": views[1].detach(), "teacher_text": views[0].detach()}
        losses.append(objective(views, weights=weights[part], **extra).loss)
    sum(losses).backward()
    gradients = [projection.grad, *(p.grad.double() for p in objective.parameters())]
    return [sum(losses).detach()], gradients


def main(rank, folder):
    """One of two processes: every objective with every split; averages as DistributedDataParallel does."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    found = {}
    for name in OBJECTIVES:
        for split in SPLITS:
            part = slice(0, split) if rank == 0 else slice(split, SIZE)
            numbers = [value for group in step(name, part) for value in group]
            for value in numbers:
                torch.distributed.all_reduce(value)
            found[f"{name} {split}"] = [value / 2 for value in numbers]
    if rank == 0:
        torch.save(found, folder / "found.pth")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """Numbers of two processes, by objective and split."""
    folder = tmp_path_factory.mktemp("processes")
    root = Path(__file__).resolve().parents[3]
    environment = os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"}
    commands = [[sys.executable, __file__, str(rank), str(folder)] for rank in range(2)]
    running = [subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) for command in commands]
    errors = [process.communicate(timeout=60)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0], errors
    return torch.load(folder / "found.pth")


@pytest.mark.parametrize("split", SPLITS, ids=["equal", "unequal"])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_objective__two_processes__loss_and_gradients_of_one(name, split, together):
    """Catches labels without the rank's offset, gradients W times too small, and a lost column half of the gradient."""
    alone = [value for group in step(name, slice(0, SIZE)) for value in group]
    tolerance = 1e-6 if name in LEARNT else 1e-10  # the learnt temperature is float32
    for found, expected in zip(together[f"{name} {split}"], alone, strict=True):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
