"""Detectron2's ImageNet backbones (``R-50.pkl`` and its like): our names without ``backbone.``, and a classifier."""

from collections.abc import Collection, Mapping

from torch import Tensor

from dense.checkpoint.converting.layout import Converted, Layout, rename_all

__all__ = ["DETECTRON2", "is_counter", "resnet_part"]

_STAGES = ("stem.", "res2.", "res3.", "res4.", "res5.")
_PREFIXES = ("backbone.bottom_up.", "backbone.")


def is_counter(name: str) -> bool:
    """Batches counted by a batch norm: a frozen one has none."""
    return name.endswith("num_batches_tracked")


def resnet_part(name: str) -> str | None:
    """Name inside Detectron2's ResNet of one of our names, ``None`` for other tensors."""
    for prefix in _PREFIXES:
        inside = name.removeprefix(prefix)
        if inside != name and inside.startswith(_STAGES):
            return inside
    return None


def _recognises(names: Collection[str]) -> bool:
    return "stem.conv1.weight" in names and any(name.startswith("res2.0.") for name in names)


def _to_ours(tensors: Mapping[str, Tensor]) -> Converted:
    def drop(name: str) -> bool:
        return not name.startswith(_STAGES) or name.startswith("stem.fc.")

    return rename_all(tensors, lambda name: f"backbone.{name}", drop)


def _from_ours(tensors: Mapping[str, Tensor]) -> Converted:
    return rename_all(tensors, resnet_part, lambda name: resnet_part(name) is None)


DETECTRON2 = Layout("detectron2", "ResNet of Detectron2 without `backbone.` (R-50.pkl)", _recognises, _to_ours, _from_ours)
