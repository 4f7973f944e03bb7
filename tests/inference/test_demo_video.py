"""The demo's command line on hard inputs, wrong outputs and wrong options."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dense.video import VideoWriter

ROOT = Path(__file__).resolve().parents[2]
DONE = ("vid-ok", "vid-odd-size", "vid-rotate-90", "vid-vfr", "vid-start-not-zero", "vid-b-frames", "vid-no-count")
DONE = (*DONE, "vid-single-frame", "dir-natural-order", "dir-names-not-numbers")
OK = ROOT / "tests" / "data" / "cases" / "vid-ok" / "ok.mp4"


def one_error(outcome, *words):
    """The run ended with 1 and a single line on stderr that has these words."""
    assert outcome.status == 1
    (line,) = outcome.err
    assert all(word in line for word in words), line
    return line


@pytest.fixture
def no_model(monkeypatch):
    """Building a model fails the test."""

    def refuse(*_, **__):
        raise AssertionError("the model was built before the input was checked")

    monkeypatch.setattr("dense.inference.video_predictor.VideoPredictor", refuse)


@pytest.mark.parametrize("name", DONE)
def test_demo__readable_case__video_and_results_keep_frames_size_and_times(demo, cases, decoded, json_lines, tmp_path, name):
    """Catches frames dropped, doubled, lying on their side, out of step, or an encoder that refuses odd sizes."""
    folder, inputs, expect = cases(name)
    facts = expect["facts"]
    outcome = demo("--input", folder / next(iter(inputs.values())), "--output", tmp_path / "out")
    assert outcome.status == 0
    assert outcome.out == [str(tmp_path / "out" / n) for n in ("annotated.mp4", "predictions.jsonl", "results.json")]
    size, times = decoded(tmp_path / "out" / "annotated.mp4")
    lines = json_lines(tmp_path / "out" / "predictions.jsonl")[1:]
    assert len(times) == len(lines) == facts["num_frames"]
    assert [line["frame"] for line in lines] == list(range(len(lines)))
    if "size" in facts:
        width, height = facts["size"]
        assert size == (height + height % 2, width + width % 2)
        assert {(line["height"], line["width"]) for line in lines} == {(height, width)}
        assert {tuple(o["rle"]["size"]) for line in lines for o in line["objects"]} <= {(height, width)}
    if "times" in facts:
        relative = [time - facts["times"][0] for time in facts["times"]]
        assert [line["time_s"] for line in lines] == pytest.approx(relative, abs=facts["time_tol"])
        assert times == pytest.approx(relative, abs=facts["time_tol"])
    tracks = json.loads((tmp_path / "out" / "results.json").read_text())
    assert tracks
    assert {len(track["segmentations"]) for track in tracks} == {facts["num_frames"]}


@pytest.mark.parametrize(
    "name", ["vid-zero-frames", "vid-no-moov", "vid-audio-only", "vid-not-a-video", "dir-empty", "img-folder-empty"]
)
def test_demo__unreadable_case__is_one_line_that_names_it(demo, cases, tmp_path, name):
    """Catches foreign tracebacks, exit status 0, and a video without frames that is left behind."""
    folder, inputs, _ = cases(name)
    for value in inputs.values():
        for one in [value] if isinstance(value, str) else value:
            outcome = demo("--input", folder / one, "--output", tmp_path / "out")
            if one == "picture.mp4" and outcome.status == 0:  # a picture under a video's name: one frame, or refused
                continue
            one_error(outcome, one)
            assert not list((tmp_path / "out").glob("*"))


@pytest.mark.parametrize("name", ["out.mp4", "out.avi", "out.mkv", "new/folder/out.mp4", "folder", "new/folder", "dotted.d/"])
def test_demo__output_name__playable_file_with_every_frame(demo, decoded, tmp_path, name):
    """Catches a run to the end that leaves no file, or an unplayable one."""
    (tmp_path / "folder").mkdir()
    target = f"{tmp_path}/{name}"
    outcome = demo("--input", OK, "--output", target)
    assert outcome.status == 0
    video = Path(outcome.out[0])
    assert str(video).startswith(target.rstrip("/"))
    assert len(decoded(video)[1]) == 10
    assert all(Path(line).is_file() for line in outcome.out)
    assert not list(tmp_path.rglob("*.partial*"))


def test_demo__output_that_cannot_be_written__is_refused_before_the_model_is_built(demo, tmp_path, no_model):
    """Catches minutes of work before the message that nothing can be kept."""
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "taken" / "results.json").mkdir(parents=True)
    (tmp_path / "taken2" / "annotated.mp4").mkdir(parents=True)
    (tmp_path / "clip.jsonl").mkdir()
    for name, word in (
        ("out.xyz", "'.xyz'"),
        ("file", "cannot be written"),
        ("file/out", "cannot be written"),
        ("file/out.mp4", "cannot be written"),
        ("taken", "results.json"),
        ("taken2", "annotated.mp4"),
        ("clip.mp4", "is a folder"),
    ):
        one_error(demo("--input", OK, "--output", tmp_path / name), str(tmp_path), word)
    if Path("/proc/self").exists():
        one_error(demo("--input", OK, "--output", "/proc/out"), "/proc/out", "cannot be written")
    assert (tmp_path / "file").read_text() == "in the way"


def test_demo__file_in_the_way_of_the_frames__is_one_line(demo, tmp_path):
    """Catches NotADirectoryError once the model runs."""
    (tmp_path / "frames").write_text("in the way")
    one_error(demo("--input", OK, "--output", tmp_path, "--save-frames"), "frames", "cannot be made")


def test_demo__output_is_the_input__is_refused_and_the_input_stays(demo, tmp_path, no_model):
    """Catches the user's own video replaced by its annotated copy."""
    own = tmp_path / "annotated.mp4"
    shutil.copy(OK, own)
    (tmp_path / "link.mp4").symlink_to(own)
    (tmp_path / "frames").mkdir()
    Image.new("RGB", (64, 48)).save(tmp_path / "frames" / "1.png")
    for source, target, *more in (
        (own, own),
        (own, tmp_path),
        (tmp_path / "link.mp4", own),
        (tmp_path / "frames", tmp_path, "--save-frames"),
    ):
        one_error(demo("--input", source, "--output", target, *more), "would overwrite the input")
    assert own.read_bytes() == OK.read_bytes()


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--min-score", "1.5"), "--min-score 1.5"),
        (("--min-score", "-0.1"), "--min-score -0.1"),
        (("--min-score", "nan"), "--min-score nan"),
        (("--max-frames", "0"), "--max-frames 0"),
        (("--max-frames", "-2"), "--max-frames -2"),
        (("--rate", "0"), "rate: 0"),
        (("--rate", "-3"), "rate: -3"),
        (("--rate", "1/0"), "'1/0'"),
        (("--rate", "nan"), "'nan'"),
        (("--rate", "fast"), "'fast'"),
        (("--stream", "9"), "stream 9"),
        (("--stream", "-1"), "stream -1"),
        (("--input", "nothing.mp4"), "nothing.mp4: no such file"),
        (("--input", "webcam:77"), "webcam 77"),
        (("--input", "http://x.org/a.mp4"), "http://x.org/a.mp4"),
        (("--input", "nothing/*.jpg"), "nothing/*.jpg"),
    ],
)
def test_demo__wrong_value__is_refused_before_the_model_is_built(demo, tmp_path, no_model, words, expected):
    """Catches values that are ignored or end as a traceback."""
    one_error(demo("--input", OK, "--output", tmp_path, *words), expected)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--model", "no_such_model"), "'no_such_model'"),
        (("--model", "none.safetensors"), "none.safetensors"),
        (("--config-file", "none.yaml"), "none.yaml"),
        (("--config-file", str(OK)), "ok.mp4"),
        (("--config-file", "TINY", "MODEL.NOPE", "1"), "unknown key 'MODEL.NOPE'"),
        (("--config-file", "TINY", "MODEL.DEVICE"), "KEY VALUE"),
        (("--config-file", "TINY", "MODEL.META_ARCHITECTURE", "ImageSegmenter"), "is no video model"),
        (("--config-file", "TINY", "MODEL.DEVICE", "nothing"), "MODEL.DEVICE"),
        (("--config-file", "TINY", "MODEL.WEIGHTS", "none.pth"), "none.pth"),
        (("MODEL.NOPE", "1", "--config-file", "TINY", "--max-frames", "1"), "unknown key 'MODEL.NOPE'"),
    ],
)
def test_demo__wrong_model__is_one_line(demo, tiny, tmp_path, words, expected):
    """Catches foreign errors about files, keys and parts."""
    words = [str(tiny) if word == "TINY" else word for word in words]
    one_error(demo(*words, "--input", OK, "--output", tmp_path, model=False), expected)


def test_demo__key_value_words_anywhere__take_effect(demo, tmp_path, json_lines):
    """Catches KEY VALUE words that only work in one place, and options behind them that are lost."""
    outcome = demo(
        "--input", OK, "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", "3", "--output", tmp_path / "out", "--min-score", "0",
        "INPUT.MIN_SIZE_TEST", "32", "--max-frames", "2", "--no-video",
    )  # fmt: skip
    assert outcome.status == 0
    lines = json_lines(tmp_path / "out" / "predictions.jsonl")[1:]
    assert len(lines) == 2
    assert {o["track_id"] for line in lines for o in line["objects"]} <= {0, 1, 2}
    assert not (tmp_path / "out" / "annotated.mp4").exists()


def test_demo__help_and_wrong_usage__exit_0_and_2(demo):
    """Catches exit codes that scripts cannot rely on."""
    assert demo("--help", model=False).status == 0
    assert demo(model=False).status == 2
    assert demo("--input", OK, "--output", "x", "--no-such-option").status == 2
    assert demo("--input", OK, "--output", "x", "--max-frames", "many").status == 2


def test_demo__save_frames__one_picture_per_frame_with_its_name(demo, tmp_path):
    """Catches pictures that are renumbered or missing."""
    source = tmp_path / "in"
    source.mkdir()
    for name in ("f2.jpg", "f10.jpg", "f1.jpg"):
        Image.fromarray(np.full((48, 64, 3), 90, np.uint8)).save(source / name)
    outcome = demo("--input", source, "--output", tmp_path / "out.mp4", "--rate", "25", "--save-frames")
    assert outcome.status == 0
    assert sorted(p.name for p in (tmp_path / "out" / "frames").iterdir()) == ["f1.png", "f10.png", "f2.png"]
    with Image.open(tmp_path / "out" / "frames" / "f1.png") as picture:
        assert picture.size == (64, 48)


def test_demo__truncated_file__keeps_the_frames_before_the_damage(demo, clip, decoded, json_lines, tmp_path):
    """Catches everything lost for the sake of a missing end, files left open, and exit status 0."""
    whole = tmp_path / "cut.mp4"
    with VideoWriter(whole, rate=10) as writer:
        for picture in np.random.default_rng(0).integers(0, 255, (12, 64, 96, 3), dtype=np.uint8):
            writer.write(picture)
    whole.write_bytes(whole.read_bytes()[: int(whole.stat().st_size * 0.7)])
    outcome = demo("--input", whole, "--output", tmp_path / "out")
    assert outcome.status == 1
    assert "DamagedVideoError" in outcome.err[-1]
    assert "cut.mp4" in outcome.err[-1]
    assert sum("Error" in line for line in outcome.err) == 1
    kept = len(decoded(tmp_path / "out" / "annotated.mp4")[1])
    assert 3 < kept < 12
    assert len(json_lines(tmp_path / "out" / "predictions.jsonl")) == 1 + kept
    tracks = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {len(track["segmentations"]) for track in tracks} == {kept}
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["annotated.mp4", "predictions.jsonl", "results.json"]


def test_demo__broken_picture_in_a_folder__keeps_the_frames_before_it(demo, cases, decoded, tmp_path):
    """Catches a folder of frames that is treated worse than a video file."""
    folder, inputs, _ = cases("img-truncated-jpeg")
    source = tmp_path / "in"
    source.mkdir()
    for index in range(4):
        Image.new("RGB", (40, 30), (index * 60, 0, 0)).save(source / f"{index}.jpg")
    shutil.copy(folder / inputs["bad"], source / "4.jpg")
    outcome = demo("--input", source, "--output", tmp_path / "out")
    assert outcome.status == 1
    assert "4.jpg" in outcome.err[-1]
    assert len(decoded(tmp_path / "out" / "annotated.mp4")[1]) == 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_demo__disk_full__is_one_line(demo, tmp_path):
    """Catches OSError from the result lines, or from closing them."""
    (tmp_path / "predictions.jsonl").symlink_to("/dev/full")
    one_error(demo("--input", OK, "--output", tmp_path), "predictions.jsonl", "cannot be written")


def test_demo__debug__shows_where_the_error_came_from(tiny, tmp_path):
    """Catches an option that shows no more than without it."""
    from dense.errors import VideoError
    from dense.inference.demo_video import main

    with pytest.raises(VideoError):
        main(["--input", "nothing.mp4", "--output", str(tmp_path), "--config-file", str(tiny), "--debug"])


def test_demo_tool__started_as_a_program__stderr_is_the_one_line(tmp_path):
    """Catches warnings of imported packages around the message, and an exit status that is lost on the way."""
    command = [sys.executable, str(ROOT / "tools" / "demo_video.py"), "--input", str(OK), "--output", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*command, "--model", "no_such_model"], capture_output=True, text=True, timeout=120, env=environment, cwd=tmp_path
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("ConfigError: model 'no_such_model'")
