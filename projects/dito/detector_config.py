"""From MODEL.DITO.* to the arguments of ``OpenVocabularyDetector``."""

from typing import Any

import torch
from detectron2.config import CfgNode
from torch import nn

from dense.data.datasets import class_names, with_kinds
from dense.errors import ConfigError, DataError, DenseError
from dense.projects.dito.boxes import BoxCoder
from dense.projects.dito.building import (
    build_box_head,
    build_mask_head,
    build_proposal_head,
    build_pyramid,
    build_transformer,
    transformer_width,
)
from dense.projects.dito.canvas import PADDINGS, Canvas
from dense.projects.dito.config_detection import canvas_divisor, check_detection_config
from dense.projects.dito.detector_rules import DetectorParts, Inference, RegionReading, WordRules
from dense.projects.dito.finetuning import Finetuning
from dense.projects.dito.fusion import DetectionRules, ScoreFusion
from dense.projects.dito.labeling import LabelRules
from dense.projects.dito.pretraining_parts import build_text
from dense.projects.dito.proposals import ProposalRules
from dense.projects.dito.sampling import SampleRules
from dense.projects.dito.text.embedding_files import read_embeddings
from dense.projects.dito.text.prompts import templates
from dense.projects.dito.vocabulary_rows import VocabularyRows

__all__ = ["detector_arguments"]


def detector_arguments(cfg: CfgNode) -> dict[str, Any]:
    """Build the parts and the rules. Raises: ConfigError naming the key."""
    check_detection_config(cfg)
    dito = cfg.MODEL.DITO
    training = _rows(cfg, "TRAIN")
    if training.embeddings is not None and len(training.embeddings) != dito.NUM_CLASSES + 1:
        raise ConfigError(
            f"MODEL.DITO.VOCABULARY.TRAIN: {len(training.embeddings)} rows in {dito.VOCABULARY.TRAIN}, expected"
            f" {dito.NUM_CLASSES + 1}: MODEL.DITO.NUM_CLASSES and the background."
        )
    return {
        "parts": _parts(cfg),
        "canvas": Canvas(dito.CANVAS.SIDE, PADDINGS[dito.CANVAS.PADDING], canvas_divisor(cfg)),
        "training_vocabulary": training,
        "vocabulary": _rows(cfg, "TEST") if dito.VOCABULARY.TEST else _rows(cfg, "TRAIN"),
        "reading": RegionReading(
            anchor_scale=dito.PROPOSALS.ANCHOR_SCALE,
            coder=BoxCoder(legacy_plus_one=dito.REGIONS.LEGACY_PLUS_ONE),
            box_side=dito.HEADS.BOX_SIDE,
            shrink=dito.FUSION.SHRINK,
            temperature=dito.REGIONS.TEMPERATURE,
        ),
        "finetuning": _finetuning(dito),
        "inference": _inference(dito),
        "words": WordRules(templates(dito.TEXT.TEMPLATES), dito.TEXT.CACHE, _trained_words(cfg)),
    }


def _rows(cfg: CfgNode, phase: str) -> VocabularyRows:
    rows = VocabularyRows(transformer_width(cfg))
    path = cfg.MODEL.DITO.VOCABULARY[phase]
    if path:
        try:
            stored = read_embeddings(path)
            rows.set(torch.from_numpy(stored.rows), None if stored.is_base is None else torch.from_numpy(stored.is_base))
        except (ConfigError, DataError) as error:
            raise ConfigError(f"MODEL.DITO.VOCABULARY.{phase}: {error}") from error
    return rows


def _parts(cfg: CfgNode) -> DetectorParts:
    dito = cfg.MODEL.DITO
    frozen: nn.Module | None = None
    if dito.FUSION.SOURCE == "frozen" or dito.DISTILLATION.WEIGHT > 0:
        frozen = build_transformer(cfg, frozen=True)
    return DetectorParts(
        backbone=build_transformer(cfg),
        frozen_backbone=frozen,
        pyramid=build_pyramid(cfg),
        proposal_head=build_proposal_head(cfg),
        box_head=build_box_head(cfg),
        mask_head=build_mask_head(cfg) if cfg.MODEL.MASK_ON else None,
        text=build_text(cfg) if dito.TEXT.TOKENIZER or dito.TEXT.TOWER != "own" else None,
    )


def _trained_words(cfg: CfgNode) -> tuple[str, ...]:
    """Names of the classes, from the file of embeddings or else the training set; none if neither has as many, or is here."""
    try:
        path = cfg.MODEL.DITO.VOCABULARY.TRAIN
        if path:
            names = tuple(read_embeddings(path).names or ())
        else:
            ((name, kind), *_) = with_kinds(cfg.DATASETS.TRAIN, cfg.DATASETS.DATASET_TYPE)
            names = class_names(name, kind)
    except (DenseError, ValueError):
        return ()
    return names if len(names) == cfg.MODEL.DITO.NUM_CLASSES else ()


def _finetuning(dito: CfgNode) -> Finetuning:
    proposals, regions = dito.PROPOSALS, dito.REGIONS
    return Finetuning(
        labels=LabelRules(samples=proposals.SAMPLES, positives=proposals.POSITIVES),
        proposals=ProposalRules(proposals.BEFORE, proposals.AFTER, proposals.OVERLAP_TRAIN),
        samples=SampleRules(regions.SAMPLES, regions.FOREGROUND, masks=regions.MASKS),
        background=regions.BACKGROUND_WEIGHT,
        absent_rows=dito.VOCABULARY.ABSENT_ROWS == "keep",
        distillation=dito.DISTILLATION.WEIGHT,
        most_objects=regions.MOST_OBJECTS,
    )


def _inference(dito: CfgNode) -> Inference:
    proposals, fusion, test = dito.PROPOSALS, dito.FUSION, dito.TEST
    return Inference(
        proposals=ProposalRules(proposals.BEFORE, proposals.AFTER, proposals.OVERLAP_TEST),
        source=fusion.SOURCE,
        temperature=fusion.TEMPERATURE,
        fusion=ScoreFusion(fusion.BASE, fusion.NOVEL, fusion.OBJECTNESS),
        indicator=fusion.INDICATOR,
        detections=DetectionRules(test.OVERLAP, test.SCORE, test.PER_CLASS, test.DETECTIONS),
    )
