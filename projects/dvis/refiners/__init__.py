"""From tracked objects to better masks and classes, with all frames at hand.

``temporal``  temporal refiner (DVIS, DVIS++; start here)
"""

from dense.projects.dvis.refiners.temporal import Refined, TemporalRefiner

__all__ = ["Refined", "TemporalRefiner"]
