"""Multi-scale deformable attention (Deformable DETR, eq. 3): public function, checks, and the operator's rules for torch.

The arithmetic is in ``csrc/cpu``, ``csrc/cuda`` (compiled) and ``reference.py`` (plain PyTorch). Torch knows the operator as
``torch.ops.dense.ms_deform_attn`` in all cases, so that programs compiled or exported with one run with the other.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from dense.errors import OperatorError
from dense.ops import library
from dense.ops.reference import ms_deform_attn_reference, ms_deform_attn_reference_backward

__all__ = ["ms_deform_attn"]

_NAME = "dense::ms_deform_attn"
_ARGUMENTS = "Tensor value, Tensor spatial_shapes, Tensor sampling_locations, Tensor attention_weights"
_SCHEMAS = (  # as in csrc/ms_deform_attn.cpp; a test holds them together
    f"ms_deform_attn({_ARGUMENTS}) -> Tensor",
    f"ms_deform_attn_backward(Tensor grad_output, {_ARGUMENTS}, bool deterministic=False) -> (Tensor, Tensor, Tensor)",
)


def ms_deform_attn(
    value: Tensor,
    spatial_shapes: Tensor | Sequence[tuple[int, int]],
    sampling_locations: Tensor,
    attention_weights: Tensor,
) -> Tensor:
    """Read each level at a few points around a query, bilinearly and with zeros outside, and sum with the given weights.

    Differentiable once by value, locations and weights; works under ``torch.compile``, ``torch.export`` and autocast. float16
    and bfloat16 are computed in float32, and so is everything under autocast. The number of CPU threads does not change a bit.
    On CUDA the gradient of ``value`` is summed in another order each run, unless ``torch.use_deterministic_algorithms`` is on:
    then always in the same one, more slowly.

    Args:
        value: ``(B, S, M, C)``, the levels flattened row by row and joined, ``S = Σ H·W``.
        spatial_shapes: ``(L, 2)`` int64 as (H, W) in pixels, on the CPU or the device of ``value``; a level may be empty. Or
            pairs of Python ints: then ``torch.export`` gets plain PyTorch, and the exported file needs no operator of ours.
            On a CUDA device their sum is checked there: wrong ones end in an assertion of the device.
        sampling_locations: ``(B, Q, M, L, P, 2)`` as (x, y), the whole level is [0, 1] (``align_corners=False``). Any value,
            even infinite; only a location that is not a number gives results that are not.
        attention_weights: ``(B, Q, M, L, P)``, used as given (no softmax here).

    Returns: ``(B, Q, M·C)``, dtype of ``value``.
    Raises: OperatorError if shapes, dtypes or devices do not fit; it names the argument and both numbers.
    """
    shapes = spatial_shapes if isinstance(spatial_shapes, Tensor) else _shape_tensor(spatial_shapes)
    device_type = value.device.type
    autocast = torch.amp.is_autocast_available(device_type) and torch.is_autocast_enabled(device_type)
    _check_sizes(value, shapes, sampling_locations, attention_weights)
    _check_kinds(value, shapes, sampling_locations, attention_weights, same_dtype=not autocast)
    traced = torch.compiler.is_compiling() or type(shapes) is not Tensor or value.is_meta
    if not traced and shapes.device.type == "cpu":  # on an accelerator, reading them would make the host wait
        _check_rows(value, shapes.tolist())
    result_dtype = value.dtype
    compiled = not traced and library.has_kernel("ms_deform_attn", value.device)
    half = value.dtype in (torch.float16, torch.bfloat16) and not (
        compiled and device_type == "cuda"
    )  # that casts in registers
    if autocast or half:
        value, sampling_locations, attention_weights = value.float(), sampling_locations.float(), attention_weights.float()
    if torch.compiler.is_exporting() and not isinstance(spatial_shapes, Tensor):
        result = ms_deform_attn_reference(value, spatial_shapes, sampling_locations, attention_weights)
    elif traced or compiled:
        result = torch.ops.dense.ms_deform_attn(value, shapes, sampling_locations, attention_weights)
    else:
        library.warn_once(device_type)
        result = ms_deform_attn_reference(value, spatial_shapes, sampling_locations, attention_weights)
    return result.to(result_dtype)


def _shape_tensor(shapes: Sequence[tuple[int, int]]) -> Tensor:
    try:
        return torch.tensor([[int(height), int(width)] for height, width in shapes], dtype=torch.int64).reshape(-1, 2)
    except (TypeError, ValueError) as error:
        raise OperatorError(f"ms_deform_attn: spatial_shapes is {shapes!r}. Expected (L, 2) int64 or pairs (H, W).") from error


def _check_sizes(value: Tensor, shapes: Tensor, locations: Tensor, weights: Tensor) -> None:
    """Compare all sizes that can be read off the shapes of the arguments."""
    expected = {"value": (value, "B, S, M, C"), "spatial_shapes": (shapes, "L, 2")}
    expected |= {"sampling_locations": (locations, "B, Q, M, L, P, 2"), "attention_weights": (weights, "B, Q, M, L, P")}
    for name, (tensor, letters) in expected.items():
        if tensor.dim() != letters.count(",") + 1:
            raise OperatorError(
                f"ms_deform_attn: {name} has {tensor.dim()} dimensions, {tuple(tensor.shape)}. Expected ({letters})."
            )
    known = {"B": ("value", value.shape[0]), "M": ("value", value.shape[2]), "L": ("spatial_shapes", shapes.shape[0])}
    known |= {"Q": ("sampling_locations", locations.shape[1]), "P": ("sampling_locations", locations.shape[4])}
    for name in ("spatial_shapes", "sampling_locations", "attention_weights"):
        tensor, letters = expected[name]
        for size, letter in zip(tensor.shape, letters.split(", "), strict=True):
            source, wanted = known.get(letter, ("(x, y) or (H, W)", 2))
            if size != wanted:
                text = f"ms_deform_attn: {name} {tuple(tensor.shape)} has {letter} = {size} but {source} has {wanted}."
                raise OperatorError(f"{text} Expected ({letters}).")


def _check_kinds(value: Tensor, shapes: Tensor, locations: Tensor, weights: Tensor, *, same_dtype: bool) -> None:
    """Check dtypes and devices."""
    if shapes.dtype != torch.int64:
        raise OperatorError(f"ms_deform_attn: spatial_shapes is {shapes.dtype}. Expected torch.int64 (H, W): use .long().")
    if shapes.device.type != "cpu" and shapes.device != value.device:
        raise OperatorError(
            f"ms_deform_attn: spatial_shapes is on {shapes.device} but value on {value.device}. Move it there or to the CPU."
        )
    if not value.is_floating_point():
        raise OperatorError(f"ms_deform_attn: value is {value.dtype}. Expected a floating-point dtype.")
    for name, tensor in (("sampling_locations", locations), ("attention_weights", weights)):
        if tensor.device != value.device:
            raise OperatorError(f"ms_deform_attn: {name} is on {tensor.device} but value on {value.device}. Move it there.")
        if same_dtype and tensor.dtype != value.dtype:
            raise OperatorError(f"ms_deform_attn: {name} is {tensor.dtype} but value is {value.dtype}. Use one dtype.")


def _check_rows(value: Tensor, shapes: list[list[int]]) -> None:
    """Compare the rows of ``value`` with the number of pixels of all levels."""
    if any(size < 0 for shape in shapes for size in shape):
        raise OperatorError(f"ms_deform_attn: spatial_shapes is {shapes}, with a negative size. Expected (H, W) in pixels.")
    rows = sum(height * width for height, width in shapes)
    if rows != value.shape[1]:
        text = f"ms_deform_attn: value has {value.shape[1]} rows but spatial_shapes {shapes} sum to {rows}."
        raise OperatorError(f"{text} Join the levels in the same order.")


def _fallback(value: Tensor, spatial_shapes: Tensor, sampling_locations: Tensor, attention_weights: Tensor) -> Tensor:
    return ms_deform_attn_reference(value, spatial_shapes, sampling_locations, attention_weights).contiguous()


def _fallback_backward(
    grad_output: Tensor,
    value: Tensor,
    spatial_shapes: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    deterministic: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    # Where grid_sample cannot be deterministic, it raises by itself.
    return ms_deform_attn_reference_backward(grad_output, value, spatial_shapes, sampling_locations, attention_weights)


def _fake(value: Tensor, spatial_shapes: Tensor, sampling_locations: Tensor, attention_weights: Tensor) -> Tensor:
    return value.new_empty(value.shape[0], sampling_locations.shape[1], value.shape[2] * value.shape[3])


def _fake_backward(
    grad_output: Tensor,
    value: Tensor,
    spatial_shapes: Tensor,
    sampling_locations: Tensor,
    attention_weights: Tensor,
    deterministic: bool = False,
) -> tuple[Tensor, Tensor, Tensor]:
    return value.new_empty(value.shape), value.new_empty(sampling_locations.shape), value.new_empty(attention_weights.shape)


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:  # noqa: ANN401  torch's context
    ctx.save_for_backward(*inputs)


def _differentiate(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:  # noqa: ANN401
    flag = (True,) if torch.are_deterministic_algorithms_enabled() else ()  # left out, a binary of older sources also serves
    by_value, by_locations, by_weights = torch.ops.dense.ms_deform_attn_backward(gradient, *ctx.saved_tensors, *flag)
    return by_value, None, by_locations, by_weights


def _no_second_derivative(ctx: Any, *gradients: Tensor) -> None:  # noqa: ANN401
    # Without this rule torch would go on with a wrong, zero derivative after a warning.
    raise OperatorError("ms_deform_attn: has no second derivative. Use dense.ops.ms_deform_attn_reference where you need one.")


def _register() -> torch.library.Library:
    """Tell torch all about the operator that the binary does not; the library must stay alive with this module."""
    fragment = torch.library.Library("dense", "FRAGMENT")
    if not library.status().loaded:
        for schema in _SCHEMAS:
            fragment.define(schema)
    # For every device without a kernel of its own.
    fragment.impl("ms_deform_attn", _fallback, "CompositeExplicitAutograd")
    fragment.impl("ms_deform_attn_backward", _fallback_backward, "CompositeExplicitAutograd")
    torch.library.register_fake(_NAME, _fake, lib=fragment)
    torch.library.register_fake(f"{_NAME}_backward", _fake_backward, lib=fragment)
    torch.library.register_autograd(_NAME, _differentiate, setup_context=_save, lib=fragment)
    torch.library.register_autograd(f"{_NAME}_backward", _no_second_derivative, lib=fragment)
    for device_type in ("cpu", "cuda"):
        torch.library.register_autocast(_NAME, device_type, torch.float32, lib=fragment)
    return fragment


_FRAGMENT = _register()
