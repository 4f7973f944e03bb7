"""Momentum copies: golden schedule, parameters but not buffers, one update per optimizer step."""

import numpy as np
import torch
from torch import nn

from dense import build_model
from dense.projects.pixpro.momentum import Momentum, frozen_copy, momentum_at


def test_momentum_at__golden_table__same_values(arrays):
    """Catches a schedule off by one step, or of another shape."""
    for start, _, _, _, steps, step, value in arrays["momentum.m0_instances_batch_epochs_K_k_value"]:
        assert abs(momentum_at(start, int(step), int(steps)) - value) < 1e-9


def test_momentum_at__ends__start_and_one():
    """Catches a schedule that passes 1 and comes back after the last step."""
    assert momentum_at(0.97, 0, 50) == 0.97
    assert momentum_at(0.97, 50, 50) == 1
    assert momentum_at(0.97, 80, 50) == 1


def test_momentum__update__moves_parameters_and_leaves_statistics():
    """Catches averaged statistics of norms, and a copy that gradients train."""
    online = nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))
    target = frozen_copy(online)
    before = {name: value.clone() for name, value in target.state_dict().items()}
    with torch.no_grad():
        for value in online.state_dict().values():
            value.add_(1)
    Momentum([(online, target)], 0.75, 10).update(0)
    for name, value in target.state_dict().items():
        moved = 0.25 if name in dict(target.named_parameters()) else 0
        np.testing.assert_allclose(value.numpy(), before[name].numpy() + moved, atol=1e-6)
    assert not any(p.requires_grad for p in target.parameters())


def test_pretrainer__micro_batches_of_one_step__one_update(tiny, records):
    """Catches an update per micro-batch, or none after a step in which nothing was said."""
    model, batch = build_model(tiny("PRETRAIN.MOMENTUM", 0.5)), records()
    weight, copy = model.projector.linear1.weight, model.target_projector.linear1.weight
    with torch.no_grad():
        weight.add_(1)
    start = copy.clone()
    model(batch)
    torch.testing.assert_close(copy, start)  # nobody began a step
    model.begin_step(0)
    for _ in range(3):
        model(batch)
        torch.testing.assert_close(copy, start + 0.5)
    model.begin_step(10)  # the last step of the schedule: m = 1
    model(batch)
    torch.testing.assert_close(copy, start + 0.5)
