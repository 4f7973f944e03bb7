"""Pixel-level pretraining after PixPro ("Propagate Yourself", CVPR 2021), and PixContrast.

``config``       configuration keys of this system
``pretrainer``   the model: two views in, losses out (start here); ``building`` makes its parts from a configuration
``two_views``    records → normalised views
``projector``, ``propagation``: the networks after the backbone
``pairs``        which positions of two views show the same place; ``losses``: pixel losses over these pairs
``instance``     losses on whole views, the official one and every objective of the library
``momentum``     the momentum copy and its schedule
``heads``        pretraining of pyramid levels and FCOS-style towers
``figures``      figures to log, and the warning of a collapse
"""

from dense.projects.pixpro.config import add_config
from dense.projects.pixpro.pretrainer import PixelPretrainer

__all__ = ["PixelPretrainer", "add_config"]
