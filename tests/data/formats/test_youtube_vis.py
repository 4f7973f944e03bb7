"""Reader of YouTube-VIS and OVIS annotation files."""

import contextlib
import copy
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dense.data.formats.youtube_vis import AnnotationsMissingError, VideoDataset, parse_youtube_vis, read_youtube_vis
from dense.errors import DataError
from dense.structures import rle

CASES = Path(__file__).parents[1] / "cases"
EXPECTED = json.loads((CASES / "youtube_vis_expected.json").read_text(encoding="utf-8"))

VALID = {
    "videos": [{"id": 3, "width": 6, "height": 5, "length": 2, "file_names": ["a/0.jpg", "a/1.jpg"]}],
    "annotations": [
        {
            "id": 8,
            "video_id": 3,
            "category_id": 20,
            "iscrowd": 0,
            "segmentations": [{"size": [5, 6], "counts": [3, 4, 23]}, [[0, 0, 4, 0, 4, 3, 0, 3]]],
            "bboxes": [[0.0, 0.0, 2.0, 4.0], [0.0, 0.0, 4.0, 3.0]],
            "areas": [4.0, 12.0],
        }
    ],
    "categories": [{"id": 20, "name": "cat"}, {"id": 7, "name": "ant"}],
}


def read_case(name: str) -> VideoDataset:
    images = CASES / name / "JPEGImages"
    return read_youtube_vis(CASES / name / "gt.json", images if images.is_dir() else None, check_files=images.is_dir())


def mask_areas(dataset: VideoDataset) -> list[int | None]:
    masks = [track.rle(t) for video in dataset.videos for track in video.tracks for t in range(video.length)]
    return [None if mask is None else rle.area(mask) for mask in masks]


def changed(path: list[object], value: object) -> dict:
    """``VALID`` with one place set to ``value``."""
    data = copy.deepcopy(VALID)
    place: object = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return data


WRONG = [name for name, case in EXPECTED.items() if case["expect"]["kind"] == "error" and "result" not in name]


@pytest.mark.parametrize("name", WRONG)
def test_read_youtube_vis__hard_case_with_error__one_line_naming_the_place(name):
    """Catches wrong files that pass silently, and messages without the file, the record or the numbers."""
    with pytest.raises(DataError) as caught:
        read_case(name)
    message = str(caught.value)
    assert "\n" not in message
    assert "gt.json" in message
    after_path = message.split("gt.json", 1)[1]
    for words in EXPECTED[name]["expect"]["must_name"]:
        alternatives = words if isinstance(words, list) else [words]
        assert any(word in after_path for word in alternatives), (words, message)


@pytest.mark.parametrize("name", ["yt-mixed-forms", "yt-order-of-file-names", "yt-iscrowd-areas-missing"])
def test_read_youtube_vis__hard_case_with_areas__masks_and_areas_as_expected(name):
    """Catches a segmentation form that is dropped or misread, masks that leave their frames, areas not computed."""
    dataset = read_case(name)
    expected = EXPECTED[name]["expect"]["facts"]["areas"]
    assert mask_areas(dataset) == expected
    assert list(dataset.videos[0].tracks[0].areas) == expected
    assert dataset.videos[0].tracks[0].iscrowd is False


def test_read_youtube_vis__file_names_not_sorted__order_of_the_list():
    """Catches sorting of frames by name."""
    dataset = read_case("yt-order-of-file-names")
    levels = [Image.open(path).convert("L").getpixel((0, 0)) for path in dataset.frame_paths(dataset.videos[0])]
    assert levels == EXPECTED["yt-order-of-file-names"]["expect"]["facts"]["gray_levels"]


def test_read_youtube_vis__length_missing__number_of_file_names():
    """Catches a reader that needs `length`."""
    assert [v.length for v in read_case("yt-length-missing").videos] == [2]


def test_read_youtube_vis__annotations_null__video_without_objects():
    """Catches a crash on the challenges' validation files, and training on them without a word."""
    dataset = read_case("yt-annotations-null")
    assert (len(dataset.videos), dataset.has_annotations, dataset.videos[0].tracks) == (1, False, ())
    with pytest.raises(AnnotationsMissingError, match="no annotations"):
        read_youtube_vis(CASES / "yt-annotations-null" / "gt.json", require_annotations=True)


def test_read_youtube_vis__video_without_objects__is_kept():
    """Catches dropping of empty videos, which makes scores too high."""
    assert [len(v.tracks) for v in read_case("yt-video-without-annotations").videos] == [1, 0]


def test_read_youtube_vis__ids_from_zero__kept():
    """Catches `if id` tests that lose id 0."""
    dataset = read_case("yt-ids-from-zero")
    assert [(t.id, t.video_id, t.category_id) for t in dataset.videos[0].tracks] == [(0, 0, 0), (1, 0, 0)]
    assert dataset.contiguous_id(0) == 0


def test_read_youtube_vis__single_frame__mask_decoded():
    """Catches code that needs two frames."""
    mask = read_case("yt-single-frame").videos[0].tracks[0].mask(0)
    assert mask.shape == (10, 10)
    assert mask[:4, :5].all()
    assert mask.sum() == 20


def test_parse_youtube_vis__box_null_but_mask_given__frame_not_used():
    """Catches use of frames that the data set marks as not annotated."""
    track = parse_youtube_vis(changed(["annotations", 0, "bboxes", 1], None)).videos[0].tracks[0]
    assert track.rle(1) is None
    assert track.mask(1) is None
    assert track.rle(0) is not None


def test_parse_youtube_vis__boxes_missing__all_masks_used():
    """Catches a reader that needs `bboxes`."""
    assert mask_areas(parse_youtube_vis(changed(["annotations", 0, "bboxes"], None))) == [4, 12]


def test_parse_youtube_vis__size_of_video_missing__taken_from_a_mask():
    """Catches a crash on files whose videos state no size."""
    data = copy.deepcopy(VALID)
    del data["videos"][0]["width"], data["videos"][0]["height"]
    video = parse_youtube_vis(data).videos[0]
    assert (video.height, video.width) == (5, 6)


def test_contiguous_id__ids_with_gaps__rank_of_sorted_id():
    """Catches class indices in the order of the file instead of the order of the ids."""
    dataset = parse_youtube_vis(VALID)
    assert dataset.category_names == ("ant", "cat")
    assert dataset.contiguous_ids == {7: 0, 20: 1}
    with pytest.raises(DataError, match=r"category 8 .*7, 20"):
        dataset.contiguous_id(8)


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (["videos"], None, ["videos", "list"]),
        (["videos", 0, "id"], "3", ["videos[0]", "id", "'3'"]),
        (["videos", 0, "id"], 3.5, ["videos[0]", "3.5"]),
        (["videos", 0, "width"], 0, ["videos[0]", "id 3", "width"]),
        (["videos", 0, "file_names"], [], ["videos[0]", "id 3", "file_names"]),
        (["videos"], VALID["videos"] * 2, ["videos[1]", "duplicate", "videos[0]"]),
        (["annotations"], VALID["annotations"] * 2, ["annotations[1]", "duplicate", "8", "annotations[0]"]),
        (["annotations", 0, "id"], None, ["annotations[0]", "video 3", "id"]),
        (["annotations", 0, "video_id"], 4, ["annotations[0]", "id 8", "video_id 4"]),
        (["annotations", 0, "category_id"], 7.5, ["annotations[0]", "category_id", "7.5"]),
        (["annotations", 0, "category_id"], 8, ["annotations[0]", "id 8", "category_id 8", "7, 20"]),
        (["annotations", 0, "iscrowd"], 2, ["id 8", "iscrowd", "2"]),
        (["annotations", 0, "segmentations"], None, ["id 8", "segmentations"]),
        (["annotations", 0, "segmentations", 0, "size"], [6, 5], ["id 8", "segmentations[0]", "6x5", "5x6"]),
        (["annotations", 0, "segmentations", 0, "counts"], [3, 4, 24], ["id 8", "segmentations[0]", "31", "30"]),
        (["annotations", 0, "segmentations", 0, "counts"], "1S3", ["id 8", "segmentations[0]", "30"]),
        (["annotations", 0, "segmentations", 1], [[1, 2, 3, 4]], ["id 8", "segmentations[1]", "polygon"]),
        (["annotations", 0, "bboxes"], [None], ["id 8", "bboxes", "1", "2"]),
        (["annotations", 0, "bboxes", 1], [1, 2, 3], ["id 8", "bboxes[1]"]),
        (["annotations", 0, "areas", 1], float("nan"), ["id 8", "areas[1]", "nan"]),
        (["categories"], VALID["categories"] * 2, ["categories[2]", "duplicate", "20"]),
        (["categories", 0, "name"], "", ["categories[0]", "id 20", "name"]),
    ],
)
def test_parse_youtube_vis__one_wrong_place__error_names_it(path, value, words):
    """Catches a check that is missing or whose message does not lead to the record."""
    with pytest.raises(DataError) as caught:
        parse_youtube_vis(changed(path, value), "own.json")
    message = str(caught.value)
    assert message.startswith("own.json: ")
    assert [word for word in words if word not in message] == []


def places(value: object, path: tuple = ()) -> list[tuple]:
    """Every place inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, inner in items for found in [(*path, key), *places(inner, (*path, key))]]


junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 40),
    st.just(10**400),
    st.floats(),
    st.text(max_size=5),
    st.lists(st.one_of(st.none(), st.integers(0, 20), st.text(max_size=2)), max_size=3),
    st.dictionaries(st.sampled_from(["size", "counts", "id"]), st.one_of(st.integers(-1, 9), st.text(max_size=3)), max_size=2),
)


@settings(max_examples=300, deadline=None)
@given(place=st.sampled_from([p for p in places(VALID) if "segmentations" not in p[2:-1] or "size" in p]), value=junk)
def test_parse_youtube_vis__any_junk_in_any_place__data_set_or_data_error(place, value):
    """Catches foreign exceptions (KeyError, TypeError, OverflowError) on damaged files."""
    with contextlib.suppress(DataError):
        assert isinstance(parse_youtube_vis(changed(list(place), value)), VideoDataset)


@pytest.mark.parametrize("content", ["[]", "3", "null", "{", '{"videos": []}', '{"images": [], "annotations": []}'])
def test_read_youtube_vis__not_such_a_file__data_error(tmp_path, content):
    """Catches tracebacks when some other file is given."""
    path = tmp_path / "other.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=r"other\.json"):
        read_youtube_vis(path)


def test_imports__readers_and_scores__without_torch_and_detectron2():
    """Catches an import that makes reading and scoring of files need torch or Detectron2."""
    code = (
        "import sys, dense.data.formats, dense.data.datasets, dense.evaluation.command;"
        "assert not {'torch', 'detectron2', 'matplotlib', 'cv2', 'rich'} & set(sys.modules), 'heavy import'"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])


def test_read_youtube_vis__real_file__official_categories(shared):
    """Catches differences between our idea of the format and a real file (DAVIS as YouTube-VIS)."""
    folder = shared / "data" / "real" / "davis"
    dataset = read_youtube_vis(folder / "gt.json", folder / "frames", check_files=True, require_annotations=True)
    assert [v.length for v in dataset.videos] == [40, 30, 18, 28]
    for video in dataset.videos:
        for track in video.tracks:
            stated = [track.areas[t] for t in range(video.length)]
            assert stated == [None if m is None else rle.area(m) for m in track.segmentations]
