"""Checkpoints made to harm: code in every opcode that can name it, and little bytes that want a lot of memory or stack."""

import json
import pickle
import struct
import zipfile

import pytest
import torch

from dense import load_checkpoint
from dense.checkpoint.reading import read_checkpoint, read_metadata, read_state_dict
from dense.errors import CheckpointError

CODE = {  # each would make the folder PWNED
    "global and reduce": b"\x80\x02cos\nmkdir\nX\x05\x00\x00\x00PWNED\x85R.",
    "stack global": b"\x80\x04\x8c\x02os\x8c\x05mkdir\x93\x8c\x05PWNED\x85R.",
    "instance": b"(S'PWNED'\nios\nmkdir\n.",
    "object": b"(cos\nmkdir\nS'PWNED'\no.",
    "new object": b"\x80\x02cpathlib\nPath\nX\x05\x00\x00\x00PWNED\x85\x81.",
    "eval": b"\x80\x02cbuiltins\neval\nX\x1b\x00\x00\x00__import__('os').mkdir('PWNED')"[:70] + b"\x85R.",
    "python 2 name": b"\x80\x02c__builtin__\nexec\nX\x1e\x00\x00\x00import os; os.mkdir('PWNED')   \x85R.",
    "dotted name": b"\x80\x04\x8c\x0bcollections\x8c\x1f_sys.modules.__class__.__base__\x93)R.",
    "attribute of torch": b"\x80\x02ctorch\nload\nX\x05\x00\x00\x00PWNED\x85R.",
    "torch's compiler": b"\x80\x02ctorch.utils.cpp_extension\nload\nX\x05\x00\x00\x00PWNED\x85R.",
    "numpy's test runner": b"\x80\x02cnumpy.testing._private.utils\nrunstring\nX\x05\x00\x00\x00PWNED}\x86R.",
    "getattr": b"\x80\x02cbuiltins\ngetattr\ncos\nsystem\nX\x05\x00\x00\x00mkdir\x86R.",
    "build": b"\x80\x02ccollections\nOrderedDict\n)Rcos\nmkdir\nb.",
    "persistent id": b"\x80\x02cos\nmkdir\nQ.",
    "extension": b"\x80\x02\x82\x01.",
}
GREEDY = {
    "place in the memo": b"\x80\x02}r\xff\xff\xff\x7f.",  # C's unpickler clears 34 GB
    "tuples in tuples": b"\x80\x02})" + b"\x85" * 300_000 + b"K\x01s.",  # hashing them overflows the stack
    "lists in lists": b"\x80\x02}K\x01" + b"]" * 300_000 + b"a" * 299_999 + b"s.",
    "bytes": b"\x80\x04}K\x01\x8e" + struct.pack("<Q", 2**33) + b"s.",
    "byte array": b"\x80\x05}K\x01\x96" + struct.pack("<Q", 2**33) + b"s.",
    "text": b"\x80\x04}K\x01\x8d" + struct.pack("<Q", 2**40) + b"s.",
    "digits": b"(dI1\nI" + b"9" * 10**6 + b"\ns.",
}


def _write(folder, kind, content):
    """The pickle as ``.pkl``, as ``.pth`` of the old format, or inside one of the zip format."""
    if kind != "zip":
        path = folder / f"x.{kind}"
        path.write_bytes(content)
        return path
    path = folder / "x.pth"
    torch.save({"w": torch.zeros(1)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, content if name.endswith("data.pkl") else data)
    return path


@pytest.mark.parametrize("kind", ["pkl", "pth", "zip"])
@pytest.mark.parametrize("name", CODE)
def test_read_checkpoint__code__refused_and_not_run(tmp_path, monkeypatch, name, kind):
    """Catches any opcode through which a file reaches a function."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with pytest.raises(CheckpointError, match=r"x\.p"):
        read_checkpoint(_write(tmp_path, kind, CODE[name]))
    assert list((tmp_path / "work").iterdir()) == []


def test_code__first_of_them_with_pickle__really_runs(tmp_path, monkeypatch):
    """Catches hostile files that are harmless by mistake: Python's own unpickler makes the folder."""
    for name in ("global and reduce", "stack global", "instance", "object"):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        pickle.loads(CODE[name])  # noqa: S301  to show what the others must prevent
        assert (tmp_path / name / "PWNED").is_dir()


@pytest.mark.parametrize("kind", ["pkl", "pth", "zip"])
@pytest.mark.parametrize("name", GREEDY)
def test_read_checkpoint__greedy_pickle__refused_with_little_memory(tmp_path, frugal, name, kind):
    """Catches unpicklers that allot what an opcode says, and recursion without end."""
    path = _write(tmp_path, kind, GREEDY[name])
    with frugal(200), pytest.raises(CheckpointError, match=r"x\.p"):
        read_checkpoint(path)


def test_read_checkpoint__zip_bomb__refused_before_it_is_unpacked(tmp_path, frugal, monkeypatch):
    """Catches an archive of 1 % of its content; and that compressed checkpoints within the limit are still read."""
    plain, path = tmp_path / "plain.pth", tmp_path / "x.pth"
    torch.save({"w": torch.zeros(5_000_000)}, plain)
    with zipfile.ZipFile(plain) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, source.read(name))
    assert path.stat().st_size < 100_000
    assert read_state_dict(path)["w"].shape == (5_000_000,)
    monkeypatch.setenv("DENSE_MAX_UNPACKED_GB", "0.01")
    with frugal(10), pytest.raises(CheckpointError, match=r"x\.pth: unpacks to 0\.0 GB.*DENSE_MAX_UNPACKED_GB"):
        read_checkpoint(path)
    assert read_state_dict(plain)["w"].shape == (5_000_000,)  # not compressed: whatever its size


def test_read_checkpoint__name_twice_in_the_archive__refused(tmp_path):
    """Catches two readers of one archive that see different files under one name."""
    path = tmp_path / "x.pth"
    torch.save({"w": torch.zeros(1)}, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(archive.namelist()[0].upper(), b"x")
    with pytest.raises(CheckpointError, match=r"x\.pth: .*one name"):
        read_checkpoint(path)


@pytest.mark.parametrize(
    ("length", "header"),
    [
        (2**40, b"{}"),
        (2**64 - 1, b"{}"),
        (None, b'{"w": {"dtype": "F32", "shape": [1000000, 1000000], "data_offsets": [0, 4000000000000]}}'),
        (None, b'{"w": {"dtype": "F32", "shape": [4], "data_offsets": [0, 4]}}'),
        (None, b'{"w": {"dtype": "F32", "shape": [18446744073709551615, 2], "data_offsets": [0, 4]}}'),
        (None, b'{"a":' * 50_000),
        (None, json.dumps({"__metadata__": {"x" * 5000: {"nested": 1}}}).encode()),
    ],
)
def test_read_safetensors__header_promises_more_than_the_file__refused(tmp_path, frugal, length, header):
    """Catches memory for tensors that are not there, and messages as long as the header."""
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header) if length is None else length) + header + bytes(4))
    for read in (read_checkpoint, read_metadata):
        with frugal(100), pytest.raises(CheckpointError, match=r"x\.safetensors") as caught:
            read(path)
        assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(1).expand(10**12),
        torch.zeros(4, 4).to_sparse(),
        torch.zeros(2, device="meta"),
        torch.quantize_per_tensor(torch.zeros(2), 1.0, 0, torch.qint8),
    ],
    ids=["expanded", "sparse", "meta", "quantized"],
)
def test_read_state_dict__tensor_without_plain_values__refused(tmp_path, target, tensor):
    """Catches a tensor of 4 TB in a file of 1 kB, and layouts that cannot be copied from."""
    path = tmp_path / "x.pth"
    torch.save({"head.fc.weight": tensor}, path)
    with pytest.raises(CheckpointError, match=r"x\.pth"):
        load_checkpoint(target, path)


def test_read_state_dict__methods_hidden_by_attributes__read_all_the_same(tmp_path):
    """Catches a pickle that gives its OrderedDict an attribute `items` which is no method."""
    build = b"}(X\x05\x00\x00\x00itemsK\x05X\x03\x00\x00\x00getK\x05X\x04\x00\x00\x00keysK\x05ub"
    path = tmp_path / "x.pth"
    torch.save({"w": torch.zeros(1)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    (name,) = (name for name in members if name.endswith("data.pkl"))
    content = members[name].replace(b"}q\x00", b"ccollections\nOrderedDict\n)Rq\x00" + build, 1)
    with zipfile.ZipFile(path, "w") as archive:
        for other, data in members.items():
            archive.writestr(other, content if other == name else data)
    assert read_checkpoint(path).items == 5
    assert sorted(read_state_dict(path)) == ["w"]
