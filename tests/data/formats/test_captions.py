"""Pictures with captions: folders, tables, COCO, shards; what is damaged is named with file and line."""

import io
import json
import tarfile

import numpy as np
import pytest
from PIL import Image

from dense.data.formats.caption_sets import clean_captions, read_caption_folder, read_coco_captions
from dense.data.formats.caption_shards import read_caption_shards
from dense.data.formats.caption_tables import read_caption_table
from dense.errors import ConfigError, DataError


def png(value=7):
    stream = io.BytesIO()
    Image.fromarray(np.full((6, 8, 3), value, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def write_tar(path, members):
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def listed(captions):
    return {captions.name(k): captions.captions(k) for k in range(len(captions))}


def test_clean_captions__junk__one_line_of_what_says_something():
    """Catches captions that break a log line, halves of characters that cannot be stored, empty ones that train on nothing."""
    assert clean_captions("  a\tred\r\ndisc \x00", "f") == ("a red disc",)
    assert clean_captions(["", " \n", None, "ein Schlüssel 🔑", "x\ud800y"], "f") == ("ein Schlüssel 🔑", "x y")
    assert clean_captions(None, "f") == ()
    for value in (7, {"a": 1}, ["x", 3.5], True):
        with pytest.raises(DataError, match="f: caption is"):
            clean_captions(value, "f")


def test_read_caption_folder__text_beside_pictures__lines_are_captions(tmp_path):
    """Catches captions of another picture, and a picture without text that stops everything at the start."""
    (tmp_path / "a").mkdir()
    for name in ("a/1.png", "2.v2.png", "3.png", "4.png"):
        (tmp_path / name).write_bytes(png())
    (tmp_path / "a/1.txt").write_text("\ufeffa red disc\n\n two stars \n", encoding="utf-8")
    (tmp_path / "2.v2.txt").write_text("", encoding="utf-8")
    (tmp_path / "3.txt").write_bytes(b"\xff\xfe\x00")
    captions = read_caption_folder(tmp_path)
    assert [captions.name(k) for k in range(4)] == [str(tmp_path / n) for n in ("2.v2.png", "3.png", "4.png", "a/1.png")]
    assert captions.captions(3) == ("a red disc", "two stars")
    assert captions.captions(0) == ()
    with pytest.raises(DataError, match=r"3\.txt: is not UTF-8"):
        captions.captions(1)
    with pytest.raises(DataError, match=r"4\.txt: cannot be read.*caption of"):
        captions.captions(2)


TABLES = {
    ".csv": 'id,image,caption\n1,a.jpg,"a disc, red"\n2,b.jpg,\n3,a.jpg,"two\nlines"\n',
    ".tsv": "image\tother\tcaption\na.jpg\t1\ta disc, red\nb.jpg\t2\t\na.jpg\t3\ttwo lines\n",
    ".jsonl": '{"image": "a.jpg", "caption": ["a disc, red", ""]}\n\n{"image": "b.jpg"}\n'
    '{"image": "a.jpg", "caption": "two\\nlines"}\n',
}


@pytest.mark.parametrize("suffix", TABLES)
def test_read_caption_table__three_forms__same_captions_by_picture(tmp_path, suffix):
    """Catches quoted commas and line breaks that split a caption, and rows of one picture that overwrite each other."""
    path = tmp_path / f"t{suffix}"
    path.write_text(TABLES[suffix], encoding="utf-8")
    found = listed(read_caption_table(path, tmp_path / "images"))
    images = tmp_path / "images"
    assert found == {str(images / "a.jpg"): ("a disc, red", "two lines"), str(images / "b.jpg"): ()}


def test_read_caption_table__columns__by_name_or_usual_name(tmp_path):
    """Catches a column that is guessed although one was named, and a wrong name that is passed over."""
    path = tmp_path / "t.csv"
    path.write_text("filepath,title,alt\na.jpg,one,two\n", encoding="utf-8")
    assert listed(read_caption_table(path, tmp_path)) == {str(tmp_path / "a.jpg"): ("one",)}
    assert listed(read_caption_table(path, tmp_path, caption_column="alt")) == {str(tmp_path / "a.jpg"): ("two",)}
    with pytest.raises(ConfigError, match=r"no column 'titel'.*title"):
        read_caption_table(path, tmp_path, caption_column="titel")
    path.write_text("url,title\na.jpg,one\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="none of image, file_name"):
        read_caption_table(path, tmp_path)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("t.csv", b"", "has no row"),
        ("t.csv", b"image,caption\n", "has no row"),
        ("t.csv", b"image,caption\n,text\n", r"line 2: `image` is ''"),
        ("t.csv", b"image,caption\na\xff.jpg,x\n", "not UTF-8"),
        ("t.csv", b"image,caption\n" + b"x" * 200_000 + b",y\n", "line 2"),
        ("t.jsonl", b'{"image": "a.jpg", "caption": 7}\n', r"t\.jsonl: line 1: caption is 7"),
        ("t.jsonl", b'{"image": 3, "caption": "x"}\n', r"line 1: `image` is 3"),
        ("t.jsonl", b'{"image": "a.jpg", "caption": "x"}\n{"image"', "line 2: is not valid JSON"),
        ("t.jsonl", b"[1]\n", "line 1: is .*expected an object"),
        ("t.parquet", b"", "expected .csv"),
    ],
)
def test_read_caption_table__damaged__file_and_line_named(tmp_path, name, data, message):
    """Catches foreign tracebacks, and rows that are lost without a word."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises((DataError, ConfigError), match=message):
        read_caption_table(tmp_path / name, tmp_path)


def _coco():
    images = [{"id": k, "width": 8, "height": 6, "file_name": f"{k}.png"} for k in (0, 5, 9)]
    captions = [(5, "a star"), (0, "a disc"), (5, " two stars")]
    return {"images": images, "annotations": [{"id": k, "image_id": i, "caption": c} for k, (i, c) in enumerate(captions)]}


def test_read_coco_captions__several_or_none__by_image(tmp_path):
    """Catches captions attached by position instead of image id."""
    (tmp_path / "c.json").write_text(json.dumps(_coco()))
    found = read_coco_captions(tmp_path / "c.json", tmp_path)
    assert [found.captions(k) for k in range(3)] == [("a disc",), ("a star", "two stars"), ()]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["annotations"][1].pop("caption"), r"annotations\[1\]: `caption` is missing.*not one of instances"),
        (lambda d: d["annotations"][1].update(image_id=4), r"annotations\[1\]: image_id 4 is not in"),
        (lambda d: d["annotations"][1].update(caption=5), r"annotations\[1\]: caption is 5"),
        (lambda d: d.pop("annotations"), "`annotations` is missing"),
        (lambda d: d.update(images=[]), "lists no image"),
    ],
)
def test_read_coco_captions__damaged__record_named(tmp_path, change, message):
    """Catches a KeyError, and a file of instances taken for one of captions."""
    data = _coco()
    change(data)
    (tmp_path / "c.json").write_text(json.dumps(data))
    with pytest.raises(DataError, match=message):
        read_coco_captions(tmp_path / "c.json", tmp_path)


def test_read_caption_shards__txt_or_json__caption_of_the_same_key(tmp_path):
    """Catches texts of the neighbour, a JSON member preferred to the text, an index without texts from an older version."""
    write_tar(
        tmp_path / "0.tar",
        [
            ("a/1.json", b'{"caption": "from json"}'),
            ("a/1.jpg", png()),
            ("a/1.txt", b"from txt\nagain"),
            ("a/2.png", png()),
            ("a/2.json", b'{"key": 1, "text": ["x", " y "]}'),
            ("a/3.png", png()),
            ("a/4.png", png()),
            ("a/4.json", b'{"key": 1}'),
            ("a/5.txt", b"no picture"),
        ],
    )
    for _ in range(2):  # scanned, then from the index
        captions = read_caption_shards(str(tmp_path / "0.tar"))
        assert len(captions) == 4
        assert captions.captions(0) == ("from txt", "again")
        assert captions.captions(1) == ("x", "y")
        with pytest.raises(DataError, match=r"0\.tar/a/3\.png: has no caption"):
            captions.captions(2)
        with pytest.raises(DataError, match=r"0\.tar/a/4\.json: is .*expected an object with `caption`"):
            captions.captions(3)
    assert read_caption_shards(str(tmp_path / "0.tar"), "key").column == "key"
    index = json.loads((tmp_path / "0.tar.index.json").read_text())
    index["pictures"] = [entry[:3] for entry in index["pictures"]]
    (tmp_path / "0.tar.index.json").write_text(json.dumps(index))
    assert read_caption_shards(str(tmp_path / "0.tar")).captions(1) == ("x", "y")
