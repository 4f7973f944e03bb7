"""Data set catalogue: names, places, category tables.

``video_instances``     YouTube-VIS, OVIS, the world, one's own: ``resolve_dataset`` → ``DatasetSource`` (start here)
``categories``          published category tables
``detectron2_catalog``  the same in Detectron2's catalogs: ``register_with_detectron2``

Files are read by ``dense.data.formats``; importing this needs neither torch nor Detectron2.
"""

from dense.data.datasets.detectron2_catalog import register_with_detectron2
from dense.data.datasets.video_instances import DatasetSource, dataset_names, dataset_source, datasets_root, resolve_dataset

__all__ = [
    "DatasetSource",
    "dataset_names",
    "dataset_source",
    "datasets_root",
    "register_with_detectron2",
    "resolve_dataset",
]
