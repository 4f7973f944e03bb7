"""Contrastive losses on embeddings of objects; all share one formula and differ in what is compared with what.

``items``       an anchor with what it should and should not be like; the loss (start here)
``references``  the tracker's references of neighbouring frames (DVIS++)
``memory``      the refiner's embeddings, against other objects and earlier videos of the same class (DVIS++)
``objective``   the segmenter's re-identification embeddings along tracklets (CTVIS)
``tracklets``   what is kept of each object for that: positives, negatives, fused embeddings
"""

from dense.projects.dvis.contrast.items import ContrastItem, ItemLosses, contrastive_losses, item_losses
from dense.projects.dvis.contrast.memory import ClassMemory, MemoryContrast
from dense.projects.dvis.contrast.objective import TrackletContrast
from dense.projects.dvis.contrast.references import reference_items, reference_losses
from dense.projects.dvis.contrast.tracklets import Tracklets, fused_embeddings

__all__ = [
    "ClassMemory",
    "ContrastItem",
    "ItemLosses",
    "MemoryContrast",
    "TrackletContrast",
    "Tracklets",
    "contrastive_losses",
    "fused_embeddings",
    "item_losses",
    "reference_items",
    "reference_losses",
]
