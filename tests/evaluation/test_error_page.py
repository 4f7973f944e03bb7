"""The page of an error analysis, from the command line: table, pictures, timelines with identity switches."""

import importlib.util
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dense.evaluation.command import main


def sibling(path):
    specification = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


HERE = Path(__file__)
tubes = sibling(HERE.with_name("error_tubes.py"))
Page = sibling(HERE.parents[1] / "visualization" / "test_report.py").Page
SWITCHED = [tubes.prediction("AAAAABBBBB", score=0.8), tubes.prediction("BBBBBAAAAA", score=0.7), *tubes.right("C")]


@pytest.fixture
def files(tmp_path):
    """Arguments for a data set on disk with its frames."""
    for name, content in (("gt.json", tubes.truth()), ("results.json", SWITCHED)):
        (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")
    (tmp_path / "frames" / "clip").mkdir(parents=True)
    for t in range(tubes.FRAMES):
        picture = Image.fromarray(np.full((tubes.HEIGHT, tubes.WIDTH, 3), 20 * t, np.uint8))
        picture.save(tmp_path / "frames" / "clip" / f"{t:02}.jpg")
    return ["--gt", str(tmp_path / "gt.json"), "--predictions", str(tmp_path / "results.json")]


def test_main__errors__table_and_json(files, capsys, tmp_path):
    """Catches a table without a kind, and figures that are not the analysis's."""
    assert main([*files, "--errors", "--json", str(tmp_path / "scores.json")]) == 0
    shown = capsys.readouterr().out
    assert "AP50 lost by kind of error" in shown
    row = next(line for line in shown.splitlines() if "identity switch" in line)
    assert re.findall(r"[\d.]+", row) == ["50.000", "2"]
    errors = json.loads((tmp_path / "scores.json").read_text(encoding="utf-8"))["errors"]
    assert errors["kinds"]["identity switch"] == {"count": 2, "lost_ap": 50}
    assert [(e["video_id"], e["predictions"], e["object_ids"], e["frames"]) for e in errors["errors"]] == [
        (1, [0], [11, 12], [5]),
        (1, [1], [12, 11], [5]),
    ]


def test_main__errors_at_another_threshold__named_so(files, capsys):
    """Catches a threshold that is not used: 0.3 is reached by half a track, which overlaps a third."""
    assert main([*files, "--errors", "0.3"]) == 0
    shown = capsys.readouterr().out
    assert "AP30 lost by kind of error" in shown
    assert re.findall(r"[\d.]+", next(line for line in shown.splitlines() if "identity switch" in line)) == ["0.000", "0"]


@pytest.mark.parametrize("frames", [True, False])
def test_main__report__pictures_and_marked_switches(files, tmp_path, frames):
    """Catches a page without the frames that show an error, or whose timeline does not mark switches and colours."""
    out = tmp_path / "errors.html"
    extra = ["--frames", str(tmp_path / "frames")] if frames else []
    assert main([*files, "--report", str(out), *extra]) == 0
    page = Page(out.read_text(encoding="utf-8"))
    assert page.faults == []
    assert [a["alt"][-7:] for a in page.having("img")] == ["frame 4", "frame 5"] * 2
    assert len(page.having("circle", "switch")) == 2
    assert [a["cx"] for a in page.having("circle", "switch")] == ["50.0%"] * 2
    rows = page.having("rect", "segment")
    assert len({a["fill"] for a in rows}) == 3  # the colours of the three objects, no gray
    assert len(rows) == 3 + 2 + 2 + 1
    text = " ".join(t for _, _, t in page.texts)
    assert "identity switch" in text
    assert ("plain ground" in text) is not frames


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--task", "panoptic", "--errors"], "expected video-instances"),
        (["--frames", "x"], "--report"),
        (["--errors", "1.5"], "expected a tube IoU"),
        (["--report", "out.html", "--frames", "no-such-folder"], "no such file"),
    ],
)
def test_main__wrong_use__one_line(files, capsys, monkeypatch, tmp_path, words, said):
    """Catches tracebacks, and options that are silently without effect."""
    monkeypatch.chdir(tmp_path)
    assert main([*files, *words]) == 1
    captured = capsys.readouterr()
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert not (tmp_path / "out.html").exists()


def test_main__frames_of_another_size__one_line(files, capsys, tmp_path):
    """Catches overlays on frames that were not annotated."""
    Image.new("RGB", (20, 20)).save(tmp_path / "frames" / "clip" / "04.jpg")
    assert main([*files, "--report", str(tmp_path / "o.html"), "--frames", str(tmp_path / "frames")]) == 1
    assert "20x20" in capsys.readouterr().err
