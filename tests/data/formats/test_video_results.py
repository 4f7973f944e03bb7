"""Result files of video instance segmentation."""

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest

from dense.data.formats.video_results import (
    ResultRecord,
    parse_video_results,
    read_video_results,
    video_result_to_records,
    write_video_results,
)
from dense.data.formats.youtube_vis import parse_youtube_vis, read_youtube_vis
from dense.errors import DataError
from dense.structures import Track, VideoResult, rle

CASES = Path(__file__).parents[1] / "cases"
EXPECTED = json.loads((CASES / "youtube_vis_expected.json").read_text(encoding="utf-8"))
MASK = rle.encode(np.tri(4, 5))
DATASET = parse_youtube_vis(
    {
        "videos": [{"id": 0, "width": 5, "height": 4, "file_names": ["0", "1"]}],
        "annotations": [],
        "categories": [{"id": 4, "name": "b"}, {"id": 2, "name": "a"}],
    }
)
RESULT = {"video_id": 0, "category_id": 2, "score": 0.5, "segmentations": [MASK, None]}


def test_write_video_results__numpy_types_and_bytes__plain_json_read_back_unchanged(tmp_path):
    """Catches `not JSON serializable` at the end of hours of inference (case writer-numpy-types)."""
    case, facts = np.load(CASES / "writer-numpy-types" / "case.npz"), EXPECTED["writer-numpy-types"]["expect"]["facts"]
    masks = [rle.encode(mask) for mask in case["masks"]]
    masks[1] = {"size": np.array(masks[1]["size"]), "counts": masks[1]["counts"].encode()}
    scalars = {name: case[name][()] for name in ("video_id", "category_id", "score")}
    write_video_results(tmp_path / "out" / "results.json", [{**scalars, "segmentations": masks}])
    (record,) = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))
    assert {name: record[name] for name in scalars} == facts["record"]
    assert {name: type(record[name]).__name__ for name in ("video_id", "score")} == {"video_id": "int", "score": "float"}
    assert [type(m["counts"]).__name__ for m in record["segmentations"]] == ["str", "str"]
    assert [rle.area(m) for m in record["segmentations"]] == facts["areas"]
    for stored, mask in zip(record["segmentations"], case["masks"], strict=True):
        np.testing.assert_array_equal(rle.decode(stored), mask)


def test_write_video_results__records_and_mask_arrays__read_back_equal(tmp_path):
    """Catches a writer and a reader that disagree."""
    path = tmp_path / "results.json"
    record = ResultRecord(0, 4, 0.25, (None, MASK))
    write_video_results(path, iter([record, {**RESULT, "segmentations": [np.tri(4, 5, dtype=bool), None]}]))
    assert read_video_results(path, DATASET) == [record, ResultRecord(0, 2, 0.5, (MASK, None))]


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("score", math.nan, "score"),
        ("score", np.float32("inf"), "score"),
        ("video_id", 1.5, "video_id"),
        ("category_id", None, "category_id"),
        ("segmentations", None, "segmentations"),
        ("segmentations", [3], "segmentations[0]"),
        ("segmentations", [np.zeros(3)], "segmentations[0]"),
    ],
)
def test_write_video_results__wrong_record__named_and_old_file_kept(tmp_path, field, value, word):
    """Catches a NaN written as null, and an older result file destroyed by a failed write."""
    path = tmp_path / "results.json"
    path.write_text("[]")
    with pytest.raises(DataError) as caught:
        write_video_results(path, [RESULT, {**RESULT, field: value}])
    assert "record 1" in str(caught.value)
    assert word in str(caught.value)
    assert path.read_text() == "[]"
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.parametrize("name", ["yt-result-unknown-video", "yt-result-nan-score"])
def test_read_video_results__hard_case__error_names_record(name):
    """Catches results that are scored although they are wrong."""
    dataset = read_youtube_vis(CASES / name / "gt.json")
    with pytest.raises(DataError) as caught:
        read_video_results(CASES / name / "results.json", dataset)
    assert "results[0]" in str(caught.value)
    for words in EXPECTED[name]["expect"]["must_name"]:
        assert any(word in str(caught.value) for word in (words if isinstance(words, list) else [words]))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"video_id": 5}, ["results[1]", "video_id 5"]),
        ({"video_id": "0"}, ["results[1]", "'0'"]),
        ({"category_id": 3}, ["results[1]", "category_id 3"]),
        ({"score": "0.5"}, ["results[1]", "score"]),
        ({"segmentations": [MASK]}, ["results[1]", "1 entries", "2 frames"]),
        ({"segmentations": None}, ["results[1]", "segmentations"]),
        ({"segmentations": [None, {"size": [5, 4], "counts": MASK["counts"]}]}, ["results[1]", "[1]", "5x4", "4x5"]),
    ],
)
def test_parse_video_results__wrong_record__error_names_it(changes, words):
    """Catches a check that is missing, or that names another record."""
    with pytest.raises(DataError) as caught:
        parse_video_results([copy.deepcopy(RESULT), {**RESULT, **changes}], DATASET)
    assert [word for word in words if word not in str(caught.value)] == []


@pytest.mark.parametrize("content", [{}, None, [3], [{}]])
def test_parse_video_results__not_results__data_error(content):
    """Catches tracebacks when an annotation file is given as result file."""
    with pytest.raises(DataError):
        parse_video_results(content, DATASET)


def test_video_result_to_records__labels__category_ids_of_the_file():
    """Catches contiguous labels written as category ids."""
    result = VideoResult(4, 5, [0.0, 0.1], [Track(1, 1, 0.75, [MASK, None]), Track(2, 0, 0.5, [None, MASK])])
    ids = [category.id for category in DATASET.categories]
    assert video_result_to_records(result, 0, ids) == [
        ResultRecord(0, 4, 0.75, (MASK, None)),
        ResultRecord(0, 2, 0.5, (None, MASK)),
    ]


def test_video_result_to_records__label_or_length_wrong__data_error():
    """Catches an IndexError, and negative labels that count from the end."""
    for track in (Track(1, 2, 0.5, [MASK, None]), Track(1, -1, 0.5, [MASK, None]), Track(1, 0, 0.5, [MASK])):
        with pytest.raises(DataError, match=r"tracks\[0\]"):
            video_result_to_records(VideoResult(4, 5, [0.0, 0.1], [track]), 0, [2, 4])
