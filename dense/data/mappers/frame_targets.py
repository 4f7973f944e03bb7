"""What a training clip says about the objects of one frame."""

from dataclasses import dataclass

from torch import Tensor

from dense.data.transforms import Size

__all__ = ["FrameTargets"]


@dataclass(frozen=True)
class FrameTargets:
    """Objects of one frame. All frames of a clip have the same N objects in the same order.

    Attributes:
        labels: ``(N,)`` int64 contiguous category; -1 where the object is not annotated in this frame.
        ids: ``(N,)`` int64, the object's slot n, or -1 where it is not visible in this frame.
        masks: ``(N, H, W)`` bool at the size of the frame's image; empty where ``ids`` is -1.
    """

    labels: Tensor
    ids: Tensor
    masks: Tensor

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def image_size(self) -> Size:
        """(height, width) of the frame in pixels."""
        return int(self.masks.shape[1]), int(self.masks.shape[2])
