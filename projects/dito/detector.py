"""``OpenVocabularyDetector``: boxes, classes and masks of any words, by text embeddings (DITO, spec §§3, 6, 7)."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from detectron2.config import CfgNode, configurable
from detectron2.modeling import META_ARCH_REGISTRY
from numpy.typing import NDArray
from torch import Tensor, nn

from dense.projects.dito.boxes import clip_boxes, shrink_boxes
from dense.projects.dito.canvas import Canvas
from dense.projects.dito.detection_losses import distillation_loss
from dense.projects.dito.detector_config import detector_arguments
from dense.projects.dito.detector_rules import DetectorParts, Inference, RegionReading, WordRules
from dense.projects.dito.detector_words import DetectorWords
from dense.projects.dito.finetuning import (
    Finetuning,
    image_targets,
    mask_losses,
    mask_regions,
    proposal_losses,
    region_losses,
)
from dense.projects.dito.fusion import Detections, select_detections
from dense.projects.dito.heads import cosine_logits
from dense.projects.dito.labeling import label_anchors, stack_targets
from dense.projects.dito.proposals import AnchorPredictions, Proposals, predictions_of, propose
from dense.projects.dito.results import as_instances
from dense.projects.dito.roi_align import align_level, align_pyramid
from dense.projects.dito.sampling import ImageTargets, RegionSamples, sample_regions
from dense.projects.dito.vocabulary_rows import EmbeddedWords, VocabularyRows
from dense.structures import ImageResult

__all__ = ["OpenVocabularyDetector"]

_STRIDE = 16  # of the transformers' maps


@META_ARCH_REGISTRY.register()
class OpenVocabularyDetector(nn.Module):
    """Mask R-CNN on a plain transformer whose classifier compares regions with text embeddings.

    At inference a frozen transformer scores the regions too; see ``fusion``.

    Args:
        parts: modules.
        canvas: prepares pictures.
        training_vocabulary: words to learn, perhaps still empty.
        vocabulary: words to look for, likewise.
        reading: how regions are read.
        finetuning: rules of training.
        inference: rules of inference.
        words: how words become rows of a vocabulary.
    """

    tasks = frozenset({"instance"})

    @configurable
    def __init__(
        self,
        *,
        parts: DetectorParts,
        canvas: Canvas,
        training_vocabulary: VocabularyRows,
        vocabulary: VocabularyRows,
        reading: RegionReading,
        finetuning: Finetuning,
        inference: Inference,
        words: WordRules | None = None,
    ) -> None:
        super().__init__()
        self.backbone, self.pyramid = parts.backbone, parts.pyramid
        self.frozen_backbone = parts.frozen_backbone
        self.proposal_head, self.box_head, self.mask_head = parts.proposal_head, parts.box_head, parts.mask_head
        self.temperature = nn.Parameter(torch.ones(1))
        self.canvas, self.reading, self.finetuning, self.inference = canvas, reading, finetuning, inference
        self.training_vocabulary, self.vocabulary, self.text = training_vocabulary, vocabulary, parts.text
        self._words = DetectorWords(training_vocabulary, vocabulary, words or WordRules())
        for part in self._frozen():
            part.requires_grad_(False).eval()

    @classmethod
    def from_config(cls, cfg: CfgNode) -> dict[str, Any]:
        """Read MODEL.DITO.* and MODEL.MASK_ON. Raises: ConfigError naming the key."""
        return detector_arguments(cfg)

    def train(self, mode: bool = True) -> "OpenVocabularyDetector":
        """As every module, but frozen transformer and text tower stay in evaluation mode."""
        super().train(mode)
        for part in self._frozen():
            part.eval()
        return self

    def _frozen(self) -> list[nn.Module]:
        return [part for part in (self.frozen_backbone, self.text) if part is not None]

    def set_vocabulary(self, words: Tensor | EmbeddedWords, is_base: Tensor | None = None, *, training: bool = False) -> None:
        """Set the words to look for.

        Args:
            words: embeddings ``(C + 1, D)``, background in row 0, or a vocabulary that holds them and base marks; detections
                have classes 0 to C - 1.
            is_base: ``(C,)`` bool, classes seen in training; ``None`` = as the vocabulary says, and else all count as novel.
            training: set the words to learn instead.

        Raises: ConfigError for another shape.
        """
        take = self.training_vocabulary.set if training else self._words.give
        if isinstance(words, Tensor):
            take(words, is_base)
        else:
            take(words.embeddings, words.is_base if is_base is None else is_base)

    def look_for(self, words: Sequence[str]) -> tuple[str, ...]:
        """See ``dense.modeling.open_vocabulary.TakesWords``; words that were trained with boxes count as base."""
        return self._words.ask(words, self.text)

    def look_for_categories(self, names: Sequence[str]) -> None:
        """See ``dense.modeling.open_vocabulary.TakesWords``."""
        self._words.ask_categories(names, self.text)

    def predict(
        self,
        image: NDArray[np.uint8] | str | os.PathLike[str],
        words: Sequence[str] | None = None,
        *,
        min_score: float = 0.0,
    ) -> ImageResult:
        """Find words in one picture, brought to the canvas's side; see ``ImagePredictor.predict``.

        Args:
            image: ``(H, W, 3)`` uint8 RGB, or the path of a picture.
            words: such as ``["striped triangle", "red disc"]``; ``None`` = the last ones.
            min_score: least score of an object.
        """
        from dense.inference.image_predictor import ImagePredictor

        side, training = self.canvas.side, self.training
        try:
            return ImagePredictor(self, min_size=side, max_size=side or None, min_score=min_score).predict(image, words)
        finally:
            self.train(training)

    def completed_checkpoint(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """A pretraining file has one transformer: the frozen one begins as the same."""
        if self.frozen_backbone is None or any(name.startswith("frozen_backbone.") for name in tensors):
            return tensors
        copies = {f"frozen_{name}": value for name, value in tensors.items() if name.startswith("backbone.")}
        return {**tensors, **copies}

    def undecayed_parameters(self) -> list[nn.Parameter]:
        """Everything but the kernels of pyramid and heads (spec §6.4)."""
        return [p for name, p in self.named_parameters() if name.startswith("backbone.") or p.dim() < 2]

    def forward(self, batch: Sequence[dict[str, Any]]) -> dict[str, Tensor] | list[dict[str, Any]]:
        """Losses in training, results otherwise.

        Args:
            batch: dicts with ``image`` ``(3, H, W)`` uint8 RGB; in training ``instances`` (``DetectionTargets``); else perhaps
                ``height`` and ``width`` that results shall have, in pixels.

        Returns: losses by name; or per image ``{"instances": Detectron2's Instances}`` with ``pred_boxes``, ``scores``,
            ``pred_classes`` (from 0) and, with a mask head, ``pred_masks`` ``(N, height, width)`` bool.
        Raises: ConfigError without a vocabulary; DataError for pictures or objects that do not fit.
        """
        stack = self.canvas([record["image"] for record in batch])
        if not self.training:
            found = self.detect(stack.tensor)
            return [
                {"instances": as_instances(detections, masks, size, record)}
                for (detections, masks), size, record in zip(found, stack.sizes, batch, strict=True)
            ]
        self._words.prepare(self.text, training=True)
        learnt = self.training_vocabulary.learnt(stack.tensor.device, self.finetuning.absent_rows)
        masks, most = self.mask_head is not None, self.finetuning.most_objects
        targets = [image_targets(record["instances"], masks, learnt, most) for record in batch]
        return self.losses(stack.tensor, targets)

    def losses(self, images: Tensor, targets: Sequence[ImageTargets]) -> dict[str, Tensor]:
        """Losses of images ``(B, 3, H, W)`` in [0, 1] with their objects."""
        rules = self.finetuning
        features = self.backbone(images)
        pyramid = self.pyramid(features)
        predictions = self.predictions(pyramid, images)
        labels = stack_targets([label_anchors(predictions.anchors, t.boxes, rules.labels) for t in targets])
        proposals = propose(predictions, rules.proposals)
        samples = [sample_regions(p, t, rules.samples) for p, t in zip(proposals, targets, strict=True)]
        found = {**proposal_losses(predictions, labels, rules.labels), **self.region_losses(pyramid, samples, targets)}
        if rules.distillation > 0:
            found["loss_distillation"] = rules.distillation * self._distillation(images, features, samples)
        return found

    def predictions(self, pyramid: dict[str, Tensor], images: Tensor) -> AnchorPredictions:
        """What the proposal head says at every anchor."""
        size = (images.shape[-2], images.shape[-1])
        logits, distances = self.proposal_head(pyramid)
        return predictions_of(logits, distances, size, self.reading.anchor_scale)

    def region_losses(
        self, pyramid: dict[str, Tensor], samples: Sequence[RegionSamples], targets: Sequence[ImageTargets]
    ) -> dict[str, Tensor]:
        """Losses of box head, classifier and mask head in these regions."""
        rules = self.finetuning
        logits, deltas = self._regions(pyramid, [s.boxes for s in samples], self.training_vocabulary)
        logits = logits.masked_fill(~self.training_vocabulary.learnt(logits.device, rules.absent_rows), -torch.inf)
        found = region_losses(logits, deltas, samples, targets, self.reading.coder, rules.background)
        if self.mask_head is not None:
            boxes, wanted = mask_regions(samples, targets, rules.samples.masks)
            found |= mask_losses(self.mask_head(align_pyramid(pyramid, boxes, self.reading.mask_side)), wanted)
        return found

    @torch.no_grad()
    def detect(self, images: Tensor) -> list[tuple[Detections, Tensor | None]]:
        """Per image the detections, in pixels of the canvas, and their mask probabilities ``(N, 28, 28)``.

        ``images``: ``(B, 3, H, W)`` in [0, 1].
        """
        self._words.prepare(self.text, training=False)
        features = self.backbone(images)
        pyramid = self.pyramid(features)
        proposals = propose(self.predictions(pyramid, images), self.inference.proposals)
        boxes = [p.boxes for p in proposals]
        logits, deltas = self._regions(pyramid, boxes, self.vocabulary)
        scores = self.fused_scores(logits.softmax(dim=-1), images, features, proposals)
        size, counts = (images.shape[-2], images.shape[-1]), [len(b) for b in boxes]
        refined = clip_boxes(self.reading.coder.decode(deltas, torch.cat(boxes)), size)
        found = [
            select_detections(b, s[:, 1:], self.inference.detections)
            for b, s in zip(refined.split(counts), scores.split(counts), strict=True)
        ]
        return list(zip(found, self._masks(pyramid, found), strict=True))

    @torch.no_grad()
    def word_maps(self, image: Tensor) -> Tensor:
        """See ``dense.modeling.open_vocabulary.TakesWords``: those of the transformer that scores regions too."""
        self._words.prepare(self.text, training=False)
        stack = self.canvas([image])
        trained = self.frozen_backbone is None or self.inference.source == "trainable"
        transformer: Any = self.backbone if trained else self.frozen_backbone
        feature = transformer(stack.tensor)
        rows = self.vocabulary.rows(feature.device)[1:]
        cosines = cosine_logits(feature[0].movedim(0, -1), rows, 1.0).movedim(-1, 0)
        height, width = stack.sizes[0]
        if not len(rows):
            return cosines.new_zeros(0, height, width)
        return nn.functional.interpolate(cosines[:, None], scale_factor=_STRIDE, mode="bilinear")[:, 0, :height, :width]

    def fused_scores(self, detector: Tensor, images: Tensor, features: Tensor, proposals: Sequence[Proposals]) -> Tensor:
        """Scores ``(K_1 + K_2 + …, C + 1)`` from the detector's probabilities, a transformer's map and the objectness."""
        rules, fusion = self.inference, self.inference.fusion
        objectness = torch.cat([p.scores for p in proposals])
        if rules.source == "none":
            return fusion.final(detector, objectness)
        pooled = self._pooled(self._source(images, features), [p.boxes for p in proposals], images)
        logits = cosine_logits(pooled, self.vocabulary.rows(pooled.device), rules.temperature)
        is_base = self.vocabulary.is_base if rules.indicator else None
        return fusion.final(fusion.fuse(detector, logits.softmax(dim=-1), is_base), objectness)

    def _regions(
        self, pyramid: dict[str, Tensor], boxes: Sequence[Tensor], vocabulary: VocabularyRows
    ) -> tuple[Tensor, Tensor]:
        """Logits ``(R, C + 1)`` and deltas ``(R, 4)``."""
        embeddings, deltas = self.box_head(align_pyramid(pyramid, boxes, self.reading.box_side))
        rows = vocabulary.rows(embeddings.device)
        return cosine_logits(embeddings, rows, self.reading.temperature * self.temperature), deltas

    def _source(self, images: Tensor, features: Tensor) -> Tensor:
        if self.inference.source == "trainable" or self.frozen_backbone is None:
            return features
        return self.frozen_backbone(images)  # type: ignore[no-any-return]

    def _pooled(self, feature: Tensor, boxes: Sequence[Tensor], images: Tensor) -> Tensor:
        """``(R, D)``: mean of a transformer's map over shrunk regions."""
        size = (images.shape[-2], images.shape[-1])
        shrunk = [shrink_boxes(b, self.reading.shrink, size) for b in boxes]
        return align_level(feature.float(), shrunk, _STRIDE, self.reading.pooled_side).mean(dim=(2, 3))

    def _masks(self, pyramid: dict[str, Tensor], found: Sequence[Detections]) -> list[Tensor | None]:
        if self.mask_head is None:
            return [None] * len(found)
        logits = self.mask_head(align_pyramid(pyramid, [f.boxes for f in found], self.reading.mask_side))
        return list(logits[:, 0].float().sigmoid().split([len(f.boxes) for f in found]))

    def _distillation(self, images: Tensor, features: Tensor, samples: Sequence[RegionSamples]) -> Tensor:
        if self.frozen_backbone is None:
            raise AssertionError("a detector with distillation has a frozen backbone")
        boxes = [s.boxes[s.classes > 0] for s in samples]
        with torch.no_grad():
            teacher = self._pooled(self.frozen_backbone(images), boxes, images)
        return distillation_loss(self._pooled(features, boxes, images), teacher)
