"""The picture demo's command line: files, folders, patterns, broken pictures among good ones."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dense.errors import ConfigError, DenseError
from dense.inference import demo_image
from dense.structures.rle import decode

DATA = Path(__file__).resolve().parents[1] / "data"
CASES = DATA / "cases"


@pytest.fixture
def demo(capsys):
    """Function that runs the demo with the small image model: (exit status, lines of stdout, lines of stderr)."""

    def call(*words, model=True):
        options = ["--config-file", DATA / "configs" / "tiny_image.yaml", "--min-score", "0"] if model else []
        capsys.readouterr()
        try:
            status = demo_image.main([str(word) for word in (*words, *options)])
        except SystemExit as stop:
            status = stop.code
        printed = capsys.readouterr()
        return status, printed.out.splitlines(), printed.err.splitlines()

    return call


def test_main__one_picture__annotated_picture_json_and_maps(demo, tmp_path):
    """Catches results of another size than the picture, and files that are named but not written."""
    status, out, _ = demo("--input", CASES / "img-rgba" / "rgba.png", "--output", tmp_path)
    assert status == 0
    assert sorted(Path(line).name for line in out) == ["rgba.json", "rgba.png", "rgba_panoptic.png", "rgba_semantic.png"]
    assert all(Path(line).is_file() for line in out)
    record = json.loads((tmp_path / "rgba.json").read_text())
    assert (record["width"], record["height"]) == (40, 30)
    assert Image.open(tmp_path / "rgba.png").size == Image.open(tmp_path / record["semantic"]).size == (40, 30)
    assert record["objects"]
    for item in record["objects"]:
        y, x = np.nonzero(decode(item["rle"]))
        assert item["bbox"] == [x.min(), y.min(), np.ptp(x) + 1, np.ptp(y) + 1]
        assert record["categories"][item["label"]] == item["category"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_main__exif_orientation__annotated_picture_is_upright(demo, tmp_path, orientation):
    """Catches results that lie beside what they belong to."""
    expected = json.loads((CASES / "images_expected.json").read_text())["img-exif-all"]["expect"]["facts"]["images"]
    name = f"o{orientation}.jpg"
    target = tmp_path / "out.png"
    status, *_ = demo("--input", CASES / "img-exif-all" / name, "--output", target)
    assert status == 0
    assert list(Image.open(target).size) == expected[name]["size"]


def test_main__folder_with_a_broken_picture__others_done_and_exit_1(demo, tmp_path):
    """Catches one bad file that stops a night's work, and one that passes without a word."""
    status, _, err = demo("--input", CASES / "img-folder-mixed" / "images", "--output", tmp_path, "--recursive")
    assert status == 1
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.json")}
    assert written == {"a/x.json", "a/y.json", "b/c/z.json", "b/w.json", "v.json"}
    (line,) = [text for text in err if "empty.jpg" in text]
    assert line.startswith("DataError")
    assert any("1 of 6 pictures failed" in text for text in err)


def test_main__single_broken_picture__one_line_before_the_model_is_built(demo, tmp_path, monkeypatch):
    """Catches seconds of loading before a wrong input is named."""
    monkeypatch.setattr("dense.inference.model_source.load_model", lambda *_: pytest.fail("model was built"))
    status, out, err = demo("--input", CASES / "img-truncated-jpeg" / "cut.jpg", "--output", tmp_path)
    assert (status, out, len(err)) == (1, [], 1)
    assert "cut.jpg" in err[0]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (CASES / "img-folder-empty" / "images", ["images", "jpg"]),
        (CASES / "img-folder-empty" / "nowhere", ["nowhere", "jpg"]),
        (str(CASES / "img-palette") + "/*.gif", ["*.gif"]),
    ],
)
def test_main__nothing_to_do__one_line_with_what_was_looked_for(demo, tmp_path, given, words):
    """Catches success without any picture."""
    status, _, (line,) = demo("--input", given, "--output", tmp_path)
    assert status == 1
    assert all(word in line for word in words)


def test_main__pattern_and_jpeg__written_as_jpeg(demo, tmp_path):
    """Catches a pattern that is taken for a file name."""
    status, out, _ = demo("--input", str(CASES / "img-exif-all") + "/o[12].jpg", "--output", tmp_path, "--format", "jpg")
    assert status == 0
    assert [Path(line).name for line in out if line.endswith(".jpg")] == ["o1.jpg", "o2.jpg"]


def test_main__wrong_score__one_line(demo, tmp_path):
    """Catches a threshold that nothing passes."""
    status, _, (line,) = demo("--input", CASES / "img-rgba" / "rgba.png", "--output", tmp_path, "--min-score", 7, model=False)
    assert status == 1
    assert "--min-score" in line


def test_output_pictures__equal_stems__both_kept():
    """Catches a.jpg and a.png of one folder writing over each other."""
    names = demo_image.output_pictures([Path("in/a.jpg"), Path("in/a.png"), Path("in/b.png")], Path("out"))
    assert [n.as_posix() for n in names] == ["out/a_jpg.png", "out/a_png.png", "out/b.png"]


def test_output_pictures__over_an_input__refused(tmp_path):
    """Catches originals that are replaced by annotated pictures."""
    for name in ("a.png", "b.png"):
        shutil.copy(CASES / "img-rgba" / "rgba.png", tmp_path / name)
    with pytest.raises(ConfigError, match="written over"):
        demo_image.output_pictures(demo_image.find_pictures(str(tmp_path)), tmp_path)


def test_output_pictures__many_into_one_file__refused(tmp_path):
    """Catches all pictures but the last being lost."""
    with pytest.raises(DenseError, match="folder"):
        demo_image.output_pictures([Path("a.png"), Path("b.png")], tmp_path / "out.png")


def test_demo_image__real_photos__no_failure(demo, shared, tmp_path):
    """Catches what made-up pictures do not have: real sizes, EXIF, gray with alpha, palettes; five channels is refused."""
    status, _, err = demo("--input", shared / "data" / "real" / "images", "--output", tmp_path)
    failed = [line for line in err if line.startswith("DataError")]
    assert status == 1
    assert len(failed) == 1
    assert "five_channel" in failed[0]
    assert (tmp_path / "truck.json").is_file()
