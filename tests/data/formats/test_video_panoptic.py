"""Files of video panoptic segmentation: what the reader refuses, and what the writer writes."""

import contextlib
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dense.data.formats.png_ids import read_id_map
from dense.data.formats.video_panoptic import VideoPanopticWriter, read_video_panoptic_results, read_video_panoptic_truth
from dense.data.formats.youtube_vis import AnnotationsMissingError
from dense.errors import DataError
from dense.evaluation import evaluate_video_panoptic

CATEGORIES = [{"id": 0, "name": "grass", "isthing": 0}, {"id": 1, "name": "person", "isthing": 1}]


def frame(number, *segments):
    return {"file_name": f"{number}.png", "segments_info": [{"id": i, "category_id": c, "iscrowd": 0} for i, c in segments]}


def content():
    """Ground truth of one video of two frames of 2 x 3; the pictures are JPEG."""
    images = [{"id": str(t), "file_name": f"{t}.jpg", "height": 2, "width": 3} for t in (0, 1)]
    annotations = [{"video_id": "v", "annotations": [frame(0, (7, 0), (70_000, 1)), frame(1, (7, 0))]}]
    return {"videos": [{"video_id": "v", "images": images}], "annotations": annotations, "categories": CATEGORIES}


def written(tmp_path, name, data):
    (tmp_path / name).write_text(json.dumps(data), encoding="utf-8")
    return tmp_path / name


def test_read_video_panoptic_truth__jpeg_names_and_whole_numbers__png_and_text(tmp_path):
    """Catches frames without a size because the pictures are JPEG, and video ids that are numbers."""
    data = content()
    data["videos"][0]["video_id"] = data["annotations"][0]["video_id"] = 12
    video = read_video_panoptic_truth(written(tmp_path, "gt.json", data)).videos[0]
    assert video.name == "12"
    assert [f.png_name for f in video.frames] == ["0.png", "1.png"]
    assert [f.size for f in video.frames] == [(2, 3), (2, 3)]
    assert [s.id for s in video.frames[0].segments] == [7, 70_000]


TRUTH_FAULTS = {
    "no categories": (lambda d: d.pop("categories"), "categories"),
    "unknown category": (lambda d: d["annotations"][0]["annotations"][1]["segments_info"][0].update(category_id=9), "9"),
    "id of 25 bits": (lambda d: d["annotations"][0]["annotations"][0]["segments_info"][0].update(id=1 << 24), "16777216"),
    "id 0": (lambda d: d["annotations"][0]["annotations"][0]["segments_info"][0].update(id=0), "id"),
    "id twice": (lambda d: d["annotations"][0]["annotations"][0]["segments_info"][1].update(id=7), "7"),
    "frame twice": (lambda d: d["annotations"][0]["annotations"][1].update(file_name="0.jpg"), "0.png"),
    "video twice": (lambda d: d["annotations"].append(d["annotations"][0]), "twice"),
    "outside": (lambda d: d["annotations"][0]["annotations"][1].update(file_name="../0.png"), "../0.png"),
    "absolute": (lambda d: d["annotations"][0].update(video_id="/etc"), "/etc"),
    "no name": (lambda d: d["annotations"][0]["annotations"][1].pop("file_name"), "file_name"),
    "no segments": (lambda d: d["annotations"][0]["annotations"][1].pop("segments_info"), "segments_info"),
    "size": (lambda d: d["videos"][0]["images"][0].update(height=0), "height"),
}


@pytest.mark.parametrize("fault", TRUTH_FAULTS)
def test_read_video_panoptic_truth__fault__one_line_names_file_and_value(fault, tmp_path):
    """Catches a foreign traceback, or a wrong file that is read without a word."""
    change, word = TRUTH_FAULTS[fault]
    data = content()
    change(data)
    with pytest.raises(DataError, match=r"gt\.json") as caught:
        read_video_panoptic_truth(written(tmp_path, "gt.json", data))
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("annotations", [None, []])
def test_read_video_panoptic_truth__no_annotations__told_apart(annotations, tmp_path):
    """Catches a test set without annotations that counts as a broken file."""
    with pytest.raises(AnnotationsMissingError):
        read_video_panoptic_truth(written(tmp_path, "gt.json", {**content(), "annotations": annotations}))


RESULT_FAULTS = {
    "a list": (lambda d: [], "list"),
    "no annotations": (lambda d: {}, "annotations"),
    "video missing": (lambda d: {"annotations": []}, "video v"),
    "frame missing": (lambda d: d["annotations"][0]["annotations"].pop(), "1.png"),
    "unknown frame": (lambda d: d["annotations"][0]["annotations"].append(frame(5)), "5.png"),
    "unknown video": (lambda d: d["annotations"].append({"video_id": "w", "annotations": []}), "video w"),
}


@pytest.mark.parametrize("fault", RESULT_FAULTS)
def test_read_video_panoptic_results__fault__names_what_is_missing(fault, tmp_path):
    """Catches results of another set, or of a part of it, that are scored."""
    truth = read_video_panoptic_truth(written(tmp_path, "gt.json", content()))
    change, word = RESULT_FAULTS[fault]
    data = {"annotations": content()["annotations"]}
    changed = change(data)
    broken = changed if isinstance(changed, list | dict) and fault in ("a list", "no annotations", "video missing") else data
    with pytest.raises(DataError, match=r"pred\.json") as caught:
        read_video_panoptic_results(written(tmp_path, "pred.json", broken), truth)
    assert word in str(caught.value)


def test_video_panoptic_writer__two_frames__submission_that_scores_full_marks(tmp_path):
    """Catches ids that lose a channel, wrong names, boxes and areas, and segments that a frame lacks."""
    maps = [np.array([[7, 7, 70_000], [7, 7, 0]]), np.array([[7, 7, 7], [0, 0, 0]])]
    writer = VideoPanopticWriter(tmp_path / "out", [0, 1])
    for t, ids in enumerate(maps):
        writer.add_frame("v", f"{t}.jpg", ids, {7: 0, 70_000: 1})
    path = writer.close()
    record = json.loads(path.read_text(encoding="utf-8"))["annotations"][0]
    assert record["video_id"] == "v"
    assert [entry["file_name"] for entry in record["annotations"]] == ["0.png", "1.png"]
    assert record["annotations"][0]["segments_info"] == [
        {"id": 7, "category_id": 0, "iscrowd": 0, "area": 4, "bbox": [0, 0, 2, 2]},
        {"id": 70_000, "category_id": 1, "iscrowd": 0, "area": 1, "bbox": [2, 0, 1, 1]},
    ]
    assert (read_id_map(tmp_path / "out" / "pan_pred" / "v" / "0.png") == maps[0]).all()
    folder = tmp_path / "out" / "pan_pred"
    truth = written(tmp_path, "gt.json", content())
    figures = evaluate_video_panoptic(truth, folder, path, folder, windows=(1, 2), published_stq=False)
    assert (figures["VPQ"], figures["STQ"]) == (100, 100)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("v", "0.png", np.array([[3]]), {3: 5}), "5"),
        (("v", "0.png", np.array([[3]]), {4: 0}), "id 3"),
        (("v", "9.png", np.array([[0]]), {}), "9.png"),
        (("..", "0.png", np.array([[0]]), {}), "video_id"),
        (("v", "0.png", np.array([[1 << 24]]), {1 << 24: 0}), "16777216"),
    ],
)
def test_video_panoptic_writer__bad_frame__error_and_nothing_written(arguments, word, tmp_path):
    """Catches a submission that a server would refuse, and files outside of its folder."""
    writer = VideoPanopticWriter(tmp_path / "out", [0, 1])
    writer.add_frame("v", "9.png", np.array([[0]]), {})
    with pytest.raises(DataError, match=word):
        writer.add_frame(*arguments)
    assert [p.name for p in tmp_path.rglob("*.png")] == ["9.png"]


@settings(max_examples=60, deadline=None)
@given(
    place=st.sampled_from(
        [["annotations"], ["categories"], ["videos"], ["annotations", 0], ["videos", 0], ["videos", 0, "images", 0]]
        + [["annotations", 0, field] for field in ("video_id", "annotations")]
        + [["annotations", 0, "annotations", 0, field] for field in ("file_name", "segments_info")]
        + [["annotations", 0, "annotations", 0, "segments_info", 0, field] for field in ("id", "category_id", "iscrowd")]
        + [["videos", 0, "images", 0, field] for field in ("file_name", "width", "height")]
    ),
    value=st.recursive(
        st.none() | st.booleans() | st.integers(-3, 10**12) | st.floats() | st.text(max_size=4),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["id", "name"]), inner, max_size=3),
        max_leaves=6,
    ),
)
def test_read_video_panoptic__any_junk_in_any_place__result_or_data_error(place, value, tmp_path_factory):
    """Catches foreign exceptions on files from strangers."""
    folder = tmp_path_factory.getbasetemp()
    data = content()
    target = data
    for step in place[:-1]:
        target = target[step]
    target[place[-1]] = value
    truth = read_video_panoptic_truth(written(folder, "sound.json", content()))
    with contextlib.suppress(DataError):
        read_video_panoptic_truth(written(folder, "gt.json", data))
    with contextlib.suppress(DataError):
        read_video_panoptic_results(written(folder, "pred.json", data), truth)
