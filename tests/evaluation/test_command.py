"""Command line that scores result files."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dense.evaluation.command import main

ROOT = Path(__file__).parents[2]
CASES = ROOT / "tests" / "data" / "cases"


def arguments(name: str) -> list[str]:
    return ["--gt", str(CASES / name / "gt.json"), "--predictions", str(CASES / name / "results.json")]


def test_main__sound_files__table_and_json(capsys, tmp_path):
    """Catches figures that are missing from the table, undefined ones shown as numbers, and NaN in the JSON."""
    out = tmp_path / "scores.json"
    assert main([*arguments("yt-one-of-two"), "--json", str(out)]) == 0
    shown = capsys.readouterr().out
    for word in ("AP50", "AR100", "50.495", "person", "dog", "1 videos, 2 objects, 1 predictions"):
        assert word in shown
    row = next(line for line in shown.splitlines() if "dog" in line)
    assert "-" in row
    assert "nan" not in shown.lower()
    figures = json.loads(out.read_text(encoding="utf-8"))
    assert figures["AP"] == pytest.approx(50.495049504950494)
    assert figures["per_category"] == {"person": pytest.approx(50.495049504950494), "dog": None}


def test_main__without_rich__plain_table_of_the_same_figures(capsys, monkeypatch):
    """Catches result files that cannot be scored with the core dependencies alone, as the wheel brings them."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(arguments("yt-one-of-two")) == 0
    shown = capsys.readouterr().out.splitlines()
    assert shown[0] == "1 videos, 2 objects, 1 predictions"
    assert shown[1].split()[:2] == ["AP", "AP50"]
    assert shown[2].split()[0] == "50.495"
    assert ["dog", "-"] in [line.split() for line in shown]


def test_main__images_without_faster_coco_eval__one_line(capsys, monkeypatch, tmp_path):
    """Catches a traceback where a part is not installed."""
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    truth = {"images": [{"id": 1, "width": 8, "height": 6, "file_name": "a.jpg"}], "categories": [{"id": 1, "name": "box"}]}
    box = {"image_id": 1, "category_id": 1, "bbox": [1, 1, 2, 2]}
    truth["annotations"] = [{**box, "id": 1, "area": 4, "iscrowd": 0}]
    files = tmp_path / "gt.json", tmp_path / "results.json"
    for file, content in zip(files, (truth, [{**box, "score": 0.5}]), strict=True):
        file.write_text(json.dumps(content), encoding="utf-8")
    words = ["--task", "instances", "--overlap", "bbox", "--gt", str(files[0]), "--predictions", str(files[1])]
    assert main(words) == 1
    assert capsys.readouterr().err == ("DependencyError: AP of images needs faster-coco-eval: pip install faster-coco-eval\n")


def test_main__no_annotations__skipped_with_one_line_and_exit_0(capsys):
    """Catches a failed run of inference on a challenge's validation set."""
    assert main(arguments("yt-annotations-null")) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("Evaluation skipped: ")
    assert captured.out.count("\n") == 1
    assert captured.err == ""


@pytest.mark.parametrize("name", ["yt-result-unknown-video", "yt-result-nan-score", "yt-coco-file-given", "no-such-case"])
def test_main__wrong_input__one_line_and_exit_1(capsys, name):
    """Catches tracebacks shown to users, and exit code 0 after an error."""
    assert main(arguments(name)) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("DataError: ")
    assert captured.err.count("\n") == 1


@pytest.mark.parametrize(("argv", "code"), [([], 2), (["--gt", "a.json"], 2), (["--help"], 0)])
def test_main__usage__exit_code(capsys, argv, code):
    """Catches wrong usage reported as success or as wrong input."""
    assert main(argv) == code


def test_tool__run_as_script__works_from_a_checkout(tmp_path):
    """Catches a tool that only runs when the package is installed or from the repository's folder."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "evaluate.py"), *arguments("yt-ok")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    assert "100.000" in done.stdout
