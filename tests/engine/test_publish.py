"""Publishing refuses what is no training checkpoint or no list of facts, before a model is built."""

import json
from types import SimpleNamespace

import pytest
import torch

from dense.checkpoint.reading import read_state_dict
from dense.checkpoint.writing import save_weights
from dense.engine.publish import publish, without_base
from dense.errors import CheckpointError, DataError


@pytest.fixture
def arguments(tmp_path):
    """Function from the checkpoint's content and the facts to the command line's arguments."""

    def make(state, facts):
        torch.save(state, tmp_path / "model.pth")
        (tmp_path / "facts.json").write_text(json.dumps(facts))
        return SimpleNamespace(checkpoint=tmp_path / "model.pth", facts=tmp_path / "facts.json", output=tmp_path, name="a")

    return make


def test_publish__weights_without_a_step__are_no_training_checkpoint(arguments):
    """Catches a KeyError after minutes of scoring."""
    with pytest.raises(CheckpointError, match=r"model\.pth: is no training checkpoint \(no step inside\)"):
        publish(arguments({"model": {"w": torch.zeros(1)}}, {}))


def test_publish__facts_that_are_a_list__name_the_file(arguments):
    """Catches a TypeError of ``**`` after minutes of scoring."""
    with pytest.raises(DataError, match=r"facts\.json: is a list, expected an object"):
        publish(arguments({"model": {"w": torch.zeros(1)}, "step": 1}, ["summary"]))


def test_without_base__parts_of_another_file__left_out(tmp_path):
    """Catches a tracker published with its segmenter, or over a segmenter it was not trained with."""
    tensors = {"backbone": torch.rand(9), "tracker": torch.rand(2)}
    save_weights(tmp_path / "base.safetensors", {"backbone": tensors["backbone"]}, dtype=torch.float16)
    assert list(without_base(tensors, tmp_path / "base.safetensors")) == ["tracker"]
    with pytest.raises(CheckpointError, match="backbone and 0 more have other values"):
        without_base({**tensors, "backbone": torch.rand(9)}, tmp_path / "base.safetensors")


def test_without_base__parts_trained_on__written_where_they_differ(tmp_path):
    """Catches a file that repeats the base's backbone, or loses what was trained on or has another shape."""
    kept, moved, wider = torch.rand(9), torch.rand(4), torch.rand(3, 2)
    save_weights(tmp_path / "base.safetensors", {"backbone": kept, "head": moved, "classes": wider[:2]}, dtype=torch.float16)
    tensors = {"backbone": kept, "head": moved + 1, "classes": wider}
    found = without_base(tensors, tmp_path / "base.safetensors", partly_changed=True)
    assert sorted(found) == ["classes", "head"]


def test_publish__pretraining__online_network_alone_and_figures_of_the_facts(tmp_path, arguments):
    """Catches a momentum copy that is shipped, and a video score asked of a model that has none."""
    config = tmp_path / "pretrain.yaml"
    config.write_text("DATASETS:\n  TEST: ()\nVERSION: 2\n")
    given = arguments(
        {"model": {"backbone.w": torch.ones(3), "target_backbone.w": torch.zeros(3)}, "step": 7},
        {"summary": "A backbone.", "figures": {"probe": {"mIoU": 12.5}}, "evaluation": "linear probe"},
    )
    path = publish(
        SimpleNamespace(**vars(given), config_file=str(config), base=None, partly_changed=False, without=["target_"])
    )
    assert list(read_state_dict(path)) == ["backbone.w"]
    card = path.with_suffix(".md").read_text()
    assert "| probe | 12.5 |" in card
    assert "- parameters: 3" in card
    assert "Evaluation: linear probe." in card
