"""Contrast along tracklets: an object's embedding, its own past fused over time, and all other queries (CTVIS)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from torch import Tensor

from dense.errors import ConfigError
from dense.modeling.matchers import HungarianMatcher
from dense.modeling.matchers.hungarian import Match
from dense.modeling.predictions import DecoderOutput, MaskTargets
from dense.projects.dvis.contrast.items import ContrastItem, ItemLosses, item_losses
from dense.projects.dvis.contrast.tracklets import LATER_POSITIVES, LaterPositive, Tracklets, next_visible
from dense.projects.dvis.registries import OBJECTIVES
from dense.registry import nearest

__all__ = ["TrackletContrast"]

_FUSED_SHARE, _STRAY_SHARE = 0.5, 0.001  # fixed in the official code


def torch_uniform() -> float:
    """Uniform in [0, 1) from torch's default generator on the CPU: the trainer seeds it at each step."""
    return float(torch.rand(()))


@OBJECTIVES.register
class TrackletContrast:
    """Contrastive training of a segmenter's re-identification embeddings; it has no parameters.

    Args:
        matcher: of queries and objects in each frame, with points of its own, apart from the criterion's.
        weight: of ``loss_reid``.
        cosine_weight: of ``loss_aux_reid``.
        fused_share: probability that an object seen before is compared with its fused embedding instead of its last one.
        stray_share: probability per frame that an absent object gets a random query as its positive.
        later_positive: what an object not seen before is compared with.
        uniform: source of numbers in [0, 1).
    """

    @configurable
    def __init__(
        self,
        *,
        matcher: HungarianMatcher,
        weight: float,
        cosine_weight: float,
        fused_share: float = _FUSED_SHARE,
        stray_share: float = 0.0,
        later_positive: LaterPositive = next_visible,
        uniform: Callable[[], float] = torch_uniform,
    ) -> None:
        self.matcher = matcher
        self.weights = {"loss_reid": weight, "loss_aux_reid": cosine_weight}
        self.fused_share, self.stray_share = fused_share, stray_share
        self.later_positive, self.uniform = later_positive, uniform

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read MODEL.CL_PLUGIN.*; builds the matcher.

        Raises: ConfigError if NUM_NEGATIVES is not all queries but one, or for an unknown LATER_POSITIVE.
        """
        keys, queries = cfg.MODEL.CL_PLUGIN, cfg.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES
        if queries - 1 != keys.NUM_NEGATIVES:
            raise ConfigError(
                f"MODEL.CL_PLUGIN.NUM_NEGATIVES: {keys.NUM_NEGATIVES}, expected {queries - 1}, all queries but one"
                f" (MODEL.MASK_FORMER.NUM_OBJECT_QUERIES is {queries})."
            )
        if keys.LATER_POSITIVE not in LATER_POSITIVES:
            hint = nearest(keys.LATER_POSITIVE, list(LATER_POSITIVES))
            raise ConfigError(f"MODEL.CL_PLUGIN.LATER_POSITIVE: unknown {keys.LATER_POSITIVE!r}.{hint}")
        return {
            "matcher": HungarianMatcher(cfg),
            "weight": keys.REID_WEIGHT,
            "cosine_weight": keys.AUX_REID_WEIGHT,
            "fused_share": _FUSED_SHARE if keys.MOMENTUM_EMBED else 0.0,
            "stray_share": _STRAY_SHARE if keys.NOISE_EMBED else 0.0,
            "later_positive": LATER_POSITIVES[keys.LATER_POSITIVE],
        }

    def __call__(self, output: DecoderOutput, clips: Sequence[MaskTargets]) -> dict[str, Tensor]:
        """Weighted losses over all clips of this process.

        Args:
            output: frames as records, clip after clip; with re-identification embeddings.
            clips: their targets, with ids.

        Raises: ConfigError if the segmenter has no re-identification head.
        """
        if output.reid is None:
            raise ConfigError(
                "MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME: this decoder has no re-identification head,"
                " which contrastive training needs; use ReidentifyingDecoder."
            )
        frames = [clip.frame(t) for clip in clips for t in range(clip.masks.shape[1])]
        matches = self.matcher(output.final.detach(), frames)
        parts, first = [], 0
        for clip in clips:
            records = slice(first, first + clip.masks.shape[1])
            parts.append(self._clip_losses(output.reid[records], matches[records], clip))
            first = records.stop
        losses = ItemLosses(torch.cat([p.contrast for p in parts]), torch.cat([p.cosine for p in parts])).means()
        return {name: loss * self.weights[name] for name, loss in losses.items()}

    def _clip_losses(self, reid: Tensor, matches: Sequence[Match], clip: MaskTargets) -> ItemLosses:
        if clip.ids is None:
            raise AssertionError("targets of a clip carry ids")
        tracklets = Tracklets.from_matches(matches, clip.ids, reid.shape[1])
        if self.stray_share > 0:
            tracklets = tracklets.with_strays(self.stray_share, self.uniform)
        rows = reid.flatten(0, 1).float()  # (T·Q, C)
        bank = torch.cat((rows, tracklets.fused(rows).flatten(0, 1)))  # (T·Q + N·T, C)
        return item_losses(self.items(tracklets, len(reid)), bank)

    def items(self, tracklets: Tracklets, frames: int) -> list[ContrastItem]:
        """Items of a clip of T frames; their rows are its queries ``(T·Q)`` and, after them, the fused embeddings ``(N·T)``.

        Returns: per frame from the second on one item per visible object that is seen in another frame as well. The negatives
            are those of the frame before, wherever the positive comes from.
        """
        items = []
        for t in range(1, frames):
            for i, visible in enumerate(tracklets.visible):
                positive = self._positive(tracklets, i, t, frames) if visible[t] else None
                if positive is not None:
                    anchor, negatives = tracklets.rows[i][t], tracklets.negatives(i, t - 1)
                    items.append(ContrastItem(anchor, torch.tensor([positive]), negatives))
        return items

    def _positive(self, tracklets: Tracklets, obj: int, frame: int, frames: int) -> int | None:
        rows = tracklets.rows[obj]
        earlier = [row for row in rows[:frame] if row != -1]
        if not earlier:
            later = self.later_positive(tracklets.visible[obj], frame)
            return None if later is None else rows[later]
        if self.fused_share > 0 and self.uniform() > 1 - self.fused_share:
            return frames * tracklets.queries + obj * frames + frame - 1
        return earlier[-1]
