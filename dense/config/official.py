"""Names of the official repositories' YAML files → names of our parts, and official keys without effect.

Ours are never registered under the official names: somebody may import Mask2Former beside us, and a name taken twice crashes.
"""

from typing import Any

__all__ = ["UNSUPPORTED", "WITHOUT_EFFECT", "keys_among", "official_defaults", "translate"]

#: dotted key → {official value: our value}
NAMES: dict[str, dict[str, str]] = {
    "MODEL.META_ARCHITECTURE": {
        "MaskFormer": "ImageSegmenter",
        "MinVIS": "VideoSegmenter",
        "CTMinVIS": "VideoSegmenter",
        "DVIS_Plus_online": "OnlineVideoSegmenter",
        "DVIS_Plus_offline": "OfflineVideoSegmenter",
    },
    "MODEL.BACKBONE.NAME": {"D2SwinTransformer": "SwinBackbone", "D2VitAdapterDinoV2": "ViTAdapterBackbone"},
    "MODEL.SEM_SEG_HEAD.NAME": {"MaskFormerHead": "SegmenterHead"},
    "MODEL.SEM_SEG_HEAD.PIXEL_DECODER_NAME": {"MSDeformAttnPixelDecoder": "DeformablePixelDecoder"},
    "MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME": {
        "MultiScaleMaskedTransformerDecoder": "MaskedDecoder",
        "VideoMultiScaleMaskedTransformerDecoder_minvis": "MaskedDecoder",
        "VideoMultiScaleMaskedTransformerDecoder_dvis": "MaskedDecoder",
        "VideoMultiScaleMaskedTransformerDecoder_dvisPlus": "ReidentifyingDecoder",
    },
    "MODEL.CL_PLUGIN.CL_PLUGIN_NAME": {"CTCLPlugin": "TrackletContrast"},
    "MODEL.TRACKER.NOISE_MODE": {
        "none": "NoNoise",
        "rs": "RandomShuffle",
        "wa": "WeightedAverage",
        "cc": "CropConcatenate",
    },
}

#: official keys that are accepted and change nothing, here as in the official code
WITHOUT_EFFECT: frozenset[str] = frozenset(
    {
        "INPUT.SAMPLING_FRAME_RATIO",
        "MODEL.CL_PLUGIN.BIO_CL",
        "MODEL.CL_PLUGIN.FUSION_LOSS",
        "MODEL.CL_PLUGIN.ONE_DIRECTION",
        "MODEL.MASK_FORMER.ENC_LAYERS",
        "MODEL.RESNETS.RES4_DILATION",
        "MODEL.RESNETS.RES5_MULTI_GRID",
        "MODEL.RESNETS.STEM_TYPE",
        "MODEL.SEM_SEG_HEAD.ASPP_CHANNELS",
        "MODEL.SEM_SEG_HEAD.ASPP_DILATIONS",
        "MODEL.SEM_SEG_HEAD.ASPP_DROPOUT",
        "MODEL.SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_N_HEADS",
        "MODEL.SEM_SEG_HEAD.DEFORMABLE_TRANSFORMER_ENCODER_N_POINTS",
        "MODEL.SEM_SEG_HEAD.IGNORE_VALUE",
        "MODEL.SEM_SEG_HEAD.LOSS_TYPE",
        "MODEL.SEM_SEG_HEAD.LOSS_WEIGHT",
        "MODEL.SEM_SEG_HEAD.PROJECT_CHANNELS",
        "MODEL.SEM_SEG_HEAD.PROJECT_FEATURES",
        "MODEL.SEM_SEG_HEAD.RETURN_TRANSFORMER_FEATURE",
        "MODEL.SEM_SEG_HEAD.USE_DEPTHWISE_SEPARABLE_CONV",
    }
)


#: keys that the official code or Detectron2's trainer reads and this toolbox does not
UNSUPPORTED: frozenset[str] = frozenset(
    {
        "DATALOADER.ASPECT_RATIO_GROUPING",  # batches are drawn in the sampler's order, or resuming would not be exact
        "INPUT.CROP.SINGLE_CATEGORY_MAX_AREA",
        "INPUT.SIZE_DIVISIBILITY",
        "SOLVER.REFERENCE_WORLD_SIZE",
        "TEST.AUG.ENABLED",
        "TEST.EXPECTED_RESULTS",
    }
)


def translate(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Replace official names by ours in a nested mapping; anything else passes unchanged."""
    out: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict):
            out[key] = translate(value, f"{path}.")
        else:
            out[key] = NAMES.get(path, {}).get(value, value) if isinstance(value, str) else value
    return out


def official_defaults(values: dict[str, Any]) -> dict[str, Any]:
    """Values that the official code fixes for an architecture whatever its YAML says, as a nested mapping to merge over it.

    MinVIS and CTVIS keep 10 (object, class) pairs per video, independent of MODEL.MASK_FORMER.TEST.MAX_NUM; CTVIS trains its
    re-identification head by contrast.
    """
    model = values.get("MODEL")
    architecture = model.get("META_ARCHITECTURE") if isinstance(model, dict) else None
    if architecture not in ("MinVIS", "CTMinVIS"):
        return {}
    contrast = {"CL_PLUGIN": {"ENABLED": True}} if architecture == "CTMinVIS" else {}
    return {"MODEL": {"MASK_FORMER": {"TEST": {"MAX_NUM": 10}}, **contrast}}


def keys_among(values: dict[str, Any], wanted: frozenset[str], prefix: str = "") -> dict[str, Any]:
    """The dotted keys of a nested mapping that are among ``wanted``, with their values, in the mapping's order."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict):
            found |= keys_among(value, wanted, f"{path}.")
        elif path in wanted:
            found[path] = value
    return found
