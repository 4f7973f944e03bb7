"""Collecting faults: places taken from messages, nothing lost, and the plain reader raising the same first fault."""

import contextlib
import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dense.data.formats.coco import parse_coco
from dense.data.formats.faults import RAISE_FIRST, FaultLog
from dense.data.formats.vipseg import parse_vipseg
from dense.data.formats.youtube_vis import parse_youtube_vis
from dense.errors import DataError
from dense.structures import rle

MASK = rle.encode(np.tri(4, 5))
CATEGORIES = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
COCO = {
    "images": [
        {"id": 1, "width": 5, "height": 4, "file_name": "a.jpg"},
        {"id": 2, "width": 5, "height": 4, "file_name": "b.jpg"},
    ],
    "annotations": [
        {"id": k, "image_id": 1 + k % 2, "category_id": 3, "segmentation": MASK, "bbox": [0, 0, 4, 4], "area": 10}
        for k in range(3)
    ],
    "categories": CATEGORIES,
}
VIDEO = {
    "videos": [{"id": 1, "width": 5, "height": 4, "file_names": ["0.jpg", "1.jpg"]}],
    "annotations": [
        {"id": k, "video_id": 1, "category_id": 7, "segmentations": [MASK, None], "bboxes": [[0, 0, 4, 4], None]}
        for k in range(3)
    ],
    "categories": CATEGORIES,
}
VIPSEG = {
    "videos": [
        {"video_id": "v", "images": [{"id": f"{k}", "width": 5, "height": 4, "file_name": f"{k}.jpg"} for k in range(2)]}
    ],
    "annotations": [
        {
            "video_id": "v",
            "annotations": [
                {"image_id": f"{k}", "file_name": f"{k}.png", "segments_info": [{"id": 9, "category_id": 3}]} for k in range(2)
            ],
        }
    ],
    "categories": CATEGORIES,
}
PARSERS = {"coco": (parse_coco, COCO), "youtube-vis": (parse_youtube_vis, VIDEO), "vipseg": (parse_vipseg, VIPSEG)}


@pytest.mark.parametrize(
    ("message", "file", "position", "record"),
    [
        ("a.json: annotations[3] (id 4).segmentations[2]: RLE size is", "a.json", "annotations[3].segmentations[2]", "4"),
        ("a.json: annotations[3] of image 11: `id` is missing", "a.json", "annotations[3].id", "image 11"),
        ("a.json: annotations[3] (id 4): category_id 8 is not in", "a.json", "annotations[3].category_id", "4"),
        ("a.json: annotations[3] (id 4): `bbox` is [1]", "a.json", "annotations[3].bbox", "4"),
        ("a.json: annotations[3] (id 4).bboxes[1] is [1]", "a.json", "annotations[3].bboxes[1]", "4"),
        ("a.json: annotations[3] (id 4).areas[1] is nan", "a.json", "annotations[3].areas[1]", "4"),
        (
            "a.json: annotations[0] (image 5).segments_info[1] (id 9): `iscrowd` is 3",
            "a.json",
            "annotations[0].segments_info[1].iscrowd",
            "image 5/9",
        ),
        (
            "a.json: annotations[0] (video v 1).annotations[2] (image 0: x).segments_info[1]: `id` is",
            "a.json",
            "annotations[0].annotations[2].segments_info[1].id",
            "video v 1/image 0: x",
        ),
        ("a.json: images[2] is str, expected an object", "a.json", "images[2]", ""),
        (
            "a.json: annotations[0] (image 5): segments_info[2] is str, expected",
            "a.json",
            "annotations[0].segments_info[2]",
            "image 5",
        ),
        ("a.json: `images` is missing, expected a list.", "a.json", "images", ""),
        ("two.jpg: picture is 3x4", "two.jpg", "", ""),
    ],
)
def test_fault_log__message__gives_file_position_and_record(message, file, position, record):
    """Catches a place that is given wrongly, which sends the user to the wrong record."""
    log = FaultLog("a.json")
    log.error("kind", message)
    (fault,) = log.faults
    assert (fault.file, fault.position, fault.record, fault.message) == (file, position, record, message)


@pytest.mark.parametrize("name", PARSERS)
def test_parsers__sound_data__same_with_and_without_log(name):
    """Catches a log that changes what is read, or false alarms."""
    parse, data = PARSERS[name]
    log = FaultLog("a.json")
    assert parse(data, "a.json", faults=log) == parse(data, "a.json")
    assert log.faults == []


def places(value, path=()):
    """Every place of a JSON value."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


def changed(data, path, value):
    data = copy.deepcopy(data)
    inside = data
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = value
    return data


@pytest.mark.parametrize("name", PARSERS)
@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_parsers__one_wrong_value__log_has_what_the_plain_reader_raises(name, data):
    """Catches rules that only one of the two ways knows, and foreign exceptions while collecting."""
    parse, sound = PARSERS[name]
    path = data.draw(st.sampled_from([place for place in places(sound) if place]))
    value = data.draw(st.sampled_from([None, -1, 2.5, "junk", [], {}, [1, 2], True, float("nan"), 99]))
    wrong, raised = changed(sound, path, value), None
    try:
        parse(wrong, "a.json")
    except DataError as error:
        raised = str(error)
    log = FaultLog("a.json")
    stopped = ""
    try:
        parse(wrong, "a.json", faults=log)
    except DataError as error:  # another kind of file
        stopped = str(error)
    assert stopped in ("", raised)
    errors = [fault.message for fault in log.faults if fault.severity == "error"]
    assert stopped or bool(errors) == (raised is not None)
    assert raised is None or stopped or raised in errors


def test_faults__plain_way__raises_at_once_and_forgets_nothing():
    """Catches a reader that goes on after a fault that nobody collects."""
    with pytest.raises(DataError, match="wrong"):
        RAISE_FIRST.error("kind", "wrong")
    with pytest.raises(ZeroDivisionError):
        RAISE_FIRST.attempt("kind", lambda: 1 // 0)
    with contextlib.suppress(DataError):
        RAISE_FIRST.warn("kind", "fine")
    assert RAISE_FIRST.errors == 0
    assert not RAISE_FIRST.is_lost("images", 1)
