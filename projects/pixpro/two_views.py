"""From training records to normalised views on the model's device."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dense.errors import DataError

__all__ = ["ViewNormalizer", "Views"]


@dataclass(frozen=True)
class Views:
    """Two views of each of N images.

    Attributes:
        full: the views, each ``(N, 3, S, S)``, normalised.
        coords: their recorded vectors, each ``(N, 4)`` float32 (float64 stays).
        small: further small crops, each ``(N, 3, s, s)``.
    """

    full: list[Tensor]
    coords: list[Tensor]
    small: list[Tensor]


class ViewNormalizer(nn.Module):
    """Stacks records, takes them to the model's device as bytes, and normalises there.

    Args:
        mean: of each channel, 0 to 255.
        std: likewise.
        channels_last: memory layout of the images.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float], *, channels_last: bool = True) -> None:
        super().__init__()
        dtype = torch.get_default_dtype()
        self.register_buffer("mean", torch.tensor(mean, dtype=dtype).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std, dtype=dtype).view(-1, 1, 1), persistent=False)
        self.channels_last = channels_last

    def forward(self, batch: Sequence[dict[str, Any]]) -> Views:
        """Records with ``views`` ``(2, 3, S, S)``, 0 to 255, ``coords`` ``(2, 4)``, perhaps ``small`` ``(M, 3, s, s)`` → views.

        Raises: DataError for an empty batch, other than two views, or records that do not fit together.
        """
        if not batch:
            raise DataError("views: the batch has no record, expected at least one.")
        views, coords = _stacked(batch, "views"), _stacked(batch, "coords").to(self.mean.device)
        if views.dim() != 5 or views.shape[1:3] != (2, 3) or coords.shape[1:] != (2, 4):
            raise DataError(
                f"views: records have {list(views.shape[1:])} pixels and {list(coords.shape[1:])} coordinates, expected"
                " [2, 3, S, S] and [2, 4]."
            )
        small = _stacked(batch, "small") if "small" in batch[0] else None
        return Views(self._normalised(views), list(coords.unbind(1)), [] if small is None else self._normalised(small))

    def _normalised(self, stack: Tensor) -> list[Tensor]:
        """``(N, V, 3, S, S)`` → V tensors."""
        stack = stack.to(self.mean.device, non_blocking=True)
        # Strides of a batch of one image fit both layouts, and torch 2.14.1 on CPUs then mixes them up in the backward pass.
        layout = torch.channels_last if self.channels_last and len(stack) > 1 else torch.contiguous_format
        views = [view.contiguous(memory_format=layout) for view in stack.unbind(1)]
        return [view.to(self.mean.dtype).sub_(self.mean).div_(self.std) for view in views]


def _stacked(batch: Sequence[dict[str, Any]], key: str) -> Tensor:
    try:
        return torch.stack([record[key] for record in batch])
    except KeyError as error:
        raise DataError(f"{key}: a record of the batch has none. Is DATASETS.DATASET_TYPE image_views?") from error
    except RuntimeError as error:
        shapes = sorted({str(list(record[key].shape)) for record in batch})
        raise DataError(f"{key}: records of one batch have the shapes {', '.join(shapes[:4])}, expected one shape.") from error
