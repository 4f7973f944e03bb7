"""ImageNet weights: where they are found, and copied in order."""

import sys

import pytest
import torch
from torch import nn

from dense.checkpoint.pretrained import load_in_order, resolve_weights
from dense.checkpoint.writing import save_weights
from dense.errors import CheckpointError, DependencyError


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An importable package with the given weights files."""

    def make(*files):
        folder = tmp_path / "tiny_weights_model"
        (folder / "inner").mkdir(parents=True)
        (folder / "__init__.py").write_text("raise RuntimeError('must not be run')")
        for name in files:
            (folder / "inner" / name).write_bytes(b"x")
        monkeypatch.syspath_prepend(tmp_path)
        return folder

    yield make
    sys.modules.pop("tiny_weights_model", None)


def test_resolve_weights__file__is_passed_through(tmp_path):
    """Catches a path taken for a package."""
    assert resolve_weights(str(tmp_path / "x.pth")) == tmp_path / "x.pth"


@pytest.mark.parametrize("name", ["tiny_weights_model", "tiny-weights-model"])
def test_resolve_weights__package__its_one_file_without_importing_it(package, name):
    """Catches code of the package that runs, and a name with hyphens that is not found."""
    folder = package("net.pth", "readme.txt")
    assert resolve_weights(f"package:{name}") == folder / "inner" / "net.pth"


@pytest.mark.parametrize("files", [(), ("a.pth", "b.safetensors")])
def test_resolve_weights__none_or_several_files__raises(package, files):
    """Catches the wrong one of several files taken at random."""
    package(*files)
    with pytest.raises(CheckpointError, match=f"{len(files)} weights files"):
        resolve_weights("package:tiny_weights_model")


@pytest.mark.parametrize("name", ["no_such_package_here", "no-such-package-here", "abc", "no.such.package", ""])
def test_resolve_weights__missing_package__says_how_to_get_it(name):
    """Catches ModuleNotFoundError without the cure; a plain module and a name with dots count as missing too."""
    with pytest.raises(DependencyError, match="pip install"):
        resolve_weights(f"package:{name}")


def test_load_in_order__other_names_and_a_classifier__fits(tmp_path):
    """Catches tensors copied into the wrong place; what is left at the end is ignored."""
    source = network()
    torch.nn.init.normal_(source[1].running_mean)
    state = {f"features.{i}": v for i, v in enumerate(source.state_dict().values())} | {"z.classifier": torch.zeros(10, 4)}
    torch.save(state, tmp_path / "w.pth")
    ours = network()
    load_in_order(ours, str(tmp_path / "w.pth"))
    assert all(torch.equal(a, b) for a, b in zip(ours.state_dict().values(), source.state_dict().values(), strict=True))


def test_load_in_order__shape_differs__raises_before_copying(tmp_path):
    """Catches a backbone left half filled."""
    ours = network()
    before = {k: v.clone() for k, v in ours.state_dict().items()}
    state = {f"{i}": v + 1 for i, v in enumerate(ours.state_dict().values())}
    state["2"] = torch.zeros(7)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"2 \[7\] does not fit 1.weight \[4\]"):
        load_in_order(ours, str(tmp_path / "w.pth"))
    assert all(v.equal(before[k]) for k, v in ours.state_dict().items())


def test_load_in_order__too_few__raises(tmp_path):
    """Catches a file of a smaller network."""
    save_weights(tmp_path / "w.safetensors", {"a": torch.zeros(4, 3, 3, 3)})
    with pytest.raises(CheckpointError, match="1 tensors, the backbone has 7"):
        load_in_order(network(), str(tmp_path / "w.safetensors"))
