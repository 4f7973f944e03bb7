"""Golden arrays of PixPro: the whole file where the shared data are, else the part of it that the repository holds."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch


class Golden:
    """Arrays by name; a group that the repository does not hold skips the test."""

    def __init__(self, path: Path) -> None:
        self.stored = np.load(path, allow_pickle=False)

    def need(self, group: str) -> None:
        if not any(name.startswith(group) for name in self.stored.files):
            pytest.skip(f"{group}: only among the shared data (DENSE_SHARED)")

    def __getitem__(self, name: str) -> np.ndarray:
        return self.stored[name]

    def __contains__(self, name: str) -> bool:
        return name in self.stored.files

    def tensor(self, name: str) -> torch.Tensor:
        return torch.from_numpy(np.array(self.stored[name]))

    def close(self, name: str, actual: torch.Tensor, tolerance: float) -> None:
        """|a − b| ≤ tolerance · max(1, max|b|)."""
        expected = self.stored[name]
        given = actual.detach().cpu().numpy().reshape(expected.shape)
        distance = np.abs(given.astype(np.float64) - expected).max()
        assert distance <= tolerance * max(1.0, np.abs(expected).max()), f"{name}: {distance:.2e}"


@pytest.fixture(scope="session")
def arrays(golden):
    shared = os.environ.get("DENSE_SHARED", "")
    return Golden(Path(shared) / "golden" / "pixpro.npz" if shared else golden("pixpro_core.npz"))


@pytest.fixture(scope="session")
def tiny():
    """Function: the configuration of a pretraining of a few thousand parameters, with further KEY VALUE pairs."""
    from dense import load_config

    base = ["MODEL.META_ARCHITECTURE", "PixelPretrainer", "MODEL.DEVICE", "cpu", "MODEL.BACKBONE.FREEZE_AT", 0]
    base += ["MODEL.BACKBONE.NAME", "build_narrow_resnet_backbone", "MODEL.RESNETS.DEPTH", 18, "MODEL.RESNETS.NORM", "SyncBN"]
    base += ["MODEL.RESNETS.STEM_OUT_CHANNELS", 8, "MODEL.RESNETS.RES2_OUT_CHANNELS", 8, "SOLVER.MAX_ITER", 10]
    base += ["MODEL.RESNETS.OUT_FEATURES", ["res4"], "PRETRAIN.PROJECTOR_HIDDEN", 32, "PRETRAIN.PROJECTOR_OUT", 16]

    def build(*options):
        return load_config(None, [*base, *options])

    return build


@pytest.fixture(scope="session")
def records():
    """Function: training records of noise, views of ``size`` pixels that overlap."""

    def make(count=4, size=64, seed=0, **more):
        generator = torch.Generator().manual_seed(seed)
        corner = 0.3 * torch.rand(count, 2, 2, generator=generator)
        coords = torch.cat((corner, corner + 0.6), 2)
        views = torch.randint(0, 256, (count, 2, 3, size, size), generator=generator, dtype=torch.uint8)
        return [
            {"views": v, "coords": c, "file_name": str(i), **more} for i, (v, c) in enumerate(zip(views, coords, strict=True))
        ]

    return make
