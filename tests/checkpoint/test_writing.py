"""Writing: what is read back, and what is left after a failure."""

import hashlib

import pytest
import torch

from dense.checkpoint.reading import read_checkpoint, read_metadata, read_state_dict
from dense.checkpoint.writing import file_hash, save_training_state, save_weights


def test_save_weights__round_trip__tensors_and_header(tmp_path):
    """Catches views, shared tensors and integer tensors that do not come back as they were."""
    base = torch.arange(12.0).view(3, 4)
    tensors = {
        "a": base,
        "transposed": base.t(),
        "same": base,
        "row": base[1],
        "count": torch.tensor(3),
        "empty": torch.zeros(0, 2),
    }
    path = tmp_path / "deep" / "x.safetensors"
    save_weights(path, tensors, metadata={"step": "5", "name": "größe"})
    ours = read_state_dict(path)
    assert sorted(ours) == sorted(tensors)
    assert all(torch.equal(ours[k], v) for k, v in tensors.items())
    assert read_metadata(path) == {"step": "5", "name": "größe"}


def test_save_weights__half__converts_floats_only(tmp_path):
    """Catches counters stored as floating point."""
    save_weights(tmp_path / "x.safetensors", {"w": torch.randn(3), "n": torch.tensor([2**40])}, dtype=torch.float16)
    ours = read_state_dict(tmp_path / "x.safetensors")
    assert (ours["w"].dtype, ours["n"].dtype) == (torch.float16, torch.int64)
    assert ours["n"].item() == 2**40


def test_save_training_state__round_trip__with_an_optimizer(tmp_path):
    """Catches a state that needs code to be read back."""
    layer = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    save_training_state(tmp_path / "m.pth", {"model": layer.state_dict(), "optimizer": optimizer.state_dict(), "step": 1})
    ours = read_checkpoint(tmp_path / "m.pth")
    assert ours["step"] == 1
    torch.optim.AdamW(layer.parameters()).load_state_dict(ours["optimizer"])


def test_save__failure_midway__keeps_the_old_file(tmp_path, monkeypatch):
    """Catches an old checkpoint lost when the disk is full, and temporary files left behind."""
    path = tmp_path / "m.pth"
    save_training_state(path, {"step": 1})

    def half(state, stream):
        stream.write(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(OSError, match="no space"):
        save_training_state(path, {"step": 2})
    assert read_checkpoint(path)["step"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["m.pth"]


def test_file_hash__content__is_sha256(tmp_path):
    """Catches a hash that other tools do not confirm."""
    (tmp_path / "x").write_bytes(b"dense" * 1000)
    assert file_hash(tmp_path / "x") == hashlib.sha256(b"dense" * 1000).hexdigest()
