"""ResNets of torchvision, and of others who kept the names (MoCo, PixPro): ``conv1``, ``bn1``, ``layer1.0.downsample``."""

from collections.abc import Collection, Mapping

from torch import Tensor

from dense.checkpoint.converting.detectron2 import is_counter, resnet_part
from dense.checkpoint.converting.layout import Converted, Layout, NameTable, rename_all

__all__ = ["RESNET_NAMES", "TORCHVISION"]

RESNET_NAMES = NameTable(
    [
        ("stem.conv1.norm.", "bn1."),
        ("stem.conv1.", "conv1."),
        *(
            (f"res{stage + 1}.{{}}.{ours}.", f"layer{stage}.{{}}.{theirs}.")
            for stage in (1, 2, 3, 4)
            for ours, theirs in (
                ("shortcut.norm", "downsample.1"),
                ("shortcut", "downsample.0"),
                *((f"conv{i}.norm", f"bn{i}") for i in (1, 2, 3)),
                *((f"conv{i}", f"conv{i}") for i in (1, 2, 3)),
            )
        ),
    ]
)


def _recognises(names: Collection[str]) -> bool:
    return {"conv1.weight", "bn1.weight", "layer1.0.conv1.weight"} <= set(names)


def _to_ours(tensors: Mapping[str, Tensor]) -> Converted:
    def rename(name: str) -> str | None:
        ours = RESNET_NAMES.to_ours(name)
        return None if ours is None else f"backbone.{ours}"

    return rename_all(tensors, rename, lambda name: is_counter(name) or name.startswith("fc."))


def _from_ours(tensors: Mapping[str, Tensor]) -> Converted:
    def rename(name: str) -> str | None:
        part = resnet_part(name)
        return None if part is None else RESNET_NAMES.to_theirs(part)

    return rename_all(tensors, rename, lambda name: rename(name) is None)


TORCHVISION = Layout(
    "torchvision", "ResNet of torchvision: conv1, bn1, layer1.0.downsample …", _recognises, _to_ours, _from_ours
)
