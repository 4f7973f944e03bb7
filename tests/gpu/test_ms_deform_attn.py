"""Multi-scale deformable attention on a CUDA device: against the CPU, against the reference, and its own promises."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dense.errors import OperatorError
from dense.ops import library, ms_deform_attn, ms_deform_attn_reference, status

ROOT = Path(__file__).resolve().parents[2]
SHAPES = [(23, 40), (12, 20), (6, 10)]

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.fixture(autouse=True)
def _kernels():
    """Not a skip: with a GPU and without kernels every test would pass on the fallback."""
    if not library.has_kernel("ms_deform_attn", "cuda:0"):
        pytest.fail(f"CUDA kernels: {status().cuda}. Build them: DENSE_CUDA=1 python -m dense build-ops")


def problem(dtype=torch.float32, shapes=SHAPES, batch=2, queries=50, heads=4, points=4, channels=32, seed=0):
    """Arguments and a gradient of the output, on the CPU."""
    generator = torch.Generator().manual_seed(seed)
    rows = sum(height * width for height, width in shapes)
    value = torch.randn(batch, rows, heads, channels, generator=generator, dtype=torch.float64)
    locations = torch.rand(batch, queries, heads, len(shapes), points, 2, generator=generator, dtype=torch.float64) * 1.4 - 0.2
    weights = torch.rand(batch, queries, heads, len(shapes) * points, generator=generator, dtype=torch.float64).softmax(-1)
    grad_output = torch.randn(batch, queries, heads * channels, generator=generator, dtype=torch.float64)
    weights = weights.unflatten(-1, (len(shapes), points))
    value, locations, weights, grad_output = (t.to(dtype) for t in (value, locations, weights, grad_output))
    return value, torch.tensor(shapes, dtype=torch.int64).reshape(-1, 2), locations, weights, grad_output


def results(arrays, function=ms_deform_attn, device="cuda", shapes_device=None):
    """Output and gradients, brought to the CPU."""
    value, shapes, locations, weights, grad_output = arrays
    leaves = [tensor.to(device).detach().requires_grad_() for tensor in (value, locations, weights)]
    output = function(leaves[0], shapes.to(shapes_device or device), leaves[1], leaves[2])
    gradients = torch.autograd.grad(output, leaves, grad_output.to(device))
    return [tensor.detach().cpu() for tensor in (output, *gradients)]


def assert_agree(found, expected, tolerance):
    for name, one, other in zip(("output", "value", "locations", "weights"), found, expected, strict=True):
        assert one.shape == other.shape
        if other.numel():
            worst = (one.double() - other.double()).abs().max() / max(1.0, float(other.double().abs().max()))
            assert worst <= tolerance, f"{name}: {worst:.1e} > {tolerance}"


@pytest.mark.parametrize("shapes_device", ["cpu", "cuda"])
@pytest.mark.parametrize("channels", [1, 3, 4, 8, 16, 24, 32, 48, 64, 70, 264])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_ms_deform_attn__each_channel_count__equals_cpu(dtype, tolerance, channels, shapes_device):
    """An error in the split over threads, in a vector load or in the exchange of sums."""
    arrays = problem(dtype, channels=channels, seed=channels)
    assert_agree(results(arrays, shapes_device=shapes_device), results(arrays, device="cpu"), tolerance)


@pytest.mark.parametrize("channels", [3, 4, 8, 32, 64])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_ms_deform_attn__half_precision__summed_in_float32(dtype, channels):
    """Sums in half precision: the exact result of the same inputs is missed by more than the rounding at the end."""
    arrays = problem(dtype, channels=channels, queries=400)
    found = results(arrays)
    assert all(tensor.dtype == dtype for tensor in found)
    exact = [t.double() if t.is_floating_point() else t for t in arrays]
    assert_agree(found, results(exact, device="cpu"), 1e-3 if dtype == torch.float16 else 8e-3)


def test_ms_deform_attn__small_float64__passes_gradcheck():
    """A derivative that is wrong in a way the CPU kernel shares."""
    value, shapes, locations, weights, _ = problem(torch.float64, [(3, 4), (2, 2)], queries=3, heads=2, points=2, channels=4)
    sizes = shapes.flip(1)[:, None].double()
    cells = (locations * sizes - 0.5).floor()  # a tenth of a pixel away from where the derivative jumps
    locations = (cells + 0.1 + 0.8 * torch.rand_like(locations) + 0.5) / sizes
    leaves = [tensor.cuda().requires_grad_() for tensor in (value, locations, weights)]
    assert torch.autograd.gradcheck(
        lambda v, p, w: ms_deform_attn(v, shapes, p, w), leaves, nondet_tol=1e-12
    )  # atomic additions


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_operator__on_cuda__passes_opcheck(dtype):
    """A fake kernel whose shapes, strides or dtypes are not those of the CUDA kernel."""
    value, shapes, locations, weights, grad_output = (
        t.cuda() for t in problem(dtype, [(3, 4), (2, 2)], queries=3, heads=2, points=2, channels=4)
    )
    arrays = (value.requires_grad_(), shapes, locations.requires_grad_(), weights.requires_grad_())
    tests = ("test_schema", "test_autograd_registration", "test_faketensor", "test_aot_dispatch_dynamic")
    torch.library.opcheck(torch.ops.dense.ms_deform_attn.default, arrays, test_utils=tests, atol=1e-3, rtol=1e-3)
    plain = [tensor.detach() for tensor in arrays]
    torch.library.opcheck(
        torch.ops.dense.ms_deform_attn_backward.default, (grad_output, *plain), test_utils=tests, atol=1e-3, rtol=1e-3
    )


@pytest.mark.parametrize(("batch", "queries", "points"), [(2, 0, 4), (0, 5, 4), (0, 0, 4), (2, 5, 0)])
def test_ms_deform_attn__nothing_to_do__zeros_and_no_launch_error(batch, queries, points):
    """An empty grid, which is an error of CUDA that would show up in the next operation."""
    arrays = problem(batch=batch, queries=queries, points=points)
    output, *gradients = results(arrays)
    torch.cuda.synchronize()
    assert output.shape == (batch, queries, 128)
    assert not output.any()
    assert not gradients[0].any()


def test_ms_deform_attn__no_levels__zeros():
    """Memory that is returned as it was found."""
    arrays = problem(shapes=[], queries=7)
    assert not results(arrays)[0].any()


def test_ms_deform_attn__more_blocks_than_one_launch_has__all_items_done():
    """Items past the last block: the loop in strides is never run by small problems. Also a batch that divides nothing."""
    arrays = problem(shapes=[(4, 5)], batch=130, queries=2100, heads=8, points=1)  # 2.2 million items of 8 lanes
    assert 130 * 2100 * 8 > 2**16 * 256 // 8
    found = results(arrays)
    assert_agree([t[-3:] for t in found], results([a[-3:] if a.dim() != 2 else a for a in arrays], device="cpu"), 2e-5)


@pytest.mark.parametrize("shapes_device", ["cpu", "cuda"])
def test_ms_deform_attn__many_levels__equals_cpu(shapes_device):
    """A table of levels that is full: sixteen are passed by value, more through memory."""
    for count in (15, 16, 17, 60):
        shapes = [(1 + i % 3, 1 + i % 4) if i % 7 else (0, 3) for i in range(count)]
        arrays = problem(torch.float64, shapes, queries=9, points=2, channels=8)
        assert_agree(results(arrays, shapes_device=shapes_device), results(arrays, device="cpu"), 1e-12)


def test_ms_deform_attn__views_of_all_kinds__same_as_contiguous():
    """A kernel that walks memory without looking at the strides, or reads a pack from an address that is not aligned."""
    value, shapes, locations, weights, grad_output = (t.cuda() for t in problem())
    expected = ms_deform_attn(value, shapes, locations, weights)
    shifted = torch.empty(value.numel() + 1, device="cuda")[1:].view(value.shape).copy_(value)
    strided = torch.stack([locations, torch.full_like(locations, 77.0)], -1).flatten(-2)[..., ::2]
    table = torch.cat([torch.full_like(shapes, 9), shapes], 1)[:, 2:]
    turned = value.transpose(1, 2).contiguous().transpose(1, 2)
    assert shifted.data_ptr() % 16
    for other in (shifted, turned):
        torch.testing.assert_close(ms_deform_attn(other, table, strided, weights), expected)
    plain = torch.ops.dense.ms_deform_attn_backward(grad_output, value, shapes, locations, weights)
    wide = torch.stack([grad_output, grad_output], -1)[..., 0]
    for one, other in zip(torch.ops.dense.ms_deform_attn_backward(wide, shifted, table, strided, weights), plain, strict=True):
        torch.testing.assert_close(one, other)


def test_ms_deform_attn__far_infinite_and_nan_locations__as_on_the_cpu():
    """A float that does not fit an integer: undefined, and on a GPU a read from anywhere."""
    value, shapes, locations, weights, grad_output = problem(points=6)
    places = [(1e6, 0.5), (0.5, -1e9), (3e38, -3e38), (float("inf"), 0.5), (0.5, float("-inf"))]
    locations[..., 1:, :] = torch.tensor(places)
    arrays = (value, shapes, locations, weights, grad_output)
    found = results(arrays)
    assert all(tensor.isfinite().all() for tensor in found)
    assert_agree(found, results(arrays, device="cpu"), 1e-5)
    locations[0, 0, 0, 0, 0] = float("nan")
    output = results(arrays)[0]
    assert output[0, 0, :32].isnan().all()
    assert output[0, 0, 32:].isfinite().all()


def test_ms_deform_attn__deterministic_algorithms__same_bits_each_time():
    """Atomic additions although they were forbidden, or a slow path that computes something else."""
    arrays = problem(shapes=[(4, 5), (2, 3)], queries=3000)
    usual = results(arrays)
    torch.use_deterministic_algorithms(True)
    try:
        runs = [results(arrays) for _ in range(5)]
    finally:
        torch.use_deterministic_algorithms(False)
    for other in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], other, strict=True))
    assert_agree(runs[0], usual, 1e-5)


def test_ms_deform_attn__wrong_arguments__refused_before_a_launch():
    """A read past the end of an array of the device."""
    value, shapes, locations, weights, grad_output = (t.cuda() for t in problem())
    with pytest.raises(OperatorError, match="rows"):
        ms_deform_attn(value, shapes.cpu() + 1, locations, weights)
    with pytest.raises(OperatorError, match="on cpu"):
        ms_deform_attn(value, shapes, locations.cpu(), weights)
    for change, words in [
        (lambda a: a | {"shapes": shapes.cpu() + 1}, "rows"),
        (lambda a: a | {"locations": locations.cpu()}, "device"),
        (lambda a: a | {"weights": weights[:, :1]}, "attention_weights"),
        (lambda a: a | {"weights": weights.double()}, "one dtype"),
        (lambda a: a | {"shapes": shapes[:2]}, "do not fit"),
    ]:
        given = change({"value": value, "shapes": shapes, "locations": locations, "weights": weights})
        with pytest.raises(RuntimeError, match=words):
            torch.ops.dense.ms_deform_attn(*given.values())
        with pytest.raises(RuntimeError, match=words):
            torch.ops.dense.ms_deform_attn_backward(grad_output, *given.values())
    with pytest.raises(RuntimeError, match="grad_output"):
        torch.ops.dense.ms_deform_attn_backward(grad_output.cpu(), value, shapes, locations, weights)
    torch.cuda.synchronize()


def test_ms_deform_attn__wrong_shapes_on_the_device__assertion_not_silence():
    """Shapes that only the device knows and that lead past the end of value; in another process, since the context is lost."""
    code = (
        "import torch; from dense.ops import ms_deform_attn\n"
        "args = torch.ones(1, 20, 1, 4), torch.tensor([[5, 5]]), torch.ones(1, 1, 1, 1, 1, 2), torch.ones(1, 1, 1, 1, 1)\n"
        "print(ms_deform_attn(*(a.cuda() for a in args)).sum().item())\n"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert "spatial_shapes do not sum to the rows" in run.stderr + run.stdout


def test_ms_deform_attn__autocast__float32_inside_and_dtype_of_value_outside():
    """Mixed dtypes that autocast makes, refused or computed in half precision."""
    value, shapes, locations, weights, _ = (t.cuda() for t in problem())
    half = value.half()
    expected = ms_deform_attn_reference(half.float(), shapes, locations, weights)
    with torch.autocast("cuda", dtype=torch.float16):
        result = ms_deform_attn(half, shapes, locations, weights)
        direct = torch.ops.dense.ms_deform_attn(half, shapes, locations, weights)
    assert result.dtype == torch.float16
    assert direct.dtype == torch.float32
    torch.testing.assert_close(direct, expected)
    torch.testing.assert_close(result, expected.half())


def test_ms_deform_attn__side_stream__ordered_after_its_inputs():
    """A launch on the default stream, which does not wait for inputs written on another."""
    value, shapes, locations, weights, _ = (t.cuda() for t in problem(queries=2000))
    expected = ms_deform_attn(value, shapes, locations, weights)
    stream = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        torch.cuda._sleep(200_000_000)
        late = value * 2
        result = ms_deform_attn(late, shapes, locations, weights)
    stream.synchronize()
    torch.testing.assert_close(result, 2 * expected)


def test_ms_deform_attn__captured_in_a_graph__replays_with_new_values():
    """A copy or a wait inside, which a CUDA graph forbids; shapes on the host, too."""
    value, shapes, locations, weights, _ = (t.cuda() for t in problem())
    shapes = shapes.cpu()
    ms_deform_attn(value, shapes, locations, weights)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = ms_deform_attn(value, shapes, locations, weights)
    value.mul_(3)
    graph.replay()
    torch.testing.assert_close(result, ms_deform_attn(value, shapes, locations, weights))


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="one device")
def test_ms_deform_attn__second_device__runs_there():
    """A launch on the current device instead of that of the arguments."""
    arrays = problem()
    assert_agree(results(arrays, device="cuda:1"), results(arrays, device="cpu"), 1e-5)
    assert torch.cuda.current_device() == 0


def test_ms_deform_attn__forward_and_backward__no_memory_beyond_results():
    """Buffers that grow with samples times channels, which the plain PyTorch version needs: 60 MB here."""
    arrays = [t.cuda() for t in problem(queries=5000)]
    value, shapes, locations, weights, grad_output = arrays
    for _ in range(2):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        output = ms_deform_attn(value, shapes, locations, weights)
        gradients = torch.ops.dense.ms_deform_attn_backward(grad_output, value, shapes, locations, weights)
        peak = torch.cuda.max_memory_allocated() - before
    results_size = sum(tensor.nbytes for tensor in (output, *gradients))
    assert peak < 2.5 * results_size + 2**20  # the last round's results are alive while the next are made


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_ms_deform_attn__compiled_with_gradients__equal_eager(backend):
    """A graph break, or a rule that holds on the CPU only."""
    compiled = torch.compile(ms_deform_attn, fullgraph=True, backend=backend)
    arrays = problem()
    assert_agree(results(arrays, compiled), results(arrays), 1e-5)
