"""Data set catalogue: names, places, category tables.

``video_instances``     YouTube-VIS, OVIS, the world, one's own: ``resolve_dataset`` → ``DatasetSource`` (start here)
``images``              COCO, ADE20K, Cityscapes, the world's images, one's own
``video_maps``          VIPSeg, VSPW, the world in their layouts
``open_vocabulary``     LVIS, COCO 48/17, the world of words: base and novel categories
``unlabelled``          pictures without labels, for pretraining: folders, lists, archives, shards
``captions``            pictures with captions, for image-text pretraining: folders, tables, COCO, shards, the world
``coco_subsets``        the parts of COCO that video models train with
``category_maps``       classes of one data set as those of another
``kinds``               kinds of data sets: ``find_dataset(name, kind)``
``sources``             what all sources share
``image_categories``    published category tables of image data sets
``categories``          published category tables
``detectron2_catalog``  the same in Detectron2's catalogs: ``register_with_detectron2``

Files are read by ``dense.data.formats``; importing this needs neither torch nor Detectron2.
"""

from dense.data.datasets.captions import CaptionSource, resolve_captions
from dense.data.datasets.category_maps import class_map
from dense.data.datasets.detectron2_catalog import register_with_detectron2
from dense.data.datasets.images import (
    InstanceSource,
    PanopticSource,
    SemanticSource,
    resolve_instances,
    resolve_panoptic,
    resolve_semantic,
)
from dense.data.datasets.kinds import KINDS, check_kind, class_names, find_dataset, thing_classes, with_kinds
from dense.data.datasets.open_vocabulary import FederatedSource, novel_names, resolve_federated
from dense.data.datasets.unlabelled import UnlabelledSource, resolve_unlabelled
from dense.data.datasets.video_instances import DatasetSource, dataset_names, dataset_source, datasets_root, resolve_dataset

__all__ = [
    "KINDS",
    "CaptionSource",
    "DatasetSource",
    "FederatedSource",
    "InstanceSource",
    "PanopticSource",
    "SemanticSource",
    "UnlabelledSource",
    "check_kind",
    "class_map",
    "class_names",
    "dataset_names",
    "dataset_source",
    "datasets_root",
    "find_dataset",
    "novel_names",
    "register_with_detectron2",
    "resolve_captions",
    "resolve_dataset",
    "resolve_federated",
    "resolve_instances",
    "resolve_panoptic",
    "resolve_semantic",
    "resolve_unlabelled",
    "thing_classes",
    "with_kinds",
]
