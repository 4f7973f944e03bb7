"""Hand-made tubes for the tests of the error analysis: one video of ten frames, objects in four places of it."""

import numpy as np

from dense.structures import rle

FRAMES, HEIGHT, WIDTH = 10, 24, 48
CATEGORIES = [{"id": 1, "name": "disc"}, {"id": 2, "name": "star"}]
PLACES = {"A": (2, 2), "B": (2, 18), "C": (2, 34), "nowhere": (14, 2)}  # row, column of a square of 8 x 8 pixels
KINDS = {"A": 1, "B": 1, "C": 2}  # category of each object; annotation ids are 11, 12, 13
IDS = {"A": 11, "B": 12, "C": 13}


def square(place, width=8):
    """The mask of a place, only its ``width`` leftmost columns."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    row, column = PLACES[place]
    mask[row : row + 8, column : column + width] = True
    return rle.encode(mask)


def tube(text, width=8):
    """Masks from one letter per frame, ``.`` = absent: ``"AAAAABBBBB"``."""
    assert len(text) == FRAMES
    return [None if letter == "." else square("nowhere" if letter == "x" else letter, width) for letter in text]


def truth(**tracks):
    """Ground truth: by default A, B (disc) and C (star) in all frames; ``A="AAAAA....."`` changes, ``A=""`` removes one."""
    shown = {name: tracks.get(name, name * FRAMES) for name in KINDS}
    video = {"id": 1, "width": WIDTH, "height": HEIGHT, "file_names": [f"clip/{t:02}.jpg" for t in range(FRAMES)]}
    annotations = [
        {"id": IDS[name], "video_id": 1, "category_id": KINDS[name], "iscrowd": 0, "segmentations": tube(text)}
        for name, text in shown.items()
        if text
    ]
    return {"videos": [video], "annotations": annotations, "categories": CATEGORIES}


def prediction(text, category=1, score=0.5, width=8):
    """One result record."""
    return {"video_id": 1, "category_id": category, "score": score, "segmentations": tube(text, width)}


def right(*names):
    """Perfect predictions of objects, scores 0.9 and less."""
    return [prediction(name * FRAMES, KINDS[name], 0.9 - 0.01 * i) for i, name in enumerate(names)]
