"""Heads of the detector: proposals, boxes with embeddings, masks, and the classifier by text (DITO §3; RO-ViT, OLN)."""

from collections.abc import Iterable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dense.layers import ChannelNorm, CosineConv2d, CosineLinear, unit_length
from dense.projects.dito.pyramid import LEVELS

__all__ = ["BoxHead", "MaskHead", "ProposalHead", "cosine_logits"]


class ProposalHead(nn.Module):
    """Localisation quality and distances to the four sides, at every position of every level.

    The convolutions are shared by the levels, the norms are not.

    Args:
        channels: of the levels.
        levels: their names.
        convs: shared 3×3 convolutions.
    """

    def __init__(self, channels: int = 256, levels: Iterable[str] = LEVELS, convs: int = 2) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(convs))
        self.norms = nn.ModuleDict({name: nn.ModuleList(ChannelNorm(channels) for _ in range(convs)) for name in levels})
        self.score = nn.Conv2d(channels, 1, 1)
        self.distances = nn.Conv2d(channels, 4, 1)
        _scaled_by_outputs(self.convs)
        for output in (self.score, self.distances):
            _normal(output, 0.01)

    def forward(self, features: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Read the levels.

        Args:
            features: by level, ``(B, channels, h, w)``.

        Returns: by level, logits of the quality ``(B, 1, h, w)``, and distances left, right, top, bottom in anchor sides
            ``(B, 4, h, w)``; both float32.
        """
        scores, distances = {}, {}
        for name, x in features.items():
            for number, conv in enumerate(self.convs):
                x = F.relu(self.norms[name][number](conv(x)))  # type: ignore[index]
            scores[name], distances[name] = _in_full(x, self.score, self.distances)
        return scores, distances


class BoxHead(nn.Module):
    """Regions → their embedding in the space of the text, and what to correct their boxes by.

    Args:
        channels: of the regions.
        hidden: features of the linear layer.
        embedding: width of the text embeddings.
        side: of a region, cells.
        convs: 3×3 convolutions before the linear layer.
    """

    def __init__(self, channels: int = 256, hidden: int = 1024, embedding: int = 768, side: int = 7, convs: int = 4) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(convs))
        self.norms = nn.ModuleList(ChannelNorm(channels) for _ in range(convs))
        self.linear = nn.Linear(channels * side * side, hidden)
        self.norm = nn.LayerNorm(hidden, eps=1e-6)
        self.embed = CosineLinear(hidden, embedding)
        self.deltas = nn.Linear(hidden, 4)
        _scaled_by_outputs(self.convs)
        nn.init.xavier_uniform_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)
        nn.init.normal_(self.embed.weight, std=0.01)
        _normal(self.deltas, 0.001)

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Read regions.

        Args:
            regions: ``(R, channels, side, side)``.

        Returns: embeddings ``(R, embedding)``, not of unit length, and corrections dx, dy, dw, dh ``(R, 4)``; both float32.
        """
        x = regions
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x)))
        x = F.relu(self.norm(self.linear(x.flatten(1))))
        return _in_full(x, self.embed, self.deltas)


class MaskHead(nn.Module):
    """Regions → mask logits of twice their side, whatever the class.

    Args:
        channels: of the regions.
        convs: normalised 3×3 convolutions before the deconvolution.
    """

    def __init__(self, channels: int = 256, convs: int = 4) -> None:
        super().__init__()
        self.convs = nn.ModuleList(CosineConv2d(channels, channels, 3) for _ in range(convs))
        self.norms = nn.ModuleList(ChannelNorm(channels) for _ in range(convs))
        self.enlarge = nn.ConvTranspose2d(channels, channels, 2, stride=2)
        self.norm = ChannelNorm(channels)
        self.logits = CosineConv2d(channels, 1, 1)
        _scaled_by_outputs([*self.convs, self.logits])

    def forward(self, regions: Tensor) -> Tensor:
        """``(R, channels, s, s)`` → logits ``(R, 1, 2·s, 2·s)``."""
        x = regions
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(norm(conv(x)))
        x = F.relu(self.norm(self.enlarge(x)))
        return self.logits(x)  # type: ignore[no-any-return]


def cosine_logits(embeddings: Tensor, text: Tensor, temperature: Tensor | float) -> Tensor:
    """Logits of regions for words: cosine over temperature, in float32.

    Args:
        embeddings: ``(…, D)`` of regions; one without length gives zeros.
        text: ``(C, D)`` of the words, background first; neither need be of unit length.
        temperature: 0.01 · the learnt factor in the detector, 0.01 for the frozen transformer.

    Returns: ``(…, C)``.
    """
    with torch.autocast(embeddings.device.type, enabled=False):
        return unit_length(embeddings.float()) @ unit_length(text.float()).mT / temperature


def _in_full(x: Tensor, one: nn.Module, other: nn.Module) -> tuple[Tensor, Tensor]:
    """Outputs of two layers in float32, also under autocast: scores and boxes do not bear half precision."""
    with torch.autocast(x.device.type, enabled=False):
        return one(x.float()), other(x.float())


def _scaled_by_outputs(convs: Iterable[nn.Module]) -> None:
    """Normal with variance 2 / (outputs · taps), zero biases: keeps the gradient's size through ReLU."""
    for conv in convs:
        assert isinstance(conv, nn.Conv2d), "only convolutions are initialised here"
        nn.init.kaiming_normal_(conv.weight, mode="fan_out")
        assert conv.bias is not None, "they have biases"
        nn.init.zeros_(conv.bias)


def _normal(layer: nn.Conv2d | nn.Linear, deviation: float) -> None:
    nn.init.normal_(layer.weight, std=deviation)
    assert layer.bias is not None, "outputs have biases"
    nn.init.zeros_(layer.bias)
