"""Multi-scale deformable attention against stored numbers, a loop over pixels, and its own promises about arguments."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dense.errors import OperatorError
from dense.ops import ms_deform_attn, ms_deform_attn_reference, status
from dense.ops.reference import ms_deform_attn_reference_backward

TESTS = Path(__file__).resolve().parents[1]
GOLDEN = TESTS / "golden" / "msdeform.npz"
GOLDEN_CASES = ["l1_inside", "l2_inside", "l3_outside", "l4_points1", "l2_border", "l1_border_odd", "l1_one_pixel"]
GOLDEN_CASES += ["l3_one_query"]

needs_binary = pytest.mark.skipif(not status().loaded, reason=status().reason)
BOTH = [pytest.param(ms_deform_attn, id="compiled", marks=needs_binary), pytest.param(ms_deform_attn_reference, id="reference")]


def case(name):
    arrays = np.load(TESTS / "data" / "cases" / name / "case.npz")
    return {key: torch.from_numpy(arrays[key]) for key in arrays.files}


def arguments(arrays):
    return [arrays[key] for key in ("value", "spatial_shapes", "sampling_locations", "attention_weights")]


def random_arguments(shapes, batch=2, queries=5, heads=2, points=3, channels=8, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    rows = sum(height * width for height, width in shapes)
    value = torch.randn(batch, rows, heads, channels, dtype=dtype, generator=generator)
    locations = torch.rand(batch, queries, heads, len(shapes), points, 2, dtype=dtype, generator=generator) * 1.6 - 0.3
    weights = torch.rand(batch, queries, heads, len(shapes), points, dtype=dtype, generator=generator)
    return [value, torch.tensor(shapes, dtype=torch.int64).reshape(-1, 2), locations, weights]


def gradients(function, arrays, grad_output):
    value, shapes, locations, weights = arrays
    leaves = [tensor.detach().clone().requires_grad_() for tensor in (value, locations, weights)]
    output = function(leaves[0], shapes, leaves[1], leaves[2])
    return output.detach(), torch.autograd.grad(output, leaves, grad_output)


def by_hand(value, shapes, locations, weights):
    """Four neighbours one by one, in Python floats."""
    batch, _, heads, channels = value.shape
    queries, levels, points = weights.shape[1], weights.shape[3], weights.shape[4]
    result = np.zeros((batch, queries, heads, channels))
    starts = np.cumsum([0, *(h * w for h, w in shapes)])
    for b, q, m, level, p in np.ndindex(batch, queries, heads, levels, points):
        height, width = shapes[level]
        x, y = (float(c) for c in locations[b, q, m, level, p])
        column, row = x * width - 0.5, y * height - 0.5
        for j in range(height):
            for i in range(width):
                share = max(0.0, 1 - abs(column - i)) * max(0.0, 1 - abs(row - j))
                if share:
                    result[b, q, m] += weights[b, q, m, level, p] * share * value[b, starts[level] + j * width + i, m]
    return result.reshape(batch, queries, heads * channels)


def assert_close(actual, expected, tolerance):
    expected = torch.as_tensor(expected)
    assert actual.shape == expected.shape
    if expected.numel():
        worst = (actual.double() - expected.double()).abs().max() / max(1.0, float(expected.abs().max()))
        assert worst <= tolerance, f"{worst:.2e} > {tolerance}"


@pytest.mark.golden
@pytest.mark.parametrize("function", BOTH)
@pytest.mark.parametrize("precision", ["f32", "f64"])
@pytest.mark.parametrize("name", GOLDEN_CASES)
def test_ms_deform_attn__reference_numbers__agree(name, precision, function):
    """Any error of formula, layout or border rule, in the output or a gradient, against the authors' code."""
    stored = np.load(GOLDEN)
    dtype, tolerance = {"f32": (torch.float32, 1e-5), "f64": (torch.float64, 1e-10)}[precision]
    value, locations, weights, grad = (
        torch.from_numpy(stored[f"{name}.{key}"]).to(dtype) for key in ("value", "locations", "weights", "grad_output")
    )
    shapes = torch.from_numpy(stored[f"{name}.shapes"])
    output, (by_value, by_locations, by_weights) = gradients(function, [value, shapes, locations, weights], grad)
    smooth = torch.from_numpy(stored[f"{name}.smooth"])
    assert smooth.any()
    assert_close(output, stored[f"{name}.{precision}.output"], tolerance)
    assert_close(by_value, stored[f"{name}.{precision}.grad_value"], tolerance)
    assert_close(by_weights, stored[f"{name}.{precision}.grad_weights"], tolerance)
    assert_close(by_locations[smooth], torch.from_numpy(stored[f"{name}.{precision}.grad_locations"])[smooth], tolerance)


@pytest.mark.parametrize("function", BOTH)
@pytest.mark.parametrize("name", ["op-ok", "op-empty-query", "op-borders", "op-x-and-y", "op-huge-offsets", "op-batch-130"])
def test_ms_deform_attn__known_trap__exact(name, function):
    """Swapped axes, align_corners, integer overflow far outside, batches that do not divide a step, empty launches."""
    arrays = case(name)
    result = function(*arguments(arrays))
    torch.testing.assert_close(result, arrays["expected"].float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("function", BOTH)
def test_ms_deform_attn__control_case__gradients_agree(function):
    """A gradient that is scaled or laid out wrongly."""
    arrays = case("op-ok")
    _, grads = gradients(function, arguments(arrays), arrays["grad_output"])
    for grad, key in zip(grads, ("grad_value", "grad_sampling_locations", "grad_attention_weights"), strict=True):
        torch.testing.assert_close(grad, arrays[key].float(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("function", BOTH)
@pytest.mark.parametrize(("batch", "queries"), [(2, 0), (0, 5), (0, 0)])
def test_ms_deform_attn__nothing_to_do__empty_and_zero_gradients(batch, queries, function):
    """A division by zero, a launch of nothing, or a backward that leaves the gradient of the value unset."""
    arrays = random_arguments([(4, 6), (2, 3)], batch=batch, queries=queries)
    output, grads = gradients(function, arrays, torch.ones(batch, queries, 16, dtype=torch.float64))
    assert output.shape == (batch, queries, 16)
    assert [grad.shape for grad in grads] == [arrays[0].shape, arrays[2].shape, arrays[3].shape]
    assert not grads[0].any()


@pytest.mark.parametrize("function", BOTH)
def test_ms_deform_attn__far_and_infinite_locations__contribute_nothing(function):
    """Undefined conversion to integers, inf - inf, or gradients from points outside."""
    value, shapes, locations, weights = random_arguments([(3, 4)], dtype=torch.float32, points=6)
    near = locations.clone()
    near[..., 1:, :] = -1.0  # outside, harmless
    far = near.clone()
    for point, place in enumerate([(1e6, 0.5), (0.5, -1e9), (3e38, -3e38), (float("inf"), 0.5), (0.5, float("-inf"))], start=1):
        far[..., point, :] = torch.tensor(place)
    grad = torch.ones(2, 5, 16)
    expected, wanted = gradients(function, [value, shapes, near, weights], grad)
    output, found = gradients(function, [value, shapes, far, weights], grad)
    assert torch.isfinite(output).all()
    torch.testing.assert_close(output, expected)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("function", BOTH)
@pytest.mark.parametrize("poisoned", [2, 3])
def test_ms_deform_attn__not_a_number__shows(poisoned, function):
    """A diverged network that looks healthy because its samples fell outside the map."""
    arrays = random_arguments([(3, 4)], dtype=torch.float32)
    arrays[2][:] = 5.0
    arrays[poisoned][0, 0, 0] = float("nan")
    output = function(*arrays)
    assert output[0, 0, :8].isnan().all()
    assert output[0, 0, 8:].isfinite().all()


@settings(max_examples=60, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=3),
    channels=st.sampled_from([1, 3, 4, 8, 16, 32]),
    sizes=st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 2), st.integers(1, 2)),
    seed=st.integers(0, 2**20),
    double=st.booleans(),
)
def test_ms_deform_attn__random_problem__equals_loop_over_pixels(shapes, channels, sizes, seed, double):
    """An error for one channel count, an empty or one-pixel level, or an odd size, in the compiled op or the reference."""
    batch, queries, heads, points = sizes
    dtype = torch.float64 if double else torch.float32
    arrays = random_arguments(shapes, batch, queries, heads, points, channels, dtype, seed)
    expected = by_hand(arrays[0].double().numpy(), shapes, arrays[2].double().numpy(), arrays[3].double().numpy())
    for function in (ms_deform_attn, ms_deform_attn_reference):
        assert_close(function(*arrays), expected, 1e-12 if double else 1e-5)
    grad = torch.randn(batch, queries, heads * channels, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    _, found = gradients(ms_deform_attn, arrays, grad)
    _, by_autograd = gradients(ms_deform_attn_reference, arrays, grad)
    written_out = ms_deform_attn_reference_backward(grad, *arrays)
    for one, other, third in zip(found, by_autograd, written_out, strict=True):
        assert_close(one, other, 1e-11 if double else 1e-4)
        assert_close(third, other, 1e-11 if double else 1e-4)


@needs_binary
@pytest.mark.parametrize("channels", [3, 4, 8, 16, 32, 64])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_ms_deform_attn__many_queries__equals_reference(channels, dtype):
    """An error in a path of the kernel taken only for one channel count or for more samples than pixels."""
    arrays = random_arguments([(5, 6), (3, 2)], queries=40, channels=channels, dtype=dtype)
    grad = torch.randn(2, 40, 2 * channels, dtype=dtype)
    output, grads = gradients(ms_deform_attn, arrays, grad)
    expected, wanted = gradients(ms_deform_attn_reference, arrays, grad)
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    assert_close(output, expected, tolerance)
    for one, other in zip(grads, wanted, strict=True):
        assert_close(one, other, tolerance)


@pytest.mark.parametrize("function", BOTH)
def test_ms_deform_attn__views_of_all_kinds__same_result_and_gradients(function):
    """A kernel that walks memory without looking at the strides."""
    arrays = case("op-non-contiguous")
    value, shapes, locations, weights = arguments(arrays)
    weights = weights[:1].expand_as(weights)  # stride 0 over the batch
    plain = [value, shapes, locations, weights.contiguous()]
    wide = torch.stack([locations, torch.full_like(locations, 77.0)], -1).flatten(-2)[..., ::2]
    table = torch.cat([torch.full_like(shapes, 9), shapes, torch.full_like(shapes, 9)], 1)[:, 2:4]
    views = [value.permute(0, 2, 1, 3).contiguous().permute(0, 2, 1, 3), table, wide, weights]
    assert not any(view.is_contiguous() for view in views)
    grad = torch.randn(5, 2, 8).transpose(0, 1)
    expected, wanted = gradients(function, plain, grad.contiguous())
    torch.testing.assert_close(function(*views), expected)
    leaves = [view.detach().requires_grad_() for view in (views[0], views[2], views[3])]
    found = torch.autograd.grad(function(leaves[0], table, leaves[1], leaves[2]), leaves, grad)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other)


def test_ms_deform_attn__stored_views_case__exact():
    """The same case against its stored numbers, so that views and plain arrays cannot be wrong together."""
    arrays = case("op-non-contiguous")
    value, shapes, locations, weights = arguments(arrays)
    result = ms_deform_attn(value.transpose(1, 2).contiguous().transpose(1, 2), shapes, locations, weights)
    torch.testing.assert_close(result, arrays["expected"].float(), rtol=1e-5, atol=1e-5)


@needs_binary
def test_ms_deform_attn__other_thread_count__same_bits():
    """Sums whose order depends on the threads: runs that cannot be repeated."""
    arrays = random_arguments([(20, 24), (10, 12)], queries=300, heads=4, channels=16, dtype=torch.float32)
    grad = torch.randn(2, 300, 64)
    before, results = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 7):
            torch.set_num_threads(threads)
            output, grads = gradients(ms_deform_attn, arrays, grad)
            results.append((output, *grads))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert all(torch.equal(a, b) for a, b in zip(results[0], other, strict=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_ms_deform_attn__half_precision__computed_in_float32(dtype):
    """Half-precision sums, or a refusal to run."""
    arrays = [a.to(dtype) if a.is_floating_point() else a for a in random_arguments([(4, 6), (2, 3)], dtype=torch.float32)]
    expected = ms_deform_attn_reference(*(a.float() if a.is_floating_point() else a for a in arrays))
    result = ms_deform_attn(*arrays)
    assert result.dtype == dtype
    torch.testing.assert_close(result, expected.to(dtype))


def test_ms_deform_attn__shapes_as_pairs__same_result():
    """Python ints, promised for export, read differently from a tensor."""
    value, shapes, locations, weights = random_arguments([(4, 6), (2, 3)])
    expected = ms_deform_attn(value, shapes, locations, weights)
    assert torch.equal(ms_deform_attn(value, [(4, 6), (2, 3)], locations, weights), expected)
    torch.testing.assert_close(ms_deform_attn_reference(value, [(4, 6), (2, 3)], locations, weights), expected)


def test_ms_deform_attn__rows_do_not_fit__error_names_both_numbers():
    """An illegal memory access instead of a message."""
    arrays = case("op-wrong-shapes")
    with pytest.raises(OperatorError, match=r"value has 29 rows but spatial_shapes .* sum to 30") as caught:
        ms_deform_attn(*arguments(arrays))
    assert "\n" not in str(caught.value)


def replaced(position, change):
    arrays = random_arguments([(4, 6), (2, 3)], dtype=torch.float32)
    arrays[position] = change(arrays[position])
    return arrays


@pytest.mark.parametrize(
    ("position", "change", "words"),
    [
        (0, lambda t: t[0], "value has 3 dimensions"),
        (0, lambda t: t[:1], "sampling_locations .* B = 2 but value has 1"),
        (0, lambda t: t.long(), "value is torch.int64"),
        (0, lambda t: t.double(), "sampling_locations is torch.float32 but value is torch.float64"),
        (0, lambda t: t.to("meta"), "sampling_locations is on cpu but value on meta"),
        (1, lambda t: t.int(), "spatial_shapes is torch.int32"),
        (1, lambda t: t[:1], "sampling_locations .* L = 2 but spatial_shapes has 1"),
        (1, lambda t: t[:, :1], "spatial_shapes .* 2 = 1 but .* has 2"),
        (1, lambda t: -t, "negative size"),
        (1, lambda t: [(4, 6), (2,)], "spatial_shapes is .* Expected"),
        (1, lambda t: t.to("meta"), "spatial_shapes is on meta but value on cpu"),
        (2, lambda t: t[..., :1], "sampling_locations .* 2 = 1"),
        (2, lambda t: t[:, :, :1], "sampling_locations .* M = 1 but value has 2"),
        (3, lambda t: t[:, :4], "attention_weights .* Q = 4 but sampling_locations has 5"),
        (3, lambda t: t[..., :2], "attention_weights .* P = 2 but sampling_locations has 3"),
        (3, lambda t: t.half(), "attention_weights is torch.float16 but value is torch.float32"),
    ],
)
def test_ms_deform_attn__wrong_argument__error_names_it(position, change, words):
    """A foreign traceback, or a read past the end of an array."""
    with pytest.raises(OperatorError, match=words) as caught:
        ms_deform_attn(*replaced(position, change))
    assert str(caught.value).startswith("ms_deform_attn: ")
    assert "\n" not in str(caught.value)


@needs_binary
@pytest.mark.parametrize(
    ("position", "change", "words"),
    [
        (0, lambda t: t[:, :29], "value has 29 rows"),
        (0, lambda t: torch.cat([t, t], 1), "value has 60 rows but spatial_shapes sum to 30"),
        (0, lambda t: t.half(), "float32 or float64"),
        (1, lambda t: -t, "need more"),
        (1, lambda t: t * 2**31, "need more"),
        (2, lambda t: t[:, :4], "attention_weights have size 5 in dimension 1 but sampling_locations 4"),
        (2, lambda t: t.double(), "one dtype"),
        (3, lambda t: t[0], "dimensions"),
    ],
)
def test_operator__called_past_the_checks__refuses(position, change, words):
    """A compiled program, which skips the Python checks, that reads past the end of an array."""
    arrays = replaced(position, change)
    with pytest.raises(RuntimeError, match=words):
        torch.ops.dense.ms_deform_attn(*arrays)
    with pytest.raises(RuntimeError, match=words):
        torch.ops.dense.ms_deform_attn_backward(torch.ones(2, 5, 16), *arrays)
