"""Propagation module: golden outputs and gradients, the formula written plainly, and what it must do to simple features."""

import pytest
import torch
import torch.nn.functional as F

from dense.errors import ConfigError
from dense.projects.pixpro.propagation import Propagation, propagate, value_transform

OUTPUTS = ["layer0.p0.5", "layer0.p1.0", "layer0.p2.0", "layer0.p2.0.clamp0.2", "layer0.p4.0", "layer1.p1.0", "layer1.p2.0"]
OUTPUTS += ["layer2.p1.0", "layer2.p2.0"]


def build(case, parity, block=1024):
    layers, sharpness = int(case[5]), float(case[8:11])
    clamp = float(case.partition("clamp")[2] or 0)
    module = Propagation(value_transform(256, layers), sharpness, clamp, block)
    shapes = {name: tuple(value.shape) for name, value in module.transform.state_dict().items() if value.dim()}
    filled = parity.state_dict({f"value_transform.{name}": shape for name, shape in shapes.items()})
    module.transform.load_state_dict({name: filled[f"value_transform.{name}"] for name in shapes}, strict=False)
    return module


@pytest.mark.parametrize("block", [5, 1024])
@pytest.mark.parametrize("case", OUTPUTS)
def test_propagation__golden_input__same_output_and_gradients(arrays, parity, case, block):
    """Catches the similarity taken of transformed features, values normalised before g, a sum that is divided."""
    module, x = build(case, parity, block), arrays.tensor("prop.x").requires_grad_()
    name = f"prop.{case}"
    if f"{name}.y_eval" in arrays:
        arrays.close(f"{name}.y_eval", module.eval()(x), 1e-5)
    y = module.train()(x)
    arrays.close(f"{name}.y_train", y, 1e-5)
    (y * arrays.tensor("prop.cotangent")).sum().backward()
    if f"{name}.grad_x_train" in arrays:
        scale = float(abs(arrays[f"{name}.grad_x_train"]).max())
        torch.testing.assert_close(x.grad, arrays.tensor(f"{name}.grad_x_train"), rtol=0, atol=1e-4 * scale)
    if f"{name}.grad_bias_train" in arrays:
        for given, key in ((module.transform.weight.grad[::8, ::8], "weight"), (module.transform.bias.grad, "bias")):
            expected = arrays.tensor(f"{name}.grad_{key}_train")
            torch.testing.assert_close(given, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))


@pytest.mark.parametrize(("sharpness", "clamp"), [(0.5, 0.1), (1, 0.0), (2, 0.0), (3, 0.2)])
def test_propagate__float64__gradients_are_those_of_the_plain_formula(sharpness, clamp):
    """Catches a position that is forgotten as one of those compared, and a clamp without effect on gradients."""
    generator = torch.Generator().manual_seed(3)
    raw = torch.randn(2, 7, 4, dtype=torch.float64, generator=generator)
    units = F.normalize(raw, dim=2).requires_grad_()
    values = torch.randn(2, 7, 3, dtype=torch.float64, generator=generator, requires_grad=True)
    cotangent = torch.randn(2, 7, 3, dtype=torch.float64, generator=generator)
    base = (units @ units.mT).clamp(min=clamp) + (1e-6 if sharpness < 1 else 0)
    plain = base**sharpness @ values
    expected = torch.autograd.grad((plain * cotangent).sum(), (units, values))
    for block in (1, 3, 100):
        out = propagate(units, values, sharpness, clamp, block)
        torch.testing.assert_close(out, plain, rtol=1e-12, atol=1e-12)
        actual = torch.autograd.grad((out * cotangent).sum(), (units, values))
        torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("sharpness", [1, 2, 4])
def test_propagation__orthogonal_features__each_keeps_its_own(sharpness):
    """Catches weights of orthogonal positions that are not 0, and a position without itself."""
    x = (3 * torch.eye(6)).view(1, 6, 2, 3)
    y = Propagation(value_transform(6, 0), sharpness)(x)
    torch.testing.assert_close(y, x / 3)


def test_propagation__identical_features__all_parallel():
    """Catches weights that depend on the position."""
    y = Propagation(value_transform(4, 0))(torch.ones(1, 4, 2, 3))
    torch.testing.assert_close(y, torch.full((1, 4, 2, 3), 3.0))  # six times a unit vector of halves


def test_propagation__opposite_feature__does_not_contribute():
    """Catches an even power that turns dissimilar positions into similar ones."""
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).T.view(1, 2, 1, 2)
    torch.testing.assert_close(Propagation(value_transform(2, 0))(x), x)


def test_value_transform__three_layers__says_what_there_is():
    """Catches a foreign traceback for an unknown number of layers."""
    with pytest.raises(ConfigError, match="expected 0, 1 or 2"):
        value_transform(4, 3)


def test_propagation__large_map__memory_of_a_block(frugal):
    """Catches a similarity matrix that is kept whole: here 400 MB for one image, several times that with its gradient."""
    x = torch.randn(1, 4, 100, 100, requires_grad=True)
    module = Propagation(value_transform(4, 1), block=64)
    with frugal(megabytes=80, seconds=60):
        module(x).sum().backward()
