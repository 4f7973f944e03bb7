"""The whole detector with the public code's weights: forward, detections, losses and gradients."""

import json

import pytest
import torch

from dense.checkpoint.converting.dito import from_ours, to_ours
from dense.projects.dito.canvas import Canvas
from dense.projects.dito.detector import OpenVocabularyDetector
from dense.projects.dito.detector_rules import DetectorParts, Inference, RegionReading
from dense.projects.dito.finetuning import Finetuning, mask_losses, proposal_losses
from dense.projects.dito.fusion import DetectionRules
from dense.projects.dito.heads import BoxHead, MaskHead, ProposalHead
from dense.projects.dito.labeling import AnchorTargets, LabelRules
from dense.projects.dito.proposals import ProposalRules
from dense.projects.dito.pyramid import SimplePyramid
from dense.projects.dito.roi_align import align_pyramid
from dense.projects.dito.sampling import ImageTargets, RegionSamples
from dense.projects.dito.vit import VisionTransformer
from dense.projects.dito.vocabulary_rows import VocabularyRows

from .test_proposals import assert_same_boxes

pytestmark = pytest.mark.golden


def build(settings: dict) -> OpenVocabularyDetector:
    width, heads = settings["D"], settings["H"]
    trainable, frozen = (
        VisionTransformer(width, len(windows), heads, 14, windows, settings["shift_model"])
        for windows in (settings["win"], settings["fwin"])
    )
    channels = settings["F"]
    return OpenVocabularyDetector(
        parts=DetectorParts(
            trainable,
            frozen,
            SimplePyramid(width, channels),
            ProposalHead(channels),
            BoxHead(channels, settings["FC"], width),
            MaskHead(channels),
        ),
        canvas=Canvas(128),
        training_vocabulary=VocabularyRows(width),
        vocabulary=VocabularyRows(width),
        reading=RegionReading(),
        finetuning=Finetuning(proposals=ProposalRules(settings["pre"], settings["post"], 0.7)),
        inference=Inference(
            proposals=ProposalRules(settings["pre"], settings["post"], 1.0), detections=DetectionRules(most=settings["ndet"])
        ),
    )


@pytest.fixture(scope="module")
def detector(whole_reference) -> OpenVocabularyDetector:
    settings = json.loads(str(whole_reference.arrays["config.json"]))
    model = build(settings)
    names = [n for n in whole_reference.arrays.files if n.startswith("weights/")]
    converted = to_ours({n: whole_reference(n).float() for n in names})
    assert not converted.dropped
    model.load_state_dict(converted.tensors, strict=True)
    text = whole_reference("text")[0]
    model.set_vocabulary(text)
    model.set_vocabulary(text, training=True)
    return model


@pytest.fixture(scope="module")
def images(whole_reference) -> torch.Tensor:
    return whole_reference.map("image_u8").float() / 255


@pytest.mark.parametrize("name", ["all_novel", "indicator"])
def test_detect__reference__detections_are_equal(detector, images, whole_reference, name):
    """Catches a part that is wired to another: frozen and trainable map, order of fusion and objectness, final boxes."""
    is_base = whole_reference("eval.base_indicator")[0, 1:] > 0 if name == "indicator" else None
    detector.eval().set_vocabulary(whole_reference("text")[0], is_base)
    for image, (found, masks) in enumerate(detector.detect(images)):
        boxes = whole_reference.boxes(f"eval.{name}.detection_boxes")[image]
        torch.testing.assert_close(found.boxes, boxes, rtol=0, atol=1e-2)
        scores = whole_reference(f"eval.{name}.detection_scores")[image]
        torch.testing.assert_close(found.scores, scores, rtol=0, atol=2e-4)
        assert torch.equal(found.classes + 1, whole_reference(f"eval.{name}.detection_classes")[image].long())
        if name == "all_novel":
            expected = whole_reference("eval.all_novel.detection_masks_first8")[image]
            torch.testing.assert_close(masks[:8], expected, rtol=0, atol=5e-4)


def test_stages__reference__each_is_equal(detector, images, whole_reference):
    """Catches which stage it is: maps, pyramid, proposals, regions, embeddings."""
    detector.eval()
    with torch.no_grad():
        features, frozen = detector.backbone(images), detector.frozen_backbone(images)
        torch.testing.assert_close(features, whole_reference.map("eval.vision_map"), rtol=0, atol=1e-4)
        torch.testing.assert_close(frozen, whole_reference.map("eval.frozen_map"), rtol=0, atol=1e-4)
        pyramid = detector.pyramid(features)
        logits, distances = detector.proposal_head(pyramid)
        for level in ("p2", "p3", "p4", "p5"):
            for found, name in ((pyramid, "eval.pyramid"), (logits, "eval.rpn.logit"), (distances, "eval.rpn.lrtb")):
                torch.testing.assert_close(found[level], whole_reference.map(f"{name}.{level}"), rtol=0, atol=1e-4)
        rois = list(whole_reference.boxes("eval.rois_yxyx"))
        regions = align_pyramid(pyramid, rois, 7).unflatten(0, (2, -1))
        torch.testing.assert_close(regions[:, :16], whole_reference.map("eval.roi_features7_first16"), rtol=0, atol=2e-4)
        embeddings, deltas = detector.box_head(regions.flatten(0, 1))
        torch.testing.assert_close(embeddings, whole_reference("eval.box_embedding").flatten(0, 1), rtol=0, atol=1e-3)
        expected = whole_reference.boxes("eval.box_deltas_dydxdhdw").flatten(0, 1)
        torch.testing.assert_close(deltas, expected, rtol=0, atol=1e-3)
        pooled = detector._pooled(frozen, rois, images)
        torch.testing.assert_close(pooled, whole_reference("eval.frozen_roi_pooled").flatten(0, 1), rtol=0, atol=1e-4)


def stored_anchor_targets(reference) -> AnchorTargets:
    scores = torch.cat([reference(f"targets.score.p{n}").flatten(1) for n in range(2, 6)], dim=1)
    boxes = torch.cat([reference.boxes(f"targets.box.p{n}").flatten(1, 2) for n in range(2, 6)], dim=1)
    return AnchorTargets(scores, boxes, boxes.any(dim=-1))


def stored_samples(reference) -> tuple[list[RegionSamples], list[ImageTargets]]:
    samples, targets = [], []
    for image in range(2):
        classes = reference("gt.classes")[image].long()
        real = classes > 0
        boxes = reference.boxes("gt.boxes_yxyx")[image][real]
        targets.append(ImageTargets(boxes, classes[real], reference("gt.masks_in_box")[image][real]))
        samples.append(
            RegionSamples(
                reference.boxes("train.sampled.rois")[image],
                reference("train.sampled.classes")[image].long(),
                reference("train.sampled.gt_index")[image].long(),
            )
        )
    return samples, targets


def stored_losses(detector, images, reference) -> dict[str, torch.Tensor]:
    """Losses of the stored samples and targets; for masks it has drawn other foreground regions than the first."""
    samples, targets = stored_samples(reference)
    pyramid = detector.pyramid(detector.backbone(images))
    losses = proposal_losses(detector.predictions(pyramid, images), stored_anchor_targets(reference), LabelRules())
    losses |= detector.region_losses(pyramid, samples, targets)
    known = reference("train.mask.classes") > 0
    boxes = [b[k] for b, k in zip(reference.boxes("train.mask.rois"), known, strict=True)]
    logits = detector.mask_head(align_pyramid(pyramid, boxes, 14))
    torch.testing.assert_close(logits[:, 0], reference("train.mask.logits")[known], rtol=0, atol=1e-3)
    return losses | mask_losses(logits, reference("train.mask.targets")[known])


def test_losses__reference__all_five_and_the_gradients(detector, images, whole_reference):
    """Catches a loss that does not reach a part, gradients through proposals, a frozen part that learns."""
    detector.train().zero_grad()
    losses = stored_losses(detector, images, whole_reference)
    names = {
        "loss_objectness": "rpn_score_loss",
        "loss_proposal_box": "rpn_box_loss",
        "loss_class": "fast_rcnn_class_loss",
        "loss_box": "fast_rcnn_box_loss",
        "loss_mask": "mask_loss",
    }
    assert losses.keys() == names.keys()
    for ours, theirs in names.items():
        torch.testing.assert_close(losses[ours], whole_reference(f"train.loss.{theirs}"), rtol=1e-4, atol=0)
    total = sum(losses.values())
    torch.testing.assert_close(total, whole_reference("train.loss.model_loss"), rtol=1e-4, atol=0)
    total.backward()
    assert all(p.grad is None for p in detector.frozen_backbone.parameters())
    gradients = {n: p.grad for n, p in detector.named_parameters() if p.grad is not None}
    found = from_ours(gradients, head_width=16).tensors
    assert_gradients(found, whole_reference)
    detector.zero_grad()


def assert_gradients(found: dict[str, torch.Tensor], reference) -> None:
    norms = dict(zip(reference.arrays["train.grad.names"].tolist(), reference("train.grad.l2").tolist(), strict=True))
    largest, seen = max(norms.values()), 0
    for name, expected in norms.items():
        path = name.removeprefix("weights/")
        if path.startswith("frozen_vision_model") or path.endswith("attn/key/bias"):
            continue
        assert found[path].norm().item() == pytest.approx(expected, rel=1e-3, abs=1e-6 * largest), path
        seen += 1
    assert seen > 100
    whole = [n for n in reference.arrays.files if n.startswith("train.grad.") and "/" in n]
    assert len(whole) == 12
    for name in whole:
        expected = reference(name)
        difference = (found[name.removeprefix("train.grad.")].reshape(expected.shape) - expected).abs().max()
        assert difference <= 5e-3 * expected.abs().max(), name


def test_proposals__reference_in_training__same_set(detector, images, whole_reference):
    """Catches the threshold of evaluation used in training."""
    from dense.projects.dito.proposals import propose

    with torch.no_grad():
        predictions = detector.predictions(detector.pyramid(detector.backbone(images)), images)
    for image, found in enumerate(propose(predictions, detector.finetuning.proposals)):
        real = whole_reference("train.roi_scores_nms0.7")[image] > 0
        assert_same_boxes(found.boxes, whole_reference.boxes("train.rois_nms0.7_yxyx")[image][real], 1e-2)


def test_undecayed_parameters__reference__the_rest_are_its_decayed_kernels(detector, whole_reference):
    """Catches a backbone, norm or bias with weight decay (acceptance check 7)."""
    undecayed = {id(p) for p in detector.undecayed_parameters()}
    named = {n: p for n, p in detector.named_parameters() if p.requires_grad and id(p) not in undecayed}
    found = from_ours(named, head_width=16).tensors
    assert sorted(found) == sorted(n.removeprefix("weights/") for n in whole_reference.arrays["wd.names"].tolist())
    penalty = 0.5e-4 * sum(p.square().sum() for p in named.values())
    assert penalty.item() == pytest.approx(whole_reference("wd.penalty").item(), rel=1e-5)
