"""Numbers and names of a segmenter's configuration that its parts would otherwise refuse in torch's words, or not at all."""

import math
from collections.abc import Mapping

from detectron2.config import CfgNode
from detectron2.layers import ShapeSpec

from dense.config.checks import Range, check_multiples, check_ranges
from dense.errors import ConfigError
from dense.registry import nearest

__all__ = ["check_features", "check_segmenter"]

_INFINITE = math.inf
_RANGES: dict[str, Range] = {
    "MODEL.SEM_SEG_HEAD.NUM_CLASSES": (1, _INFINITE),
    "MODEL.SEM_SEG_HEAD.CONVS_DIM": (1, _INFINITE),
    "MODEL.SEM_SEG_HEAD.MASK_DIM": (1, _INFINITE),
    "MODEL.SEM_SEG_HEAD.COMMON_STRIDE": (1, _INFINITE),
    "MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS": (0, _INFINITE),
    "MODEL.MASK_FORMER.NHEADS": (1, _INFINITE),
    "MODEL.MASK_FORMER.HIDDEN_DIM": (1, _INFINITE),
    "MODEL.MASK_FORMER.DIM_FEEDFORWARD": (1, _INFINITE),
    "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES": (1, _INFINITE),
    "MODEL.MASK_FORMER.DEC_LAYERS": (1, _INFINITE),
    "MODEL.MASK_FORMER.DROPOUT": (0, 1),
    "MODEL.MASK_FORMER.NO_OBJECT_WEIGHT": (0, _INFINITE),
    "MODEL.MASK_FORMER.CLASS_WEIGHT": (0, _INFINITE),
    "MODEL.MASK_FORMER.MASK_WEIGHT": (0, _INFINITE),
    "MODEL.MASK_FORMER.DICE_WEIGHT": (0, _INFINITE),
    "MODEL.MASK_FORMER.TRAIN_NUM_POINTS": (1, _INFINITE),
    "MODEL.MASK_FORMER.OVERSAMPLE_RATIO": (1, _INFINITE),
    "MODEL.MASK_FORMER.IMPORTANCE_SAMPLE_RATIO": (0, 1),
    "MODEL.MASK_FORMER.TEST.OBJECT_MASK_THRESHOLD": (0, 1),
    "MODEL.MASK_FORMER.TEST.OVERLAP_THRESHOLD": (0, 1),
    "TEST.DETECTIONS_PER_IMAGE": (1, _INFINITE),
}
_NORMS = ["", "BN", "SyncBN", "FrozenBN", "GN", "LN", "nnSyncBN", "naiveSyncBN", "naiveSyncBN_N"]


def check_segmenter(cfg: CfgNode) -> None:
    """Check what every segmenter reads of MODEL.SEM_SEG_HEAD, MODEL.MASK_FORMER and MODEL.PIXEL_*.

    Raises: ConfigError naming the key, its value and what was expected.
    """
    check_ranges(cfg, _RANGES)
    head, heads = cfg.MODEL.SEM_SEG_HEAD, cfg.MODEL.MASK_FORMER.NHEADS
    attention = (heads, "MODEL.MASK_FORMER.NHEADS")
    groups = (32, "the pixel decoder normalises in 32 groups")
    check_multiples(cfg, "MODEL.SEM_SEG_HEAD.CONVS_DIM", [groups, attention])
    check_multiples(cfg, "MODEL.MASK_FORMER.HIDDEN_DIM", [(4, "of the position encoding"), attention])
    if head.NORM not in _NORMS:
        raise ConfigError(f"MODEL.SEM_SEG_HEAD.NORM: unknown {head.NORM!r}.{nearest(head.NORM, _NORMS[1:])}")
    wanted, given = head.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES, head.IN_FEATURES
    if not wanted or not set(wanted) <= set(given):
        raise ConfigError(
            f"MODEL.SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES: {list(wanted)}, expected some of"
            f" MODEL.SEM_SEG_HEAD.IN_FEATURES {list(given)}."
        )
    mean, std = cfg.MODEL.PIXEL_MEAN, cfg.MODEL.PIXEL_STD
    if len(mean) != 3 or len(std) != 3 or not all(value > 0 for value in std):
        raise ConfigError(
            f"MODEL.PIXEL_MEAN {list(mean)}, PIXEL_STD {list(std)}: expected three numbers each, deviations above 0."
        )


def check_features(head: CfgNode, shapes: Mapping[str, ShapeSpec]) -> None:
    """Check that what MODEL.SEM_SEG_HEAD (``head``) reads comes out of the backbone, whose outputs are ``shapes``.

    Raises: ConfigError for features that are not there, or a stride of the mask features that is none of theirs.
    """
    unknown = [name for name in head.IN_FEATURES if name not in shapes]
    if unknown:
        raise ConfigError(f"MODEL.SEM_SEG_HEAD.IN_FEATURES: {unknown}, expected some of the backbone's outputs {list(shapes)}.")
    strides = {name: shapes[name].stride or 0 for name in head.IN_FEATURES}
    possible = {min(strides.values()), min(strides[name] for name in head.DEFORMABLE_TRANSFORMER_ENCODER_IN_FEATURES)}
    if head.COMMON_STRIDE not in possible:
        raise ConfigError(
            f"MODEL.SEM_SEG_HEAD.COMMON_STRIDE: {head.COMMON_STRIDE}, expected {' or '.join(map(str, sorted(possible)))}: the"
            " least stride of IN_FEATURES or of the encoder's features."
        )
