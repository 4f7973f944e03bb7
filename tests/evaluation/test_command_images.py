"""The evaluation command line on image tasks."""

import json
from pathlib import Path

import numpy as np
import pytest

from dense.data.formats.png_ids import write_label_map
from dense.evaluation.command import main

CASES = Path(__file__).parents[1] / "data" / "cases"


def arguments(task, tmp_path):
    """Arguments for a task whose figures are known, the first figure's name and value."""
    if task == "semantic":
        for side in ("gt", "pred"):
            write_label_map(tmp_path / side / "a.png", np.array([[0, 1]]))
        return ["--gt", tmp_path / "gt", "--predictions", tmp_path / "pred", "--num-classes", 2], "mIoU", 100
    if task == "panoptic":
        case = CASES / "pq-basic"
        files = ["--gt", case / "gt.json", "--gt-dir", case / "gt", "--predictions", case / "pred.json"]
        return [*files, "--predictions-dir", case / "pred"], "PQ", 52.0833333
    case = CASES / "coco-eval-crowd-part"
    return ["--gt", case / "gt.json", "--predictions", case / "results.json", "--overlap", "bbox"], "AP", 100


@pytest.mark.parametrize("task", ["instances", "panoptic", "semantic"])
def test_main__image_task__prints_and_writes_its_figures(task, tmp_path, capsys):
    """Catches a task that is scored as another, or figures that the table hides."""
    words, name, value = arguments(task, tmp_path)
    assert main(["--task", task, *map(str, words), "--json", str(tmp_path / "scores.json")]) == 0
    printed = capsys.readouterr().out
    assert name in printed
    assert f"{value:.2f}"[:5] in printed
    assert json.loads((tmp_path / "scores.json").read_text())[name] == pytest.approx(value)


def test_main__wrong_file__one_line_and_exit_1(tmp_path, capsys):
    """Catches a traceback."""
    case = CASES / "coco-unknown-category"
    code = main(["--task", "instances", "--gt", str(case / "annotations.json"), "--predictions", str(tmp_path / "none.json")])
    error = capsys.readouterr().err
    assert code == 1
    assert error.count("\n") == 1
    assert "category_id 8" in error


def test_main__semantic_without_number_of_classes__says_what_to_add(tmp_path, capsys):
    """Catches a number of classes that is guessed."""
    assert main(["--task", "semantic", "--gt", str(tmp_path), "--predictions", str(tmp_path)]) == 1
    assert "--num-classes" in capsys.readouterr().err
