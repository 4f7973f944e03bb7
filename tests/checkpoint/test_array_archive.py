"""NumPy's .npz archives: NumPy wrote them and reads ours."""

import io
import zipfile

import numpy as np
import pytest
import torch

from dense.checkpoint.array_archive import read_array_archive, save_array_archive
from dense.checkpoint.reading import read_state_dict
from dense.errors import CheckpointError


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_read_state_dict__archive_of_numpy__every_array_of_numbers(tmp_path, save):
    """Catches arrays in Fortran's order, of the other byte order, without axes; text and objects that are built."""
    arrays = {
        "a/b.0/kernel": np.arange(6, dtype=np.float16).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big": np.arange(4, dtype=">i4"),
        "number": np.float32(2.5),
        "empty": np.zeros((0, 3), np.float32),
    }
    save(tmp_path / "x.npz", **arrays, text=np.array("{}"), objects=np.array([{}], dtype=object))
    actual = read_state_dict(tmp_path / "x.npz")
    assert actual.keys() == arrays.keys()
    for name, array in arrays.items():
        assert np.array_equal(actual[name].numpy(), array), name
        assert actual[name].shape == np.shape(array)


def test_save_array_archive__read_by_numpy__same_values(tmp_path):
    """Catches names with slashes that get lost, and a type that NumPy does not have."""
    tensors = {"a/b.0/kernel": torch.randn(2, 3).t(), "half": torch.ones(2).half(), "brain": torch.tensor([1.5]).bfloat16()}
    save_array_archive(tmp_path / "x.npz", tensors)
    with np.load(tmp_path / "x.npz", allow_pickle=False) as stored:
        assert set(stored.files) == set(tensors)
        assert all(np.array_equal(stored[name], value.float().numpy()) for name, value in tensors.items())
        assert (stored["half"].dtype, stored["brain"].dtype) == (np.float16, np.float32)


def archive(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name, data in members.items():
            target.writestr(name, data)
    return path


def header(shape):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f4", "fortran_order": False, "shape": shape})
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (header((2**40,)) + b"\0" * 8, "in [0-9]+ bytes"),
        (header((2,)) + b"\0" * 4, "no readable .npz"),
        (header((2,))[:20], "no readable .npz"),
        (b"nonsense", "no readable .npz"),
        (b"\x93NUMPY\x07\x00" + b"\0" * 50, "no readable .npz"),
    ],
)
def test_read_array_archive__broken_member__refused(tmp_path, frugal, data, text):
    """Catches shapes that are believed, and NumPy's own exceptions."""
    with frugal(), pytest.raises(CheckpointError, match=text):
        read_array_archive(archive(tmp_path / "x.npz", {"w.npy": data}))


def test_read_array_archive__bomb__refused_before_it_is_unpacked(tmp_path, monkeypatch, frugal):
    """Catches an archive of a few kilobytes that fills the memory."""
    monkeypatch.setenv("DENSE_MAX_UNPACKED_GB", "0.05")
    path = archive(tmp_path / "x.npz", {"w.npy": header((25_000_000,)) + b"\0" * 100_000_000})
    with frugal(), pytest.raises(CheckpointError, match=r"unpacks to 0\.1 GB"):
        read_array_archive(path)


def test_read_array_archive__no_archive__refused(tmp_path):
    """Catches a page or a pickle under this name."""
    (tmp_path / "x.npz").write_bytes(b"\x93NUMPY")
    with pytest.raises(CheckpointError, match=r"is no \.npz archive"):
        read_array_archive(tmp_path / "x.npz")
