"""The evaluation command line on panoptic and semantic videos."""

import json

import pytest

from dense.evaluation import evaluate_video_panoptic, evaluate_video_semantic
from dense.evaluation.command import main


def run(task, words, tmp_path):
    assert main(["--task", task, *map(str, words), "--json", str(tmp_path / "scores.json")]) == 0
    return json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))


def plain(figures):
    """As JSON gives it back: NaN is null."""
    return {k: plain(v) if isinstance(v, dict) else (None if v != v else v) for k, v in figures.items()}


def test_main__video_panoptic__prints_and_writes_its_figures(vipseg_files, tmp_path, capsys):
    """Catches figures that the table hides, and videos missing from the file."""
    words = ["--gt", vipseg_files[0], "--gt-dir", vipseg_files[1], "--predictions", vipseg_files[2]]
    written = run("video-panoptic", [*words, "--predictions-dir", vipseg_files[3], "--windows", 1, 2], tmp_path)
    figures = evaluate_video_panoptic(*vipseg_files, windows=(1, 2))
    assert written == plain(figures)
    printed = capsys.readouterr().out
    for name in ("VPQ", "VPQ_2_th", "STQ", "AQ"):
        assert name in printed
        assert f"{figures[name]:.3f}" in printed
    assert "5 videos, 28 frames" in printed
    assert "c60" in printed


def test_main__video_panoptic_folders_beside_the_files__found(vipseg_files, tmp_path):
    """Catches default folders other than those of the data set and of its submissions."""
    root = tmp_path / "set"
    root.mkdir()
    for source, name in zip(vipseg_files, ("gt.json", "panomasksRGB", "pred.json", "pan_pred"), strict=True):
        (root / name).symlink_to(source)
    written = run("video-panoptic", ["--gt", root / "gt.json", "--predictions", root / "pred.json"], tmp_path)
    assert written["VPQ"] == pytest.approx(evaluate_video_panoptic(*vipseg_files)["VPQ"])


def test_main__video_semantic__prints_and_writes_its_figures(vspw_files, tmp_path, capsys):
    """Catches a split that is not handed on, and figures that the table hides."""
    (tmp_path / "val.txt").write_text("s0\ns1\n", encoding="utf-8")
    words = ["--gt", vspw_files[0], "--predictions", vspw_files[1], "--num-classes", 124, "--split", tmp_path / "val.txt"]
    written = run("video-semantic", words, tmp_path)
    figures = evaluate_video_semantic(*vspw_files, 124, split_file=tmp_path / "val.txt")
    assert written == plain(figures)
    printed = capsys.readouterr().out
    assert "2 videos, 37 frames, 124 classes" in printed
    for name in ("mIoU", "VC8", "VC16"):
        assert f"{figures[name]:.3f}" in printed


def test_main__video_semantic_without_number_of_classes__says_what_to_add(vspw_files, capsys):
    """Catches a number of classes that is guessed."""
    assert main(["--task", "video-semantic", "--gt", str(vspw_files[0]), "--predictions", str(vspw_files[1])]) == 1
    assert "--num-classes" in capsys.readouterr().err


def test_main__video_panoptic_wrong_windows__one_line(vipseg_files, capsys):
    """Catches a traceback."""
    words = ["--gt", vipseg_files[0], "--gt-dir", vipseg_files[1], "--predictions", vipseg_files[2]]
    words += ["--predictions-dir", vipseg_files[3], "--windows", 0]
    assert main(["--task", "video-panoptic", *map(str, words)]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "windows: [0]" in error
