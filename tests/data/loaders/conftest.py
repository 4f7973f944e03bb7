"""A tiny data set on disk: annotation file, frames, and the loader's part of a config."""

import json
from types import SimpleNamespace as Node

import numpy as np
import pytest
from PIL import Image

from dense.structures import rle


def write_videos(root, count=5, frames=4, height=12, width=20, empty=()):
    """``root/train.json`` and frames; video v has one object of category 5, videos in ``empty`` only a crowd."""
    videos, annotations = [], []
    rng = np.random.default_rng(count)
    for v in range(count):
        names = [f"{v}/{t}.png" for t in range(frames)]
        (root / "frames" / str(v)).mkdir(parents=True)
        for name in names:
            Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(root / "frames" / name)
        mask = np.zeros((height, width), bool)
        mask[2:9, 3:15] = True
        videos.append({"id": v + 1, "width": width, "height": height, "length": frames, "file_names": names})
        annotations.append(
            {
                "id": v + 1,
                "video_id": v + 1,
                "category_id": 5,
                "iscrowd": int(v in empty),
                "segmentations": [rle.encode(mask)] * frames,
                "bboxes": [[3, 2, 12, 7]] * frames,
                "areas": [84] * frames,
            }
        )
    categories = [{"id": 2, "name": "ring"}, {"id": 5, "name": "star"}]
    data = {"videos": videos, "annotations": annotations, "categories": categories}
    (root / "train.json").write_text(json.dumps(data))
    return f"{root / 'train.json'}:{root / 'frames'}"


@pytest.fixture
def dataset_name(tmp_path):
    """Name under which a config finds five tiny videos, of which video 3 (number 2) has only a crowd."""
    return write_videos(tmp_path, empty=(2,))


@pytest.fixture
def cfg(dataset_name):
    """The keys that the loaders read."""
    crop = Node(ENABLED=False, TYPE="absolute_range", SIZE=(6, 10))
    return Node(
        SEED=11,
        SOLVER=Node(IMS_PER_BATCH=2),
        DATALOADER=Node(NUM_WORKERS=0, SAMPLER_TRAIN="TrainingSampler", FILTER_EMPTY_ANNOTATIONS=True),
        DATASETS=Node(
            TRAIN=(dataset_name,),
            TEST=(dataset_name,),
            DATASET_RATIO=[1.0],
            DATASET_TYPE=["video_instance"],
            DATASET_NEED_MAP=[False],
            CACHE="",
            DATASET_TYPE_TEST=["video_instance"],
        ),
        INPUT=Node(
            FORMAT="RGB",
            SAMPLING_FRAME_NUM=3,
            SAMPLING_FRAME_RANGE=1,
            SAMPLING_FRAME_SHUFFLE=False,
            REVERSE_AGU=False,
            AUGMENTATIONS=[],
            RANDOM_FLIP="flip_by_clip",
            CROP=Node(ENABLED=False),
            MIN_SIZE_TRAIN=(12, 16),
            MIN_SIZE_TRAIN_SAMPLING="choice_by_clip",
            MAX_SIZE_TRAIN=64,
            MIN_SIZE_TEST=6,
            MAX_SIZE_TEST=1333,
            LSJ_AUG=Node(ENABLED=False, IMAGE_SIZE=32, MIN_SCALE=0.1, MAX_SCALE=2.0),
            PSEUDO=Node(
                AUGMENTATIONS=["rotation"],
                MIN_SIZE_TRAIN=(10,),
                MAX_SIZE_TRAIN=64,
                MIN_SIZE_TRAIN_SAMPLING="choice_by_clip",
                CROP=crop,
            ),
        ),
    )
