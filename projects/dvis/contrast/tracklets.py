"""What contrastive training keeps of each object of a clip: positives, negatives and fused embeddings (CTVIS)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dense.projects.dvis.contrast.items import other_rows

__all__ = ["LATER_POSITIVES", "LaterPositive", "Tracklets", "fused_embeddings", "next_visible", "next_visible_published"]

#: (is the object visible in each frame?, frame) → later frame of its positive; ``None`` = the object makes no item there
LaterPositive = Callable[[Sequence[bool], int], int | None]


@dataclass(frozen=True)
class Tracklets:
    """N objects of a clip of T frames with Q queries each; query q of frame t has row ``t·Q + q``.

    Attributes:
        visible: per object and frame, is it to be seen, and matched?
        rows: per object and frame the row of its positive; -1 = none.
        queries: Q.
    """

    visible: list[list[bool]]
    rows: list[list[int]]
    queries: int

    @classmethod
    def from_matches(cls, matches: Sequence[tuple[Tensor, Tensor]], ids: Tensor, queries: int) -> "Tracklets":
        """From the matching of each frame.

        Args:
            matches: per frame the query and object indices.
            ids: ``(N, T)``, -1 = not visible.
            queries: Q.
        """
        rows = torch.full(tuple(ids.shape), -1)
        for t, (query, obj) in enumerate(matches):
            rows[obj.cpu(), t] = t * queries + query.cpu()
        rows[ids.cpu() == -1] = -1  # an absent object is matched too, by its empty mask
        return cls((rows != -1).tolist(), rows.tolist(), queries)

    def with_strays(self, share: float, uniform: Callable[[], float]) -> "Tracklets":
        """Give an object that is absent, with probability ``share`` per frame, a random query of the frame as its positive."""
        rows = [list(row) for row in self.rows]
        for t in range(len(rows[0]) if rows else 0):
            for row in rows:
                if row[t] == -1 and uniform() < share:
                    row[t] = t * self.queries + int(uniform() * self.queries)
        return Tracklets(self.visible, rows, self.queries)

    def negatives(self, obj: int, frame: int) -> Tensor:
        """Rows of the frame's queries without the object's own; all of them where it is absent."""
        own = self.rows[obj][frame] - frame * self.queries if self.visible[obj][frame] else -1
        return other_rows(frame, self.queries, own)

    def fused(self, bank: Tensor) -> Tensor:
        """Fused embedding of each object after each frame: rows ``(T·Q, C)`` → ``(N, T, C)``."""
        rows = torch.tensor(self.rows, dtype=torch.int64, device=bank.device).view(len(self.rows), len(bank) // self.queries)
        return fused_embeddings(bank[rows.clamp(min=0)], rows >= 0)


def fused_embeddings(embeddings: Tensor, present: Tensor) -> Tensor:
    """Running mean of each object's embeddings; one that is unlike those before weighs less.

    Its share is the mean cosine with all earlier ones, at least 0.

    Args:
        embeddings: ``(N, T, C)``; those of frames where the object has none are not looked at.
        present: ``(N, T)`` bool.

    Returns: float32 ``(N, T, C)``, the mean up to and including each frame; zeros before the first.
    """
    frames = embeddings.shape[1]
    with torch.autocast(embeddings.device.type, enabled=False):
        rows = embeddings.float()
        unit = F.normalize(rows, dim=-1)
        cosine = unit @ unit.mT  # (N, T, T)
    earlier = present[:, None] & torch.ones(frames, frames, dtype=torch.bool, device=present.device).tril(-1)
    count = earlier.sum(-1)
    likeness = (cosine * earlier).sum(-1) / count.clamp(min=1)
    share = torch.where(count == 0, 1.0, likeness.clamp(min=0)) * present  # (N, T)
    mean, fused = torch.zeros_like(rows[:, 0]), []
    for t in range(frames):
        mean = (1 - share[:, t, None]) * mean + share[:, t, None] * rows[:, t]
        fused.append(mean)
    return torch.stack(fused, dim=1)


def next_visible(visible: Sequence[bool], frame: int) -> int | None:
    """See ``LaterPositive``: the next frame in which the object is visible."""
    return next((t for t in range(frame + 1, len(visible)) if visible[t]), None)


def next_visible_published(visible: Sequence[bool], frame: int) -> int | None:
    """The same with the slip of the published code: none if exactly ``frame`` of the later frames lack the object."""
    return None if sum(not seen for seen in visible[frame + 1 :]) == frame else next_visible(visible, frame)


#: what MODEL.CL_PLUGIN.LATER_POSITIVE may say
LATER_POSITIVES: dict[str, LaterPositive] = {"next": next_visible, "published": next_visible_published}
