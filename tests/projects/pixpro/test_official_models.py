"""Whole official models in float64: forward in both modes, gradients, the copy after the update, three steps with LARS.

Needs the shared data (DENSE_SHARED): manifests of the official files and arrays computed with the official construction.
"""

import json

import numpy as np
import pytest
import torch

from dense import build_model, load_checkpoint, load_config
from dense.checkpoint.converting import layout

GROUPS = ["model", "model_g1t0", "model_instance"]
OUTPUTS = {
    "encoder": "backbone",
    "encoder_k": "target_backbone",
    "projector": "projector",
    "projector_k": "target_projector",
    "featprop": "propagation",
    "projector_instance": "instance_projector",
    "projector_instance_k": "target_instance_projector",
    "predictor": "instance_predictor",
}


class Case:
    """A model with the golden weights, its batch, and the arrays to compare with."""

    def __init__(self, group, arrays, shared, parity):
        self.group, self.arrays = group, arrays
        sharpness, layers, weight, start, steps = arrays[f"{group}.config_p_transform_insweight_momentum_K"]
        options = ["MODEL.META_ARCHITECTURE", "PixelPretrainer", "MODEL.DEVICE", "cpu", "MODEL.BACKBONE.FREEZE_AT", 0]
        options += ["MODEL.BACKBONE.NAME", "build_resnet_backbone", "MODEL.RESNETS.OUT_FEATURES", ["res5"]]
        options += ["MODEL.RESNETS.NORM", "SyncBN", "MODEL.RESNETS.STRIDE_IN_1X1", False]
        options += ["MODEL.PIXEL_MEAN", [123.675, 116.28, 103.53], "MODEL.PIXEL_STD", [58.395, 57.12, 57.375]]
        options += ["PRETRAIN.SHARPNESS", float(sharpness), "PRETRAIN.TRANSFORM_LAYERS", int(layers)]
        options += ["PRETRAIN.MOMENTUM", float(start), "PRETRAIN.MOMENTUM_STEPS", int(steps)]
        if weight:
            options += ["PRETRAIN.INSTANCE.NAME", "InstanceConsistency", "PRETRAIN.INSTANCE.WEIGHT", float(weight)]
        cfg = load_config(None, options)
        self.model = build_model(cfg)
        self.model.normalizer.double()
        for name, values in (("mean", cfg.MODEL.PIXEL_MEAN), ("std", cfg.MODEL.PIXEL_STD)):
            setattr(self.model.normalizer, name, torch.tensor(values, dtype=torch.float64).view(-1, 1, 1))
        name = "PixPro_R50_pretrain_instance" if weight else "PixPro_R50_pretrain"
        manifest = json.loads((shared / "specs" / "manifests" / f"{name}.json").read_text(encoding="utf-8"))["state_dict"]
        shapes = {key: shape_of(entry) for key, entry in manifest.items() if "num_batches" not in key}
        if not layers:
            shapes = {key: shape for key, shape in shapes.items() if not key.startswith("value_transform")}
        report = load_checkpoint(self.model, parity.state_dict(shapes))
        assert report.layout == "pixpro"
        assert not report.unused
        assert all(key.endswith("num_batches_tracked") for key in report.missing)
        self.model.double()
        self.names = {ours: theirs for theirs in shapes for ours in layout("pixpro").to_ours({theirs: torch.empty(0)}).tensors}
        self.batch = self._batch()

    def _batch(self):
        repeat = int(self.arrays[f"{self.group}.repeat"])
        views = [self.arrays.tensor(f"{self.group}.view{v}_low") for v in (1, 2)]
        views = torch.stack([v.repeat_interleave(repeat, 2).repeat_interleave(repeat, 3) for v in views], 1)
        coords = torch.stack([self.arrays.tensor(f"{self.group}.coord{v}") for v in (1, 2)], 1)
        return [{"views": v, "coords": c} for v, c in zip(views, coords, strict=True)]

    def forward(self, step):
        self.model.begin_step(step)
        return sum(self.model(self.batch).values())

    def watched(self, step):
        """Total loss, and both outputs of every part by official name."""
        outputs, hooks = {}, []
        for theirs, ours in OUTPUTS.items():
            module = getattr(self.model, ours)
            if module is not None:
                keep = outputs.setdefault(theirs, [])
                hooks.append(module.register_forward_hook(lambda _m, _i, out, keep=keep: keep.append(out)))
        loss = self.forward(step)
        for hook in hooks:
            hook.remove()
        return loss, {name: [o["res5"] if isinstance(o, dict) else o for o in maps] for name, maps in outputs.items()}

    def check_outputs(self, mode, outputs):
        names = [n for n in self.arrays.stored.files if n.startswith(f"{self.group}.{mode}.")]
        stored = {n.split(".")[2] for n in names if n.endswith(".view1.shape")}
        assert stored == set(outputs)
        for name, maps in outputs.items():
            for view, actual in enumerate(maps, 1):
                prefix = f"{self.group}.{mode}.{name}.view{view}"
                assert tuple(actual.shape) == tuple(self.arrays[f"{prefix}.shape"])
                self.close(f"{prefix}.sample", sample(actual), 1e-6)
                total = float(self.arrays[f"{prefix}.sum_abs"])
                assert abs(float(actual.detach().abs().sum()) - total) <= 1e-6 * total

    def close(self, name, actual, tolerance):
        """Relative to the greatest stored value."""
        expected = self.arrays[name]
        distance = np.abs(np.asarray(actual, np.float64) - expected).max()
        assert distance <= tolerance * np.abs(expected).max(), f"{name}: {distance / np.abs(expected).max():.1e}"

    def check_values(self, moment, tolerances):
        """Samples of parameters and buffers, named officially."""
        theirs = layout("pixpro").from_ours(self.model.state_dict()).tensors
        prefix, found = f"{self.group}.train.{moment}.", 0
        for name in self.arrays.stored.files:
            if name.startswith(prefix):
                key = name.removeprefix(prefix).removesuffix(".sample")
                self.close(name, sample(theirs[key]), tolerances.get(key, tolerances[""]))
                found += 1
        assert found > 3


def shape_of(entry):
    return entry["shape"] if isinstance(entry, dict) else entry


def sample(tensor):
    flat = tensor.detach().contiguous().numpy().reshape(-1)  # in the order of the axes, whatever the memory layout
    return flat[:: max(1, flat.size // 400)][:400]


def lars(named, velocity, rate=0.2):
    """One step of spec, section 10."""
    with torch.no_grad():
        for name, weight in named:
            step = weight.grad
            if weight.dim() > 1:
                step = step + 1e-5 * weight
                if weight.norm() > 0 and step.norm() > 0:
                    step = step * (0.001 * weight.norm() / (step.norm() + 1e-8))
            velocity[name] = 0.9 * velocity[name] + step if name in velocity else step.clone()
            weight -= rate * velocity[name]


@pytest.fixture
def case(request, arrays, shared, parity):
    return Case(request.param, arrays, shared, parity)


@pytest.mark.parametrize("case", GROUPS, indirect=True)
def test_official_model__eval_mode__golden_outputs(case):
    """Catches parts in another order, a copy that is not moved before it is used, another instance branch."""
    case.model.eval()
    with torch.no_grad():
        loss, outputs = case.watched(3)
    assert abs(float(loss) - float(case.arrays[f"{case.group}.eval.loss"])) <= 1e-6 * max(1, abs(float(loss)))
    case.check_outputs("eval", outputs)


@pytest.mark.parametrize(
    "case",
    [pytest.param("model", marks=pytest.mark.slow), "model_g1t0", pytest.param("model_instance", marks=pytest.mark.slow)],
    indirect=True,
)
def test_official_model__three_lars_steps__golden_numbers(case):
    """Catches statistics over both views, averaged buffers, a copy moved after the optimizer, gradients through the copy."""
    loose = case.group == "model_instance"  # two images: the step is chaotic
    named = [(name, p) for name, p in case.model.train().named_parameters() if p.requires_grad]
    velocity, losses = {}, []
    for step in (3, 4, 5):
        case.model.zero_grad()
        loss, outputs = case.watched(step)
        loss.backward()
        losses.append(float(loss.detach()))
        if step == 3:
            case.check_outputs("train", outputs)
            case.check_values("after_forward", {"": 1e-6})
            check_gradients(case, named)
        lars(named, velocity)
    expected = case.arrays[f"{case.group}.train.losses_3_lars_steps"]
    np.testing.assert_allclose(losses[:2], expected[:2], rtol=1e-6)
    np.testing.assert_allclose(losses[2], expected[2], rtol=1e-3 if loose else 1e-5)
    weights, first_norm = (1e-3, 1e-1) if loose else (1e-5, 5e-3)
    case.check_values("after_3_steps", {"": weights, "encoder.bn1.weight": first_norm})


def check_gradients(case, named):
    group = f"{case.group}.train"
    norms = {case.names[name]: float(p.grad.norm()) for name, p in named}
    expected = dict(zip(case.arrays[f"{group}.grad_keys"].tolist(), case.arrays[f"{group}.grad_norms"].tolist(), strict=True))
    assert set(norms) == set(expected)
    for key, norm in expected.items():
        assert abs(norms[key] - norm) <= max(1e-6 * norm, 1e-9), key
    gradients = {case.names[name]: p.grad for name, p in named}
    bias, first = "projector.linear2.bias", "encoder.conv1.weight"
    case.close(f"{group}.grad.{bias}", gradients[bias].numpy(), 1e-6)
    case.close(f"{group}.grad.{first}.sample", sample(gradients[first]), 1e-6)
