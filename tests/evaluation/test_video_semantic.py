"""Mean IoU and consistency of videos: the reference's figures, and the formulas as loops over classes and windows."""

import math
import shutil

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.evaluation.video_semantic import consistency_by_loops, mean_iou_by_loops
from dense.data.formats.png_ids import write_label_map
from dense.errors import DataError
from dense.evaluation import evaluate_video_semantic
from dense.evaluation.video_semantic import VideoConsistency

NAMES = {"mIoU": "mIoU", "pixel_accuracy": "Acc", "mean_accuracy": "Acc_class", "fwIoU": "FWIoU", "VC8": "VC8", "VC16": "VC16"}


def test_evaluate_video_semantic__golden_videos__figures_of_the_reference(vspw_files, golden):
    """Catches unlabelled values that count, the last window, and windows without constant pixels."""
    figures = evaluate_video_semantic(*vspw_files, 124)
    with np.load(golden("evaluation/video_semantic.npz")) as wanted:
        for name, key in NAMES.items():
            assert figures[name] / 100 == pytest.approx(float(wanted[f"vss.{key}"]), abs=1e-9)
        known = {name for name, value in figures["per_category"].items() if not math.isnan(value)}
        assert known == {f"class {k}" for k in wanted["vss.classes_in_gt"]}
        scores = evaluate_video_semantic(*vspw_files, 124, published_vc16=True)
        assert scores["VC16"] / 100 == pytest.approx(float(wanted["vss.VC16_printed_by_script"]), abs=1e-9)
        assert scores["VC8"] == figures["VC8"]


def test_evaluate_video_semantic__golden_videos__consistency_of_each_video(vspw_files, golden):
    """Catches tables of the wrong video, and windows that run from one video into the next."""
    per_video = evaluate_video_semantic(*vspw_files, 124)["per_video"]
    with np.load(golden("evaluation/video_semantic.npz")) as wanted:
        ends = np.cumsum(wanted["vss.VC8.windows_per_video"])[:-1]
        each = np.split(wanted["vss.VC8.windows"], ends)
    for i, windows in enumerate(each):
        found, known = per_video[f"s{i}"]["VC8"], windows[~np.isnan(windows)]
        assert found == pytest.approx(100 * known.mean()) if known.size else math.isnan(found)


def test_evaluate_video_semantic__split_file__only_its_videos(vspw_files, tmp_path):
    """Catches videos of other splits that are scored, or results asked for."""
    (tmp_path / "val.txt").write_text("s3\n\ns1\n", encoding="utf-8")
    shutil.rmtree(vspw_files[1] / "s0")
    figures = evaluate_video_semantic(*vspw_files, 124, split_file=tmp_path / "val.txt")
    assert list(figures["per_video"]) == ["s3", "s1"]


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), frames=st.integers(1, 9), change=st.floats(0, 0.3))
def test_video_consistency__random_video__equals_loops_over_windows(seed, frames, change):
    """Catches a run that survives a change, and one frame too many or too few."""
    rng = np.random.default_rng(seed)
    maps = rng.integers(0, 3, (2, frames, 3, 4))
    for t in range(1, frames):
        maps[:, t] = np.where(rng.uniform(size=(2, 3, 4)) < change, maps[:, t], maps[:, t - 1])
    counter = VideoConsistency((1, 2, 4))
    for annotated, predicted in zip(*maps, strict=True):
        counter.add(annotated, predicted)
    for n, found in counter.windows.items():
        assert found == pytest.approx(consistency_by_loops(maps[0], maps[1], n), nan_ok=True)


def test_video_consistency__very_long_video__runs_do_not_overflow():
    """Catches counters of unchanged frames that start again at 0."""
    counter, still = VideoConsistency((2,)), np.zeros((1, 1), np.uint8)
    for _ in range(1 << 16):
        counter.add(still, still)
    assert set(counter.windows[2]) == {1.0}
    assert counter._runs.max() <= 2  # so the number of frames does not matter


def test_evaluate_video_semantic__random_videos__mean_iou_equals_loops(tmp_path):
    """Catches means of videos instead of one count over all, and 255 as prediction that is not a miss."""
    rng = np.random.default_rng(0)
    stored, predicted = rng.choice([0, 1, 2, 3, 254, 255], (6, 4, 5)), rng.choice([0, 1, 2, 3, 255], (6, 4, 5))
    for t in range(6):
        video = f"v{t // 4}"
        write_label_map(tmp_path / "gt" / video / "mask" / f"{t}.png", stored[t])
        write_label_map(tmp_path / "pred" / video / f"{t}.png", predicted[t])
    figures = evaluate_video_semantic(tmp_path / "gt", tmp_path / "pred", 4)
    assert figures["mIoU"] == pytest.approx(100 * mean_iou_by_loops(stored, predicted, 4))
    assert math.isnan(figures["per_category"]["class 3"])
    assert math.isnan(figures["VC8"])


@pytest.mark.parametrize(
    ("file", "labels", "words"),
    [
        ("pred/s1/00003.png", np.zeros((12, 15), int), "12x15"),
        ("pred/s1/00003.png", np.full((12, 16), 124), "label 124"),
        ("gt/s1/mask/00003.png", np.full((12, 16), 125), "value 125"),
        ("gt/s1/mask/00003.png", np.zeros((16, 12), int), "16x12"),
    ],
)
def test_evaluate_video_semantic__map_that_does_not_fit__error_names_the_file(vspw_files, file, labels, words):
    """Catches another resolution (of one frame, too) or another list of classes, scored silently."""
    write_label_map(vspw_files[0].parent / file, labels)
    with pytest.raises(DataError) as caught:
        evaluate_video_semantic(*vspw_files, 124)
    assert file in str(caught.value)
    assert words in str(caught.value)


def test_evaluate_video_semantic__result_missing__error_names_it(vspw_files):
    """Catches frames without a result that raise the score."""
    (vspw_files[1] / "s2" / "00007.png").unlink()
    with pytest.raises(DataError, match=r"s2/00007\.png"):
        evaluate_video_semantic(*vspw_files, 124)
