"""A stream takes constant memory, with all results written, and the frames at its end get the numbers of the whole clip."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# Frames are so large that keeping them breaks the limit; torch alone takes most of a gigabyte.
SCRIPT = """
import json, sys
from pathlib import Path
import numpy as np
from dense.inference.demo_video import Outputs, process
from dense.inference.video_predictor import VideoPredictor
from dense.structures.rle import decode
from dense.video import open_frames

task = json.loads(sys.argv[1])
folder, count, early, kept, (height, width) = Path(task["folder"]), task["count"], task["early"], task["kept"], task["size"]
predictor = VideoPredictor(task["config"], task["options"], min_score=0.05)
peaks = []

def peak():
    with open("/proc/self/status") as stream:
        return next(int(line.split()[1]) for line in stream if line.startswith("VmHWM"))

def picture(t):
    image = np.full((height, width, 3), 90, np.uint8)
    image[::2] = t % 251
    left = (7 * t) % (width - 100)
    image[100:200, left : left + 100] = (250, 30, 40)
    return image

hoard = []
def frames():
    for t in range(count):
        if t in (early, count - 1):
            peaks.append(peak())
        hoard.append(picture(t) if kept else None)
        yield picture(t)

process(predictor, open_frames(frames()), Outputs(folder / "a.mp4", None, folder / "a.jsonl", folder))
last = json.loads((folder / "a.jsonl").read_text().splitlines()[-1])
predictor.max_objects = 10_000
whole = predictor.predict(picture(t) for t in range(count))
best = {}
for track in whole.tracks:
    if track.track_id not in best or track.score > best[track.track_id].score:
        best[track.track_id] = track
worst_score = max(abs(o["score"] - best[o["track_id"]].score) for o in last["objects"])
worst_mask = max(float((decode(o["rle"]) != decode(best[o["track_id"]].masks[-1])).mean()) for o in last["objects"])
labels = all(o["label"] == best[o["track_id"]].label for o in last["objects"])
print(json.dumps({"peaks": peaks, "score": worst_score, "mask": worst_mask, "labels": labels, "frame": last["frame"]}))
"""


SMALL = ["INPUT.MIN_SIZE_TEST", 128, "INPUT.MAX_SIZE_TEST", 256, "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", 4]
TRACKING = ["MODEL.META_ARCHITECTURE", "OnlineVideoSegmenter", "MODEL.MASK_FORMER.REID_BRANCH", False]
TRACKING += ["MODEL.TRACKER.DECODER_LAYERS", 2, "INPUT.MIN_SIZE_TEST", 96, "INPUT.MAX_SIZE_TEST", 160]
REFINING = [*TRACKING, "MODEL.META_ARCHITECTURE", "OfflineVideoSegmenter"]
REFINING += ["MODEL.REFINER.DECODER_LAYERS", 2, "MODEL.REFINER.WINDOW", 8]


def run(tiny, tmp_path, count, early, options=(), size=(480, 640), kept=False):
    task = {"config": str(tiny), "folder": str(tmp_path), "count": count, "early": early, "kept": kept, "size": size}
    task["options"] = [*SMALL, *options]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", SCRIPT, json.dumps(task)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(
    ("count", "early", "options", "size"),
    [
        (120, 40, [], (480, 640)),
        pytest.param(600, 100, [], (480, 640), marks=pytest.mark.slow),
        pytest.param(1000, 100, TRACKING, (240, 320), marks=pytest.mark.slow),
        pytest.param(1000, 100, REFINING, (240, 320), marks=pytest.mark.slow),
    ],
    ids=["minvis-120", "minvis-600", "online-1000", "offline-by-windows-1000"],
)
def test_process__long_stream__peak_memory_stays_and_numbers_are_the_clips(tiny, tmp_path, count, early, options, size):
    """Catches frames, masks, logits or result lines that pile up, and class means that drift from the clip's."""
    found = run(tiny, tmp_path, count, early, options, size)
    assert found["peaks"][1] <= 1.05 * found["peaks"][0]
    assert found["frame"] == count - 1
    assert found["score"] <= 1.5e-5  # 1e-5, and half a unit of the five digits in the file
    assert found["mask"] <= 1e-4
    assert found["labels"]


@pytest.mark.slow
def test_process__frames_that_are_kept__are_noticed(tiny, tmp_path):
    """Catches a memory test that could not fail."""
    found = run(tiny, tmp_path, 120, 40, kept=True)
    assert found["peaks"][1] > 1.05 * found["peaks"][0]
