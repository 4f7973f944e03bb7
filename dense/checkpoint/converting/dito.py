"""DITO's JAX parameter trees: paths such as ``vision_model/transformer/resblocks.0/ln_1/scale``, arrays in JAX's order of axes.

Ours are the detector's names (``backbone.``, ``frozen_backbone.``, ``pyramid.``, ``proposal_head.``, ``box_head.``,
``mask_head.``, ``temperature``) and, where the tree has ``visual/`` in place of ``vision_model/``, the pretrainer's. Beyond the
order of axes: kernels of deconvolutions are turned by 180°; the linear layer of the box head reads rows, columns, channels
there and channels, rows, columns here; box corrections begin with y there.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor

from dense.checkpoint.converting.layout import Converted, Layout, join_thirds, split_thirds
from dense.errors import CheckpointError

__all__ = ["DITO", "from_ours", "to_ours"]

_HEAD_WIDTH = 64  # channels of an attention head in every published size
_REGION = 7  # side of a region that the box head reads, cells
_Y_FIRST = [1, 0, 3, 2]  # dy, dx, dh, dw ↔ dx, dy, dw, dh

#: what may stand before a tree; other paths with the same end are states of an optimiser
_ROOT = r"(?:(?:optimizer|target|model_state|params|weights)/)*(?:task_heads_0/)?"
_MARK = re.compile(_ROOT + r"(?:visual|vision_model)/transformer/resblocks\.0/attn/query/kernel")
_PRETRAINED, _TRAINED, _HEADS = "visual/", "vision_model/", "task_heads_0/"

_QKV = [([f".attn.{part}.{leaf}" for part in ("query", "key", "value")], f".attn.qkv.{leaf}") for leaf in ("weight", "bias")]

Change = Callable[[Tensor], Tensor]


def _same(tensor: Tensor) -> Tensor:
    return tensor


@dataclass(frozen=True)
class _Leaf:
    """One tensor of a layer: its name there and here, and how it is turned."""

    theirs: str
    ours: str
    there: Change = _same
    here: Change = _same


def _cells(kernel: Tensor) -> Tensor:
    if kernel.shape[0] % _REGION**2:
        raise CheckpointError(f"fc6: {kernel.shape[0]} inputs, expected a multiple of {_REGION} x {_REGION} cells.")
    return kernel.unflatten(0, (_REGION, _REGION, -1))  # (row, column, channel, output)


def _split_heads(tensor: Tensor, dim: int, width: int) -> Tensor:
    if tensor.shape[dim] % width:
        raise CheckpointError(
            f"attention: {tensor.shape[dim]} channels, expected a multiple of {width}, a head's, as JAX has it."
        )
    return tensor.unflatten(dim, (-1, width))


_BIAS = _Leaf("bias", "bias")
_NORM = (_Leaf("scale", "weight"), _BIAS)
_LINEAR = (_Leaf("kernel", "weight", lambda w: w.t(), lambda k: k.t()), _BIAS)
_CONV = (_Leaf("kernel", "weight", lambda w: w.permute(2, 3, 1, 0), lambda k: k.permute(3, 2, 0, 1)), _BIAS)
_DECONV = (
    _Leaf("kernel", "weight", lambda w: w.permute(2, 3, 0, 1).flip(0, 1), lambda k: k.flip(0, 1).permute(2, 3, 0, 1)),
    _BIAS,
)
_REGION_LINEAR = (
    _Leaf(
        "kernel",
        "weight",
        lambda w: w.unflatten(1, (-1, _REGION, _REGION)).permute(2, 3, 1, 0).flatten(0, 2),
        lambda k: _cells(k).permute(3, 2, 0, 1).flatten(1),
    ),
    _BIAS,
)
_BOXES = (
    _Leaf("kernel", "weight", lambda w: w[_Y_FIRST].t(), lambda k: k[:, _Y_FIRST].t()),
    _Leaf("bias", "bias", lambda b: b[_Y_FIRST], lambda b: b[_Y_FIRST]),
)


def _attention(width: int) -> tuple[tuple[_Leaf, ...], tuple[_Leaf, ...]]:
    """Leaves of a projection to heads of ``width`` channels, and of the one back."""
    to_heads = (
        _Leaf("kernel", "weight", lambda w: _split_heads(w.t(), 1, width), lambda k: k.flatten(1).t()),
        _Leaf("bias", "bias", lambda b: _split_heads(b, 0, width), lambda b: b.flatten()),
    )
    return to_heads, (_Leaf("kernel", "weight", lambda w: _split_heads(w.t(), 0, width), lambda k: k.flatten(0, 1).t()), _BIAS)


def _transformer(width: int) -> Iterator[tuple[str, str, tuple[_Leaf, ...]]]:
    """Layers of a transformer: name here, path there, leaves; ``{}`` is the number of a block."""
    to_heads, from_heads = _attention(width)
    ours, theirs = "blocks.{}.", "transformer/resblocks.{}/"
    yield "patch_embed.proj.", "conv1/", _CONV
    yield "norm.", "ln_post/", _NORM
    for part in ("query", "key", "value"):
        yield f"{ours}attn.{part}.", f"{theirs}attn/{part}/", to_heads
    yield f"{ours}attn.proj.", f"{theirs}attn/out/", from_heads
    yield f"{ours}norm1.", f"{theirs}ln_1/", _NORM
    yield f"{ours}norm2.", f"{theirs}ln_2/", _NORM
    yield f"{ours}mlp.fc1.", f"{theirs}mlp/c_fc/", _LINEAR
    yield f"{ours}mlp.fc2.", f"{theirs}mlp/c_proj/", _LINEAR
    table = _Leaf("positional_embedding", "pos_embed", lambda table: table.squeeze(0), lambda table: table.unsqueeze(0))
    yield "", "", (table,)


def _pyramid() -> Iterator[tuple[str, str, tuple[_Leaf, ...]]]:
    for number, place in enumerate(("p2.resample.0.", "p2.resample.3.", "p3.resample.0.")):
        yield f"pyramid.{place}", f"feature_pyramid_fn/ConvTranspose_{number}/", _DECONV
    yield "pyramid.p2.resample.1.", "feature_pyramid_fn/simfpn-l2-ln-d2/", _NORM
    for number, level in enumerate(range(2, 6)):
        yield f"pyramid.p{level}.reduce.", f"feature_pyramid_fn/Conv_{2 * number}/", _CONV
        yield f"pyramid.p{level}.smooth.", f"feature_pyramid_fn/Conv_{2 * number + 1}/", _CONV
        for norm in (1, 2):
            yield f"pyramid.p{level}.norm{norm}.", f"feature_pyramid_fn/simfpn-l{level}-ln-out-{norm}/", _NORM


def _heads() -> Iterator[tuple[str, str, tuple[_Leaf, ...]]]:
    proposals, boxes, masks = "region_proposal_head_fn/", "fastrcnn_head_fn/", "maskrcnn_head_fn/"
    for number, end in enumerate(("", "-1")):
        yield f"proposal_head.convs.{number}.", f"{proposals}rpn{end}/", _CONV
        for level in range(2, 6):
            norm = f"{proposals}SubRpnHead_{level - 2}/rpn-l{level}-bn{end}/"
            yield f"proposal_head.norms.p{level}.{number}.", norm, _NORM
    yield "proposal_head.score.", f"{proposals}rpn-class/", _CONV
    yield "proposal_head.distances.", f"{proposals}rpn-box/", _CONV
    yield "box_head.convs.{}.", f"{boxes}conv_{{}}/", _CONV
    yield "box_head.norms.{}.", f"{boxes}conv_{{}}_bn/", _NORM
    yield "box_head.linear.", f"{boxes}fc6/", _REGION_LINEAR
    yield "box_head.norm.", f"{boxes}fc6_bn/", _NORM
    yield "box_head.embed.", f"{boxes}class-predict/", _LINEAR
    yield "box_head.deltas.", f"{boxes}box-predict/", _BOXES
    yield "mask_head.convs.{}.", f"{masks}mask-conv-l{{}}/", _CONV
    yield "mask_head.norms.{}.", f"{masks}mask-conv-l{{}}-bn/", _NORM
    yield "mask_head.enlarge.", f"{masks}conv5-mask/", _DECONV
    yield "mask_head.norm.", f"{masks}conv5-mask-bn/", _NORM
    yield "mask_head.logits.", f"{masks}mask_fcn_logits/", _CONV
    yield "", "", (_Leaf("temperature", "temperature"),)


def _rules(width: int = _HEAD_WIDTH) -> list[_Leaf]:
    """Every tensor of a tree with whole names; ``{}`` stands for a number."""
    places = (("backbone.", _TRAINED), ("backbone.", _PRETRAINED), ("frozen_backbone.", "frozen_vision_model/"))
    layers = [(f"{a}{ours}", f"{b}{theirs}", leaves) for a, b in places for ours, theirs, leaves in _transformer(width)]
    layers += [(ours, f"{_HEADS}{theirs}", leaves) for part in (_pyramid(), _heads()) for ours, theirs, leaves in part]
    return [
        _Leaf(f"{theirs}{leaf.theirs}", f"{ours}{leaf.ours}", leaf.there, leaf.here)
        for ours, theirs, leaves in layers
        for leaf in leaves
    ]


def _pattern(template: str, root: str = "") -> re.Pattern[str]:
    return re.compile(root + re.escape(template).replace(r"\{\}", r"(\d+)"))


def _apply(tensors: Mapping[str, Tensor], rules: list[tuple[re.Pattern[str], str, Change]]) -> Converted:
    """Give each tensor the name and order of axes of the first rule that fits its whole name; without one it is dropped.

    Raises: CheckpointError if two names become one.
    """
    result, origin = Converted({}), dict[str, str]()
    for name, tensor in tensors.items():
        found = next(((match, new, turn) for pattern, new, turn in rules if (match := pattern.fullmatch(name))), None)
        if found is None:
            result.dropped.append(name)
            continue
        match, template, change = found
        new = template.format(*match.groups())
        if new in origin:
            raise CheckpointError(f"{origin[new]} and {name} both mean {new}. Remove one of them from the checkpoint.")
        origin[new] = name
        try:
            result.tensors[new] = change(tensor).contiguous()
        except (RuntimeError, IndexError) as error:  # another number of axes
            raise CheckpointError(f"{name}: shape {list(tensor.shape)} is not that of DITO's {template}.") from error
    return result


def to_ours(tensors: Mapping[str, Tensor]) -> Converted:
    """Conversion to our names; the text tower, whose names are not published, and states of an optimiser are dropped.

    Raises: CheckpointError if two paths mean the same, or a shape is impossible.
    """
    rules = [(_pattern(rule.theirs.removeprefix(_HEADS), _ROOT), rule.ours, rule.here) for rule in _rules()]
    converted = _apply(tensors, rules)
    for parts, whole in _QKV:
        converted = Converted(join_thirds(converted.tensors, parts, whole), converted.dropped)
    return converted


def from_ours(tensors: Mapping[str, Tensor], head_width: int = _HEAD_WIDTH) -> Converted:
    """Conversion back; a file with neither proposals nor a frozen backbone is written as a pretrainer's, with ``visual/``.

    Args:
        tensors: the detector's or the pretrainer's; text tower and temperature of the latter have no place.
        head_width: channels of an attention head.

    Raises: CheckpointError if the width of a transformer is no multiple of ``head_width``.
    """
    is_detector = any(name.startswith(("frozen_backbone.", "proposal_head.")) for name in tensors)
    other = _PRETRAINED if is_detector else _TRAINED
    rules = [(_pattern(rule.ours), rule.theirs, rule.there) for rule in _rules(head_width) if not rule.theirs.startswith(other)]
    apart = dict(tensors)
    for parts, whole in _QKV:
        apart = split_thirds(apart, parts, whole)
    return _apply(apart, rules)


def _recognises(names: Collection[str]) -> bool:
    return any(_MARK.fullmatch(name) for name in names)


DITO = Layout("dito", "DITO's JAX parameters by path (.npz, Flax)", _recognises, to_ours, from_ours)
