"""The authors' files (Mask2Former, MinVIS, CTVIS, DVIS): our names are theirs; older files differ in two ways.

Before query features were learnt separately they were called ``static_query``; before the head was split, the pixel decoder's
tensors lay directly under ``sem_seg_head``.
"""

from collections.abc import Collection, Mapping

from torch import Tensor

from dense.checkpoint.converting.layout import Converted, Layout, rename_all

__all__ = ["OFFICIAL"]

_HEAD = "sem_seg_head."
_PARTS = ("pixel_decoder.", "predictor.")


def _current_name(name: str) -> str:
    inside = name.removeprefix(_HEAD)
    if inside == name:
        return name
    if not inside.startswith(_PARTS):
        inside = f"pixel_decoder.{inside}"
    if inside.startswith("predictor.static_query."):
        inside = inside.replace("static_query", "query_feat", 1)
    return f"{_HEAD}{inside}"


def _recognises(names: Collection[str]) -> bool:
    return any(name.startswith(_HEAD) for name in names)


def _to_ours(tensors: Mapping[str, Tensor]) -> Converted:
    return rename_all(tensors, _current_name)


def _from_ours(tensors: Mapping[str, Tensor]) -> Converted:
    return Converted(dict(tensors))


OFFICIAL = Layout(
    "official", "Mask2Former, MinVIS, CTVIS, DVIS: the authors' files, old and new", _recognises, _to_ours, _from_ours
)
