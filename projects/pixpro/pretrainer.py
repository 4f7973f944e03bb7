"""Pixel-level pretraining of a backbone, a pyramid or a dense head: PixPro, PixContrast and losses on whole views."""

from collections.abc import Collection, Sequence
from typing import Any

import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from torch import Tensor, nn

from dense.projects.pixpro.building import Encoder, InstanceBranch, PixelBranch, pretrainer_parts
from dense.projects.pixpro.figures import FeatureWatch, pair_figures, spread_figures
from dense.projects.pixpro.instance import pooled
from dense.projects.pixpro.losses import unit_rows
from dense.projects.pixpro.momentum import Momentum, frozen_copy
from dense.projects.pixpro.pairs import pair_tables
from dense.projects.pixpro.two_views import ViewNormalizer, Views

__all__ = ["PixelPretrainer"]

_COPIED = ("backbone", "tower", "projector", "instance_projector")  # parts that have a momentum copy, ``target_…``

Maps = list[Tensor]


@META_ARCH_REGISTRY.register()
class PixelPretrainer(nn.Module):
    """Two views of each image → weighted losses; order of one step as in spec, section 9.

    ``begin_step`` before a step moves the momentum copy in the first forward after it, so that the micro-batches of one step
    share one copy.
    """

    target_projector: nn.Module
    target_instance_projector: nn.Module

    @configurable
    def __init__(
        self,
        *,
        encoder: Encoder,
        pixel: PixelBranch | None,
        instance: InstanceBranch | None,
        normalizer: ViewNormalizer,
        momentum: tuple[float, int],
        patience: int = 100,
    ) -> None:
        super().__init__()
        self.backbone, self.features = encoder.backbone, list(encoder.features)
        self.pixel, self.instance, self.normalizer = pixel, instance, normalizer
        self.tower = encoder.tower
        self.projector: Any = pixel.projector if pixel else None
        self.propagation = pixel.propagation if pixel else None
        self.instance_projector: Any = instance.projector if instance else None
        self.instance_predictor = instance.predictor if instance else None
        self.instance_objective = instance.objective if instance else None
        if normalizer.channels_last:
            self.to(memory_format=torch.channels_last)
        self._copied = [name for name in _COPIED if self._needs_copy(name)]
        for name in _COPIED:
            setattr(self, f"target_{name}", frozen_copy(getattr(self, name)) if name in self._copied else None)
        pairs = [(getattr(self, name), getattr(self, f"target_{name}")) for name in self._copied]
        self.momentum, self.watch = Momentum(pairs, *momentum), FeatureWatch(patience)
        self._due: int | None = None  # step whose momentum update is still to be done
        self._wanted = False
        self._figures: dict[str, float] = {}

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """See ``pretrainer_parts``."""
        return pretrainer_parts(cfg)

    def _needs_copy(self, name: str) -> bool:
        against_target = self.instance is not None and self.instance.objective.against_target
        if name == "instance_projector":
            return against_target
        return getattr(self, name) is not None and (self.pixel is not None or against_target)

    def begin_step(self, step: int) -> None:
        """See ``dense.modeling.video.FollowsTraining``; ``step`` counts optimizer steps."""
        self._due = step
        if self.instance_objective is not None:
            self.instance_objective.begin_step(step)

    def weights_loaded(self, names: Collection[str]) -> None:
        """See ``dense.modeling.builder.FollowsLoading``: copies of which nothing was loaded become equal to their originals."""
        self.momentum.adopt(names, [f"target_{name}" for name in self._copied])

    def want_figures(self, flag: bool) -> None:
        """See ``dense.modeling.training_protocols.ReportsFigures``."""
        self._wanted = flag
        if self.instance_objective is not None:
            self.instance_objective.want_figures(flag)

    def training_figures(self) -> dict[str, float]:
        """Figures of the last forward before which they were wanted; see ``dense.projects.pixpro.figures``."""
        return dict(self._figures)

    def forward(self, batch: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
        """Training records (see ``ViewNormalizer``) → ``loss_pixel`` and ``loss_instance``, as far as they are on, weighted.

        Raises: DataError for records that do not fit together.
        """
        views = self.normalizer(batch)
        online = [self._maps(view, "") for view in views.full]
        target: list[Maps] = []
        if self._copied:
            if self._due is not None:
                self.momentum.update(self._due)
            with torch.no_grad():
                target = [self._maps(view, "target_") for view in views.full]
        self._due, losses = None, {}
        figures: dict[str, float] = {}
        if self.pixel is not None:
            losses["loss_pixel"] = self.pixel.weight * self._pixel_loss(self.pixel, online, target, views, figures)
        if self.instance is not None:
            losses["loss_instance"] = self.instance.weight * self._instance_loss(self.instance, online, target, views, figures)
        if self._wanted:
            self._figures = figures
            self.watch.report(figures)
        return losses

    def _maps(self, view: Tensor, which: str) -> Maps:
        """Compared maps ``(N, C, H, W)`` of a view, by the online network (``""``) or the momentum copy (``"target_"``)."""
        outputs = getattr(self, f"{which}backbone")(view)
        maps = [outputs[name] for name in self.features]
        tower = getattr(self, f"{which}tower")
        return maps if tower is None else list(tower(maps))

    def _pixel_loss(
        self, pixel: PixelBranch, online: list[Maps], target: list[Maps], views: Views, figures: dict[str, float]
    ) -> Tensor:
        """Sum of both directions, mean over the compared maps."""
        queries = [[unit_rows(self._query(level)) for level in maps] for maps in online]
        with torch.no_grad():
            keys = [[unit_rows(self.target_projector(level)) for level in maps] for maps in target]
        (coords1, coords2), total = views.coords, []
        for level, (map1, map2) in enumerate(zip(*online, strict=True)):
            pairs = pair_tables(coords1, coords2, map1.shape[2:], map2.shape[2:], pixel.threshold)
            total.append(pixel.loss(queries[0][level], keys[1][level], pairs))
            total.append(pixel.loss(queries[1][level], keys[0][level], pairs.transposed()))
            if self._wanted and level == 0:
                figures |= pair_figures(queries[0][level], keys[1][level], pairs, pixel.block)
                figures |= spread_figures(keys[1][level].flatten(0, 1))
        return torch.stack(total).sum() / len(online[0])

    def _query(self, level: Tensor) -> Tensor:
        projected = self.projector(level)
        return projected if self.propagation is None else self.propagation(projected)

    def _instance_loss(
        self, instance: InstanceBranch, online: list[Maps], target: list[Maps], views: Views, figures: dict[str, float]
    ) -> Tensor:
        """Of the last compared map, pooled after projector and predictor."""
        embeddings = [pooled(self._predicted(maps[-1])) for maps in online]
        targets: list[Tensor] = []
        if instance.objective.against_target:
            with torch.no_grad():
                targets = [pooled(self.target_instance_projector(maps[-1])) for maps in target]
        elif views.small:  # crops of one size go through the network together
            crops = pooled(self._predicted(self._maps(torch.cat(views.small), "")[-1]))
            embeddings += list(crops.chunk(len(views.small)))
        with torch.autocast(embeddings[0].device.type, enabled=False):
            loss: Tensor = instance.objective(embeddings, targets)
        if self._wanted:
            spread = spread_figures(nn.functional.normalize(embeddings[0].detach(), dim=1))
            spread |= instance.objective.figures()
            figures |= {f"instance_{name}": value for name, value in spread.items()} if self.pixel is not None else spread
        return loss

    def _predicted(self, level: Tensor) -> Tensor:
        projected = self.instance_projector(level)
        return projected if self.instance_predictor is None else self.instance_predictor(projected)
