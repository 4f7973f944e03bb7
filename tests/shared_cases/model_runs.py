"""Running the cases of checkpoints, configurations, operators, matching and post-processing."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import torch

from dense import load_checkpoint, load_config
from dense.data.datasets import resolve_dataset
from dense.engine.state import Checkpoints
from dense.modeling.losses import SetCriterion
from dense.modeling.matchers import HungarianMatcher
from dense.modeling.postprocess import panoptic_result
from dense.modeling.predictions import MaskPrediction, MaskTargets
from dense.ops import ms_deform_attn


def _target():
    """The module that the checkpoints of the cases are for, from the tests of checkpoints."""
    path = Path(__file__).resolve().parents[1] / "checkpoint" / "conftest.py"
    specification = importlib.util.spec_from_file_location("checkpoint_fixtures", path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.Target()


def checkpoint(case):
    """Load one checkpoint."""
    return _load(case.folder / case.inputs["checkpoint"])


def _load(path):
    target = _target()
    report = load_checkpoint(target, path)
    for name, value in target.state_dict().items():
        if name in report.loaded:
            expected = torch.arange(value.numel(), dtype=torch.float32).view_as(value) / 100
            assert torch.allclose(value, expected), f"{name} was filled with other values"
    return {
        "loaded": sorted(report.loaded),
        "missing": sorted(report.missing),
        "unexpected": sorted(report.unused),
        "shape_skipped": sorted(name for name, _, _ in report.mismatched),
    }


def several_checkpoints(case):
    """Each file on its own."""
    return {name: case.outcome_of(lambda name=name: _load(case.folder / name)) for name in case.inputs["checkpoints"]}


class Part:
    """Something with a state, for the folder of a run."""

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        del state


def last_checkpoint(case):
    """Resume from a folder whose pointer is empty."""
    shutil.copytree(case.folder, "run")
    checkpoints = Checkpoints("run")
    assert checkpoints.last() is not None, "started from scratch in silence"
    return {"resumed_iteration": checkpoints.load_last({"model": Part(), "optimizer": Part()})}


def config(case):
    """Read a configuration, and look up its data sets."""
    cfg = load_config(case.folder / case.inputs["config"], case.inputs.get("options", []))
    if case.name == "cfg-unknown-dataset":
        resolve_dataset(cfg.DATASETS.TRAIN[0])
    facts = {}
    for key in case.facts:
        value = cfg
        for part in key.split("."):
            value = value[part]
        assert type(value) is type(case.facts[key]), f"{key} is a {type(value).__name__}"
        facts[key] = value
    return facts


def operator(case):
    """Deformable attention, with gradients where the case has them."""
    arrays = {key: torch.from_numpy(value) for key, value in np.load(case.folder / case.inputs["npz"]).items()}
    value, shapes, locations, weights = (
        arrays[key] for key in ("value", "spatial_shapes", "sampling_locations", "attention_weights")
    )
    if case.name == "op-non-contiguous":
        value = value.permute(0, 2, 1, 3).contiguous().permute(0, 2, 1, 3)
        locations = torch.stack([locations, torch.full_like(locations, 77.0)], -1).flatten(-2)[..., ::2]
        shapes = torch.cat([torch.full_like(shapes, 9), shapes, torch.full_like(shapes, 9)], 1)[:, 2:4]
        weights = weights[:1].expand_as(weights) if torch.equal(weights[:1].expand_as(weights), weights) else weights
        assert not any(tensor.is_contiguous() for tensor in (value, locations, shapes))
    leaves = [tensor.requires_grad_() for tensor in (value, locations, weights)]
    output = ms_deform_attn(leaves[0], shapes, leaves[1], leaves[2])
    facts = {"array": output.detach().numpy()}
    names = case.expect.get("gradients", [])
    if names:
        found = torch.autograd.grad(output, leaves, arrays["grad_output"])
        facts |= {name: gradient.numpy() for name, gradient in zip(names, found, strict=True)}
    return facts


def matching(case):
    """Queries and objects as in the case's table of costs: NaN in one query, or no object at all."""
    cost = np.load(case.folder / case.inputs["npz"])["cost"]
    queries, objects = cost.shape
    logits = torch.zeros(1, queries, 4)
    logits[0, np.isnan(cost).any(axis=1)] = torch.nan
    masks = torch.zeros(1, queries, 1, 4, 6).requires_grad_()
    prediction = MaskPrediction(logits.requires_grad_(), masks)
    targets = [MaskTargets(torch.zeros(objects, dtype=torch.int64), torch.ones(objects, 1, 8, 12, dtype=torch.bool))]
    matcher = HungarianMatcher(class_weight=2.0, mask_weight=5.0, dice_weight=5.0, num_points=16)
    ((query, found),) = matcher(prediction, targets)
    names = {"loss_ce": 2.0, "loss_mask": 5.0, "loss_dice": 5.0}
    criterion = SetCriterion(
        num_classes=3, matcher=matcher, weights=names, no_object_weight=0.1, num_points=16, oversample=3.0, importance=0.75
    )
    losses = criterion([prediction], targets)
    sum(losses.values()).backward()
    return {
        "pairs": list(zip(query.tolist(), found.tolist(), strict=True)),
        "loss_mask": losses["loss_mask"].item(),
        "loss_dice": losses["loss_dice"].item(),
        "finite": all(bool(torch.isfinite(loss)) for loss in losses.values()) and masks.grad is not None,
    }


def postprocessing(case):
    """Panoptic map from the outputs of queries."""
    arrays = np.load(case.folder / case.inputs["npz"])
    segment_map, segments = panoptic_result(
        torch.from_numpy(arrays["mask_cls"]),
        torch.from_numpy(arrays["mask_pred"]),
        set(case.inputs["things"]),
        object_threshold=case.inputs["object_mask_threshold"],
        overlap_threshold=case.inputs["overlap_threshold"],
    )
    rows = [{"id": s.id, "category_id": s.category_id, "isthing": s.isthing} for s in segments]
    return {"array": segment_map.numpy(), "segments": rows}


RUNS = {
    "ckpt-not-a-checkpoint": several_checkpoints,
    "ckpt-last-empty": last_checkpoint,
    "ckpt-": checkpoint,
    "cfg-": config,
    "op-": operator,
    "match-": matching,
    "post-": postprocessing,
}
