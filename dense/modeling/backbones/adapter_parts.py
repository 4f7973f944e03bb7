"""Parts of the ViT-Adapter (Chen et al. 2023, §3): spatial prior, extractor, injector, in the form that DVIS++ uses.

Letters: ``c`` are the adapter's tokens ``(B, N, C)``, three maps at strides 8, 16, 32 joined row by row; ``x`` are the patch
tokens ``(B, h·w, C)`` of the vision transformer at stride 16.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dense.layers import DeformableAttention, SharedBatchNorm, cell_centres

__all__ = ["AdapterGrid", "Extractor", "Injector", "Interaction", "SpatialPrior", "initialise"]

POINTS = 4  # sampled per head and level
STEM = 64  # channels of the spatial prior at stride 4


@dataclass(frozen=True)
class AdapterGrid:
    """What the deformable attention of all extractors and injectors has to know about one input.

    Attributes:
        sizes: (height, width) of ``c`` at strides 8, 16, 32.
        adapter_shapes: the same, ``(3, 2)`` int64.
        patch_shapes: (height, width) of ``x``, ``(1, 2)`` int64.
        adapter_points: centres of ``c`` on the map of ``x``, ``(1, N, 1, 2)``.
        patch_points: centres of ``x`` on the maps of ``c``, ``(1, h·w, 3, 2)``.
    """

    sizes: tuple[tuple[int, int], ...]
    adapter_shapes: Tensor
    patch_shapes: Tensor
    adapter_points: Tensor
    patch_points: Tensor

    @classmethod
    def of_patches(cls, height: int, width: int, like: Tensor) -> "AdapterGrid":
        """For a map of ``height × width`` patches, both even; ``like`` gives device and type."""
        sizes = ((2 * height, 2 * width), (height, width), (height // 2, width // 2))
        shapes = torch.tensor(sizes, dtype=torch.int64, device=like.device)
        return cls(sizes, shapes, shapes[1:2], cell_centres(sizes, 1, like), cell_centres(sizes[1:2], 3, like))

    def split(self, c: Tensor) -> list[Tensor]:
        """``(B, N, C)`` → maps ``(B, C, height, width)`` at strides 8, 16, 32."""
        parts = c.split([height * width for height, width in self.sizes], dim=1)
        return [part.mT.unflatten(2, size) for part, size in zip(parts, self.sizes, strict=True)]


def _convolution(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return [conv, SharedBatchNorm(outputs), nn.ReLU()]


class SpatialPrior(nn.Module):
    """A small convolutional network that sees what the patches have averaged away."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *_convolution(3, STEM, 2), *_convolution(STEM, STEM, 1), *_convolution(STEM, STEM, 1), nn.MaxPool2d(3, 2, 1)
        )
        self.conv2 = nn.Sequential(*_convolution(STEM, 2 * STEM, 2))
        self.conv3 = nn.Sequential(*_convolution(2 * STEM, 4 * STEM, 2))
        self.conv4 = nn.Sequential(*_convolution(4 * STEM, 4 * STEM, 2))
        self.fc1 = nn.Conv2d(STEM, width, 1)
        self.fc2 = nn.Conv2d(2 * STEM, width, 1)
        self.fc3 = nn.Conv2d(4 * STEM, width, 1)
        self.fc4 = nn.Conv2d(4 * STEM, width, 1)

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """``(B, 3, H, W)`` → map ``(B, C, H/4, W/4)``; tokens ``(B, h·w, C)`` at strides 8, 16, 32."""
        at4 = self.stem(image)
        at8 = self.conv2(at4)
        at16 = self.conv3(at8)
        at32 = self.conv4(at16)
        tokens = [self.fc2(at8), self.fc3(at16), self.fc4(at32)]
        return self.fc1(at4), [m.flatten(2).mT for m in tokens]


class DepthwiseConvolution(nn.Module):
    """3×3 convolution per channel, on each of the adapter's maps by itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dwconv = nn.Conv2d(width, width, 3, padding=1, groups=width)

    def forward(self, c: Tensor, grid: AdapterGrid) -> Tensor:
        """``(B, N, C)`` → ``(B, N, C)``."""
        return torch.cat([self.dwconv(m).flatten(2).mT for m in grid.split(c)], dim=1)


class ConvolutionalFeedForward(nn.Module):
    """Linear to a quarter of the width, depthwise convolution, GELU, linear."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, width // 4)
        self.dwconv = DepthwiseConvolution(width // 4)
        self.fc2 = nn.Linear(width // 4, width)

    def forward(self, c: Tensor, grid: AdapterGrid) -> Tensor:
        """``(B, N, C)`` → ``(B, N, C)``."""
        return self.fc2(F.gelu(self.dwconv(self.fc1(c), grid)))  # type: ignore[no-any-return]


class Extractor(nn.Module):
    """The adapter's tokens read from the patch tokens."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(width, eps=1e-6)
        self.feat_norm = nn.LayerNorm(width, eps=1e-6)
        self.attn = DeformableAttention(width, 1, heads, POINTS)
        self.ffn = ConvolutionalFeedForward(width)
        self.ffn_norm = nn.LayerNorm(width, eps=1e-6)

    def forward(self, c: Tensor, x: Tensor, grid: AdapterGrid) -> Tensor:
        """``c`` after reading from ``x``; the shape of ``c``."""
        c = c + self.attn(self.query_norm(c), grid.adapter_points, self.feat_norm(x), grid.patch_shapes)
        return c + self.ffn(self.ffn_norm(c), grid)  # type: ignore[no-any-return]


class Injector(nn.Module):
    """The patch tokens read from the adapter's, scaled by a factor per channel that starts at 0."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.query_norm = nn.LayerNorm(width, eps=1e-6)
        self.feat_norm = nn.LayerNorm(width, eps=1e-6)
        self.attn = DeformableAttention(width, 3, heads, POINTS)
        self.gamma = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor, c: Tensor, grid: AdapterGrid) -> Tensor:
        """``x`` after reading from ``c``; the shape of ``x``."""
        read = self.attn(self.query_norm(x), grid.patch_points, self.feat_norm(c), grid.adapter_shapes)
        return x + self.gamma * read


class Interaction(nn.Module):
    """What happens around one group of transformer blocks: an injector before it (optional), extractors after it."""

    def __init__(self, width: int, heads: int, *, injector: bool, extra_extractors: int) -> None:
        super().__init__()
        self.injector = Injector(width, heads) if injector else None
        self.extractor = Extractor(width, heads)
        self.extra_extractors = nn.ModuleList(Extractor(width, heads) for _ in range(extra_extractors))

    def extract(self, c: Tensor, x: Tensor, grid: AdapterGrid) -> Tensor:
        """``c`` after all extractors have read from ``x``."""
        c = self.extractor(c, x, grid)
        for extractor in self.extra_extractors:
            c = extractor(c, x, grid)
        return c


def initialise(module: nn.Module) -> None:
    """Linear layers truncated normal (σ 0.02), convolutions normal (σ² = 2/fan-out), biases 0; deformable attention's own."""
    for part in module.modules():
        if isinstance(part, nn.Linear):
            nn.init.trunc_normal_(part.weight, std=0.02)
            nn.init.zeros_(part.bias)
        elif isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            fan_out = part.kernel_size[0] * part.kernel_size[1] * part.out_channels // part.groups
            nn.init.normal_(part.weight, std=math.sqrt(2.0 / fan_out))
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    for part in module.modules():
        if isinstance(part, DeformableAttention):
            part.reset_parameters()
