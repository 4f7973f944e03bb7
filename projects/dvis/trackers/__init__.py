"""From the queries of each frame to objects followed through a video.

``referring``  referring tracker (DVIS, DVIS++; start here)
``noisers``    how the tracker's input is spoilt in training (DVIS++)
"""

from dense.projects.dvis.trackers.noisers import (
    CropConcatenate,
    Noiser,
    NoNoise,
    RandomShuffle,
    WeightedAverage,
)
from dense.projects.dvis.trackers.referring import ReferringTracker, Tracked, TrackerState

__all__ = [
    "CropConcatenate",
    "NoNoise",
    "Noiser",
    "RandomShuffle",
    "ReferringTracker",
    "Tracked",
    "TrackerState",
    "WeightedAverage",
]
