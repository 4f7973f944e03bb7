"""DITO's transformer beside a plain one with the same weights.

The plain one writes the attention of all tokens to all out in full (explicit softmax; windows are a mask on it) and makes the
enlarged table of positions before it crops. Sizes: a step of pretraining at 224 px (ViT-B, cropped positions, forward and
backward; the world's size, too), and maps of a detector at 256 and 1024 px (the world's size, windows, two passes).
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.case import Case
from dense.projects.dito.vit import SIZES, VisionTransformer, window_pattern

__all__ = ["cases"]

_PEER = "plain"


def cases() -> list[Case]:
    """Two sizes of pretraining, two of detection."""
    return [
        _pretraining("tiny", batch=16, pixels=128),
        _pretraining("base", batch=1, pixels=224),
        _detection("tiny", pixels=256, grid=8),
        _detection("tiny", pixels=1024, grid=8),
    ]


def _pretraining(size: str, batch: int, pixels: int) -> Case:
    model = VisionTransformer(*SIZES[size], pixels // 16).train()
    images = torch.rand(batch, 3, pixels, pixels)
    crops = torch.tensor([[3.0, 5.0, 40.0, 30.0], [0.0, 0.0, 64.0, 64.0]]).repeat(batch, 1)[:batch]
    weight = torch.randn(batch, SIZES[size][0], pixels // 16, pixels // 16)
    watched = [model.pos_embed, model.blocks[0].attn.qkv.weight, model.patch_embed.proj.weight]

    def step(forward: Callable[[], Tensor]) -> Callable[[], object]:
        def run() -> object:
            model.zero_grad()
            output = forward()
            (output * weight).sum().backward()
            return [output.detach(), *(parameter.grad.clone() for parameter in watched)]

        return run

    ours, plain = step(lambda: model(images, crops)), step(lambda: _plain(model, images, crops))
    name = f"transformer {size}, batch of {batch}, {pixels} px, cropped positions, forward+backward"
    return Case(name, ours, {_PEER: plain}, _agree, 12 * _bytes(model), 3 * batch * _flops(model, pixels))


def _detection(size: str, pixels: int, grid: int) -> Case:
    width, depth, heads = SIZES[size]
    model = VisionTransformer(width, depth, heads, grid, window_pattern(depth, 4, 2), None).eval()
    images = torch.rand(1, 3, pixels, pixels)

    def run(forward: Callable[[], Tensor]) -> Callable[[], object]:
        def once() -> object:
            with torch.no_grad():
                return [forward()]

        return once

    ours, plain = run(lambda: model(images)), run(lambda: _plain(model, images, None))
    name = f"transformer {size}, {pixels} px, windows, two passes, forward"
    promised = (2.0, 4.0) if pixels >= 1024 else (0.0, 0.0)
    return Case(name, ours, {_PEER: plain}, _agree, 4 * _bytes(model), 2 * _flops(model, pixels), "cpu", *promised)


def _bytes(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _flops(model: VisionTransformer, pixels: int) -> int:
    """Of one pass over one image: linear layers on every token, attention inside the windows."""
    tokens, width = (pixels // 16) ** 2, model.size.width
    linear = sum(parameter.numel() for parameter in model.parameters() if parameter.dim() in (2, 4))
    attention = sum(2 * tokens * tokens * width // (grid or 1) ** 2 for grid in model.windows)
    return 2 * (tokens * linear + attention)


def _plain(model: VisionTransformer, images: Tensor, crops: Tensor | None) -> Tensor:
    patches = model.patch_embed.proj(images).permute(0, 2, 3, 1)
    height, width = patches.shape[1:3]
    positions = _plain_positions(model, height, width, crops)
    rows, columns = model._roll(height, width)
    maps = _plain_blocks(model, patches + positions)
    if rows:
        rolled = patches.roll((-rows, columns), (1, 2))
        maps = (maps + _plain_blocks(model, rolled + positions).roll((rows, -columns), (1, 2))) / 2
    return model.norm(maps).permute(0, 3, 1, 2)


def _plain_positions(model: VisionTransformer, height: int, width: int, crops: Tensor | None) -> Tensor:
    grid = round(model.pos_embed.shape[1] ** 0.5)
    plane = model.pos_embed.mT.unflatten(2, (grid, grid))
    if crops is None:
        resized = F.interpolate(plane, (height, width), mode="bilinear", align_corners=False, antialias=True)
        return resized.permute(0, 2, 3, 1)
    side = model.crop_side
    enlarged = F.interpolate(plane, (side, side), mode="bilinear", align_corners=False).expand(len(crops), -1, -1, -1)
    x1, y1, x2, y2 = crops[:, :, None].unbind(1)
    x = x1 + (torch.arange(width) + 0.5) / width * (x2 - x1)
    y = y1 + (torch.arange(height) + 0.5) / height * (y2 - y1)
    points = torch.stack((x[:, None].expand(-1, height, -1), y[:, :, None].expand(-1, -1, width)), -1)
    read = F.grid_sample(enlarged, 2 * points / (side - 1) - 1, padding_mode="border", align_corners=True)
    return read.permute(0, 2, 3, 1)


def _plain_blocks(model: VisionTransformer, maps: Tensor) -> Tensor:
    batch, height, width, channels = maps.shape
    x, heads = maps.flatten(1, 2), model.size.heads
    row, column = torch.arange(height)[:, None], torch.arange(width)[None]
    for block, grid in zip(model.blocks, model.windows, strict=True):
        qkv = block.attn.qkv(block.norm1(x)).view(batch, -1, 3, heads, channels // heads)
        query, key, value = (part.transpose(1, 2) for part in qkv.unbind(2))
        logits = query @ key.transpose(2, 3) / (channels // heads) ** 0.5
        if grid is not None:
            window = (row * grid // height * grid + column * grid // width).flatten()
            logits = logits.masked_fill(window[:, None] != window, float("-inf"))
        attended = (logits.softmax(-1) @ value).transpose(1, 2).reshape(x.shape)
        x = x + block.attn.proj(attended)
        x = x + block.mlp(block.norm2(x))
    return x.view(maps.shape)


def _agree(ours: object, theirs: object) -> None:
    assert isinstance(ours, list), "outputs"
    assert isinstance(theirs, list), "outputs"
    for one, other in zip(ours, theirs, strict=True):
        worst = float((one - other).abs().max() / other.abs().max())
        assert worst < 1e-4, f"ours and the peer's differ by {worst:.1e} of the largest value"
