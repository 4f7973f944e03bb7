"""MinVIS at its official size, built once; stored draws of noisers."""

import json
from pathlib import Path

import pytest
import torch

from dense import build_model, load_checkpoint, load_config

TESTS = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def root():
    """The repository."""
    return TESTS.parent


@pytest.fixture(scope="session")
def manifest():
    """Official state-dict keys and shapes of MinVIS with ResNet-50 on YouTube-VIS 2019."""
    return json.loads((TESTS / "golden" / "manifests" / "MinVIS_R50_ytvis19.json").read_text())


@pytest.fixture(scope="session")
def official_config():
    """Function from overrides to the configuration in the official style."""
    file = TESTS / "data" / "configs" / "MinVIS_R50.yaml"
    return lambda *options: load_config(file, ["MODEL.DEVICE", "cpu", "MODEL.WEIGHTS", "", *options])


@pytest.fixture(scope="session")
def minvis(official_config, manifest, parity):
    """The model with filled weights, in evaluation mode."""
    model = build_model(official_config()).eval()
    load_checkpoint(model, parity.state_dict(manifest), strict=True)
    return model


class ReplayedDraws:
    """Hands out the reference's draws; another kind, order or shape fails the test."""

    def __init__(self, arrays, name="draw"):
        kinds = arrays[f"{name}_kinds"].tolist()
        self.left = [(kind, arrays.tensor(f"{name}{i:02d}")) for i, kind in enumerate(kinds)]

    def _next(self, kind, count):
        assert self.left, f"one draw too many: {kind}"
        stored, value = self.left.pop(0)
        assert stored == kind, f"drew a {kind}, the reference drew a {stored}"
        assert value.numel() == count
        return value.flatten()

    def coin(self):
        return float(self._next("coin", 1))

    def permutation(self, count):
        return self._next("permutation", count)

    def weights(self, count):
        return self._next("weight", count)

    def cuts(self, count, width):
        cut = self._next("cut", count)
        assert 0 <= int(cut.min()) <= int(cut.max()) < width
        return cut


@pytest.fixture
def replayed():
    """Function from stored arrays to the draws in them."""
    return ReplayedDraws


@pytest.fixture
def identity_draws():
    """Draws whose permutation is the reversal and whose coin says noise."""

    class Draws:
        def coin(self):
            return 0.0

        def permutation(self, count):
            return torch.arange(count).flip(0)

        def weights(self, count):
            return torch.linspace(0, 0.99, count)

        def cuts(self, count, width):
            return torch.arange(count) % width

    return Draws()


@pytest.fixture(scope="session")
def build(root):
    """Function from an architecture and further options to a small model; ``reid`` is the decoder with the second half."""

    def make(architecture, *options, reid=True):
        decoder = "ReidentifyingDecoder" if reid else "MaskedDecoder"
        torch.manual_seed(0)
        fixed = ["MODEL.META_ARCHITECTURE", architecture, "MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME", decoder]
        fixed += ["MODEL.MASK_FORMER.REID_BRANCH", reid, "MODEL.TRACKER.DECODER_LAYERS", 2, "MODEL.REFINER.DECODER_LAYERS", 2]
        fixed += ["MODEL.CL_PLUGIN.NUM_NEGATIVES", 15, "SOLVER.MAX_ITER", 10, "INPUT.SAMPLING_FRAME_NUM", 3]
        return build_model(load_config(root / "tests/data/configs/tiny.yaml", [*fixed, *options]))

    return make


@pytest.fixture(scope="session")
def noise():
    """Function from a number of frames to random frames ``(3, h, w)``."""

    def make(count, height=40, width=52, seed=1):
        generator = torch.Generator().manual_seed(seed)
        return [torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8) for _ in range(count)]

    return make
