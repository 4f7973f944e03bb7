"""Run-length masks against a decoder written out here, polygons of known area, and malformed input of every kind."""

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

from dense.errors import DataError
from dense.structures import rle

MASKS = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12))


def runs_of(mask):
    """Runs down the columns, zeros first."""
    runs, current = [0], False
    for value in mask.T.ravel():
        if value != current:
            runs.append(0)
            current = value
        runs[-1] += 1
    return runs


def text_of(runs):
    """COCO's 6-bit code, one digit after the other."""
    out = ""
    for i, run in enumerate(runs):
        x = run - runs[i - 2] if i > 2 else run
        while True:
            digit, x = x & 31, x >> 5
            more = x != (-1 if digit & 16 else 0)
            out += chr(48 + (digit | 32 if more else digit))
            if not more:
                break
    return out


@settings(max_examples=150, deadline=None)
@given(MASKS)
def test_encode__any_mask__equals_the_written_out_code(mask):
    """Catches rows for columns, a first run that is not of zeros, and values other than 0 and 1 that break runs."""
    ours = rle.encode(mask)
    assert ours == {"size": list(mask.shape), "counts": text_of(runs_of(mask))}
    assert rle.encode(mask * 255) == ours
    assert rle.encode(mask * 0.5) == ours
    assert rle.encode(mask * 256) == ours
    assert np.array_equal(rle.decode(ours), mask)
    assert rle.area(ours) == mask.sum()
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = [0, 0, 0, 0] if not mask.any() else [columns[0], rows[0], np.ptp(columns) + 1, np.ptp(rows) + 1]
    assert rle.bounding_box(ours) == pytest.approx(box)


@settings(max_examples=100, deadline=None)
@given(MASKS)
def test_to_rle__every_form__is_the_same_mask(mask):
    """Catches forms of one mask that come out different: compressed text, bytes, list of runs."""
    height, width = mask.shape
    expected = rle.encode(mask)
    for counts in (expected["counts"], expected["counts"].encode(), runs_of(mask)):
        assert rle.to_rle({"size": [height, width], "counts": counts}, height, width) == expected
    assert rle.to_rle({"size": (height, width), "counts": expected["counts"]}, height, width) == expected


def test_encode_stack__several_and_none():
    """Catches masks of a stack in another order, and an exception for none."""
    masks = np.random.default_rng(0).random((4, 5, 7)) < 0.5
    assert rle.encode_stack(masks) == [rle.encode(m) for m in masks]
    assert rle.encode_stack(np.zeros((0, 5, 7))) == []
    with pytest.raises(DataError, match=r"shape \(5, 7\)"):
        rle.encode_stack(masks[0])


@pytest.mark.parametrize(
    ("polygon", "pixels"),
    [
        ([[2, 1, 6, 1, 6, 4, 2, 4]], 12),
        ([2, 1, 6, 1, 6, 4, 2, 4], 12),  # one flat polygon
        ([[0, 0, 2, 0, 2, 2, 0, 2], [4, 4, 6, 4, 6, 6, 4, 6]], 8),  # two parts
        ([[-5, -5, 50, -5, 50, 50, -5, 50]], 80),  # covers everything
        ([[1, 1, 1, 1, 1, 1]], 0),
    ],
)
def test_to_rle__polygon__has_the_area_of_its_pixels(polygon, pixels):
    """Catches x and y swapped and parts that are lost."""
    ours = rle.to_rle(polygon, 8, 10)
    assert ours["size"] == [8, 10]
    assert rle.area(ours) == pixels


def test_to_rle__nothing__is_none():
    """Catches an absent mask turned into an empty one."""
    assert rle.to_rle(None, 4, 5) is None
    assert rle.to_rle([], 4, 5) is None


BROKEN = [
    (5, "int"),
    ("text", "str"),
    ({}, "`size` is None"),
    ({"size": [4, 5]}, "`counts` is NoneType"),
    ({"size": [5, 4], "counts": "d0"}, "5x4 .*expected 4x5"),
    ({"size": [4], "counts": "d0"}, "`size`"),
    ({"size": ["4", "5"], "counts": "d0"}, "`size`"),
    ({"size": [4, 5], "counts": [3, -3, 20]}, "non-negative"),
    ({"size": [4, 5], "counts": [3, 4]}, "cover 7 pixels, expected 20"),
    ({"size": [4, 5], "counts": [2.5, 17.5]}, "non-negative integers"),
    ({"size": [4, 5], "counts": [10**30]}, "pixels"),
    ({"size": [4, 5], "counts": ""}, "cover 0 pixels"),
    ({"size": [4, 5], "counts": "oo"}, "malformed"),
    ({"size": [4, 5], "counts": "\u00e4\u20ac"}, "malformed"),
    ({"size": [4, 5], "counts": "d0 "}, "malformed"),
    ({"size": [4, 5], "counts": "ooooooooooo0"}, "malformed"),
    ({"size": [4, 5], "counts": b"\xff\xfe"}, "malformed"),
    ([[1, 2, 3, 4]], r"segmentation\[0\]: polygon needs at least 3 points"),
    ([[1, 2, 3, 4, 5, 6, 7]], "flat list"),
    ([[1, 2, 3, 4, 5, "6"]], "flat list"),
    ([[1, 2, 3, 4, 5, float("nan")]], "beyond 50 pixels"),
    ([[1, 2, 3, 4, 5, 1e9]], "beyond 50 pixels"),
    ([[[1, 2], [3, 4], [5, 6]]], "flat list"),
    ([[]], "polygon"),
    (["text"], "polygon"),
]


@pytest.mark.parametrize(("segmentation", "words"), BROKEN)
def test_to_rle__broken__says_what_and_where(segmentation, words):
    """Catches foreign errors, and malformed runs that would reach the C library."""
    with pytest.raises(DataError, match=words) as caught:
        rle.to_rle(segmentation, 4, 5)
    assert str(caught.value).startswith("segmentation")


@pytest.mark.parametrize("function", [rle.decode, rle.area, rle.bounding_box])
def test_decode__no_pixels__is_empty(function):
    """Catches a division by zero inside the C library, which ends the process."""
    for size in ([0, 3], [3, 0], [0, 0]):
        assert not np.any(function({"size": size, "counts": ""}))
    for size in (None, [2], [2, -1], ["2", 3]):
        with pytest.raises(DataError, match="`size`"):
            function({"size": size, "counts": ""})


FUZZ = """
import random, numpy as np
from dense.errors import DataError
from dense.structures import rle

def runs_of(text):
    runs, x, k = [], 0, 0
    for c in text:
        d = ord(c) - 48
        x |= (d & 31) << 5 * k
        k += 1
        if d & 32:
            continue
        if d & 16:
            x -= 1 << 5 * k
        runs.append(x + runs[-2] if len(runs) > 2 else x)
        x, k = 0, 0
    return runs

random.seed(SEED)
good = bad = 0
for i in range(6000):
    h, w = random.choice([(4, 5), (1, 1), (0, 3), (20, 30)])
    if i % 2:
        text = "".join(chr(48 + random.randrange(64)) for _ in range(random.randrange(14)))
    else:
        text = rle.encode(np.random.RandomState(i).rand(max(h, 1), w) < 0.3)["counts"]
        if i % 4 and text:
            place = random.randrange(len(text))
            text = text[:place] + chr(random.randrange(32, 127)) + text[place + random.randrange(2):]
    mask = {"size": [h, w], "counts": text}
    try:
        ours = rle.decode(mask)
    except DataError:
        bad += 1
        for function in (rle.area, rle.bounding_box, lambda m: rle.to_rle(m, h, w)):
            try:
                function(mask)
            except DataError:
                continue
            raise SystemExit(f"accepted by one and refused by another: {mask}")
        continue
    good += 1
    runs = runs_of(text)
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, runs)
    assert np.array_equal(ours, flat.reshape(w, h).T), mask
    assert rle.area(mask) == flat.sum()
    rle.bounding_box(mask)
assert good > 500 and bad > 500, (good, bad)
print("done")
"""


@pytest.mark.parametrize("seed", [1, 2])
def test_decode__random_text__never_ends_the_process(seed):
    """Catches memory errors of the C library on malformed runs; in a process of its own, whose end is looked at."""
    done = subprocess.run([sys.executable, "-c", FUZZ.replace("SEED", str(seed))], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-500:]
    assert done.stdout.strip() == "done"
