"""Damaged data is what the checker is for: whatever stands in a file, it must not die of it."""

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dense.data.checking import Target, check_target
from dense.data.checking.sheet import contact_sheet

FILES = {
    "coco": "images/annotations/instances_train.json",
    "coco-panoptic": "images/annotations/panoptic_train.json",
    "youtube-vis": "videos/train.json",
    "vipseg": "vipseg/panoptic_gt_VIPSeg_train.json",
}
JUNK = [None, -1, 0, 1, 2.5, "junk", "", [], {}, [1, 2], [None], {"size": [1, 2]}, True, float("nan"), 99, 10**20]


def places(value, path=()):
    """Every place of a JSON value, at most three entries of a list."""
    yield path
    children = value.items() if isinstance(value, dict) else enumerate(value[:3]) if isinstance(value, list) else ()
    for key, child in children:
        yield from places(child, (*path, key))


@pytest.mark.parametrize("kind", FILES)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_check_target__junk_in_two_places__report_and_frames(clean_worlds, tmp_path, kind, data):
    """Catches foreign exceptions while faults are collected, placed, counted, and their frames chosen and drawn."""
    content = json.loads((clean_worlds / FILES[kind]).read_text())
    known = [place for place in places(content) if place and place[0] != "info"]
    for _ in range(2):
        place = data.draw(st.sampled_from(known))
        wrong = copy.deepcopy(content)
        inside = wrong
        try:
            for step in place[:-1]:
                inside = inside[step]
            inside[place[-1]] = data.draw(st.sampled_from(JUNK))
        except (TypeError, KeyError, IndexError):  # the first junk replaced what the second place was in
            continue
        content = wrong
    path = tmp_path / "junk.json"
    path.write_text(json.dumps(content))
    folder = clean_worlds / FILES[kind].split("/")[0]
    folders = {
        "coco": (folder / "images/train", None),
        "coco-panoptic": (folder / "images/train", folder / "panoptic/train"),
        "youtube-vis": (folder / "train/JPEGImages", None),
        "vipseg": (folder / "images", folder / "panomasksRGB"),
    }
    report = check_target(Target(kind, str(path), *folders[kind]), workers=1, decode=False)
    json.dumps(report.to_json())
    assert contact_sheet([report], 2) is None or report.frames
