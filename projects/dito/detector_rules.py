"""What a detector is made of beside its weights: parts, how regions are read, rules of inference."""

from dataclasses import dataclass, field

from torch import nn

from dense.projects.dito.boxes import BoxCoder
from dense.projects.dito.fusion import DetectionRules, ScoreFusion
from dense.projects.dito.proposals import ProposalRules
from dense.projects.dito.text.prompts import TEMPLATES

__all__ = ["DetectorParts", "Inference", "RegionReading", "WordRules"]


@dataclass(frozen=True)
class RegionReading:
    """How anchors and regions are read, in training and inference.

    Attributes:
        anchor_scale: side of an anchor in strides.
        coder: of the box head's deltas.
        box_side, mask_side, pooled_side: bins per side for box head, mask head and the transformers' maps.
        shrink: factor of a proposal's sides before a transformer's map is read.
        temperature: of the classifier, times the learnt factor.
    """

    anchor_scale: float = 8.0
    coder: BoxCoder = field(default_factory=BoxCoder)
    box_side: int = 7
    mask_side: int = 14
    pooled_side: int = 14
    shrink: float = 0.7
    temperature: float = 0.01


@dataclass(frozen=True)
class Inference:
    """Everything that only inference needs.

    Attributes:
        proposals: how many there are.
        source: "frozen", "trainable" or "none": the transformer whose map is scored beside the detector.
        temperature: of those scores.
        fusion: of both.
        indicator: use the vocabulary's base marks.
        detections: what becomes one.
    """

    proposals: ProposalRules = field(default_factory=lambda: ProposalRules(overlap=1.0))
    source: str = "frozen"
    temperature: float = 0.01
    fusion: ScoreFusion = field(default_factory=ScoreFusion)
    indicator: bool = True
    detections: DetectionRules = field(default_factory=DetectionRules)


@dataclass(frozen=True)
class DetectorParts:
    """Modules of a detector; what is ``None`` it does without: scores of a frozen backbone, masks, words as text."""

    backbone: nn.Module
    frozen_backbone: nn.Module | None
    pyramid: nn.Module
    proposal_head: nn.Module
    box_head: nn.Module
    mask_head: nn.Module | None
    text: nn.Module | None = None


@dataclass(frozen=True)
class WordRules:
    """How words become rows of a vocabulary.

    Attributes:
        templates: sentences around a word.
        cache: folder where embeddings are kept; "" = none.
        trained: words that have boxes in training, in the order of the classes; none = nobody knows.
    """

    templates: tuple[str, ...] = TEMPLATES["imagenet"]
    cache: str = ""
    trained: tuple[str, ...] = ()
