"""The converter's command line."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from dense.__main__ import main as dense
from dense.checkpoint.command import main
from dense.errors import CheckpointError

OLD = {"sem_seg_head.predictor.static_query.weight": torch.rand(3, 2), "criterion.empty_weight": torch.arange(4)}
NEW = ["criterion.empty_weight", "sem_seg_head.predictor.query_feat.weight"]


@pytest.fixture
def old(tmp_path):
    """A training state of the authors: tensors under ``model``, other things beside."""
    path = tmp_path / "model_final.pth"
    torch.save({"model": OLD, "iteration": 5, "optimizer": {"state": {}}}, path)
    return path


def test_main__older_official_file__half_safetensors(old, tmp_path, capsys):
    """Catches names that stay old, integers stored as float16, and a file without the mark that other readers ask for."""
    target = tmp_path / "new" / "ours.safetensors"
    assert main([str(old), str(target), "--half"]) == 0
    tensors = load_file(target)
    assert sorted(tensors) == NEW
    assert tensors[NEW[0]].dtype == torch.int64
    assert tensors[NEW[1]].equal(OLD["sem_seg_head.predictor.static_query.weight"].half())
    with safe_open(target, framework="pt") as file:
        assert file.metadata() == {"format": "pt", "layout": "ours"}
    assert "official" in capsys.readouterr().out


def test_main__to_pth__tensors_under_model(old, tmp_path):
    """Catches a file that the authors' loaders do not take."""
    assert main([str(old), str(tmp_path / "x.pth"), "--to", "official"]) == 0
    content = torch.load(tmp_path / "x.pth", weights_only=True)
    assert list(content) == ["model"]
    assert sorted(content["model"]) == NEW
    assert content["model"][NEW[1]].dtype == torch.float32


def test_main__ours_to_ours__keeps_configuration_and_categories(tmp_path):
    """Catches a half-precision copy of a published model that no longer knows what it is."""
    header = {"config": "VERSION: 2", "categories": json.dumps(["a"])}
    save_file({"sem_seg_head.predictor.query_feat.weight": torch.zeros(2)}, tmp_path / "a.safetensors", header)
    assert main([str(tmp_path / "a.safetensors"), str(tmp_path / "b.safetensors"), "--half"]) == 0
    with safe_open(tmp_path / "b.safetensors", framework="pt") as file:
        assert header.items() <= file.metadata().items()


def test_main__like__lists_every_difference(old, tmp_path, capsys):
    """Catches a report that counts and does not name, and success where names differ."""
    reference = tmp_path / "like.pth"
    torch.save({NEW[0]: torch.zeros(7), "other.bias": torch.zeros(1)}, reference)
    assert main([str(old), str(tmp_path / "x.pth"), "--like", str(reference)]) == 1
    out = capsys.readouterr().out
    assert f"not in {reference} (1):\n  {NEW[1]}\n" in out
    assert f"only in {reference} (1):\n  other.bias\n" in out
    assert f"of another shape (1):\n  {NEW[0]} [4] instead of [7]\n" in out
    torch.save(torch.load(tmp_path / "x.pth", weights_only=True), reference)
    assert main([str(old), str(tmp_path / "x.pth"), "--like", str(reference)]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{old}", "{old}"], "is the input itself"),
        (["{old}", "x.bin"], r"expected a name that ends in \.safetensors or \.pth"),
        (["{old}", "{folder}/x.pth", "--to", "torchvision"], "nothing of it has a place in the torchvision layout"),
        (["{folder}/none.pth", "{folder}/x.pth"], r"none\.pth: cannot be read"),
    ],
)
def test_main__wrong_input__one_clear_error_nothing_written(old, tmp_path, words, message):
    """Catches an input overwritten, an empty checkpoint, and a foreign error."""
    before = old.read_bytes()
    with pytest.raises(CheckpointError, match=message):
        main([word.format(old=old, folder=tmp_path) for word in words])
    assert [path.name for path in tmp_path.iterdir()] == [old.name]
    assert old.read_bytes() == before


def test_dense__convert_checkpoint__is_a_command(tmp_path, capsys):
    """Catches a command that is listed and cannot be called; errors are one line."""
    assert dense(["convert-checkpoint", str(tmp_path / "none.pth"), str(tmp_path / "x.pth")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_main__unknown_names__said_to_be_kept(tmp_path, capsys):
    """Catches a file of another network that seems to have been converted."""
    torch.save({"some.weight": torch.zeros(1)}, tmp_path / "a.pth")
    assert main([str(tmp_path / "a.pth"), str(tmp_path / "b.pth")]) == 0
    assert "names are taken as they are" in capsys.readouterr().out
