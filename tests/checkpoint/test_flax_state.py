"""Flax's MessagePack files: two that Flax itself wrote, and damaged ones."""

import contextlib
import shutil
import struct

import numpy as np
import pytest
import torch

from dense.checkpoint.flax_state import read_flax
from dense.checkpoint.reading import read_state_dict
from dense.errors import CheckpointError

EXPECTED = {  # what golden/flax/tree.msgpack was written from, by flax 0.12
    "step": torch.tensor(7),
    "optimizer/target/a/kernel": torch.arange(12.0).view(3, 4) / 8,
    "optimizer/target/a/bias": torch.arange(5).bfloat16(),
    "optimizer/target/b.0/scale": torch.tensor([-2.5, 0.25]).half(),
    "optimizer/state/0/count": torch.tensor(3, dtype=torch.int32),
    "optimizer/state/1/0": torch.arange(6).view(2, 3),
    "optimizer/state/1/1": torch.tensor(1.5),
    "big": torch.from_numpy(np.arange(300).astype(np.uint8)),
    "mask": torch.tensor([True, False]),
    "columns": torch.arange(6.0, dtype=torch.float64).view(2, 3),
    "empty": torch.zeros(0, 3),
}


@pytest.mark.parametrize("name", ["checkpoint_100", "model.msgpack"])
def test_read_state_dict__file_that_flax_wrote__every_array(golden, tmp_path, name):
    """Catches types, shapes or paths read otherwise than Flax means them, and a file without suffix taken for torch's."""
    path = shutil.copy(golden("flax/tree.msgpack"), tmp_path / name)
    actual = read_state_dict(path)
    assert actual.keys() == EXPECTED.keys()
    for key, value in EXPECTED.items():
        assert actual[key].dtype == value.dtype, key
        assert actual[key].equal(value), key


def test_read_flax__array_in_chunks__joined(golden):
    """Catches arrays above 1 GB, which Flax cuts, read as maps of pieces."""
    actual = read_flax(golden("flax/chunked.msgpack"))
    assert actual["a/kernel"].equal(torch.arange(24.0).view(4, 6))
    assert actual["s"].equal(torch.ones(2))
    assert len(actual) == 2


def test_read_flax__cut_anywhere__one_clear_error(golden, tmp_path):
    """Catches struct.error, IndexError, or half a tree from a file that was not downloaded to its end."""
    whole, path = golden("flax/tree.msgpack").read_bytes(), tmp_path / "x.msgpack"
    for length in range(1, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"no readable checkpoint of Flax|holds no arrays"):
            read_flax(path)


def test_read_flax__bytes_changed__an_error_or_arrays(golden, tmp_path):
    """Catches foreign exceptions on damaged bytes."""
    whole, path = golden("flax/chunked.msgpack").read_bytes(), tmp_path / "x.msgpack"
    for place in range(len(whole)):
        for value in (0, 0x91, 0xC1, 0xC7, 0xDF, 0xFF):
            path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
            with contextlib.suppress(CheckpointError):
                assert all(isinstance(tensor, torch.Tensor) for tensor in read_flax(path).values())


def array(shape, name, data):
    """An extension of Flax: shape and bytes short enough for one-byte lengths."""
    inner = b"\x93" + bytes([0x90 + len(shape)]) + b"".join(b"\xcf" + struct.pack(">Q", n) for n in shape)
    inner += bytes([0xA0 + len(name)]) + name.encode() + b"\xc4" + bytes([len(data)]) + data
    return b"\x81\xa1w\xc7" + bytes([len(inner)]) + b"\x01" + inner


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (array([2, 2], "float32", b"\0" * 12), "shape \\[2, 2\\] has 12 bytes"),
        (array([2**40, 2**40], "float32", b"\0" * 4), "has 4 bytes"),
        (array([2**63], "float32", b"\0" * 4), "no shape"),
        (array([3], "object", b"\0" * 24), "type 'object'"),
        (array([1], "bfloat16", b"\0" * 3), "has 3 bytes"),
        (b"\x81\xa1w" + b"\x91" * 100_000 + b"\xc0", "more than 200 containers"),
        (b"\xdf\xff\xff\xff\xff\xa1w\xc0", "inside a value"),
        (b"\x81\xa1w\xc6\xff\xff\xff\xff", "inside a value"),
        (b"\x82\xa1w\xc0\xa1w\xc0", "stands there twice"),
        (b"\x81\x01\xc0", "is no text"),
        (b"\x81\xa1\xff\xc0", "no UTF-8"),
        (b"\x81\xa1w\xc1", "0xc1 at 3 means nothing"),
        (b"\x81\xa1w\xc0\xc0", "1 bytes after its end"),
        (b"\x81\xa1w\xc0", "holds no arrays"),
    ],
)
def test_read_flax__hostile__refused_at_little_cost(content, text, tmp_path, frugal):
    """Catches lengths that are believed, depths that overflow the stack, types that are not numbers."""
    path = tmp_path / "x.msgpack"
    path.write_bytes(content)
    with frugal(), pytest.raises(CheckpointError, match=text):
        read_flax(path)


def test_read_state_dict__folder_of_orbax__says_how_to_convert(tmp_path):
    """Catches a folder that only gets told that it is none."""
    (tmp_path / "_METADATA").write_text("{}", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"is a folder.*numpy\.savez"):
        read_state_dict(tmp_path)
