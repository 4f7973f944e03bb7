"""Checkpoints: reading without running code, loading with a report of every key, writing atomically.

``loading``     ``load_checkpoint`` and its report (start here)
``reading``     safetensors, ``.pth`` (weights only), legacy ``.pkl``, ``.npz``, Flax
``pickled``     the reader behind ``.pkl``: arrays and containers only
``array_archive``, ``flax_state``: those behind ``.npz`` and Flax's MessagePack
``converting``  layouts of others → our names and back
``command``     the ``convert-checkpoint`` command
``writing``     model files (safetensors with a header) and training states
``pretrained``  ImageNet weights of backbones
"""

from typing import Any

__all__ = ["KeyReport", "load_checkpoint"]


def __getattr__(name: str) -> Any:  # noqa: ANN401  a module attribute can be anything
    if name in __all__:  # torch is needed only from here on
        from dense.checkpoint import loading

        return getattr(loading, name)
    raise AttributeError(f"module 'dense.checkpoint' has no attribute {name!r}")
