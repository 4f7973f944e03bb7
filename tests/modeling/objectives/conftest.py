"""Golden cases of the objectives, and how each is run."""

import numpy as np
import pytest
import torch

from dense.modeling.objectives import build_objective, objective_node
from dense.modeling.objectives.infonce import InfoNCE


class Case:
    """One golden case: inputs, constants, loss, gradients, parts."""

    def __init__(self, arrays, name):
        self.name = name
        self.arrays = {k.removeprefix(name + "/"): arrays[k] for k in arrays if k.startswith(name + "/")}

    def __getitem__(self, key):
        return self.arrays[key]

    def inputs(self, dtype=torch.float64):
        """Tensors by name; those with a golden gradient require one."""
        found = {}
        for key, value in self.arrays.items():
            if key.startswith("in."):
                tensor = torch.from_numpy(np.array(value))
                tensor = tensor.to(dtype) if tensor.is_floating_point() else tensor
                found[key[3:]] = tensor.requires_grad_(f"grad.{key[3:]}" in self.arrays)
        return found

    def const(self, name):
        """A constant as a number or string."""
        return self.arrays[f"const.{name}"].item()


@pytest.fixture(scope="session")
def arrays(golden):
    """All arrays of both files."""
    found = {}
    for part in ("objectives.npz", "objectives_captions.npz"):
        with np.load(golden(part), allow_pickle=False) as file:
            found |= {name: file[name] for name in file.files}
    return found


@pytest.fixture(scope="session")
def case(arrays):
    """Function from a name to its case."""
    return lambda name: Case(arrays, name)


@pytest.fixture
def rows():
    """Function: V random views (B, D) in float64 that require gradients."""

    def make(views=2, size=6, dim=8, seed=0, dtype=torch.float64):
        generator = torch.Generator().manual_seed(seed)
        made = [torch.randn(size, dim, generator=generator, dtype=torch.float64).to(dtype) for _ in range(views)]
        return [view.requires_grad_() for view in made]

    return make


@pytest.fixture
def build():
    """Function: an objective by name with some keys set."""

    def make(name, **keys):
        node = objective_node(name)
        node.DIAG_PERIOD = 0
        for key, value in keys.items():
            assert key in node
            node[key] = value
        return build_objective(node)

    return make


@pytest.fixture
def ntxent():
    """NT-Xent at a temperature."""
    return lambda temperature: InfoNCE(form="ntxent", temperature=temperature)
