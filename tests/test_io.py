"""Atomic files and JSON."""

import json
import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest

from dense.errors import DataError
from dense.io import atomic_write, read_json, to_plain, write_json


def test_atomic_write__success__file_and_nothing_else(tmp_path):
    """Catches a temporary file left behind, missing parents, and a mode that others cannot read."""
    path = tmp_path / "a" / "b" / "x.txt"
    with atomic_write(path) as stream:
        stream.write("größe\n")
        assert not path.exists()
    assert path.read_text(encoding="utf-8") == "größe\n"
    assert [p.name for p in path.parent.iterdir()] == ["x.txt"]
    assert stat.S_IMODE(path.stat().st_mode) & stat.S_IRGRP


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_atomic_write__exception__old_content_stays(tmp_path, error):
    """Catches half a file where a whole one was; also when the process is asked to stop."""
    path = tmp_path / "x.bin"
    path.write_bytes(b"old")

    def half():
        with atomic_write(path, "wb") as stream:
            stream.write(b"ne")
            raise error

    with pytest.raises(error):
        half()
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.bin"]


def test_atomic_write__readers_meanwhile__see_old_or_new(tmp_path):
    """Catches a file that is empty for a moment: a reader looks again and again while it is written."""
    path, sizes, stop = tmp_path / "x", set(), threading.Event()
    path.write_text("a" * 1000)

    def watch():
        while not stop.is_set():
            sizes.add(len(path.read_text()))

    reader = threading.Thread(target=watch)
    reader.start()
    for _ in range(50):
        with atomic_write(path) as stream:
            stream.write("b" * 500)
            stream.flush()
            stream.write("b" * 500)
    stop.set()
    reader.join()
    assert sizes == {1000}


def test_atomic_write__folder_in_the_way__raises_ours(tmp_path):
    """Catches IsADirectoryError and NotADirectoryError."""
    (tmp_path / "file").write_text("x")
    for path in (tmp_path, tmp_path / "file" / "below"):
        with pytest.raises(DataError), atomic_write(path) as stream:
            stream.write("x")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_atomic_write__forbidden__raises_ours(tmp_path):
    """Catches PermissionError."""
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="cannot be written"), atomic_write(tmp_path / "x") as stream:
        stream.write("x")


def test_write_json__numpy_and_not_finite__plain_json(tmp_path):
    """Catches types that json does not know, and NaN, which is no JSON."""
    value = {
        "f": np.float32(0.5),
        "i": np.int64(3),
        "b": np.bool_(True),
        "a": np.arange(4).reshape(2, 2),
        "nan": float("nan"),
        "n": np.array([1.0, np.inf]),
        "t": (1, 2),
        7: b"ascii",
    }
    write_json(tmp_path / "x.json", value)

    def refuse(name):
        raise AssertionError(name)

    expected = {"f": 0.5, "i": 3, "b": True, "a": [[0, 1], [2, 3]], "nan": None, "n": [1.0, None], "t": [1, 2], "7": "ascii"}
    assert json.loads((tmp_path / "x.json").read_text(), parse_constant=refuse) == expected
    assert read_json(tmp_path / "x.json") == expected
    assert type(to_plain(np.bool_(True))) is bool


def test_write_json__unknown_type__old_file_stays(tmp_path):
    """Catches results lost because one of them cannot be written."""
    write_json(tmp_path / "x.json", [1])
    with pytest.raises(TypeError):
        write_json(tmp_path / "x.json", [object()])
    assert read_json(tmp_path / "x.json") == [1]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "line 1, column 1"),
        (b'{"a": 1,\n "b": }', "line 2, column 7"),
        (b'{"a": 1} x', "column 10"),
        (b'{"a": "\xff"}', r"not UTF-8 text \(byte 7\)"),
        ("{}".encode("utf-16"), "not UTF-8"),
        (b"[" * 100_000, "nested too deeply|not valid JSON"),
        (b"1" * 5000, "not valid JSON"),
    ],
)
def test_read_json__broken__names_file_and_place(tmp_path, content, words):
    """Catches foreign errors on files that are cut, of another encoding, or made to hurt."""
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        read_json(path)
    assert str(path) in str(caught.value)


def test_read_json__byte_order_mark_and_missing(tmp_path):
    """Catches a mark that Windows editors write taken for content, and FileNotFoundError."""
    (tmp_path / "x.json").write_bytes(b"\xef\xbb\xbf[1]")
    assert read_json(tmp_path / "x.json") == [1]
    with pytest.raises(DataError, match="cannot be read"):
        read_json(tmp_path / "gone.json")
    with pytest.raises(DataError, match="cannot be read"):
        read_json(Path(tmp_path))
