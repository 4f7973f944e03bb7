"""``load_checkpoint``: reports, strictness, prefixes, types."""

import logging

import numpy as np
import pytest
import torch

from dense import load_checkpoint
from dense.errors import CheckpointError


def filled(module):
    return {k: torch.full_like(v, 2.0) for k, v in module.state_dict().items()}


def test_load_checkpoint__strict__raises_and_changes_nothing(target):
    """Catches a strict load that has already copied half when it fails; each kind of misfit is tried."""
    before = {k: v.clone() for k, v in target.state_dict().items()}
    full = filled(target)
    misfits = [
        {**full, "extra": torch.zeros(1)},
        {k: v for k, v in full.items() if k != "head.fc.bias"},
        {**full, "head.fc.bias": torch.zeros(6)},
    ]
    for state, word in zip(misfits, ("1 unused", "1 missing", r"\[6\] instead of \[5\]"), strict=True):
        with pytest.raises(CheckpointError, match=word):
            load_checkpoint(target, state, strict=True)
        assert all(v.equal(before[k]) for k, v in target.state_dict().items())
    assert load_checkpoint(target, full, strict=True).summary() == "4 keys loaded"


@pytest.mark.parametrize("prefix", ["module.", "model.", "_orig_mod.", "module._orig_mod."])
def test_load_checkpoint__prefixed_state_dict__fits(target, prefix):
    """Catches prefixes of data-parallel, Lightning and compiled models."""
    report = load_checkpoint(target, {f"{prefix}{k}": v for k, v in filled(target).items()})
    assert len(report.loaded) == 4
    assert target.head.fc.bias.tolist() == [2.0] * 5


def test_load_checkpoint__own_names_begin_with_the_prefix__stay(target):
    """Catches a prefix taken off that belongs to the model's own names."""
    outer = torch.nn.Module()
    outer.model = target
    assert sorted(load_checkpoint(outer, filled(outer)).loaded) == sorted(outer.state_dict())
    partly = {"model.head.fc.bias": torch.ones(5)}
    assert load_checkpoint(outer, partly).loaded == ["model.head.fc.bias"]


def test_load_checkpoint__other_types__are_converted(target):
    """Catches half-precision weights that change the model's type, and NumPy arrays that are not accepted."""
    state = {k: v.half() for k, v in filled(target).items()} | {"head.fc.bias": np.arange(5, dtype=np.float64)}
    load_checkpoint(target, state)
    assert {v.dtype for v in target.state_dict().values()} == {torch.float32}
    assert target.head.fc.bias.tolist() == [0, 1, 2, 3, 4]


def test_load_checkpoint__misfits__are_named_in_one_warning(target, caplog):
    """Catches a report nobody sees: counts and first names stand in the log."""
    state = filled(target) | {f"old.{i}": torch.zeros(1) for i in range(6)}
    with caplog.at_level(logging.WARNING):
        report = load_checkpoint(target, state)
    (record,) = caplog.records
    assert "6 unused (old.0, old.1, old.2, old.3, … 2 more)" in record.getMessage()
    assert report.unused == [f"old.{i}" for i in range(6)]


def test_load_checkpoint__empty_state_dict__raises(target):
    """Catches an empty mapping taken for success."""
    for state in ({}, {"a": 1, "b": "text"}):
        with pytest.raises(CheckpointError, match="no tensors"):
            load_checkpoint(target, state)


def test_load_checkpoint__scalar_buffers__fit():
    """Catches shapes () and (1,) confused."""
    module = torch.nn.BatchNorm1d(3)
    state = {k: v + 1 for k, v in module.state_dict().items()}
    load_checkpoint(module, state, strict=True)
    assert int(module.num_batches_tracked) == 1
