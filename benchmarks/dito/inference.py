"""A picture through the open-vocabulary detector, beside the same rules written plainly: class by class, sample by sample."""

from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.case import Case
from dense.config import load_config
from dense.modeling import build_model
from dense.projects.dito.boxes import clip_boxes, pairwise_iou, shrink_boxes
from dense.projects.dito.detector import OpenVocabularyDetector
from dense.projects.dito.fusion import DetectionRules, Detections, select_detections
from dense.projects.dito.heads import cosine_logits
from dense.projects.dito.proposals import propose
from dense.projects.dito.pyramid import LEVELS
from dense.projects.dito.roi_align import level_of

__all__ = ["cases"]

_WORLD = Path(__file__).resolve().parents[2] / "configs" / "dito" / "world_detector.yaml"
_WIDTH, _SIDE = 192, 256


def cases() -> list[Case]:
    """The tiny detector with 14 and with 80 words; and the last step alone with more boxes."""
    return [
        _detector("tiny, 14 words, 256x256", 14),
        _detector("tiny, 80 words, 256x256", 80),
        _selection("300 boxes, 80 words -> 300 detections", 300, 80),
    ]


def _detector(name: str, words: int) -> Case:
    cfg = load_config(str(_WORLD), ["MODEL.DEVICE", "cpu", "MODEL.MASK_ON", False])
    torch.manual_seed(0)
    model = build_model(cfg).eval()
    assert isinstance(model, OpenVocabularyDetector)
    torch.nn.init.constant_(model.proposal_head.distances.bias, 0.5)  # random ones give boxes of no size
    model.set_vocabulary(torch.randn(words + 1, _WIDTH))
    images = torch.rand(1, 3, _SIDE, _SIDE)
    weights = sum(p.numel() for p in model.parameters()) * 4
    plain: Callable[[], object] = lambda: _plainly(model, images)  # noqa: E731
    return Case(f"detector, {name}", lambda: model.detect(images)[0][0], {"plain": plain}, _agree, weights, 0)


def _selection(name: str, boxes: int, words: int) -> Case:
    generator = torch.Generator().manual_seed(1)
    corners = torch.rand(boxes, 2, generator=generator) * 900
    given = torch.cat([corners, corners + 20 + 200 * torch.rand(boxes, 2, generator=generator)], dim=1)
    scores = (3 * torch.randn(boxes, words, generator=generator)).softmax(dim=1)
    rules = DetectionRules()
    plain: Callable[[], object] = lambda: _class_by_class(given, scores, rules)  # noqa: E731
    size = scores.numel() * 4
    return Case(f"selection, {name}", lambda: select_detections(given, scores, rules), {"plain": plain}, _agree, size, 0)


@torch.no_grad()
def _plainly(model: OpenVocabularyDetector, images: Tensor) -> Detections:
    """The rules of the specification for one picture, each box read by itself, each class by itself."""
    reading, inference, size = model.reading, model.inference, (_SIDE, _SIDE)
    features = model.backbone(images)
    pyramid = model.pyramid(features)
    (proposals,) = propose(model.predictions(pyramid, images), inference.proposals)
    levels = level_of(proposals.boxes, 2, 5).tolist()
    regions = [
        _read(pyramid[f"p{level}"], box, LEVELS[f"p{level}"], reading.box_side)
        for box, level in zip(proposals.boxes, levels, strict=True)
    ]
    embeddings, deltas = model.box_head(torch.stack(regions))
    rows = model.vocabulary.rows(images.device)
    detector = cosine_logits(embeddings, rows, reading.temperature * model.temperature).softmax(-1)
    assert model.frozen_backbone is not None, "the configuration has one"
    frozen, shrunk = model.frozen_backbone(images), shrink_boxes(proposals.boxes, reading.shrink, size)
    pooled = torch.stack([_read(frozen, box, 16, reading.pooled_side).mean((1, 2)) for box in shrunk])
    other = cosine_logits(pooled, rows, inference.temperature).softmax(-1)
    scores = inference.fusion.final(inference.fusion.fuse(detector, other), proposals.scores)
    boxes = clip_boxes(reading.coder.decode(deltas, proposals.boxes), size)
    return _class_by_class(boxes, scores[:, 1:], inference.detections)


def _read(feature: Tensor, box: Tensor, stride: int, size: int) -> Tensor:
    """``(C, size, size)`` of one box: bilinear at the middle of each bin."""
    bins = (torch.arange(size) + 0.5) / size
    x, y = (box[k] + bins * (box[k + 2] - box[k]) for k in (0, 1))
    height, width = feature.shape[-2:]
    x, y = x / stride / (width - 1) * 2 - 1, y / stride / (height - 1) * 2 - 1
    grid = torch.stack([x[None].expand(size, size), y[:, None].expand(size, size)], dim=-1)[None]
    return F.grid_sample(feature, grid, mode="bilinear", padding_mode="border", align_corners=True)[0]


def _class_by_class(boxes: Tensor, scores: Tensor, rules: DetectionRules) -> Detections:
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for column in range(scores.shape[1]):
        score, order = scores[:, column].sort(descending=True)
        order = order[score > rules.score][: rules.per_class]
        close = pairwise_iou(boxes[order], boxes[order]) >= rules.overlap
        alive = torch.ones(len(order), dtype=torch.bool)
        for k in range(len(order)):
            if alive[k]:
                alive[k + 1 :] &= ~close[k, k + 1 :]
        kept = order[alive]
        found.append((boxes[kept], scores[kept, column], torch.full((len(kept),), column)))
    box, score, label = (torch.cat(part) for part in zip(*found, strict=True))
    best = score.argsort(descending=True)[: rules.most]
    return Detections(box[best], score[best], label[best])


def _agree(ours: object, theirs: object) -> None:
    assert isinstance(ours, Detections)
    assert isinstance(theirs, Detections)
    torch.testing.assert_close(ours.scores, theirs.scores, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(ours.boxes, theirs.boxes, rtol=0, atol=0.05)
    assert torch.equal(ours.classes, theirs.classes), "other classes"
