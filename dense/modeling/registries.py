"""Registries of model parts for which Detectron2 has none."""

from dense.registry import Registry

__all__ = ["CRITERIA", "MASK_DECODERS", "MATCHERS", "OBJECTIVES", "PIXEL_DECODERS"]

PIXEL_DECODERS: Registry = Registry("pixel decoder")
MASK_DECODERS: Registry = Registry("mask decoder")
MATCHERS: Registry = Registry("matcher")
CRITERIA: Registry = Registry("criterion")
OBJECTIVES: Registry = Registry("objective")  # of embeddings; see dense.modeling.objectives
