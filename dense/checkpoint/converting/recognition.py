"""Which layout a checkpoint has, and under which names it fits a model best."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from torch import Tensor

from dense.checkpoint.converting.detectron2 import DETECTRON2, is_counter
from dense.checkpoint.converting.dinov2 import DINOV2, TIMM_VIT, resize_patch_kernel
from dense.checkpoint.converting.dito import DITO
from dense.checkpoint.converting.layout import Converted, Layout
from dense.checkpoint.converting.official import OFFICIAL
from dense.checkpoint.converting.pixpro import PIXPRO, detector_part
from dense.checkpoint.converting.swin import SWIN, resize_bias_table
from dense.checkpoint.converting.torchvision import TORCHVISION
from dense.checkpoint.converting.transformers_mask2former import TRANSFORMERS
from dense.errors import CheckpointError
from dense.registry import nearest

__all__ = ["LAYOUTS", "Fit", "fit_to_model", "layout", "recognise"]

LAYOUTS = {
    entry.name: entry for entry in (OFFICIAL, TRANSFORMERS, DETECTRON2, TORCHVISION, PIXPRO, SWIN, DINOV2, TIMM_VIT, DITO)
}

_WRAPPERS = ("module.", "_orig_mod.", "model.")
#: where a backbone stands: as the model itself, in a segmenter, below a feature pyramid; a transformer without its adapter
_PLACES = (
    ("backbone.", ""),
    ("backbone.", "backbone.bottom_up."),
    ("backbone.bottom_up.", "backbone."),
    ("backbone.vit_module.", ""),
    ("backbone.vit_module.", "backbone."),
)
_LAST_STAGE = "backbone.res5."
_PATCH_KERNEL = "patch_embed.proj.weight"
_BIAS_TABLE, _INDEX = "relative_position_bias_table", "relative_position_index"


@dataclass(frozen=True)
class Fit:
    """A checkpoint under the names of a model.

    Attributes:
        layout: name of the layout it had, ``"ours"`` if nothing was to be done.
        tensors: our name → tensor.
        dropped: names of the checkpoint that no model of ours has a use for.
        resized: our names of tensors that were resampled to the model's window or patch size.
    """

    layout: str
    tensors: dict[str, Tensor]
    dropped: list[str]
    resized: list[str]


def layout(name: str) -> Layout:
    """A layout by name. Raises: CheckpointError with the nearest name."""
    if name not in LAYOUTS:
        raise CheckpointError(f"layout {name!r} is unknown.{nearest(name, list(LAYOUTS))}")
    return LAYOUTS[name]


def recognise(names: Collection[str]) -> Layout | None:
    """The layout whose marks these names bear, if any."""
    return next((entry for entry in LAYOUTS.values() if entry.recognises(names)), None)


def fit_to_model(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> Fit:
    """Bring a state dict of any known layout to a model's names; as it is where that fits as well and leaves as little over.

    Args:
        tensors: the checkpoint's; a prefix before every name (data parallel, compiled, Lightning) is taken off if need be.
        own: the model's state dict.
    """
    plain = _without_wrapper(dict(tensors), own)
    origin = {id(tensor): name for name, tensor in plain.items()}
    best, converted = "ours", _placed(Converted(plain), own, origin)
    for entry in LAYOUTS.values():
        if entry.recognises(plain):
            other = _placed(entry.to_ours(plain), own, origin)
            if _rank(other.tensors, own) > _rank(converted.tensors, own):
                best, converted = entry.name, other
    ready, tables = _at_window_size(converted.tensors, own)
    ready, kernels = _at_patch_size(ready, own)
    return Fit(best, ready, converted.dropped, tables + kernels)


def _placed(converted: Converted, own: Collection[str], origin: Mapping[int, str]) -> Converted:
    """Under the model's names as far as they go, without what only pretraining needs and counters of frozen norms.

    ``origin``: names in the checkpoint by the identity of their tensors.
    """
    part = detector_part(converted.tensors, own)
    placed = _res5_in_head(_at_its_place(part.tensors, own), own)
    strange = [name for name in placed if is_counter(name) and name not in own]
    tensors = {name: tensor for name, tensor in placed.items() if name not in strange}
    left = [converted.tensors[name] for name in part.dropped] + [placed[name] for name in strange]
    return Converted(tensors, [*converted.dropped, *(origin[id(tensor)] for tensor in left)])


def _res5_in_head(tensors: dict[str, Tensor], own: Collection[str]) -> dict[str, Tensor]:
    """C4 detectors have the last stage of the backbone in their head."""

    def place(name: str) -> str:
        moved = name.replace("backbone.", "roi_heads.", 1)
        return moved if name.startswith("backbone.res5.") and name not in own and moved in own else name

    return {place(name): tensor for name, tensor in tensors.items()}


def _fitting(tensors: Collection[str], own: Collection[str]) -> int:
    return sum(name in own for name in tensors)


def _rank(tensors: Collection[str], own: Collection[str]) -> tuple[int, int]:
    """Most names that fit; among equals, fewest left over (a classifier that one layout knows to drop)."""
    fitting = _fitting(tensors, own)
    return fitting, fitting - len(tensors)


def _without_wrapper(tensors: dict[str, Tensor], own: Collection[str]) -> dict[str, Tensor]:
    for prefix in _WRAPPERS:
        if not _fitting(tensors, own) and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    return tensors


def _at_its_place(tensors: dict[str, Tensor], own: Collection[str]) -> dict[str, Tensor]:
    """Move the backbone to where the model has it; of C4 detectors, the last stage to the RoI head."""
    placed = _backbone_at_its_place(tensors, own)
    moved = {_in_head(name, own): tensor for name, tensor in placed.items()}
    return moved if len(moved) == len(placed) else placed


def _in_head(name: str, own: Collection[str]) -> str:
    other = f"roi_heads.{name.removeprefix('backbone.')}"
    return other if name.startswith(_LAST_STAGE) and name not in own and other in own else name


def _backbone_at_its_place(tensors: dict[str, Tensor], own: Collection[str]) -> dict[str, Tensor]:
    """Move the backbone to where the model has it, if it fits nowhere as it is named."""
    if any(name in own for name in tensors if name.startswith("backbone.")):
        return tensors
    best, most = tensors, _fitting(tensors, own)
    for old, new in _PLACES:
        moved = {f"{new}{name.removeprefix(old)}" if name.startswith(old) else name: t for name, t in tensors.items()}
        if len(moved) == len(tensors) and _fitting(moved, own) > most:
            best, most = moved, _fitting(moved, own)
    return best


def _at_window_size(tensors: dict[str, Tensor], own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Resample bias tables of another window size; an index of that window, or none, is replaced by what the model computed."""
    ready, resized = dict(tensors), []
    for name in [name for name in tensors if name.endswith(_BIAS_TABLE) and name in own]:
        table, rows = tensors[name], own[name].shape[0]
        if table.dim() != 2 or table.shape[1:] != own[name].shape[1:]:
            continue  # other heads: another network
        if table.shape[0] != rows:
            ready[name] = resize_bias_table(table, rows)
            resized.append(name)
        index = name.replace(_BIAS_TABLE, _INDEX)
        if index in own and (index not in tensors or name in resized):
            ready[index] = own[index]
    return ready, resized


def _at_patch_size(tensors: dict[str, Tensor], own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Resample the kernel of the patch projection if only its sides differ."""
    ready, resized = dict(tensors), []
    for name, kernel in tensors.items():
        wanted = own[name].shape if name.endswith(_PATCH_KERNEL) and name in own else None
        if wanted and kernel.dim() == len(wanted) == 4 and kernel.shape[:2] == wanted[:2] and kernel.shape != wanted:
            ready[name] = resize_patch_kernel(kernel, wanted[2])
            resized.append(name)
    return ready, resized
