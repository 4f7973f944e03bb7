"""Batch norm over processes in one process; two processes are in tests/engine/test_pretraining_runs.py."""

import pytest
import torch
from torch import nn

from dense.layers import SharedBatchNorm, process_count, share_statistics, sum_over_processes


def test_share_statistics__nested_model__same_tensors_and_numbers():
    """Catches parameters that an optimizer already holds replaced by others, settings lost, other norms touched."""
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Sequential(nn.SyncBatchNorm(4, eps=1e-3, momentum=0.2)), nn.BatchNorm2d(4))
    model[1].eval()
    before = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert share_statistics(model) is model
    norm = model[1][0]
    assert isinstance(norm, SharedBatchNorm)
    assert (norm.eps, norm.momentum, norm.training) == (1e-3, 0.2, False)
    assert type(model[2]) is nn.BatchNorm2d
    after = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    assert after.keys() == before.keys()
    assert all(after[key] is value for key, value in before.items())


def test_share_statistics__norm_without_parameters_or_statistics__keeps_none():
    """Catches a norm that gains weights."""
    norm = share_statistics(nn.SyncBatchNorm(4, affine=False, track_running_stats=False))
    assert isinstance(norm, SharedBatchNorm)
    assert not norm.state_dict()
    x = torch.randn(2, 4, 3, 3)
    torch.testing.assert_close(norm(x), nn.BatchNorm2d(4, affine=False, track_running_stats=False)(x))


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 3), (5, 4, 3, 2, 2)])
def test_shared_batch_norm__any_number_of_dimensions__like_torch(shape):
    """Catches a layer that takes images only; its predecessor took everything that SyncBatchNorm takes."""
    x = torch.randn(shape)
    kind = {2: nn.BatchNorm1d, 3: nn.BatchNorm1d, 5: nn.BatchNorm3d}[len(shape)]
    torch.testing.assert_close(SharedBatchNorm(4)(x), kind(4)(x))
    with pytest.raises(ValueError, match=r"expected \(B, C"):
        SharedBatchNorm(4)(x[0, :, 0] if len(shape) == 3 else torch.zeros(4))


def test_sum_over_processes__alone__the_tensor_itself():
    """Catches a need for torch.distributed in a single process."""
    x = torch.ones(2, requires_grad=True)
    assert sum_over_processes(x) is x
    assert process_count() == 1
