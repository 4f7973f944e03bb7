"""``Mask2FormerForUniversalSegmentation`` of the transformers library (4 and 5), with a Swin or ResNet backbone.

There query, key and value are three matrices, here one; files keep the names of version 4, modules of version 5 have others in
the Swin part. ``--to transformers`` writes the names of files, which both versions read.
"""

from collections.abc import Collection, Mapping

from torch import Tensor

from dense.checkpoint.converting.detectron2 import is_counter
from dense.checkpoint.converting.layout import Converted, Layout, NameTable, join_thirds, rename_all, split_thirds

__all__ = ["TRANSFORMERS"]

_BACKBONE = "model.pixel_level_module.encoder."
_PIXEL = "model.pixel_level_module.decoder."
_QUERIES = "model.transformer_module."
_ENCODER_LAYER = "sem_seg_head.pixel_decoder.transformer.encoder.layers.{}."
_PREDICTOR = "sem_seg_head.predictor."

#: endings of the three parts, and of the whole
_THIRDS = [
    ((".attn.q.weight", ".attn.k.weight", ".attn.v.weight"), ".attn.qkv.weight"),
    ((".attn.q.bias", ".attn.k.bias", ".attn.v.bias"), ".attn.qkv.bias"),
    ((".self_attn.q.weight", ".self_attn.k.weight", ".self_attn.v.weight"), ".self_attn.in_proj_weight"),
    ((".self_attn.q.bias", ".self_attn.k.bias", ".self_attn.v.bias"), ".self_attn.in_proj_bias"),
]


def _swin_names() -> list[tuple[str, ...]]:
    """Ours, those of files, those of modules since version 5."""
    ours, files, modules = (
        "backbone.layers.{}.blocks.{}.",
        f"{_BACKBONE}encoder.layers.{{}}.blocks.{{}}.",
        f"{_BACKBONE}swin.encoder.layers.{{}}.blocks.{{}}.",
    )
    block = [
        ("norm1.", "layernorm_before.", "layernorm_before."),
        ("norm2.", "layernorm_after.", "layernorm_after."),
        ("attn.q.", "attention.self.query.", "attention.q_proj."),
        ("attn.k.", "attention.self.key.", "attention.k_proj."),
        ("attn.v.", "attention.self.value.", "attention.v_proj."),
        ("attn.proj.", "attention.output.dense.", "attention.o_proj."),
        (
            "attn.relative_position_bias_table",
            "attention.self.relative_position_bias_table",
            "attention.relative_position_bias.relative_position_bias_table",
        ),
        ("mlp.fc1.", "intermediate.dense.", "mlp.fc1."),
        ("mlp.fc2.", "output.dense.", "mlp.fc2."),
    ]
    outside = [
        ("patch_embed.proj.", "embeddings.patch_embeddings.projection."),
        ("patch_embed.norm.", "embeddings.norm."),
        ("layers.{}.downsample.", "encoder.layers.{}.downsample."),
    ]
    return [
        *((f"{ours}{a}", f"{files}{b}", f"{modules}{c}") for a, b, c in block),
        *((f"backbone.{a}", f"{_BACKBONE}{b}", f"{_BACKBONE}swin.{b}") for a, b in outside),
        *((f"backbone.norm{i}.", f"{_BACKBONE}hidden_states_norms.stage{i + 1}.") for i in range(4)),
    ]


def _resnet_names() -> list[tuple[str, ...]]:
    convolutions = {"backbone.stem.conv1": f"{_BACKBONE}embedder.embedder"}
    for stage in range(4):
        theirs = f"{_BACKBONE}encoder.stages.{stage}.layers.{{}}."
        convolutions[f"backbone.res{stage + 2}.{{}}.shortcut"] = f"{theirs}shortcut"
        convolutions.update({f"backbone.res{stage + 2}.{{}}.conv{i + 1}": f"{theirs}layer.{i}" for i in range(3)})
    norms = [(f"{ours}.norm.", f"{theirs}.normalization.") for ours, theirs in convolutions.items()]
    return [*norms, *((f"{ours}.", f"{theirs}.convolution.") for ours, theirs in convolutions.items())]


def _pixel_decoder_names() -> list[tuple[str, ...]]:
    ours = "sem_seg_head.pixel_decoder."
    layer = [
        ("self_attn.", "self_attn."),
        ("norm1.", "self_attn_layer_norm."),
        ("norm2.", "final_layer_norm."),
        ("linear1.", "fc1."),
        ("linear2.", "fc2."),
    ]
    return [
        *((f"{_ENCODER_LAYER}{a}", f"{_PIXEL}encoder.layers.{{}}.{b}") for a, b in layer),
        (f"{ours}transformer.level_embed", f"{_PIXEL}level_embed"),
        (f"{ours}input_proj.", f"{_PIXEL}input_projections."),
        (f"{ours}mask_features.", f"{_PIXEL}mask_projection."),
        *((f"{ours}{kind}_{{}}.norm.", f"{_PIXEL}{kind}_{{}}.1.") for kind in ("adapter", "layer")),
        *((f"{ours}{kind}_{{}}.", f"{_PIXEL}{kind}_{{}}.0.") for kind in ("adapter", "layer")),
    ]


def _mask_decoder_names() -> list[tuple[str, ...]]:
    own = f"{_PREDICTOR}transformer_self_attention_layers.{{}}."
    cross = f"{_PREDICTOR}transformer_cross_attention_layers.{{}}."
    feed_forward = f"{_PREDICTOR}transformer_ffn_layers.{{}}."
    theirs = f"{_QUERIES}decoder.layers.{{}}."
    return [
        *((f"{own}self_attn.{part}.", f"{theirs}self_attn.{part}_proj.") for part in ("q", "k", "v")),
        (f"{own}self_attn.out_proj.", f"{theirs}self_attn.out_proj."),
        (f"{own}norm.", f"{theirs}self_attn_layer_norm."),
        (f"{cross}multihead_attn.", f"{theirs}cross_attn."),
        (f"{cross}norm.", f"{theirs}cross_attn_layer_norm."),
        (f"{feed_forward}linear1.", f"{theirs}fc1."),
        (f"{feed_forward}linear2.", f"{theirs}fc2."),
        (f"{feed_forward}norm.", f"{theirs}final_layer_norm."),
        (f"{_PREDICTOR}decoder_norm.", f"{_QUERIES}decoder.layernorm."),
        (f"{_PREDICTOR}mask_embed.layers.{{}}.", f"{_QUERIES}decoder.mask_predictor.mask_embedder.{{}}.0."),
        (f"{_PREDICTOR}query_feat.", f"{_QUERIES}queries_features."),
        (f"{_PREDICTOR}query_embed.", f"{_QUERIES}queries_embedder."),
        (f"{_PREDICTOR}level_embed.", f"{_QUERIES}level_embed."),
        (f"{_PREDICTOR}input_proj.", f"{_QUERIES}input_projections."),
        (f"{_PREDICTOR}class_embed.", "class_predictor."),
        ("criterion.empty_weight", "criterion.empty_weight"),
    ]


_TABLE = NameTable(
    [*_swin_names(), *_resnet_names(), *_pixel_decoder_names(), *_mask_decoder_names()],
    read_only=[  # stored by version 4 only
        (
            "backbone.layers.{}.blocks.{}.attn.relative_position_index",
            f"{_BACKBONE}encoder.layers.{{}}.blocks.{{}}.attention.self.relative_position_index",
        )
    ],
)
_FINAL_NORMS = (
    f"{_BACKBONE}layernorm.",
    f"{_BACKBONE}swin.layernorm.",
)  # of the classifier; no output of the backbone uses them


def _recognises(names: Collection[str]) -> bool:
    return any(name.startswith(("model.pixel_level_module.", "pixel_level_module.")) for name in names)


def _to_ours(tensors: Mapping[str, Tensor]) -> Converted:
    if not any(name.startswith("model.") for name in tensors):  # a Mask2FormerModel without the class head
        tensors = {f"model.{name}": tensor for name, tensor in tensors.items()}
    converted = rename_all(tensors, _TABLE.to_ours, lambda name: is_counter(name) or name.startswith(_FINAL_NORMS))
    ours = converted.tensors
    for parts, whole in _THIRDS:
        ours = join_thirds(ours, parts, whole)
    return Converted(ours, converted.dropped)


def _from_ours(tensors: Mapping[str, Tensor]) -> Converted:
    apart = dict(tensors)
    for parts, whole in _THIRDS:
        apart = split_thirds(apart, parts, whole)
    return rename_all(apart, _TABLE.to_theirs, lambda name: _TABLE.to_theirs(name) is None)


TRANSFORMERS = Layout(
    "transformers", "Mask2FormerForUniversalSegmentation of the transformers library", _recognises, _to_ours, _from_ours
)
