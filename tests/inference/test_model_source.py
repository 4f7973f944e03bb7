"""From what names a model to the model: every kind of source, and one clear line for what is none."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from dense.checkpoint.writing import save_weights
from dense.config.loading import load_config
from dense.errors import CheckpointError, ConfigError
from dense.inference import model_source
from dense.inference.model_source import load_model, zoo_names, zoo_weights
from dense.modeling.builder import build_model


@pytest.fixture(scope="module")
def weights(tiny, tmp_path_factory):
    """A safetensors file of the small model that carries its configuration and other category names."""
    path = tmp_path_factory.mktemp("zoo") / "tiny_model.safetensors"
    torch.manual_seed(3)
    cfg = load_config(tiny)
    names = '["' + '", "'.join(f"thing {k}" for k in range(14)) + '"]'
    save_weights(path, build_model(cfg).state_dict(), metadata={"config": cfg.dump(), "categories": names})
    return path


@pytest.fixture
def zoo(weights, monkeypatch):
    """The zoo with that one model in it."""
    monkeypatch.setattr(model_source, "_WEIGHTS", weights.parent)
    return weights


def same_tensors(model, path):
    found, expected = model.state_dict(), load_file(path)
    return set(found) == set(expected) and all(torch.equal(found[k], v) for k, v in expected.items())


def test_load_model__weights_file__builds_its_configuration_with_its_weights(weights):
    """Catches random weights in place of the file's, training mode, and names of another data set."""
    loaded = load_model(weights)
    assert same_tensors(loaded.model, weights)
    assert not loaded.model.training
    assert loaded.categories[13] == "thing 13"
    assert loaded.cfg.MODEL.MASK_FORMER.NUM_OBJECT_QUERIES == 16


def test_load_model__zoo_name__is_the_file_of_that_name(zoo):
    """Catches names that are looked for in the working directory."""
    assert zoo_names() == ["tiny_model"]
    assert zoo_weights("tiny_model") == zoo
    assert same_tensors(load_model("tiny_model", ["INPUT.MIN_SIZE_TEST", "32"]).model, zoo)


def test_load_model__unknown_name__suggests_the_nearest(zoo):
    """Catches a bare 'file not found' after a typing error."""
    with pytest.raises(ConfigError, match=r"'tiny_modl'.*Did you mean 'tiny_model'"):
        load_model("tiny_modl")


def test_zoo__every_shipped_model__carries_its_configuration():
    """Catches weights that were put into the repository without the header that makes them usable by name."""
    for name in zoo_names():
        loaded = load_model(name)
        assert len(loaded.categories) == loaded.cfg.MODEL.SEM_SEG_HEAD.NUM_CLASSES
        assert isinstance(loaded.model.window, int)


def test_load_model__module__is_taken_as_it_is():
    """Catches a model that is copied or left in training mode, and overrides that are ignored in silence."""
    module = nn.Linear(2, 2).train()
    loaded = load_model(module)
    assert loaded.model is module
    assert not module.training
    assert (loaded.cfg, loaded.categories) == (None, ())
    with pytest.raises(ConfigError, match="overrides"):
        load_model(module, ["MODEL.DEVICE", "cpu"])


def test_load_model__configuration_node__takes_overrides(tiny):
    """Catches KEY VALUE pairs that are ignored because the configuration was read already."""
    cfg = load_config(tiny)
    assert load_model(cfg).cfg is cfg
    assert load_model(cfg, ["INPUT.MIN_SIZE_TEST", "48"]).cfg.INPUT.MIN_SIZE_TEST == 48
    with pytest.raises(ConfigError, match=r"INPUT\.MIN_SIZE_TST"):
        load_model(cfg, ["INPUT.MIN_SIZE_TST", "48"])


def test_load_model__weights_without_configuration__says_what_to_give(tmp_path):
    """Catches a KeyError 'config'."""
    save_file({"x": torch.zeros(2)}, tmp_path / "bare.safetensors")
    with pytest.raises(CheckpointError, match=r"bare\.safetensors: carries no configuration.*MODEL\.WEIGHTS"):
        load_model(tmp_path / "bare.safetensors")


@pytest.mark.parametrize(
    ("metadata", "error", "words"),
    [
        ({"config": "MODEL: [broken"}, ConfigError, "configuration inside .*x.safetensors"),
        ({"config": "MODEL:\n  NOPE: 1"}, ConfigError, "configuration inside .*x.safetensors: unknown key 'MODEL.NOPE'"),
        ({"config": "!!python/object/apply:os.system ['true']"}, ConfigError, "refused"),
        ({"config": "TINY", "categories": "[1, 2]"}, CheckpointError, "x.safetensors: its categories"),
        ({"config": "TINY", "categories": "{broken"}, CheckpointError, "x.safetensors: its list of categories"),
    ],
)
def test_load_model__strange_header__names_the_weights_file(tiny, tmp_path, metadata, error, words):
    """Catches foreign errors, and messages about a temporary file that is gone."""
    metadata = {**metadata, "config": metadata["config"].replace("TINY", tiny.read_text())}
    save_file({"x": torch.zeros(2)}, tmp_path / "x.safetensors", metadata=metadata)
    with pytest.raises(error, match=words) as caught:
        load_model(tmp_path / "x.safetensors")
    assert "\n" not in str(caught.value)


def test_load_model__other_files__are_one_clear_line(tmp_path):
    """Catches foreign errors for a missing file, a folder, another kind of file, and text under a good name."""
    (tmp_path / "model.pth").write_bytes(b"x")
    (tmp_path / "text.safetensors").write_text("hello")
    (tmp_path / "folder").mkdir()
    for name, error in (
        ("none.safetensors", CheckpointError),
        ("none.yaml", ConfigError),
        ("model.pth", ConfigError),
        ("text.safetensors", CheckpointError),
        ("folder", CheckpointError),
    ):
        with pytest.raises(error, match=name) as caught:
            load_model(tmp_path / name)
        assert "\n" not in str(caught.value)
