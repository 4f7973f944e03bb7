"""Plain vision transformers: DINOv2's own files, and timm's (DINOv2 among them).

Ours stands at ``backbone.vit_module.`` with DINOv2's names. timm differs in three ways: the registers' name, no mask token, and
in models with registers a table of positions without the class token's row, which is part of the class token there. The gated
feed-forward part of the giant has other names in DINOv2's files than in timm's and here.
"""

import math
from collections.abc import Collection, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from dense.checkpoint.converting.layout import Converted, Layout, NameTable, rename_all

__all__ = ["DINOV2", "TIMM_VIT", "resize_patch_kernel"]

_OURS = "backbone.vit_module."
_PARTS = ("cls_token", "pos_embed", "mask_token", "register_tokens", "reg_token", "patch_embed.proj.", "blocks.", "norm.")
_REGISTERS, _TIMM_REGISTERS, _MASK = "register_tokens", "reg_token", "mask_token"
_GATED = NameTable([("blocks.{}.mlp.fc1.", "blocks.{}.mlp.w12."), ("blocks.{}.mlp.fc2.", "blocks.{}.mlp.w3.")])


def _is_transformer(names: Collection[str]) -> bool:
    return {"cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.attn.qkv.weight"} <= set(names)


def _recognises(names: Collection[str]) -> bool:
    return _is_transformer(names) and _MASK in names


def _recognises_timm(names: Collection[str]) -> bool:
    return _is_transformer(names) and _MASK not in names


def _to_ours(tensors: Mapping[str, Tensor]) -> Converted:
    def rename(name: str) -> str:
        inside = _REGISTERS if name == _TIMM_REGISTERS else _GATED.to_ours(name) or name
        return f"{_OURS}{inside}"

    converted = rename_all(tensors, rename, lambda name: not name.startswith(_PARTS))
    table = converted.tensors.get(f"{_OURS}pos_embed")
    if table is not None and table.dim() == 3 and math.isqrt(table.shape[1]) ** 2 == table.shape[1]:
        # a row per patch and none for the class token, which holds its position already
        converted.tensors[f"{_OURS}pos_embed"] = torch.cat((torch.zeros_like(table[:, :1]), table), dim=1)
    return converted


def _part(name: str) -> str | None:
    inside = name.removeprefix(_OURS)
    return inside if inside != name and inside.startswith(_PARTS) else None


def _from_ours(tensors: Mapping[str, Tensor]) -> Converted:
    sample = tensors.get(f"{_OURS}blocks.0.mlp.fc2.weight"), tensors.get(f"{_OURS}blocks.0.mlp.fc1.weight")
    gated = all(part is not None for part in sample) and sample[1].shape[0] == 2 * sample[0].shape[1]  # type: ignore[union-attr]

    def rename(name: str) -> str | None:
        inside = _part(name)
        return inside if inside is None or not gated else _GATED.to_theirs(inside) or inside

    return rename_all(tensors, rename, lambda name: _part(name) is None)


def _to_timm(tensors: Mapping[str, Tensor]) -> Converted:
    def rename(name: str) -> str | None:
        inside = _part(name)
        return _TIMM_REGISTERS if inside == _REGISTERS else inside

    converted = rename_all(tensors, rename, lambda name: _part(name) in (None, _MASK))
    theirs = converted.tensors
    if _TIMM_REGISTERS in theirs and {"cls_token", "pos_embed"} <= set(theirs):
        theirs["cls_token"] = theirs["cls_token"] + theirs["pos_embed"][:, :1]
        theirs["pos_embed"] = theirs["pos_embed"][:, 1:].contiguous()
    return converted


def resize_patch_kernel(kernel: Tensor, patch: int) -> Tensor:
    """Kernel of a patch projection → another patch size; bilinear with aligned corners, as DVIS++ brings DINOv2 from 14 to 16.

    Args:
        kernel: ``(C, 3, p, p)``.
        patch: wanted side, pixels.

    Returns: ``(C, 3, patch, patch)``, dtype of ``kernel``.
    """
    return F.interpolate(kernel.float(), size=(patch, patch), mode="bilinear", align_corners=True).to(kernel.dtype)


DINOV2 = Layout(
    "dinov2", "DINOv2's own files of the transformer alone (dinov2_vitl14_pretrain.pth)", _recognises, _to_ours, _from_ours
)
TIMM_VIT = Layout("timm_vit", "plain vision transformers of timm, DINOv2's among them", _recognises_timm, _to_ours, _to_timm)
