"""Results of a stream on disk: whole lines whatever happens, and a result file that the evaluator takes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from dense.data.formats.video_results import read_video_results
from dense.data.formats.youtube_vis import read_youtube_vis
from dense.errors import DataError
from dense.inference.stream_files import JSONLinesWriter, write_tracks
from dense.structures import FrameResult
from dense.structures.rle import decode, encode

KILLED = """
import os, signal, sys
import numpy as np
from dense.inference.stream_files import JSONLinesWriter
from dense.structures import FrameResult
from dense.structures.rle import encode
mask = encode(np.random.default_rng(0).random((200, 300)) > 0.5)  # tens of kilobytes: more than any buffer
with JSONLinesWriter(sys.argv[1], "clip", ["a"]) as writer:
    for index in range(5):
        writer.write(FrameResult(index, index / 10, 200, 300, [0], [0], [0.5], [mask]))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def frame(index, *objects, size=(6, 8)):
    """A frame's result; an object is (track, label, score, (row, column) of its one pixel)."""
    masks = []
    for _, _, _, pixel in objects:
        mask = np.zeros(size, np.uint8)
        mask[pixel] = 1
        masks.append(encode(mask))
    ids, labels, scores = ([o[k] for o in objects] for k in range(3))
    return FrameResult(index, index / 10, *size, ids, labels, scores, masks)


def write(path, *frames, categories=("cat", "dog")):
    with JSONLinesWriter(path, "clip.mp4", categories) as writer:
        for one in frames:
            writer.write(one)


def test_json_lines_writer__killed__leaves_every_line_whole(tmp_path):
    """Catches lines that wait in a buffer: a run of hours, killed, would leave nothing or half a line."""
    path = tmp_path / "out.jsonl"
    done = subprocess.run([sys.executable, "-c", KILLED, str(path)], capture_output=True, timeout=60, env={**os.environ})
    assert done.returncode == -signal.SIGKILL, done.stderr
    lines = path.read_text().split("\n")
    assert lines.pop() == ""
    assert [json.loads(line).get("frame") for line in lines] == [None, 0, 1, 2, 3, 4]


def test_json_lines_writer__objects__are_written_with_names_and_masks(tmp_path, json_lines):
    """Catches swapped fields and names of the wrong category."""
    write(tmp_path / "a.jsonl", frame(0, (7, 1, 0.5, (2, 3)), (4, 9, 0.25, (0, 0))), frame(1))
    header, first, second = json_lines(tmp_path / "a.jsonl")
    assert header == {"source": "clip.mp4", "categories": ["cat", "dog"]}
    assert {k: first[k] for k in ("frame", "time_s", "height", "width")} == {"frame": 0, "time_s": 0.0, "height": 6, "width": 8}
    assert [(o["track_id"], o["category"], o["label"], o["score"]) for o in first["objects"]] == [
        (7, "dog", 1, 0.5),
        (4, "category 9", 9, 0.25),
    ]
    assert np.argwhere(decode(first["objects"][0]["rle"])).tolist() == [[2, 3]]
    assert second["objects"] == []
    assert second["time_s"] == 0.1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_json_lines_writer__disk_full__is_one_clear_line(tmp_path):
    """Catches an OSError from closing the file that hides the message."""
    (tmp_path / "out.jsonl").symlink_to("/dev/full")
    with pytest.raises(DataError, match="cannot be written"):
        write(tmp_path / "out.jsonl", frame(0))


def test_json_lines_writer__folder_in_the_way__is_one_clear_line(tmp_path):
    """Catches IsADirectoryError."""
    (tmp_path / "out.jsonl").mkdir()
    with pytest.raises(DataError, match=r"out\.jsonl"):
        write(tmp_path / "out.jsonl", frame(0))


def test_write_tracks__frames_with_gaps__gives_results_that_the_reader_takes(tmp_path):
    """Catches tracks with a mask too few, masks in the wrong frame, labels counted from 0, and scores of another frame."""
    write(
        tmp_path / "a.jsonl",
        frame(0, (7, 1, 0.5, (2, 3))),
        frame(1),
        frame(2, (7, 0, 0.75, (3, 3)), (4, 1, 0.9, (0, 0))),
    )
    write_tracks(tmp_path / "a.jsonl", tmp_path / "results.json")
    video = {"id": 1, "height": 6, "width": 8, "length": 3, "file_names": ["a.jpg", "b.jpg", "c.jpg"]}
    truth = {
        "videos": [video],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [],
    }
    (tmp_path / "gt.json").write_text(json.dumps(truth))
    results = read_video_results(tmp_path / "results.json", read_youtube_vis(tmp_path / "gt.json"))
    assert [(r.category_id, r.score) for r in results] == [(2, 0.9), (1, 0.75)]  # best first; label of the last frame
    assert [[None if m is None else np.argwhere(decode(m)).tolist() for m in r.segmentations] for r in results] == [
        [None, None, [[0, 0]]],
        [[[2, 3]], None, [[3, 3]]],
    ]


def test_write_tracks__last_line_cut_off__is_passed_over(tmp_path):
    """Catches a killed run whose good frames cannot be turned into results."""
    path = tmp_path / "a.jsonl"
    write(path, frame(0, (7, 1, 0.5, (2, 3))), frame(1, (7, 1, 0.5, (2, 4))))
    path.write_bytes(path.read_bytes()[:-20])
    write_tracks(path, tmp_path / "results.json")
    (track,) = json.loads((tmp_path / "results.json").read_text())
    assert len(track["segmentations"]) == 1


@pytest.mark.parametrize("text", ["{}\nnot json\n", '{}\n{"frame": 0}\n', "{}\n[1]\n", '{}\n{"objects": [{"label": 0}]}\n'])
def test_write_tracks__other_file__names_file_and_line(tmp_path, text):
    """Catches JSONDecodeError and KeyError."""
    (tmp_path / "a.jsonl").write_text(text)
    with pytest.raises(DataError, match=r"a\.jsonl: line 2"):
        write_tracks(tmp_path / "a.jsonl", tmp_path / "results.json")
    with pytest.raises(DataError, match=r"none\.jsonl"):
        write_tracks(tmp_path / "none.jsonl", tmp_path / "results.json")
    assert not (tmp_path / "results.json").exists()
