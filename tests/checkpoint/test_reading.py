"""Reading files: formats, damage, and pickles that want more than arrays."""

import contextlib
import io
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from dense.checkpoint.reading import read_checkpoint, read_metadata, read_state_dict
from dense.checkpoint.writing import file_hash, save_weights
from dense.errors import CheckpointError

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.tensor(5)}


def equal(ours):
    return sorted(ours) == sorted(STATE) and all(torch.equal(ours[k], v) for k, v in STATE.items())


@pytest.mark.parametrize("wrapper", [None, "model", "state_dict", "model_state_dict"])
@pytest.mark.parametrize("legacy", [False, True])
def test_read_state_dict__torch_files__bare_or_wrapped(tmp_path, wrapper, legacy):
    """Catches a wrapper that is not looked into, in the new format and the old."""
    content = STATE if wrapper is None else {wrapper: STATE, "iteration": 7, "optimizer": {"state": {}}}
    torch.save(content, tmp_path / "x.pth", _use_new_zipfile_serialization=not legacy)
    assert equal(read_state_dict(tmp_path / "x.pth"))


def test_read_state_dict__old_tar_format__is_read_or_refused_clearly(tmp_path):
    """Catches a foreign error on files from before 2017 (a tar inside)."""
    import tarfile

    path = tmp_path / "old.pth"
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            data = pickle.dumps({"protocol_version": 1000, "little_endian": True, "type_sizes": {}}, protocol=2)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with pytest.raises(CheckpointError, match=r"old\.pth"):
        read_state_dict(path)


def test_read_state_dict__safetensors__with_metadata(tmp_path):
    """Catches a header whose text entries are lost or mixed with the tensors."""
    save_file(STATE, tmp_path / "x.safetensors", metadata={"config": "A: 1", "hash": "ab"})
    assert equal(read_state_dict(tmp_path / "x.safetensors"))
    assert read_metadata(tmp_path / "x.safetensors") == {"config": "A: 1", "hash": "ab"}
    with pytest.raises(CheckpointError, match=r"gone\.safetensors"):
        read_metadata(tmp_path / "gone.safetensors")


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4, 5])
def test_read_state_dict__pickled_arrays__every_protocol(tmp_path, protocol):
    """Catches arrays of one protocol, order or byte order that come out wrong."""
    arrays = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "f": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "big": np.arange(4, dtype=">i4"),
        "scalar": np.array(3, dtype=np.int64),
        "empty": np.zeros((0, 4), dtype=np.float16),
        "bool": np.array([True, False]),
        "names": np.array(["x", "y"]),
        "objects": np.array([None, {"k": 1}], dtype=object),
    }
    content = {"model": arrays, "__author__": "somebody", "iteration": np.int64(7), "matching_heuristics": True}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    ours = read_state_dict(tmp_path / "x.pkl")
    assert sorted(ours) == ["a", "big", "bool", "empty", "f", "scalar"]  # text and objects are no tensors
    for key, value in ours.items():
        assert value.numpy().shape == arrays[key].shape
        assert np.array_equal(value.numpy(), arrays[key])
    assert read_checkpoint(tmp_path / "x.pkl")["iteration"] == 7


def test_read_state_dict__pickle_of_python_2__text_as_bytes(tmp_path):
    """Catches array data that Python 2 wrote as byte strings (the oldest files); put together by hand."""
    values = np.array([0.5, -2.0, 3e9], dtype="<f4")
    dtype = b"cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
    array = empty + b"(K\x01K\x03\x85" + dtype + b"\x89U\x0c" + values.tobytes() + b"tb"
    scalar = b"cnumpy.core.multiarray\nscalar\n" + dtype + b"U\x04" + values[:1].tobytes() + b"\x86R"
    path = tmp_path / "x.pkl"
    path.write_bytes(b"\x80\x02}(U\x01w" + array + b"U\x01s" + scalar + b"u.")
    assert np.array_equal(read_state_dict(path)["w"].numpy(), values)
    assert read_checkpoint(path)["s"] == 0.5


class Calls:
    """Pickles as a call of something."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


HOSTILE = [
    Calls(os.mkdir, "PWNED_A"),
    Calls(eval, "__import__('os').mkdir('PWNED_B')"),
    Calls(getattr, "text", "encode"),
    Calls(np.ndarray, (1,), "O", b"\x01" * 8),  # would be an array of wild pointers
    Calls(np.dtype, "O"),
    Calls(np.load, "x.npy"),
    Calls(torch.load, "x.pth"),
    Calls(type, "X", (), {}),
    Calls(bytes, 10**15),
]


@pytest.mark.parametrize("index", range(len(HOSTILE)))
@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
def test_read_checkpoint__hostile_pickle__runs_nothing(tmp_path, monkeypatch, index, suffix):
    """Catches any callable that a file can reach: nothing appears in the folder; our error or plain data comes out."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    path = tmp_path / f"x{suffix}"
    path.write_bytes(pickle.dumps({"model": {"w": np.zeros(2)}, "evil": HOSTILE[index]}, protocol=2))
    try:
        content = read_checkpoint(path)
    except CheckpointError:
        content = {"evil": None}
    assert content["evil"] is None
    assert list((tmp_path / "work").iterdir()) == []


def test_read_checkpoint__hostile_zip__runs_nothing(tmp_path, monkeypatch):
    """Catches code inside a file of torch's zip format."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    path = tmp_path / "x.pth"
    torch.save({"w": torch.zeros(1)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            evil = pickle.dumps(Calls(os.mkdir, "PWNED_ZIP"), protocol=2)
            archive.writestr(name, evil if name.endswith("data.pkl") else data)
    with pytest.raises(CheckpointError, match="refused"):
        read_checkpoint(path)
    assert list((tmp_path / "work").iterdir()) == []


@pytest.mark.parametrize("suffix", [".pth", ".pkl", ".safetensors"])
def test_read_checkpoint__damaged__one_error_of_ours(tmp_path, suffix):
    """Catches foreign errors on files cut anywhere or with a byte changed; a change that only alters numbers may pass."""
    path = tmp_path / f"x{suffix}"
    state = {"w": torch.arange(64.0)}
    if suffix == ".pth":
        torch.save(state, path)
    elif suffix == ".pkl":
        path.write_bytes(pickle.dumps({"model": {k: v.numpy() for k, v in state.items()}}))
    else:
        save_file(state, path)
    whole = path.read_bytes()
    rng = np.random.default_rng(3)
    for cut in rng.integers(0, len(whole), 25):
        path.write_bytes(whole[:cut])
        with pytest.raises(CheckpointError, match=path.name):
            read_state_dict(path)
    for _ in range(60):
        broken = bytearray(whole)
        broken[rng.integers(0, len(whole))] = rng.integers(0, 256)
        path.write_bytes(broken)
        with contextlib.suppress(CheckpointError):
            read_state_dict(path)


@pytest.mark.parametrize("suffix", [".pth", ".pkl", ".safetensors"])
def test_read_checkpoint__not_there_or_folder__names_it(tmp_path, suffix):
    """Catches foreign errors for a wrong path."""
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(tmp_path / f"gone{suffix}")
    (tmp_path / f"d{suffix}").mkdir()
    with pytest.raises(CheckpointError, match="folder"):
        read_checkpoint(tmp_path / f"d{suffix}")


def test_read_state_dict__no_mapping_or_no_tensors__raises(tmp_path):
    """Catches a bare tensor or a list taken for a state dict."""
    torch.save(torch.zeros(3), tmp_path / "t.pth")
    torch.save({"step": 3}, tmp_path / "s.pth")
    with pytest.raises(CheckpointError, match="holds a Tensor"):
        read_state_dict(tmp_path / "t.pth")
    with pytest.raises(CheckpointError, match=r"no tensors \(keys: step\)"):
        read_state_dict(tmp_path / "s.pth")


def write_part(folder, name, tensors, over=None, **changed):
    metadata = {} if over is None else {"base": over, "base_sha256": file_hash(folder / over), **changed}
    save_weights(folder / name, {key: torch.full((2,), float(value)) for key, value in tensors.items()}, metadata=metadata)


def test_read_state_dict__file_of_later_parts__joined_with_its_bases(tmp_path):
    """Catches a base that is not read, or one whose values win over the later part's."""
    write_part(tmp_path, "a.safetensors", {"backbone": 1, "criterion": 1})
    write_part(tmp_path, "b.safetensors", {"tracker": 2, "criterion": 2}, "a.safetensors")
    write_part(tmp_path, "c.safetensors", {"refiner": 3}, "b.safetensors")
    found = read_state_dict(tmp_path / "c.safetensors")
    assert {name: tensor[0].item() for name, tensor in found.items()} == {
        "backbone": 1,
        "criterion": 2,
        "tracker": 2,
        "refiner": 3,
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"base": "../a.safetensors"}, "beside it"),
        ({"base": "/etc/passwd"}, "beside it"),
        ({"base": "a.pkl"}, "beside it"),
        ({"base": "missing.safetensors"}, "missing"),
        ({"base_sha256": "0" * 64}, "another"),
    ],
)
def test_read_state_dict__wrong_base__is_an_error(tmp_path, change, message):
    """Catches a file outside the folder, one that runs code, or weights of another training."""
    write_part(tmp_path, "a.safetensors", {"backbone": 1})
    write_part(tmp_path, "b.safetensors", {"tracker": 2}, "a.safetensors", **change)
    with pytest.raises(CheckpointError, match=message):
        read_state_dict(tmp_path / "b.safetensors")


def test_read_state_dict__long_chain_of_bases__is_refused(tmp_path):
    """Catches a chain without end."""
    write_part(tmp_path, "0.safetensors", {"x": 0})
    for i in range(1, 12):
        write_part(tmp_path, f"{i}.safetensors", {"x": i}, f"{i - 1}.safetensors")
    with pytest.raises(CheckpointError, match="more than 7 files"):
        read_state_dict(tmp_path / "11.safetensors")
