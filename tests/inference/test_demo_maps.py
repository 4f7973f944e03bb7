"""The demo command line with panoptic and semantic models: drawn frames, result files in the benchmarks' forms, the page."""

import json

import numpy as np
import pytest
from PIL import Image

from dense.data.formats.png_ids import read_id_map, read_label_map
from dense.inference.map_files import PanopticFiles, SemanticFiles, video_name
from dense.structures import FrameResult, Segment

PANOPTIC = ["MODEL.MASK_FORMER.TEST.TASK", "vps", "MODEL.MASK_FORMER.TEST.THING_CLASSES", "[0,1,2,3,4,5,6]"]
SEMANTIC = ["MODEL.MASK_FORMER.TEST.TASK", "vss"]


@pytest.fixture
def folder(clip, tmp_path):
    """A folder of four frames."""
    place = tmp_path / "my clip"
    place.mkdir()
    for t, frame in enumerate(clip(4)):
        Image.fromarray(frame).save(place / f"{t:02d}.png")
    return place


def test_demo__panoptic__lines_json_pngs_and_pictures_agree(demo, folder, json_lines, decoded, tmp_path):
    """Catches a task whose results are drawn and not written, ids that differ between the files, and names of other frames."""
    out = tmp_path / "out"
    done = demo("--input", folder, "--output", out, "--save-frames", "--page", *PANOPTIC)
    assert done.status == 0, done.err
    assert [line.removeprefix(f"{out}/") for line in done.out] == [
        "annotated.mp4",
        "frames",
        "predictions.jsonl",
        "pan_pred/my clip",
        "pred.json",
        "index.html",
    ]
    header, *lines = json_lines(out / "predictions.jsonl")
    (video,) = json.loads((out / "pred.json").read_text())["annotations"]
    assert video["video_id"] == "my clip"
    assert len(lines) == len(video["annotations"]) == len(decoded(out / "annotated.mp4")[1]) == 4
    assert sum(len(line["segments"]) for line in lines) > 0
    for t, (line, frame) in enumerate(zip(lines, video["annotations"], strict=True)):
        assert frame["file_name"] == f"{t:02d}.png"
        ids = read_id_map(out / "pan_pred" / "my clip" / f"{t:02d}.png")
        areas = {s["id"]: s["area"] for s in line["segments"] if s["area"]}
        assert areas == {i: int((ids == i).sum()) for i in np.unique(ids).tolist() if i}
        assert {s["id"]: s["category_id"] for s in frame["segments_info"]} == {
            s["id"]: s["label"] for s in line["segments"] if s["area"]
        }
        assert all(s["category"] == header["categories"][s["label"]] for s in line["segments"])
    assert len(list((out / "frames").glob("*.png"))) == 4
    assert not (out / "results.json").exists()
    page = (out / "index.html").read_text(encoding="utf-8")
    assert page.count("video/mp4") == 1


def test_demo__semantic__lines_and_pngs_agree(demo, folder, json_lines, tmp_path):
    """Catches as above; and maps that start at 1."""
    out = tmp_path / "out"
    done = demo("--input", folder, "--output", out, *SEMANTIC)
    assert done.status == 0, done.err
    assert [line.removeprefix(f"{out}/") for line in done.out] == ["annotated.mp4", "predictions.jsonl", "semantic/my clip"]
    _, *lines = json_lines(out / "predictions.jsonl")
    for t, line in enumerate(lines):
        labels = read_label_map(out / "semantic" / "my clip" / f"{t:02d}.png", (64, 96))
        values, counts = np.unique(labels, return_counts=True)
        assert [(k["label"], k["area"]) for k in line["classes"]] == list(zip(values.tolist(), counts.tolist(), strict=True))
        assert sum(k["area"] for k in line["classes"]) == 64 * 96


@pytest.mark.parametrize("words", [PANOPTIC, SEMANTIC])
def test_demo__output_is_a_video_file__no_folder_of_maps(demo, folder, tmp_path, words):
    """Catches files in places that nobody asked for."""
    assert demo("--input", folder, "--output", tmp_path / "clip.mp4", *words).status == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["clip.jsonl", "clip.mp4", "my clip"]


def test_demo__broken_frame__maps_before_it_are_whole(demo, folder, tmp_path):
    """Catches a pred.json that is lost, though the frames before the damage are good."""
    (folder / "02.png").write_bytes(b"no picture")
    out = tmp_path / "out"
    done = demo("--input", folder, "--output", out, *PANOPTIC)
    assert done.status == 1
    assert len(done.err) >= 1
    (video,) = json.loads((out / "pred.json").read_text())["annotations"]
    assert [frame["file_name"] for frame in video["annotations"]] == ["00.png", "01.png"]


def test_demo__shorter_video_of_the_same_name__no_frame_of_the_longer_one_stays(demo, folder, tmp_path):
    """Catches maps of two runs in one folder."""
    out = tmp_path / "out"
    assert demo("--input", folder, "--output", out, *SEMANTIC).status == 0
    assert demo("--input", folder, "--output", out, "--max-frames", 1, *SEMANTIC).status == 0
    assert [p.name for p in (out / "semantic" / "my clip").iterdir()] == ["00.png"]


def test_demo__page_of_instances__is_written(demo, folder, tmp_path):
    """Catches a page that only maps have; and --page with nothing to show."""
    assert demo("--input", folder, "--output", tmp_path / "out", "--page").status == 0
    assert (tmp_path / "out" / "index.html").stat().st_size > 1000
    done = demo("--input", folder, "--output", tmp_path / "out", "--page", "--no-video")
    assert (done.status, len(done.err)) == (1, 1)
    assert "--page" in done.err[0]


def test_map_files__killed__no_json_of_an_earlier_run_beside_new_maps(tmp_path):
    """Catches a pred.json that describes other maps than those beside it."""
    result = FrameResult(0, 0.0, 2, 2, panoptic=np.full((2, 2), 3, np.int32), segments=[Segment(3, 1, True, 4)])
    first = PanopticFiles(tmp_path, "v", ["a", "b"])
    first.write(result, "x.jpg")
    first.close()
    PanopticFiles(tmp_path, "v", ["a", "b"]).write(result, "y.jpg")
    assert sorted(p.name for p in tmp_path.rglob("*.*")) == ["y.png"]


def test_map_files__frames_of_one_stem__each_has_a_file(tmp_path):
    """Catches 1.jpg and 1.png of one folder in one map."""
    files = SemanticFiles(tmp_path, "v", ["a", "b"])
    for t, name in enumerate(("1.jpg", "1.png")):
        files.write(FrameResult(t, 0.0, 2, 2, semantic=np.full((2, 2), t, np.uint8)), name)
    (folder,) = files.close()
    assert {p.name: int(read_label_map(p)[0, 0]) for p in folder.iterdir()} == {"1.png": 0, "1_000001.png": 1}


@pytest.mark.parametrize(
    ("label", "name"),
    [("/a/b/clip.mp4", "clip"), ("webcam 0", "webcam 0"), ("frames/*.jpg", "_"), ("..", "video"), ("a/b/..", "video")],
)
def test_video_name__any_source__is_one_folder(label, name):
    """Catches results outside of their folder."""
    assert video_name(label) == name


def test_demo_page__class_names_with_markup__are_text(tmp_path, clip):
    """Catches names that become tags of the page."""
    from dense.inference.video_page import own_video_report, write_own_page
    from dense.video import VideoWriter

    with VideoWriter(tmp_path / "v.mp4", rate=10) as writer:
        for frame in clip(2):
            writer.write(frame)
    line = {"time_s": 0.0, "segments": [{"id": 2, "label": 0, "isthing": True, "area": 5, "category": "<b>x</b>"}]}
    other = {"time_s": 0.1, "classes": [{"label": 1, "area": 5, "category": "grass"}]}
    (tmp_path / "l.jsonl").write_text("{}\n" + json.dumps(line) + "\n" + json.dumps(other) + "\n")
    report = own_video_report("v.mp4", tmp_path / "l.jsonl", tmp_path / "v.mp4", {})
    assert [(row.track_id, row.seen) for row in report.videos[0].tracks] == [(2, [True, False]), (1, [False, True])]
    page = write_own_page(report, tmp_path / "p.html").read_text(encoding="utf-8")
    assert "&lt;b&gt;x" in page
    assert "<b>x" not in page
