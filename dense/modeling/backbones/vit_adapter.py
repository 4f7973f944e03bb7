"""DINOv2 with an adapter that turns its single map into four (ViT-Adapter, Chen et al. 2023; as in DVIS++, §4.1)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from detectron2.config import CfgNode, configurable
from detectron2.layers import ShapeSpec
from detectron2.modeling import BACKBONE_REGISTRY, Backbone
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from dense.checkpoint.loading import load_checkpoint
from dense.checkpoint.pretrained import resolve_weights
from dense.errors import CheckpointError, ConfigError
from dense.layers import SharedBatchNorm
from dense.modeling.backbones.adapter_parts import AdapterGrid, Interaction, SpatialPrior, initialise
from dense.modeling.backbones.vision_transformer import DINOV2_SIZES, TransformerSize, VisionTransformer
from dense.registry import nearest

__all__ = ["ViTAdapterBackbone"]

INTERACTIONS = 4
PATCH = 16  # pixels; DINOv2's own 14 does not go into the strides
_NAMES = ("res2", "res3", "res4", "res5")
_STRIDES = (4, 8, 16, 32)


@BACKBONE_REGISTRY.register()
class ViTAdapterBackbone(Backbone):
    """Feature maps at strides 4, 8, 16, 32 under the names res2 … res5, all as wide as the transformer.

    Args:
        size: of the transformer; its depth is a multiple of 4, its width of 4 and of its heads.
        grid: side of the table of positions, patches.
        trained_groups: which quarters of the transformer (0–3) are trained; ``None`` = all of it, patches and positions too.
            What is not trained gets no gradient, keeps nothing for the backward pass and stays in evaluation mode.
        injectors: let the adapter's tokens flow back into the transformer, as in the paper; DVIS++ does without.
        checkpointing: in training, recompute the inside of extractors and trained blocks instead of keeping it.
        vit_weights: file with weights of the transformer alone, or ``"package:NAME"``; ``""`` = none.
    """

    @configurable
    def __init__(
        self,
        *,
        size: TransformerSize,
        grid: int = 37,
        trained_groups: Sequence[int] | None = (),
        injectors: bool = False,
        checkpointing: bool = False,
        vit_weights: str = "",
    ) -> None:
        super().__init__()
        _check(size, trained_groups)
        self.checkpointing = checkpointing
        width, last = size.width, INTERACTIONS - 1
        self.level_embed = nn.Parameter(torch.empty(3, width).normal_())
        self.spm = SpatialPrior(width)
        self.interactions = nn.ModuleList(
            Interaction(width, size.heads, injector=injectors, extra_extractors=2 if i == last else 0)
            for i in range(INTERACTIONS)
        )
        self.up = nn.ConvTranspose2d(width, width, 2, stride=2)
        for i in range(len(_NAMES)):
            self.add_module(f"norm{i + 1}", SharedBatchNorm(width))
        for part in (self.spm, self.interactions, self.up):
            initialise(part)
        self.vit_module = VisionTransformer(size, patch=PATCH, grid=grid, mask_token=True, checkpointing=checkpointing)
        if vit_weights:
            _load_transformer(self.vit_module, vit_weights)
        self._freeze(trained_groups)
        self._out_features = list(_NAMES)
        self._out_feature_strides = dict(zip(_NAMES, _STRIDES, strict=True))
        self._out_feature_channels = dict.fromkeys(_NAMES, width)
        self.train(self.training)

    @classmethod
    def from_config(cls, cfg: CfgNode, input_shape: ShapeSpec) -> dict[str, Any]:
        """Read MODEL.VIT_ADAPTER.*; the transformer's own file is left out when MODEL.WEIGHTS will replace it."""
        keys = cfg.MODEL.VIT_ADAPTER
        if keys.NAME not in DINOV2_SIZES:
            raise ConfigError(f"MODEL.VIT_ADAPTER.NAME: unknown {keys.NAME!r}.{nearest(keys.NAME, list(DINOV2_SIZES))}")
        trained: Sequence[int] | None = () if keys.FREEZE_VIT else None
        return {
            "size": DINOV2_SIZES[keys.NAME],
            "trained_groups": keys.FINETUNE_INDEXES if keys.FINETUNE else trained,
            "injectors": keys.INJECTORS,
            "checkpointing": keys.WITH_CP,
            "vit_weights": "" if cfg.MODEL.WEIGHTS else keys.VIT_WEIGHT,
        }

    @property
    def size_divisibility(self) -> int:
        """Sides of the input must be multiples of this, pixels: the map at stride 32 has no partial cells."""
        return 32

    def train(self, mode: bool = True) -> "ViTAdapterBackbone":
        """Switch the mode; frozen parts of the transformer stay in evaluation mode."""
        super().train(mode)
        self.vit_module.train(mode and self._embedding_trained)
        for i in self._trained:
            for block in self._group(i):
                block.train(mode)
        return self

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """``(B, 3, H, W)`` → ``name → (B, C, H/stride, W/stride)``. Raises: ValueError if a side is no multiple of 32."""
        if image.shape[-2] % 32 or image.shape[-1] % 32:
            raise ValueError(f"image: {tuple(image.shape[-2:])} pixels, expected multiples of 32. Pad it.")
        at4, levels = self.spm(image)
        c = torch.cat([tokens + level for tokens, level in zip(levels, self.level_embed, strict=True)], dim=1)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self._embedding_trained):
            patches = self.vit_module.patches(image)
            tokens = self.vit_module.embed(patches)
        grid = AdapterGrid.of_patches(patches.shape[1], patches.shape[2], self.level_embed)  # float32 even under autocast
        kept = []
        for i, interaction in enumerate(self.interactions):
            tokens = self._inject(interaction, tokens, c, grid)
            tokens = self._run_group(i, tokens)
            patch_tokens = tokens[:, self.vit_module.prefix :]
            extract: Callable[..., Tensor] = interaction.extract  # type: ignore[assignment]
            if self.checkpointing and self.training and torch.is_grad_enabled():
                c = checkpoint(extract, c, patch_tokens, grid, use_reentrant=False)
            else:
                c = extract(c, patch_tokens, grid)
            kept.append(patch_tokens.mT.unflatten(2, grid.sizes[1]))  # (B, C, H/16, W/16)
        return self._join(at4, grid.split(c), kept)

    def _freeze(self, trained_groups: Sequence[int] | None) -> None:
        self._embedding_trained = trained_groups is None
        self._trained = frozenset(range(INTERACTIONS) if trained_groups is None else trained_groups)
        self.vit_module.requires_grad_(False)  # its final norm and mask token reach no output: never trained
        for i in self._trained:
            for block in self._group(i):
                block.requires_grad_(True)
        if self._embedding_trained:
            self.vit_module.patch_embed.requires_grad_(True)
            for name in ("cls_token", "pos_embed"):
                self.vit_module.get_parameter(name).requires_grad_(True)

    def _bounds(self, group: int) -> tuple[int, int]:
        count = self.vit_module.size.depth // INTERACTIONS
        return group * count, (group + 1) * count

    def _group(self, group: int) -> nn.ModuleList:
        first, last = self._bounds(group)
        return self.vit_module.blocks[first:last]

    def _inject(self, interaction: nn.Module, tokens: Tensor, c: Tensor, grid: AdapterGrid) -> Tensor:
        if interaction.injector is None:
            return tokens
        prefix, patches = tokens.split([self.vit_module.prefix, tokens.shape[1] - self.vit_module.prefix], dim=1)
        return torch.cat((prefix, interaction.injector(patches, c, grid)), dim=1)  # type: ignore[operator]

    def _run_group(self, group: int, tokens: Tensor) -> Tensor:
        """A quarter of the blocks; without a graph unless it is trained or an injector before it is."""
        needed = group in self._trained or self.interactions[group].injector is not None
        with torch.set_grad_enabled(torch.is_grad_enabled() and needed):
            return self.vit_module.run(tokens, *self._bounds(group))

    def _join(self, at4: Tensor, levels: list[Tensor], kept: list[Tensor]) -> dict[str, Tensor]:
        """Add the transformer's map after each group, at the stride of the level it goes to."""
        maps = [self.up(levels[0]) + at4, *levels]
        out = {}
        for i, (name, stride, own, patches) in enumerate(zip(_NAMES, _STRIDES, maps, kept, strict=True)):
            if stride != PATCH:
                patches = F.interpolate(patches, scale_factor=PATCH / stride, mode="bilinear", align_corners=False)
            out[name] = self.get_submodule(f"norm{i + 1}")(own + patches)
        return out


def _load_transformer(transformer: VisionTransformer, weights: str) -> None:
    """Fill the trunk; a file without the mask token (timm's) will do. Raises: CheckpointError if anything else does not fit."""
    path = resolve_weights(weights)
    if not path.exists():
        raise CheckpointError(
            f"MODEL.VIT_ADAPTER.VIT_WEIGHT: {path} does not exist. Expected a DINOv2 file for the frozen transformer; give its"
            " path, or a whole model as MODEL.WEIGHTS, or '' to start from random weights."
        )
    report = load_checkpoint(transformer, path)
    if report.unused or report.mismatched or set(report.missing) - {"mask_token"}:
        raise CheckpointError(f"{path}: does not fit MODEL.VIT_ADAPTER.NAME: {report.summary()}.")


def _check(size: TransformerSize, trained_groups: Sequence[int] | None) -> None:
    if size.depth % INTERACTIONS or size.width % size.heads or size.width % 4:
        raise ConfigError(
            f"ViT-Adapter: depth {size.depth}, width {size.width}, {size.heads} heads; expected a depth that is a multiple of"
            f" {INTERACTIONS} and a width that is one of 4 and of the heads."
        )
    unknown = [i for i in trained_groups or () if not 0 <= i < INTERACTIONS]
    if unknown:
        raise ConfigError(f"MODEL.VIT_ADAPTER.FINETUNE_INDEXES: {unknown}, expected quarters of the transformer, 0 to 3.")
