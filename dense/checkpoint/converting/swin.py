"""Swin Transformers trained on ImageNet: the authors' files, and timm's (merging step counted with the next stage)."""

import re
from collections.abc import Collection, Mapping

import torch.nn.functional as F
from torch import Tensor

from dense.checkpoint.converting.layout import Converted, Layout, rename_all

__all__ = ["SWIN", "resize_bias_table"]

_PARTS = ("patch_embed.", "layers.", "absolute_pos_embed")
_OUTPUT_NORM = re.compile(r"norm[0-3]\.")
_MERGING = re.compile(r"layers\.(\d+)\.downsample\.")


def _recognises(names: Collection[str]) -> bool:
    return {"patch_embed.proj.weight", "layers.0.blocks.0.attn.qkv.weight"} <= set(names)


def _to_ours(tensors: Mapping[str, Tensor]) -> Converted:
    counted_with_next = not any(name.startswith("layers.0.downsample.") for name in tensors)

    def rename(name: str) -> str:
        merging = _MERGING.match(name)
        if merging and counted_with_next:
            name = f"layers.{int(merging[1]) - 1}.downsample.{name[merging.end() :]}"
        return f"backbone.{name}"

    def drop(name: str) -> bool:
        """Classifier, its norm, and shift masks of the pretraining size."""
        wanted = name.startswith(_PARTS) or _OUTPUT_NORM.match(name)
        return not wanted or name.endswith("attn_mask")

    return rename_all(tensors, rename, drop)


def _from_ours(tensors: Mapping[str, Tensor]) -> Converted:
    def part(name: str) -> str | None:
        inside = name.removeprefix("backbone.")
        return inside if inside != name and (inside.startswith(_PARTS) or _OUTPUT_NORM.match(inside)) else None

    return rename_all(tensors, part, lambda name: part(name) is None)


def resize_bias_table(table: Tensor, rows: int) -> Tensor:
    """Relative-position biases of one window size → another, bicubically over the plane of offsets.

    Args:
        table: ``((2·v − 1)², heads)`` for windows of v tokens.
        rows: ``(2·w − 1)²`` for the wanted windows of w tokens.

    Returns: ``(rows, heads)``.
    """
    side, wanted = round(table.shape[0] ** 0.5), round(rows**0.5)
    plane = table.mT.reshape(1, -1, side, side).float()
    resized = F.interpolate(plane, size=(wanted, wanted), mode="bicubic", align_corners=False)
    return resized.flatten(2)[0].mT.to(table.dtype)


SWIN = Layout("swin", "Swin Transformer trained on ImageNet, without `backbone.`", _recognises, _to_ours, _from_ours)
