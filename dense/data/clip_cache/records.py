"""One cached clip as plain tensors and a few facts, and back."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dense.data.mappers.frame_targets import FrameTargets
from dense.errors import NonFiniteError

__all__ = ["from_tensors", "to_tensors"]

_FACTS = ("height", "width", "file_names", "frame_idx", "video_id", "length", "video_len", "padded")


def to_tensors(record: Mapping[str, Any], precision: torch.dtype) -> dict[str, Tensor]:
    """Tensors of one clip.

    Args:
        record: of the loader, with ``queries`` ``(T, Q, C)``, ``mask_features`` ``(T, M, h, w)`` and ``padded`` (H, W); its
            images are left out.
        precision: of queries and features.

    Raises: NonFiniteError if a value is NaN, infinite or too great for the precision.
    """
    frames: Sequence[FrameTargets] = record["instances"]
    facts = {name: record[name] for name in _FACTS if name in record}
    tensors = {
        "queries": record["queries"].to(precision).cpu(),
        "mask_features": record["mask_features"].to(precision).cpu(),
        "labels": torch.stack([frame.labels for frame in frames]),
        "ids": torch.stack([frame.ids for frame in frames]),
        "sizes": torch.tensor([frame.image_size for frame in frames]),
        "masks": _packed(torch.cat([frame.masks.flatten() for frame in frames])),
        "facts": _bytes(json.dumps(facts, default=str)),
    }
    for name in ("queries", "mask_features"):
        if not torch.isfinite(tensors[name]).all():
            raise NonFiniteError(
                f"{name} of {_first(facts)}: not finite in {str(precision).removeprefix('torch.')}. Use --precision float32."
            )
    return tensors


def from_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The record of ``to_tensors``, without images; queries and features in the precision they were kept in."""
    facts = json.loads(bytes(tensors["facts"].numpy()))
    labels, ids = tensors["labels"], tensors["ids"]
    sizes = [(int(h), int(w)) for h, w in tensors["sizes"]]
    lengths = [ids.shape[1] * h * w for h, w in sizes]
    bits = np.unpackbits(tensors["masks"].numpy(), count=sum(lengths))
    masks = torch.from_numpy(bits.view(np.bool_)).split(lengths)
    frames = [FrameTargets(labels[t], ids[t], masks[t].view(-1, *sizes[t])) for t in range(len(sizes))]
    if "padded" in facts:
        facts["padded"] = tuple(facts["padded"])
    return {**facts, "queries": tensors["queries"], "mask_features": tensors["mask_features"], "instances": frames}


def _packed(bits: Tensor) -> Tensor:
    return torch.from_numpy(np.packbits(bits.numpy()))


def _bytes(text: str) -> Tensor:
    return torch.frombuffer(bytearray(text.encode()), dtype=torch.uint8)


def _first(facts: Mapping[str, Any]) -> str:
    return str(next(iter(facts.get("file_names", ())), "a clip"))
