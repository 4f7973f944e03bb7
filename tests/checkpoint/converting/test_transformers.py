"""The transformers library's Mask2Former: same numbers after conversion, in both directions."""

import pytest
import torch
from safetensors.torch import load_file

from dense import build_model, load_checkpoint, load_config
from dense.checkpoint.command import main
from dense.checkpoint.converting import layout

transformers = pytest.importorskip("transformers", minversion="5.0")

SWIN = {"EMBED_DIM": 8, "DEPTHS": [1, 2, 2, 1], "NUM_HEADS": [1, 2, 2, 4], "WINDOW_SIZE": 3, "DROP_PATH_RATE": 0.0}
STAGES = [f"stage{i}" for i in (1, 2, 3, 4)]


def ours(backbone):
    keys = {
        "MODEL.META_ARCHITECTURE": "MaskFormer",
        "MODEL.SEM_SEG_HEAD.NAME": "MaskFormerHead",
        "MODEL.SEM_SEG_HEAD.IN_FEATURES": ["res2", "res3", "res4", "res5"],
        "MODEL.SEM_SEG_HEAD.NUM_CLASSES": 5,
        "MODEL.SEM_SEG_HEAD.CONVS_DIM": 32,
        "MODEL.SEM_SEG_HEAD.MASK_DIM": 32,
        "MODEL.SEM_SEG_HEAD.NORM": "GN",
        "MODEL.SEM_SEG_HEAD.TRANSFORMER_ENC_LAYERS": 2,
        "MODEL.MASK_FORMER.TRANSFORMER_IN_FEATURE": "multi_scale_pixel_decoder",
        "MODEL.MASK_FORMER.HIDDEN_DIM": 32,
        "MODEL.MASK_FORMER.NHEADS": 4,
        "MODEL.MASK_FORMER.DIM_FEEDFORWARD": 48,
        "MODEL.MASK_FORMER.DEC_LAYERS": 4,
        "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES": 7,
        "MODEL.MASK_FORMER.DROPOUT": 0.0,
        "MODEL.DEVICE": "cpu",
        **backbone,
    }
    return build_model(load_config(None, [word for pair in keys.items() for word in pair])).eval()


def theirs(backbone):
    settings = {"feature_size": 32, "mask_feature_size": 32, "hidden_dim": 32, "encoder_feedforward_dim": 1024}
    layers = {"encoder_layers": 2, "decoder_layers": 4, "num_attention_heads": 4, "dim_feedforward": 48}
    config = transformers.Mask2FormerConfig(backbone_config=backbone, num_queries=7, num_labels=5, **settings, **layers)
    return transformers.Mask2FormerForUniversalSegmentation(config).eval()


def swin_pair():
    names = {"embed_dim": "EMBED_DIM", "depths": "DEPTHS", "num_heads": "NUM_HEADS", "window_size": "WINDOW_SIZE"}
    config = transformers.SwinConfig(
        image_size=96, drop_path_rate=0.0, out_features=STAGES, **{k: SWIN[v] for k, v in names.items()}
    )
    keys = {f"MODEL.SWIN.{key}": value for key, value in SWIN.items()}
    return theirs(config), ours({"MODEL.BACKBONE.NAME": "D2SwinTransformer", **keys})


def resnet_pair():
    config = transformers.ResNetConfig(
        embedding_size=64, hidden_sizes=[32, 64, 128, 256], depths=[3, 4, 6, 3], out_features=STAGES
    )
    keys = {
        "MODEL.BACKBONE.NAME": "build_resnet_backbone",
        "MODEL.RESNETS.STRIDE_IN_1X1": False,
        "MODEL.RESNETS.OUT_FEATURES": ["res2", "res3", "res4", "res5"],
        "MODEL.RESNETS.RES2_OUT_CHANNELS": 32,
        "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
    }
    return theirs(config), ours(keys)


def randomise(model):
    """Numbers that differ everywhere: biases and scales of a new model are equal and would hide an exchange."""
    with torch.no_grad():
        for name, value in model.state_dict().items():
            if not value.is_floating_point():
                continue
            noise = torch.randn_like(value)
            if name.endswith("running_var"):
                value.copy_(0.5 + noise.abs())
            elif value.dim() < 2:
                value.copy_((0.0 if name.endswith(("bias", "mean")) else 1.0) + 0.1 * noise)
            else:
                value.copy_(noise / value[0].numel() ** 0.5)
    return model


def outputs(their_model, our_model):
    image = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected = their_model(pixel_values=image)
        actual = our_model.sem_seg_head(our_model.backbone(image)).final
    return (expected.class_queries_logits, expected.masks_queries_logits), (actual.logits, actual.masks[:, :, 0])


def assert_equal(expected, actual):
    for a, b in zip(expected, actual, strict=True):
        assert a.shape == b.shape
        assert a.std() > 0.05
        assert (a - b).abs().max() <= 1e-4 * a.abs().max()


@pytest.mark.parametrize("pair", [swin_pair, resnet_pair])
def test_load_checkpoint__transformers_model__equal_logits(pair):
    """Catches query, key and value joined in another order, exchanged norms, levels or query embeddings."""
    their_model, our_model = pair()
    report = load_checkpoint(our_model, randomise(their_model).state_dict(), strict=True)
    assert report.layout == "transformers"
    assert all(k.endswith("num_batches_tracked") or "encoder.swin.layernorm" in k for k in report.dropped)
    assert_equal(*outputs(their_model, our_model))


@pytest.mark.parametrize("pair", [swin_pair, resnet_pair])
def test_convert__ours_to_transformers__equal_logits(pair, tmp_path):
    """Catches files that the library does not read back to the same model (every name must be known to it)."""
    their_model, our_model = pair()
    torch.save({"model": randomise(our_model).state_dict()}, tmp_path / "ours.pth")
    folder = tmp_path / "hub"
    their_model.config.save_pretrained(folder)
    assert main([str(tmp_path / "ours.pth"), str(folder / "model.safetensors"), "--to", "transformers"]) == 0
    read, info = transformers.Mask2FormerForUniversalSegmentation.from_pretrained(folder, output_loading_info=True)
    own = ("encoder.swin.layernorm", "num_batches_tracked")  # of the classifier, and of batch norms that are trained
    assert not info["unexpected_keys"]
    assert not [key for key in info["missing_keys"] if not any(part in key for part in own)]
    assert_equal(*outputs(read.eval(), our_model))


def test_convert__file_of_transformers__and_back__same_file(tmp_path):
    """Catches names of version 4, which files still have, that get lost or change on the round trip."""
    their_model, _ = swin_pair()
    randomise(their_model).save_pretrained(tmp_path / "hub")
    there, back = tmp_path / "ours.safetensors", tmp_path / "back.safetensors"
    assert main([str(tmp_path / "hub" / "model.safetensors"), str(there)]) == 0
    assert main([str(there), str(back), "--from", "ours", "--to", "transformers"]) == 0
    before, after = load_file(tmp_path / "hub" / "model.safetensors"), load_file(back)
    assert {name.rpartition(".encoder.")[2] for name in set(before) - set(after)} == {
        "swin.layernorm.weight",
        "swin.layernorm.bias",
    }
    assert set(after) <= set(before)
    assert all(after[name].equal(before[name]) for name in after)


def test_to_ours__bare_model_of_version_4__is_understood():
    """Catches Mask2FormerModel files (no class head, no ``model.``) and the position index that version 4 stored."""
    block = "pixel_level_module.encoder.encoder.layers.0.blocks.0.attention.self."
    state = {f"{block}{part}.weight": torch.full((2, 2), float(i)) for i, part in enumerate(("query", "key", "value"))}
    state[f"{block}relative_position_index"] = torch.zeros(4, 4, dtype=torch.int64)
    converted = layout("transformers").to_ours(state).tensors
    assert set(converted) == {f"backbone.layers.0.blocks.0.attn.{k}" for k in ("qkv.weight", "relative_position_index")}
    assert converted["backbone.layers.0.blocks.0.attn.qkv.weight"][:, 0].tolist() == [0, 0, 1, 1, 2, 2]


def test_to_ours__a_third_is_missing__stays_visible():
    """Catches a join of two matrices, and an incomplete file (one shard of several) that loses keys without a word."""
    layer = "model.transformer_module.decoder.layers.0.self_attn."
    state = {f"{layer}{part}_proj.bias": torch.zeros(2) for part in ("q", "k")}
    assert len(layout("transformers").to_ours(state).tensors) == 2
