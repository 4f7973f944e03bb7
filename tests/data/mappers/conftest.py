"""A tiny video whose image is drawn from its masks, on disk."""

import numpy as np
import pytest
from PIL import Image

from dense.data.formats.youtube_vis import ObjectTrack, VideoRecord
from dense.structures import rle

HEIGHT, WIDTH = 48, 80


def object_mask(k, t):
    """Object k in frame t: a disc that moves to the right; k is its row."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    return (rows - 12 - 24 * k) ** 2 + (columns - 12 - 6 * t) ** 2 < 8**2


@pytest.fixture
def video(tmp_path):
    """Eight frames; red is object 10 (category 7), green object 11 (category 3, hidden in frames 0 to 3), a crowd."""
    names = []
    for t in range(8):
        image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
        image[object_mask(0, t), 0] = 255
        image[object_mask(1, t), 1] = 255
        names.append(f"v/{t:05d}.png")
        (tmp_path / "v").mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / names[-1])

    def track(identity, category, crowd, masks):
        codes = tuple(None if mask is None else rle.encode(mask) for mask in masks)
        return ObjectTrack(identity, 4, category, crowd, codes, tuple(None if c is None else 1.0 for c in codes))

    tracks = (
        track(10, 7, False, [object_mask(0, t) for t in range(8)]),
        track(11, 3, False, [object_mask(1, t) if t > 3 else None for t in range(8)]),
        track(12, 3, True, [np.ones((HEIGHT, WIDTH), bool)] * 8),
    )
    return VideoRecord(4, WIDTH, HEIGHT, tuple(names), tracks)
