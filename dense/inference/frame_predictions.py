"""One prediction per frame, nothing selected yet."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from dense.modeling.postprocess import resize_masks
from dense.modeling.video import QueryWindow
from dense.modeling.video_evidence import VideoEvidence
from dense.structures import RLE
from dense.structures.rle import encode_stack
from dense.video import Frame

__all__ = ["FramePrediction"]

_CHUNK = 16  # masks resized at once: bounds the memory of large frames


@dataclass(frozen=True)
class FramePrediction:
    """One frame, nothing selected: ``probabilities`` ``(Q, K+1)`` so far, ``masks`` ``(Q, h, w)``, sizes as in ``window``."""

    frame: Frame
    probabilities: Tensor
    masks: Tensor
    window: QueryWindow

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the frame in pixels."""
        return self.frame.image.shape[0], self.frame.image.shape[1]

    def encode(self, queries: Sequence[int]) -> list[RLE | None]:
        """Masks of the queries at the frame's size; ``None`` where nothing is covered."""
        out: list[RLE | None] = [None] * len(queries)
        # Interpolation never exceeds its inputs: a query without a positive logit has an empty mask at any size.
        filled = [i for i, q in enumerate(queries) if bool((self.masks[q] > 0).any())]
        for first in range(0, len(filled), _CHUNK):
            part = filled[first : first + _CHUNK]
            chosen = self.masks[[queries[i] for i in part]]
            binary = resize_masks(chosen, self.window.padded, self.window.unpadded, self.size) > 0
            for i, mask, rle in zip(part, binary, encode_stack(binary.cpu().numpy()), strict=True):
                out[i] = rle if bool(mask.any()) else None
        return out

    def evidence(self, masks: Tensor) -> VideoEvidence:
        """What is known after this frame, with mask logits ``(Q, T, h, w)`` of the frames to decide on."""
        return VideoEvidence(self.probabilities, masks.float(), self.window.padded, self.window.unpadded, self.size)
