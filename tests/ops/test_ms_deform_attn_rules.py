"""What torch must know of the operator: derivatives, fake tensors, compile, export, autocast; with the binary and without."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from dense.errors import OperatorError
from dense.ops import ms_deform_attn, ms_deform_attn_reference, status
from dense.ops.ms_deform_attn import _SCHEMAS

ROOT = Path(__file__).resolve().parents[2]
SHAPES = [(3, 4), (2, 2)]
needs_binary = pytest.mark.skipif(not status().loaded, reason=status().reason)


def problem(*, dtype=torch.float64, grad=True, queries=3):
    generator = torch.Generator().manual_seed(3)
    value = torch.randn(2, 16, 2, 4, dtype=dtype, generator=generator)
    # Distances of at least 0.01 pixels from the lines where the derivative jumps.
    cells = torch.randint(-1, 4, (2, queries, 2, 2, 2, 2), generator=generator)
    inner = torch.rand(cells.shape, dtype=dtype, generator=generator) * 0.98 + 0.01
    sizes = torch.tensor(SHAPES).flip(1)[:, None]  # (L, 1, 2) as (W, H)
    locations = (cells + inner + 0.5) / sizes.to(dtype)
    weights = torch.rand(2, queries, 2, 2, 2, dtype=dtype, generator=generator)
    tensors = [value, locations, weights]
    value, locations, weights = (tensor.requires_grad_(grad) for tensor in tensors)
    return value, torch.tensor(SHAPES), locations, weights


def check_registration():
    """Everything below that must hold for the compiled kernel and for the fallback alike."""
    arrays = problem()
    torch.library.opcheck(torch.ops.dense.ms_deform_attn.default, arrays)
    torch.library.opcheck(torch.ops.dense.ms_deform_attn.default, problem(dtype=torch.float32, queries=0))
    backward = (torch.randn(2, 3, 8, dtype=torch.float64), *problem(grad=False))
    torch.library.opcheck(torch.ops.dense.ms_deform_attn_backward.default, backward)
    value, shapes, locations, weights = arrays
    torch.autograd.gradcheck(lambda v, p, w: torch.ops.dense.ms_deform_attn(v, shapes, p, w), (value, locations, weights))
    expected = ms_deform_attn_reference(*arrays)
    torch.testing.assert_close(torch.ops.dense.ms_deform_attn(*arrays), expected)
    compiled = torch.compile(ms_deform_attn, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*arrays), expected)


def test_operator__in_this_process__passes_opcheck_gradcheck_and_compile():
    """A rule that lies about shape, strides, aliasing or derivatives; a graph break."""
    check_registration()


@pytest.mark.parametrize(
    "environment",
    [
        pytest.param({"DENSE_NO_EXTENSION": "1"}, id="no-binary"),
        pytest.param(
            {"ATEN_CPU_CAPABILITY": "default"},
            id="old-processor",
            marks=needs_binary,
        ),
    ],
)
def test_operator__other_implementation__passes_the_same(environment):
    """A fallback, or a copy of the loops for old processors, that is never run and rots."""
    wanted = "not " if "DENSE_NO_EXTENSION" in environment else ""
    code = (
        "import importlib.util, sys, warnings\n"
        "warnings.simplefilter('error', RuntimeWarning)\n"  # who asked for the fallback is not warned
        f"spec = importlib.util.spec_from_file_location('rules', {__file__!r})\n"
        "rules = importlib.util.module_from_spec(spec); spec.loader.exec_module(rules)\n"
        f"assert {wanted}rules.status().loaded, rules.status()\n"
        "rules.check_registration()\n"
        "arrays = rules.problem(dtype=rules.torch.float32)\n"
        "rules.torch.testing.assert_close(rules.ms_deform_attn(*arrays), rules.ms_deform_attn_reference(*arrays))\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr[-2000:]


def test_schema__python_and_cpp__are_the_same():
    """Two texts of one schema that drift apart, so that a program exported with the binary fails without."""
    source = (ROOT / "dense/ops/csrc/ms_deform_attn.cpp").read_text(encoding="utf-8")
    written = [re.sub(r'"\s*"', "", text) for text in re.findall(r'm\.def\(\s*"(.*?)"\);', source, re.DOTALL)]
    assert written == list(_SCHEMAS)


def test_ms_deform_attn__fake_tensors__shape_without_data():
    """A check that reads data where there is none."""
    with FakeTensorMode() as mode:
        arrays = [mode.from_tensor(tensor) for tensor in problem(grad=False)]
        assert ms_deform_attn(*arrays).shape == (2, 3, 8)


def test_ms_deform_attn__meta_device__shape_without_data():
    """A model built on the meta device that cannot be traced."""
    arrays = [tensor.to("meta") for tensor in problem(grad=False)]
    assert ms_deform_attn(*arrays).device.type == "meta"
    assert ms_deform_attn(*arrays).shape == (2, 3, 8)


def test_ms_deform_attn__compiled_with_gradients__equal_eager():
    """A backward that compiles to something else."""
    value, shapes, locations, weights = problem()

    def loss(v, p, w):
        return (ms_deform_attn(v * 2, shapes, p, w.softmax(-1)) ** 2).sum()

    expected = torch.autograd.grad(loss(value, locations, weights), (value, locations, weights))
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    found = torch.autograd.grad(compiled(value, locations, weights), (value, locations, weights))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


class Attention(torch.nn.Module):
    """The operator with its shapes as a tensor, or as pairs of ints."""

    def __init__(self, shapes):
        super().__init__()
        self.shapes = shapes

    def forward(self, value, locations, weights):
        return ms_deform_attn(value, self.shapes if isinstance(self.shapes, list) else self.shapes.clone(), locations, weights)


@pytest.mark.parametrize("pairs", [False, True], ids=["tensor", "pairs"])
def test_ms_deform_attn__exported__operator_or_plain_pytorch(pairs):
    """An export that fails, has fixed the number of queries, or needs our operator where it promised not to."""
    value, shapes, locations, weights = problem(grad=False, dtype=torch.float32)
    queries = torch.export.Dim("queries", min=2, max=64)
    dynamic = ({}, {1: queries}, {1: queries})
    program = torch.export.export(Attention(SHAPES if pairs else shapes), (value, locations, weights), dynamic_shapes=dynamic)
    targets = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert ("dense.ms_deform_attn.default" in targets) != pairs
    value, _, locations, weights = problem(grad=False, dtype=torch.float32, queries=7)
    torch.testing.assert_close(program.module()(value, locations, weights), ms_deform_attn(value, shapes, locations, weights))


def test_ms_deform_attn__autocast__float32_inside_and_dtype_of_value_outside():
    """Mixed dtypes that autocast makes, refused or computed in bfloat16."""
    value, shapes, locations, weights = problem(grad=False, dtype=torch.float32)
    half = value.bfloat16()
    expected = ms_deform_attn_reference(half.float(), shapes, locations, weights)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = ms_deform_attn(half, shapes, locations, weights)
        direct = torch.ops.dense.ms_deform_attn(half, shapes, locations, weights)
    assert result.dtype == torch.bfloat16
    torch.testing.assert_close(result, expected.bfloat16())
    torch.testing.assert_close(direct, expected)


def test_operator__second_derivative__refused():
    """A silent zero where a second derivative was asked for."""
    value, shapes, locations, weights = problem()
    first = torch.autograd.grad(
        torch.ops.dense.ms_deform_attn(value, shapes, locations, weights).sum(), value, create_graph=True
    )
    with pytest.raises(OperatorError, match="second derivative"):
        torch.autograd.grad(first[0].sum(), weights)


def test_operator__gradient_of_one_argument__others_none():
    """A backward that insists on all gradients, or gives one to the shapes."""
    value, shapes, locations, weights = problem(grad=False)
    weights.requires_grad_()
    torch.ops.dense.ms_deform_attn(value, shapes, locations, weights).sum().backward()
    assert weights.grad is not None
    assert value.grad is None
    assert locations.grad is None
