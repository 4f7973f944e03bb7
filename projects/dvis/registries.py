"""Registries of this system's parts."""

from dense.registry import Registry

__all__ = ["NOISERS", "OBJECTIVES", "REFINERS", "TRACKERS"]

TRACKERS: Registry = Registry("tracker")
REFINERS: Registry = Registry("refiner")
NOISERS: Registry = Registry("noiser")
OBJECTIVES: Registry = Registry("contrastive objective")
