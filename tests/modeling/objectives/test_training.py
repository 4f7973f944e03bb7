"""A tiny network trained by each objective: it must learn what two noisy views share, and a collapsed run must be noticed."""

import pytest
import torch
from torch import nn

from dense.modeling.objectives import build_objective, objective_node
from dense.modeling.objectives.diagnostics import CollapseWatch, alignment, dimension_std, effective_rank, pair_figures

KEYS = {
    "InfoNCE": {},
    "DCL": {},
    "DCLW": {},
    "SwAV": {"PROTOTYPES": 24, "DIM": 16},
    "MVInfoNCE": {},
    "MVDHEL": {},
    "CACR": {},
    "CLIP": {},
}


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(40, 32), nn.ReLU(), nn.Linear(32, 16))


def views(generator, size=48):
    """Two views: 8 shared numbers, 32 of noise (twice as strong) that differ."""
    shared = torch.randn(size, 8, generator=generator)
    return [torch.cat((shared, 2 * torch.randn(size, 32, generator=generator)), 1) for _ in range(2)]


def state(net):
    """Alignment, rank and in-batch accuracy on new samples."""
    with torch.no_grad():
        rows = [net(view) for view in views(torch.Generator().manual_seed(99), 256)]
    unit = nn.functional.normalize(rows[0], dim=1)
    accuracy = pair_figures(*rows, torch.tensor(1.0))["in_batch_accuracy"]
    return float(alignment(rows)), float(effective_rank(unit)), float(accuracy), float(dimension_std(rows[0]))


@pytest.mark.parametrize("name", KEYS)
def test_objective__hundred_and_fifty_steps__finds_what_the_views_share(name):
    """Catches a wrong sign, and an objective whose optimum is the collapse: all samples in one place."""
    node = objective_node(name)
    for key, value in KEYS[name].items():
        node[key] = value
    net, objective, generator = network(), build_objective(node), torch.Generator().manual_seed(1)
    before = state(net)
    optimizer = torch.optim.Adam([*net.parameters(), *objective.parameters()], lr=3e-3)
    for step in range(150):
        objective.begin_step(step)
        loss = objective([net(view) for view in views(generator)]).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    after = state(net)
    assert after[0] < 0.6 * before[0]  # alignment
    assert after[1] > 5  # effective rank
    assert after[2] > 3 * max(before[2], 1 / 256)  # accuracy


def test_alignment_alone__collapses__warned_once():
    """Catches a watch that does not see a real collapse: the same network with nothing that pushes apart."""
    net, generator, watch = network(), torch.Generator().manual_seed(1), CollapseWatch(256, 16, patience=20)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    warnings = []
    for _ in range(150):
        first, second = (nn.functional.normalize(net(view), dim=1) for view in views(generator))
        optimizer.zero_grad()
        (first - second).square().sum(1).mean().backward()
        optimizer.step()
        figures = state(net)
        warnings.append(watch.update(figures[1], figures[3]))
    assert sum(line is not None for line in warnings) == 1
