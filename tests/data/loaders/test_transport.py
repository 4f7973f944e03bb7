"""Packing a batch into one tensor and back."""

import numpy as np
import torch

from dense.data.loaders.clip_dataset import FailedSample
from dense.data.loaders.transport import pack, unpack
from dense.data.mappers import FrameTargets
from dense.errors import DataError


def test_pack_unpack__nested_batch__comes_back_equal_and_apart():
    """Values that move, overlap, lose their dtype, or empty tensors that fail."""
    error = DataError("broken")
    batch = [
        {
            "image": [torch.arange(7, dtype=torch.uint8), torch.zeros(3, 0, 2)],
            "pair": (torch.tensor(2.5, dtype=torch.float64), "text"),
            "targets": FrameTargets(torch.tensor([3]), torch.tensor([-1]), torch.tensor([[[True, False]]])),
            "view": torch.arange(6).view(2, 3).T,
            "array": np.arange(3),
        },
        FailedSample(error),
    ]
    packed = pack(batch)
    assert packed.storage.dtype == torch.uint8
    clip, failed = unpack(packed)
    assert failed.error is error
    assert torch.equal(clip["image"][0], batch[0]["image"][0])
    assert clip["image"][1].shape == (3, 0, 2)
    assert clip["pair"][0].item() == 2.5
    assert clip["pair"][0].dtype == torch.float64
    assert clip["pair"][1] == "text"
    assert torch.equal(clip["view"], batch[0]["view"])
    assert clip["array"] is batch[0]["array"]
    assert isinstance(clip["targets"], FrameTargets)
    assert clip["targets"].masks.tolist() == [[[True, False]]]
    clip["image"][0].fill_(255)
    assert clip["targets"].labels.tolist() == [3]
    assert torch.equal(clip["view"], batch[0]["view"])


def test_pack_unpack__no_tensor_at_all__comes_back():
    """A batch of failures only."""
    assert unpack(pack([1, "a", {"b": None}])) == [1, "a", {"b": None}]
