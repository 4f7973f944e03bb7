"""From mapped samples to batches, with exact resume: a batch is a function of (seed, step, rank, number of ranks).

* ``build``: :func:`build_train_loader`, :func:`build_combined_train_loader`, :func:`build_test_loader`. Read first.
* ``samplers``: :class:`ResumableSampler`, :class:`CombinedSampler`, :func:`shard`: which sample when.
* ``clip_dataset``: :class:`VideoClipDataset`, :class:`VideoTestDataset`, :func:`drop_unannotated`.
* ``indexed_dataset``: :class:`IndexedTrainDataset`.
* ``transport``: a batch of thousands of tensors through one file descriptor.
* ``seeding``: generators as functions of plain numbers.
* ``config``: the same loaders from a config (:func:`train_loader_from_config`, :func:`test_loader_from_config`).
* ``repeats``: images of rare categories more often; ``repeats_config``.
* ``captions_config``: images with captions, for image-text pretraining.
* ``pretraining``: the loader of pictures without annotations: what cannot be read is replaced, and named in the log.
* ``views_config``: two views of pictures without labels, for pretraining.
* ``image_config``: training sets and augmentation of images (:func:`image_augmentation_from_config`).
"""

from dense.data.loaders.build import TrainLoader, build_combined_train_loader, build_test_loader, build_train_loader
from dense.data.loaders.clip_dataset import VideoClipDataset, VideoTestDataset, drop_unannotated
from dense.data.loaders.config import (
    pseudo_augmentation_from_config,
    test_loader_from_config,
    train_loader_from_config,
    video_augmentation_from_config,
)
from dense.data.loaders.image_config import image_augmentation_from_config
from dense.data.loaders.indexed_dataset import IndexedTrainDataset
from dense.data.loaders.samplers import CombinedSampler, ResumableSampler, shard

__all__ = [
    "CombinedSampler",
    "IndexedTrainDataset",
    "ResumableSampler",
    "TrainLoader",
    "VideoClipDataset",
    "VideoTestDataset",
    "build_combined_train_loader",
    "build_test_loader",
    "build_train_loader",
    "drop_unannotated",
    "image_augmentation_from_config",
    "pseudo_augmentation_from_config",
    "shard",
    "test_loader_from_config",
    "train_loader_from_config",
    "video_augmentation_from_config",
]
