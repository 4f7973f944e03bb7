"""The arithmetic of the CUDA kernels, compiled for the CPU, against the reference: all but launch, shuffles and atomics."""

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from dense.ops.reference import ms_deform_attn_reference, ms_deform_attn_reference_backward

ROOT = Path(__file__).resolve().parents[2]
COMPILER = os.environ.get("CXX") or shutil.which("c++")
DTYPES = {"float": torch.float32, "double": torch.float64, "half": torch.float16}
TOLERANCE = {"float": 2e-5, "double": 1e-12, "half": 2e-3}

pytestmark = pytest.mark.skipif(COMPILER is None, reason="no C++ compiler")


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    target = tmp_path_factory.mktemp("arithmetic") / "arithmetic.so"
    source = Path(__file__).with_name("cuda_arithmetic.cpp")
    flags = [
        "-std=c++17",
        "-O1",
        "-fPIC",
        "-shared",
        "-fsanitize=undefined",
        "-fno-sanitize-recover=undefined",
        "-Wall",
        "-Wextra",
    ]
    command = [COMPILER, *flags, "-Wno-attributes", f"-I{ROOT / 'dense' / 'ops'}", str(source), "-o", str(target)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return ctypes.CDLL(str(target))


def problem(shapes, dtype, batch=2, queries=3, heads=2, points=2, channels=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = sum(height * width for height, width in shapes)
    value = torch.randn(batch, rows, heads, channels, generator=generator)
    locations = torch.rand(batch, queries, heads, len(shapes), points, 2, generator=generator) * 1.6 - 0.3
    weights = torch.rand(batch, queries, heads, len(shapes), points, generator=generator)
    grad_output = torch.randn(batch, queries, heads * channels, generator=generator)
    value, locations, weights, grad_output = (t.to(dtype) for t in (value, locations, weights, grad_output))
    return value, torch.tensor(shapes, dtype=torch.int64).reshape(-1, 2), locations, weights, grad_output


def call(kernels, name, lanes, far, arrays, *rest):
    value, shapes, locations, weights = arrays
    sizes = (ctypes.c_int64 * 7)(
        value.shape[0], locations.shape[1], *value.shape[1:], shapes.shape[0], locations.shape[4]
    )  # B, Q, S, M, C, L, P
    pointers = [t if isinstance(t, bool) else ctypes.c_void_p(t.data_ptr()) for t in (shapes, value, locations, weights, *rest)]
    return getattr(kernels, name)(sizes, lanes, far, *pointers)


def emulate(kernels, kind, pack, lanes, arrays, *, far=False, deterministic=False):
    """Output and the three gradients, in the type of the sums; and whether the kernels found the shapes right."""
    *tensors, grad_output = arrays
    value, _, locations, weights = tensors
    sums = torch.float64 if kind == "double" else torch.float32
    output = torch.full((*locations.shape[:2], value.shape[2] * value.shape[3]), float("nan"), dtype=value.dtype)
    fits = call(kernels, f"forward_{kind}_{pack}", lanes, far, tensors, output)
    grads = [torch.zeros(t.shape, dtype=sums) for t in (value, locations, weights)]
    fits &= call(kernels, f"backward_{kind}_{pack}", lanes, far, tensors, grad_output, deterministic, *grads)
    return bool(fits), [output, *grads]


def expected_of(arrays):
    value, shapes, locations, weights, grad_output = (t.double() if t.is_floating_point() else t for t in arrays)
    backward = ms_deform_attn_reference_backward(grad_output, value, shapes, locations, weights)
    return [ms_deform_attn_reference(value, shapes, locations, weights), *backward]


def assert_agree(found, expected, tolerance):
    for name, one, other in zip(("output", "grad_value", "grad_locations", "grad_weights"), found, expected, strict=True):
        worst = (one.double() - other).abs().max() / max(1.0, float(other.abs().max())) if other.numel() else 0.0
        assert worst <= tolerance, f"{name}: {worst:.1e}"


@pytest.mark.parametrize("deterministic", [False, True], ids=["atomic", "ordered"])
@pytest.mark.parametrize("far", [False, True], ids=["host-shapes", "device-shapes"])
@pytest.mark.parametrize(
    ("kind", "pack", "channels", "lanes"),
    [
        ("float", 4, 32, 8),  # the pixel decoder
        ("float", 4, 64, 16),
        ("float", 4, 24, 8),  # idle lanes
        ("float", 4, 16, 1),  # several rounds per lane
        ("float", 4, 264, 32),
        ("float", 1, 5, 8),
        ("float", 1, 70, 32),
        ("float", 1, 1, 1),
        ("double", 2, 8, 4),
        ("double", 1, 7, 8),
        ("half", 8, 32, 4),
        ("half", 4, 32, 8),
        ("half", 1, 3, 4),
    ],
)
def test_items__each_pack_and_split_over_lanes__equal_reference(kernels, kind, pack, channels, lanes, far, deterministic):
    """A channel left out or done twice, a wrong offset, factor or derivative, in one path of the kernel."""
    arrays = problem([(3, 5), (1, 2), (2, 1)], DTYPES[kind], channels=channels, seed=channels)
    fits, found = emulate(kernels, kind, pack, lanes, arrays, far=far, deterministic=deterministic)
    assert fits
    assert_agree(found, expected_of(arrays), TOLERANCE[kind])


@pytest.mark.parametrize("deterministic", [False, True])
def test_items__many_levels_and_empty_ones__equal_reference(kernels, deterministic):
    """A start of a level that is off behind an empty one, or a limit on the number of levels."""
    shapes = [(1 + i % 3, 1 + i % 4) for i in range(40)]
    shapes[3], shapes[17], shapes[39] = (0, 5), (4, 0), (0, 0)
    arrays = problem(shapes, torch.float64, queries=4, channels=4)
    fits, found = emulate(kernels, "double", 2, 2, arrays, far=True, deterministic=deterministic)
    assert fits
    assert_agree(found, expected_of(arrays), 1e-12)


def test_items__no_levels_or_no_points__zeros(kernels):
    """Memory that is returned as it was found."""
    for shapes, points in (([], 2), ([(2, 3)], 0)):
        fits, found = emulate(kernels, "float", 4, 2, problem(shapes, torch.float32, points=points))
        assert fits
        assert not any(tensor.any() for tensor in found)


def test_items__far_infinite_and_huge_locations__as_if_outside(kernels):
    """A float that does not fit an integer, converted (the sanitizer stops the process), or inf times zero."""
    value, shapes, locations, weights, grad_output = problem([(3, 4), (2, 2)], torch.float32, points=6)
    locations[..., 1:, :] = -1.0
    near = emulate(kernels, "float", 4, 2, (value, shapes, locations, weights, grad_output))[1]
    places = [(1e6, 0.5), (0.5, -1e9), (3e38, -3e38), (float("inf"), 0.5), (0.5, float("-inf"))]
    locations[..., 1:, :] = torch.tensor(places)
    far = emulate(kernels, "float", 4, 2, (value, shapes, locations, weights, grad_output))[1]
    for one, other in zip(near, far, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("poisoned", [2, 3])
def test_forward__not_a_number_outside_the_map__shows(kernels, poisoned):
    """A diverged network that looks healthy because its samples fell outside the map."""
    arrays = problem([(3, 4)], torch.float32)
    arrays[2][:] = 5.0
    arrays[poisoned][0, 0, 0] = float("nan")
    output = emulate(kernels, "float", 4, 2, arrays)[1][0]
    assert output[0, 0, :8].isnan().all()
    assert output[0, 0, 8:].isfinite().all()


@pytest.mark.parametrize(
    "shapes", [[(3, 4), (2, 3)], [(3, 4)], [(-3, -4), (2, 2)], [(2**40, 2**40), (2, 2)], [(2**33, 1), (4, 4)]]
)
def test_items__shapes_that_do_not_sum_to_the_rows__reported(kernels, shapes):
    """A read past the end, or a silent wrong result, when shapes on the device are wrong; an overflow in the check."""
    value, _, locations, weights, grad_output = problem([(3, 4), (2, 2)], torch.float32)
    count = len(shapes)
    arrays = (value, torch.tensor(shapes), locations[:, :, :, :count].contiguous(), weights[:, :, :, :count].contiguous())
    fits, _ = emulate(kernels, "float", 4, 2, (*arrays, grad_output), far=True)
    assert not fits


@pytest.mark.parametrize(
    ("a", "b"), [(0, 1), (7, 2), (2**32 - 1, 3), (2**32 - 1, 2**32 - 1), (2**32, 5), (2**62 + 3, 7), (5, 2**33)]
)
def test_divide__across_the_32_bit_limit__exact(kernels, a, b):
    """A short cut that is taken for numbers that do not fit it."""
    kernels.divide.restype = ctypes.c_int64
    assert kernels.divide(ctypes.c_int64(a), ctypes.c_int64(b)) == a // b
