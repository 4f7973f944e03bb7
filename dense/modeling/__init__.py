"""Models and their parts.

``builder``         ``build_model`` (start here)
``meta_archs``      whole models: the image segmenter
``heads``           pixel decoder and mask decoder joined
``pixel_decoders``  ``mask_decoders``  ``backbones``   parts of networks
``matchers``        ``losses``         assignment and criterion
``predictions``     what decoders return and criteria compare with
``config_check``    numbers and names of a configuration that fit no segmenter
``video``           what video models offer to predictors; ``stream_state``: their states as plain values
``training_protocols``  what models offer to trainers beside losses
``preprocess``      normalise, pad and stack
``postprocess``     from mask logits to semantic, instance, panoptic and video results
"""

from typing import Any

__all__ = ["build_model"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  a module attribute can be anything
    if name == "build_model":  # Detectron2 is needed only from here on
        from dense.modeling.builder import build_model

        return build_model
    raise AttributeError(f"module 'dense.modeling' has no attribute {name!r}")
