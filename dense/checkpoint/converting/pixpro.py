"""PixPro's pretraining files (``encoder``, ``encoder_k``, ``projector``, …), and what a detector takes of such a file.

Our names are those of ``PixelPretrainer``; its momentum copies are ``target_…``.
"""

from collections.abc import Collection, Mapping

from torch import Tensor

from dense.checkpoint.converting.detectron2 import resnet_part
from dense.checkpoint.converting.layout import Converted, Layout, NameTable, rename_all
from dense.checkpoint.converting.torchvision import RESNET_NAMES

__all__ = ["PIXPRO", "detector_part"]

_ENCODERS = (("backbone.", "encoder."), ("target_backbone.", "encoder_k."))
_HEADS = NameTable(
    [
        ("projector.", "projector."),
        ("target_projector.", "projector_k."),
        ("propagation.transform.", "value_transform."),
        ("instance_projector.", "projector_instance."),
        ("target_instance_projector.", "projector_instance_k."),
        ("instance_predictor.", "predictor."),
    ]
)
_MARKS = ("projector.linear1.", "instance_projector.linear1.")
_PRETRAINING_ONLY = ("target_", "projector.", "propagation.", "instance_")
_TOWER, _HEAD = "tower.", "head."


def detector_part(tensors: Mapping[str, Tensor], own: Collection[str]) -> Converted:
    """What another model takes of a pretraining checkpoint under our names: backbone, pyramid, and towers if it has them.

    Args:
        tensors: the checkpoint's; any other checkpoint is returned as it is.
        own: names of the model; one that has a projector itself gets everything.
    """
    if not any(name.startswith(_MARKS) for name in tensors) or any(name.startswith(_MARKS) for name in own):
        return Converted(dict(tensors))

    def rename(name: str) -> str | None:
        return f"{_HEAD}{name.removeprefix(_TOWER)}" if name.startswith(_TOWER) else None

    def drop(name: str) -> bool:
        return name.startswith(_PRETRAINING_ONLY) or (name.startswith(_TOWER) and rename(name) not in own)

    return rename_all(tensors, rename, drop)


def _recognises(names: Collection[str]) -> bool:
    return "encoder.conv1.weight" in names and any(name.startswith("encoder.layer1.") for name in names)


def _to_ours(tensors: Mapping[str, Tensor]) -> Converted:
    def rename(name: str) -> str | None:
        for ours, theirs in _ENCODERS:
            if name.startswith(theirs):
                part = RESNET_NAMES.to_ours(name.removeprefix(theirs))
                return None if part is None else f"{ours}{part}"
        return _HEADS.to_ours(name)

    return rename_all(tensors, rename, lambda name: name.startswith(("encoder.fc.", "encoder_k.fc.")))


def _from_ours(tensors: Mapping[str, Tensor]) -> Converted:
    def rename(name: str) -> str | None:
        part = resnet_part(name.removeprefix("target_"))
        if part is None:
            return _HEADS.to_theirs(name)
        theirs = RESNET_NAMES.to_theirs(part)
        return None if theirs is None else f"{'encoder_k' if name.startswith('target_') else 'encoder'}.{theirs}"

    return rename_all(tensors, rename, lambda name: rename(name) is None)


PIXPRO = Layout("pixpro", "PixPro's pretraining files: encoder, encoder_k, projector …", _recognises, _to_ours, _from_ours)
