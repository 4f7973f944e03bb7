"""A step of DITO's first stage beside a plain one, and its losses on large batches beside stored matrices.

The plain step keeps every attention matrix, pads captions to the whole context, reads an enlarged table of positions per image,
and computes softmax over a stored similarity matrix. Equal numbers are asserted before anything is timed.
"""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.case import Case
from dense.config import load_config
from dense.modeling import build_model
from dense.modeling.objectives.base import Objective
from dense.modeling.objectives.clip import CLIP
from dense.modeling.objectives.focal_contrastive import FocalContrastive
from dense.modeling.objectives.negclip import NegCLIP
from dense.projects.dito.pretrainer import ImageTextPretrainer

__all__ = ["cases"]

_CAPTIONS = (
    "a red disc and a blue star on sand.",
    "a picture of a large dotted hourglass, a dotted star, a blue bolt, a dotted arrow and a blue hourglass.",
    "two striped rings.",
    "look at a dotted fish.",
)
_TAU, _WIDTH = 0.07, 192


def cases() -> list[Case]:
    """Steps at two batch sizes, then three losses at two."""
    steps = [_step_case(images) for images in (16, 64)]
    losses = (("CLIP", CLIP), ("focal", FocalContrastive), ("NegCLIP", NegCLIP))
    return steps + [_loss_case(name, kind, rows) for rows in (1024, 4096) for name, kind in losses]


def _step_case(images: int) -> Case:
    torch.manual_seed(0)
    options = ["MODEL.DITO.OBJECTIVE.CHUNK_SIZE", 32, "MODEL.DITO.OBJECTIVE.DUPLICATES", "ignore"]
    model = build_model(load_config("configs/dito/world_image.yaml", options))
    assert isinstance(model, ImageTextPretrainer)
    plain = copy.deepcopy(model)
    pixels = torch.randint(0, 256, (images, 3, 128, 128), dtype=torch.uint8)
    batch = [{"image": image, "caption": _CAPTIONS[k % len(_CAPTIONS)]} for k, image in enumerate(pixels)]

    def run(network: ImageTextPretrainer, loss: Callable[[], Tensor]) -> Callable[[], list[Tensor]]:
        def task() -> list[Tensor]:
            network.zero_grad()
            torch.manual_seed(1)  # the same crops of positions
            value = loss()
            value.backward()
            norms = [p.grad.norm() for p in network.parameters() if p.grad is not None]
            return [value.detach(), torch.stack(norms)]

        return task

    ours = run(model, lambda: model(batch)["loss_image"])
    theirs = run(plain, lambda: _plain_loss(plain, batch))
    parameters = sum(p.numel() for p in model.parameters())
    return Case(f"DITO image step, tiny, {images} x 128 px", ours, {"plain": theirs}, _agree, 8 * parameters, 0)


def _plain_loss(model: ImageTextPretrainer, batch: list[dict[str, Any]]) -> Tensor:
    images = torch.stack([record["image"] for record in batch]).float() / 255
    assert model.crops is not None
    boxes, side = model.crops
    v = _plain_images(model.backbone, images, boxes(len(images), side, side), side)
    t = _plain_texts(model.text, [str(record["caption"]) for record in batch])
    scale = model.objective.temperature.log_scale.exp()  # type: ignore[union-attr]
    logits = F.normalize(v, dim=1) @ F.normalize(t, dim=1).T * scale
    own = torch.arange(len(logits))
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def _plain_images(backbone: Any, images: Tensor, crops: Tensor, side: int) -> Tensor:  # noqa: ANN401
    patches = backbone.patch_embed.proj(images)
    height, width = patches.shape[2:]
    table = backbone.pos_embed
    grid = math.isqrt(table.shape[1])
    large = F.interpolate(table[0].T.unflatten(1, (grid, grid))[None], size=(side, side), mode="bilinear")
    x = torch.stack([patch + _plain_crop(large, crop, height, width) for patch, crop in zip(patches, crops, strict=True)])
    x = x.flatten(2).mT
    for block in backbone.blocks:
        x = _plain_block(block, x, None, "tanh")
    pooled: Tensor = backbone.norm(x).mean(1)
    return pooled


def _plain_crop(large: Tensor, crop: Tensor, height: int, width: int) -> Tensor:
    """``(D, height, width)``: one bilinear sample per bin of the enlarged table, as index positions."""
    x1, y1, x2, y2 = crop.tolist()
    last = large.shape[-1] - 1
    x = (x1 + (torch.arange(width) + 0.5) * (x2 - x1) / width).clamp(0, last)
    y = (y1 + (torch.arange(height) + 0.5) * (y2 - y1) / height).clamp(0, last)
    places = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).flip(-1) / last * 2 - 1
    return F.grid_sample(large, places[None], align_corners=True)[0]


def _plain_texts(text: Any, captions: list[str]) -> Tensor:  # noqa: ANN401
    tokens = text.tokenizer.encode(captions)
    context = text.pos_embed.shape[0]
    ids = F.pad(tokens.ids, (0, int(context) - tokens.ids.shape[1]))
    inside = torch.arange(int(context)) < tokens.lengths[:, None]
    x = text.pieces(ids) + text.pos_embed
    for block in text.blocks:
        x = _plain_block(block, x, inside, "none")
    pooled = (x * inside[..., None]).sum(1) / tokens.lengths[:, None]
    found: Tensor = text.projection(text.norm(pooled))
    return found


def _plain_block(block: Any, x: Tensor, inside: Tensor | None, approximate: str) -> Tensor:  # noqa: ANN401
    heads = block.attn.heads
    qkv = block.attn.qkv(block.norm1(x))
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in qkv.chunk(3, dim=-1))
    scores = q @ k.mT / math.sqrt(q.shape[-1])
    if inside is not None:
        scores = scores.masked_fill(~inside[:, None, None], -torch.inf)
    x = x + block.attn.proj((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))
    hidden = F.gelu(block.mlp.fc1(block.norm2(x)), approximate=approximate)
    found: Tensor = x + block.mlp.fc2(hidden)
    return found


def _loss_case(name: str, kind: type[Objective], rows: int) -> Case:
    generator = torch.Generator().manual_seed(3)
    views = [torch.randn(rows, _WIDTH, generator=generator).requires_grad_() for _ in range(2)]
    hard = torch.randn(rows, 1, _WIDTH, generator=generator).requires_grad_()
    leaves = [*views, hard] if kind is NegCLIP else views
    objective = kind(temperature=_TAU, chunk_size=256)

    def task(loss: Callable[[], Tensor]) -> Callable[[], list[Tensor]]:
        def run() -> list[Tensor]:
            for leaf in leaves:
                leaf.grad = None
            value = loss()
            value.backward()
            return [value.detach(), *(leaf.grad.clone() for leaf in leaves if leaf.grad is not None)]

        return run

    def plain() -> Tensor:
        image, text, false = (F.normalize(x, dim=-1) for x in (*views, hard[:, 0]))
        logits, own = image @ text.T / _TAU, torch.arange(rows)
        if kind is FocalContrastive:
            p, y = logits.sigmoid(), torch.eye(rows)
            terms = F.binary_cross_entropy_with_logits(logits, y, reduction="none")
            return (torch.where(y > 0, 1 - p, p) * terms).sum() / rows
        wide = logits if kind is CLIP else torch.cat([logits, image @ false.T / _TAU], dim=1)
        return (F.cross_entropy(wide, own) + F.cross_entropy(logits.T, own)) / 2

    extra = {"hard": hard} if kind is NegCLIP else {}
    ours = task(lambda: objective(views, **extra).loss)
    floor = 4 * sum(leaf.numel() for leaf in leaves)
    smaller = 2.0 if rows == 4096 else 0.0
    name = f"{name} loss, {rows} pairs"
    return Case(name, ours, {"stored matrices": task(plain)}, _agree, floor, 12 * rows**2 * _WIDTH, smaller=smaller)


def _agree(ours: object, theirs: object) -> None:
    assert isinstance(ours, list)
    assert isinstance(theirs, list)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=2e-3, atol=1e-4 * float(b.abs().max()) + 1e-7)
