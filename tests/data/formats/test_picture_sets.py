"""Pictures without labels: folders, lists, zip archives, tar shards."""

import io
import os
import tarfile
import zipfile

import numpy as np
import pytest
from PIL import Image

from dense.data.formats.picture_sets import NameTable, read_coco_pictures, read_named_pictures, read_picture_folder
from dense.data.formats.picture_shards import expand_shards, read_picture_shards
from dense.data.formats.picture_zip import read_picture_zip
from dense.errors import ConfigError, DataError
from dense.io import read_json, write_json


def png(value):
    stream = io.BytesIO()
    Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(stream, "PNG")
    return stream.getvalue()


def value_of(pictures, index):
    content = pictures.content(index)
    return int(np.asarray(Image.open(pictures.name(index) if content is None else content))[0, 0, 0])


def write_tar(path, members):
    with tarfile.open(path, "w") as archive:
        for name, data in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def test_name_table__any_names__come_back():
    """Catches names with other than ASCII letters or of undecodable bytes, and an index out of range."""
    names = ["a", "", "ü/日本.jpg", os.fsdecode(b"\xff.png")]
    table = NameTable(names)
    assert list(table) == names
    with pytest.raises(IndexError):
        table[4]


def test_read_picture_folder__nested_hidden_links__sorted_and_finite(tmp_path):
    """Catches an order of the file system, hidden files, upper-case extensions left out, an endless loop of links."""
    for name in ("b/2.JPEG", "b/10.jpg", "a.PNG", "c/.hidden.png", ".d/x.png", "notes.txt", "c/z/deep.Gif", "._a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(png(1))
    (tmp_path / "c/loop").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "self").symlink_to(tmp_path / "self")
    (tmp_path / "gone.png").symlink_to(tmp_path / "nowhere.png")
    found = read_picture_folder(tmp_path)
    assert list(found.names) == ["a.PNG", "b/10.jpg", "b/2.JPEG", "c/z/deep.Gif", "gone.png"]
    assert found.name(1) == str(tmp_path / "b/10.jpg")


@pytest.mark.parametrize(("content", "hint"), [((), "holds no picture"), (("x.tar",), "tar shards")])
def test_read_picture_folder__no_picture__clear_error(tmp_path, content, hint):
    """Catches an empty data set that fails later, and a folder of shards without a hint."""
    for name in content:
        (tmp_path / name).write_bytes(b"")
    with pytest.raises(DataError, match=hint):
        read_picture_folder(tmp_path)
    with pytest.raises(DataError, match="no folder"):
        read_picture_folder(tmp_path / "missing")


def test_read_coco_pictures__list__in_its_order(tmp_path):
    """Catches a reader that needs annotations, and an order by name."""
    images = [
        {"id": 7, "file_name": "b.png", "width": 6, "height": 4},
        {"id": 2, "file_name": "a.png", "width": 6, "height": 4},
    ]
    write_json(tmp_path / "list.json", {"images": images})
    assert list(read_coco_pictures(tmp_path / "list.json", tmp_path).names) == ["b.png", "a.png"]
    for broken in ([], {"images": []}, {"images": [{"id": 1}]}, {}):
        write_json(tmp_path / "list.json", broken)
        with pytest.raises(DataError, match=r"list\.json"):
            read_coco_pictures(tmp_path / "list.json", tmp_path)


def test_read_named_pictures__voc_list__names_with_suffix(tmp_path):
    """Catches the labels of a class's list (name, -1/1) that become part of the name."""
    (tmp_path / "train.txt").write_text("000005\n\n000007 -1\n", encoding="utf-8")
    assert list(read_named_pictures(tmp_path / "train.txt", tmp_path, ".jpg").names) == ["000005.jpg", "000007.jpg"]
    (tmp_path / "train.txt").write_text("\n", encoding="utf-8")
    with pytest.raises(DataError, match="empty"):
        read_named_pictures(tmp_path / "train.txt", tmp_path, ".jpg")


def test_expand_shards__braces_and_stars__files_in_order(tmp_path):
    """Catches lost leading zeros, a backward range, a missing shard that is passed over."""
    for name in ("s-008.tar", "s-009.tar", "s-010.tar", "t.tar"):
        (tmp_path / name).write_bytes(b"")

    def names(pattern):
        return [path.name for path in expand_shards(f"{tmp_path}/{pattern}")]

    assert names("s-{008..010}.tar") == ["s-008.tar", "s-009.tar", "s-010.tar"]
    assert names("{t,s-009}.tar") == ["t.tar", "s-009.tar"]
    assert names("s-*.tar") == ["s-008.tar", "s-009.tar", "s-010.tar"]
    with pytest.raises(DataError, match=r"s-011\.tar: no such file"):
        names("s-{008..011}.tar")
    with pytest.raises(DataError, match="no file matches"):
        names("u*.tar")
    for pattern in ("{9..1}.tar", "{0..999999999}.tar", "{0..9999}{0..9999}.tar"):
        with pytest.raises(ConfigError, match="tar"):
            names(pattern)


def test_read_picture_shards__webdataset_members__one_picture_a_key_at_random(tmp_path):
    """Catches masks taken for pictures, members of the wrong shard, an offset of the header instead of the data."""
    write_tar(tmp_path / "0.tar", [("a/1.jpg", png(1)), ("a/1.json", b"{}"), ("a/1.mask.png", png(9)), ("a/1.png", png(8))])
    write_tar(tmp_path / "1.tar", [("k" * 150 + ".png", png(3)), ("2.cls", b"5"), ("2.PNG", png(2)), (".x.png", png(9))])
    pictures = read_picture_shards(f"{tmp_path}/{{0..1}}.tar")
    assert [value_of(pictures, k) for k in (2, 0, 1)] == [2, 1, 3]
    assert pictures.name(0) == f"{tmp_path}/0.tar/a/1.jpg"


def test_read_picture_shards__second_time__index_is_read_and_renewed_when_the_shard_changes(tmp_path, monkeypatch):
    """Catches a scan at every start, and an index of a shard that was written anew, or one that was tampered with."""
    shard, index = tmp_path / "0.tar", tmp_path / "0.tar.index.json"
    write_tar(shard, [("1.png", png(1)), ("2.png", png(2))])
    assert len(read_picture_shards(str(shard))) == 2
    with monkeypatch.context() as patch:
        patch.setattr(tarfile, "open", lambda *_: pytest.fail("scanned again"))
        assert value_of(read_picture_shards(str(shard)), 1) == 2
    stored = read_json(index)
    for pictures in ([["1.png", 10**9, 5]], [["1.png", -5, 5]], [["1.png", "x", 5]], 3):
        write_json(index, {**stored, "pictures": pictures})
        assert value_of(read_picture_shards(str(shard)), 1) == 2
    write_tar(shard, [("7.png", png(7)), ("8.png", png(8))])
    assert value_of(read_picture_shards(str(shard)), 0) == 7


def test_read_picture_shards__cut_off_or_no_tar__usable_part_or_error(tmp_path, caplog):
    """Catches a foreign traceback, a picture whose bytes are missing, a packed tar without advice."""
    shard = tmp_path / "0.tar"
    write_tar(shard, [(f"{k}.png", png(k)) for k in range(6)])
    shard.write_bytes(shard.read_bytes()[: 512 * 7 + 100])
    pictures = read_picture_shards(str(shard))
    assert 3 <= len(pictures) < 6
    assert [value_of(pictures, k) for k in range(len(pictures))] == list(range(len(pictures)))
    for data in (b"", b"no tar at all" * 100):
        shard.write_bytes(data)
        with pytest.raises(DataError, match=r"0\.tar"):
            read_picture_shards(str(shard))
    with tarfile.open(shard, "w:gz") as archive:
        archive.add(__file__, "1.png")
    with pytest.raises(DataError, match="uncompressed"):
        read_picture_shards(str(shard))


def test_tar_pictures__shard_shortened_later__named(tmp_path):
    """Catches a picture of half its bytes."""
    write_tar(tmp_path / "0.tar", [("1.png", png(1))])
    pictures = read_picture_shards(str(tmp_path / "0.tar"))
    (tmp_path / "0.tar").write_bytes(b"x" * 520)
    with pytest.raises(DataError, match=r"0\.tar/1\.png: is cut off"):
        pictures.content(0)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_read_picture_zip__imagenet_map__members_at_random(tmp_path, method):
    """Catches offsets that forget the local header's own extra field, and the order of the archive instead of the map's."""
    with zipfile.ZipFile(tmp_path / "train.zip", "w", method) as archive:
        for name, value in (("n1/a.png", 1), ("n2/b.png", 2), ("n2/c.png", 3)):
            entry = zipfile.ZipInfo(name)
            entry.compress_type = method
            entry.extra = b"\x99\x99\x04\x00abcd"
            archive.writestr(entry, png(value))
    (tmp_path / "train_map.txt").write_text("n2/c.png\t1\nn1/a.png\t0\n", encoding="utf-8")
    pictures = read_picture_zip(tmp_path / "train.zip", tmp_path / "train_map.txt")
    assert [value_of(pictures, k) for k in range(2)] == [3, 1]
    data = bytearray((tmp_path / "train.zip").read_bytes())
    place = data.index(b"abcd", data.index(b"n2/c.png")) + 10
    data[place] ^= 0xFF
    (tmp_path / "train.zip").write_bytes(data)
    with pytest.raises(DataError, match=r"train\.zip/n2/c\.png"):
        pictures.content(0)


def test_read_picture_zip__wrong_files__named(tmp_path):
    """Catches foreign tracebacks for a broken archive or a list of another one."""
    (tmp_path / "map.txt").write_text("x.png\t0\n", encoding="utf-8")
    (tmp_path / "a.zip").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(DataError, match=r"a\.zip"):
        read_picture_zip(tmp_path / "a.zip", tmp_path / "map.txt")
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("y.png", png(1))
    with pytest.raises(DataError, match=r"x\.png"):
        read_picture_zip(tmp_path / "a.zip", tmp_path / "map.txt")
