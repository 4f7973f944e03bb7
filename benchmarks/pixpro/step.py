"""A pretraining step of PixPro, and its losses alone, beside the paper's formulas written straight.

The peers store the similarity matrix and the mask of all pairs of positions, move the momentum copy parameter by parameter and
keep PyTorch's default memory layout. Equal numbers are asserted before anything is timed.
"""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.case import Case
from dense.config import load_config
from dense.modeling import build_model
from dense.projects.pixpro.losses import consistency, pixel_contrast, unit_rows
from dense.projects.pixpro.momentum import momentum_at
from dense.projects.pixpro.pairs import pair_tables
from dense.projects.pixpro.pretrainer import PixelPretrainer
from dense.projects.pixpro.propagation import propagate

__all__ = ["cases"]

_THRESHOLD, _SHARPNESS, _TEMPERATURE = 0.7, 2, 0.3
_BLOCK = 256
_TINY = ["MODEL.RESNETS.STEM_OUT_CHANNELS", 32, "MODEL.RESNETS.RES2_OUT_CHANNELS", 32, "MODEL.RESNETS.OUT_FEATURES", ["res4"]]
_TINY += ["PRETRAIN.PROJECTOR_HIDDEN", 512, "PRETRAIN.PROJECTOR_OUT", 128]
_R18 = ["MODEL.RESNETS.STEM_OUT_CHANNELS", 64, "MODEL.RESNETS.RES2_OUT_CHANNELS", 64, "MODEL.RESNETS.OUT_FEATURES", ["res5"]]
_R18 += ["PRETRAIN.PROJECTOR_HIDDEN", 2048, "PRETRAIN.PROJECTOR_OUT", 256]


def cases() -> list[Case]:
    """Steps of two models, then both losses with propagation on maps of four sizes."""
    steps = [_step_case("tiny, 32 x 96 px", _TINY, 32, 96), _step_case("ResNet-18, 8 x 224 px", _R18, 8, 224)]
    return steps + [_loss_case(side, kind) for side in (7, 14, 28, 56) for kind in ("PixPro", "PixContrast")]


def _step_case(name: str, options: list[object], images: int, side: int) -> Case:
    keys = ["MODEL.META_ARCHITECTURE", "PixelPretrainer", "MODEL.DEVICE", "cpu", "MODEL.BACKBONE.FREEZE_AT", 0]
    keys += ["MODEL.BACKBONE.NAME", "build_narrow_resnet_backbone", "MODEL.RESNETS.DEPTH", 18, "MODEL.RESNETS.NORM", "BN"]
    torch.manual_seed(0)
    model = build_model(load_config(None, [*keys, "PRETRAIN.NORM", "BN", *options]))
    assert isinstance(model, PixelPretrainer)
    straight = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    straight.normalizer.channels_last = False
    batch = _batch(images, side)
    parameters = sum(p.numel() for p in model.parameters())

    def ours() -> list[Tensor]:
        model.zero_grad()
        model.begin_step(0)
        loss = model(batch)["loss_pixel"]
        loss.backward()
        return _outcome(loss, model)

    def theirs() -> list[Tensor]:
        straight.zero_grad()
        loss = _straight_step(straight, batch)
        loss.backward()
        return _outcome(loss, straight)

    return Case(f"PixPro step, {name}", ours, {"straightforward": theirs}, _agree, 4 * parameters, 0, faster=1.3)


def _batch(images: int, side: int) -> list[dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    views = torch.randint(0, 256, (images, 2, 3, side, side), generator=generator, dtype=torch.uint8)
    return [{"views": v, "coords": c} for v, c in zip(views, _coords(images, generator).unbind(0), strict=True)]


def _coords(images: int, generator: torch.Generator) -> Tensor:
    corner = 0.4 * torch.rand(images, 2, 2, generator=generator)
    return torch.cat((corner, corner + 0.5), 2)


def _outcome(loss: Tensor, model: nn.Module) -> list[Tensor]:
    gradients = [p.grad.norm() for p in model.parameters() if p.grad is not None]
    return [loss.detach(), torch.stack(gradients)]


def _straight_step(model: PixelPretrainer, batch: list[dict[str, Tensor]]) -> Tensor:
    """The formulas of the paper one after the other."""
    views = model.normalizer(batch)
    name = model.features[0]
    online = [_straight_propagation(model, model.projector(model.backbone(view)[name])) for view in views.full]
    m = momentum_at(0.99, 0, 10)
    with torch.no_grad():
        for original, moved in model.momentum.pairs:
            for p, q in zip(original.parameters(), moved.parameters(), strict=True):
                q.data = q.data * m + p.data * (1.0 - m)
        target = [model.target_projector(model.target_backbone(view)[name]) for view in views.full]
    (c1, c2), size = views.coords, (online[0].shape[2], online[0].shape[3])
    there = _straight_consistency(online[0], target[1], _straight_mask(c1, c2, size))
    return there + _straight_consistency(online[1], target[0], _straight_mask(c2, c1, size))


def _straight_propagation(model: PixelPretrainer, x: Tensor) -> Tensor:
    n, c, h, w = x.shape
    transform = model.propagation.transform  # type: ignore[union-attr]
    return _straight_propagated(x.view(n, c, -1), transform(x).view(n, c, -1)).view(n, c, h, w)


def _straight_propagated(x: Tensor, values: Tensor) -> Tensor:
    units = F.normalize(x, dim=1)
    weights = torch.bmm(units.transpose(1, 2), units).clamp(min=0.0) ** _SHARPNESS
    return torch.bmm(F.normalize(values, dim=1), weights.transpose(1, 2))


def _straight_mask(query: Tensor, key: Tensor, size: tuple[int, int]) -> Tensor:
    """``(N, P, P)``."""
    height, width = size
    a, b = torch.arange(width) + 0.5, torch.arange(height) + 0.5
    centres, diagonals = [], []
    for x1, y1, x2, y2 in (query.unbind(1), key.unbind(1)):
        bin_width, bin_height = (x2 - x1) / width, (y2 - y1) / height
        x = (x1[:, None] + a * bin_width[:, None])[:, None, :].expand(-1, height, -1).flatten(1)
        y = (y1[:, None] + b * bin_height[:, None])[:, :, None].expand(-1, -1, width).flatten(1)
        centres.append((x, y))
        diagonals.append((bin_width**2 + bin_height**2).sqrt())
    (x, y), (u, v) = centres
    distance = ((x[:, :, None] - u[:, None, :]) ** 2 + (y[:, :, None] - v[:, None, :]) ** 2).sqrt()
    return (distance / torch.maximum(*diagonals)[:, None, None] < _THRESHOLD).float()


def _straight_consistency(query: Tensor, key: Tensor, mask: Tensor) -> Tensor:
    q, k = F.normalize(query.flatten(2), dim=1), F.normalize(key.flatten(2), dim=1)
    similarity = torch.bmm(q.transpose(1, 2), k)
    return -2 * ((similarity * mask).sum((1, 2)) / (mask.sum((1, 2)) + 1e-6)).mean()


def _straight_contrast(query: Tensor, key: Tensor, mask: Tensor) -> Tensor:
    q, k = F.normalize(query.flatten(2), dim=1), F.normalize(key.flatten(2), dim=1)
    exponentials = (torch.bmm(q.transpose(1, 2), k) / _TEMPERATURE).exp()
    found = mask.sum(2) > 0
    positive = (exponentials * mask).sum(2)
    rows = torch.where(found, exponentials.sum(2).log() - positive.where(found, torch.ones(())).log(), torch.zeros(()))
    return (rows.sum(1) / found.sum(1).clamp(min=1)).mean()


def _loss_case(side: int, kind: str) -> Case:
    """One direction of a loss with its backward pass, on two maps of 64 channels; PixPro's with the propagation before it."""
    generator = torch.Generator().manual_seed(2)
    query, key = torch.randn(2, 2, 64, side, side, generator=generator).unbind(0)
    c1, c2 = _coords(2, generator).unbind(1)
    leaf, floor = query.clone().requires_grad_(), 4 * (query.numel() + key.numel())
    block = max(_BLOCK, 2 * side)

    def run(loss: Callable[[Tensor], Tensor]) -> Callable[[], list[Tensor]]:
        def task() -> list[Tensor]:
            leaf.grad = None
            value = loss(leaf)
            value.backward()
            assert leaf.grad is not None
            return [value.detach(), leaf.grad.clone()]

        return task

    def ours(x: Tensor) -> Tensor:
        pairs, rows = pair_tables(c1, c2, (side, side), (side, side), _THRESHOLD), unit_rows(x)
        if kind == "PixContrast":
            return pixel_contrast(rows, unit_rows(key), pairs, _TEMPERATURE, block)
        spread = propagate(rows, rows, _SHARPNESS, 0.0, block)
        return consistency(F.normalize(spread, dim=2), unit_rows(key), pairs, block)

    def theirs(x: Tensor) -> Tensor:
        mask = _straight_mask(c1, c2, (side, side))
        if kind == "PixContrast":
            return _straight_contrast(x, key, mask)
        return _straight_consistency(_straight_propagated(x.flatten(2), x.flatten(2)), key, mask)

    name = f"{kind} loss, map {side} x {side}"
    return Case(name, run(ours), {"stored matrices": run(theirs)}, _agree, floor, 0, smaller=3.0 if side == 56 else 0.0)


def _agree(ours: object, theirs: object) -> None:
    assert isinstance(ours, list)
    assert isinstance(theirs, list)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-3, atol=1e-4 * float(b.abs().max()) + 1e-6)
