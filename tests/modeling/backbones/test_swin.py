"""Swin Transformer against the reference's numbers and names."""

import json

import numpy as np
import pytest
import torch
from detectron2.modeling import build_backbone

from dense import load_config
from dense.errors import ConfigError
from dense.layers.windows import join_windows, relative_position_index, shifted_window_mask, split_windows
from dense.modeling.backbones import SwinBackbone
from dense.modeling.backbones.swin import BlockSettings

TINY = {
    "embed_dim": 8,
    "depths": [2, 2],
    "heads": [2, 4],
    "settings": BlockSettings(window=4),
    "out_features": ["res2", "res3"],
}
SWIN_B = ["EMBED_DIM", 128, "DEPTHS", [2, 2, 18, 2], "NUM_HEADS", [4, 8, 16, 32], "WINDOW_SIZE", 12, "PRETRAIN_IMG_SIZE", 384]
SWIN_L = ["EMBED_DIM", 192, "DEPTHS", [2, 2, 18, 2], "NUM_HEADS", [6, 12, 24, 48], "WINDOW_SIZE", 12, "PRETRAIN_IMG_SIZE", 384]
MEAN, STD = [123.675, 116.280, 103.530], [58.395, 57.120, 57.375]


def swin_config(values=()):
    keys = [f"MODEL.SWIN.{word}" if i % 2 == 0 else word for i, word in enumerate(values)]
    return load_config(None, ["MODEL.BACKBONE.NAME", "D2SwinTransformer", *keys])


@pytest.mark.golden
@pytest.mark.parametrize(("prefix", "values"), [("swin_t.", ()), ("swin_b_window12.", SWIN_B)])
def test_swin__reference_weights__equal_reference(golden, parity, prefix, values):
    """Catches a wrong shift mask, order of merged patches, padding, bias index or output norm; sides are no multiples of 4."""
    arrays = parity.Arrays(golden("swin.npz"), prefix)
    with torch.device("meta"):  # random numbers for 88 million weights that are replaced anyway take seconds
        backbone = build_backbone(swin_config(values)).eval()
    own = backbone.state_dict()
    assert {f"backbone.{k}": list(v.shape) for k, v in own.items()} == arrays.shapes()
    index = relative_position_index(backbone.layers[0].window)
    fill = parity.fill.__wrapped__  # without its memory: these weights serve once
    filled = {
        name: torch.from_numpy(np.array(fill(f"backbone.{name}", tuple(value.shape)))) if value.is_floating_point() else index
        for name, value in own.items()
    }
    backbone.load_state_dict(filled, assign=True)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (MEAN, STD))
    with torch.no_grad():
        maps = backbone(((arrays.tensor("70x101.image") - mean) / std)[None])
    for name, expected in backbone.output_shape().items():
        assert arrays.distance(f"70x101.{name}", maps[name]) < 1e-4
        assert maps[name].shape[1] == expected.channels
        assert maps[name].shape[2] == -(-70 // expected.stride)


def test_swin_large__official_names__equal_in_both_directions(golden):
    """Catches keys of published Swin-L checkpoints that find no place, and keys of ours that no checkpoint fills."""
    with torch.device("meta"):
        backbone = build_backbone(swin_config(SWIN_L))
    manifest = json.loads(golden("manifests/SwinL_backbone.json").read_text(encoding="utf-8"))
    assert {f"backbone.{k}": list(v.shape) for k, v in backbone.state_dict().items()} == manifest


def test_swin__batch__equals_single_images():
    """Catches a mask or bias laid out head-major instead of image-major."""
    backbone = SwinBackbone(**TINY).eval()
    images = torch.randn(3, 3, 41, 58)
    with torch.no_grad():
        together = backbone(images)
        for i in range(3):
            for name, value in backbone(images[i : i + 1]).items():
                torch.testing.assert_close(together[name][i : i + 1], value, atol=1e-5, rtol=1e-4)


def test_swin__checkpointing_and_drop_path__same_gradients_when_nothing_is_dropped():
    """Catches checkpointed blocks that lose gradients, and stochastic depth that acts in evaluation."""
    plain, saving = SwinBackbone(**TINY), SwinBackbone(**{**TINY, "settings": BlockSettings(window=4, checkpointing=True)})
    saving.load_state_dict(plain.state_dict())
    image = torch.randn(1, 3, 32, 32)
    for backbone in (plain, saving):
        backbone(image)["res3"].square().sum().backward()
    for (name, a), (_, b) in zip(plain.named_parameters(), saving.named_parameters(), strict=True):
        if not name.startswith("norm0"):  # res2 is not in the loss
            torch.testing.assert_close(a.grad, b.grad, msg=name)
    dropping = SwinBackbone(**TINY, drop_path=0.9)
    dropping.load_state_dict(plain.state_dict())
    with torch.no_grad():
        assert dropping.eval()(image)["res3"].equal(plain.eval()(image)["res3"])
        assert not dropping.train()(image)["res3"].equal(plain(image)["res3"])


@pytest.mark.parametrize(
    ("stages", "frozen"),
    [
        (0, ()),
        (1, ("patch_embed.", "absolute_pos_embed")),
        (2, ("patch_embed.", "absolute_pos_embed", "layers.0.")),
        (3, ("patch_embed.", "absolute_pos_embed", "layers.0.", "layers.1.")),
    ],
)
def test_swin__freeze_at__exactly_the_first_layers_get_no_gradient(stages, frozen):
    """Catches MODEL.BACKBONE.FREEZE_AT without effect, one stage too many or too few, and frozen norms of the outputs."""
    backbone = SwinBackbone(**TINY, position_grid=5, freeze_at=stages)
    sum(value.square().sum() for value in backbone(torch.randn(1, 3, 32, 32)).values()).backward()
    still = {name for name, parameter in backbone.named_parameters() if parameter.grad is None}
    assert still == {name for name, _ in backbone.named_parameters() if name.startswith(frozen)}
    assert all(parameter.requires_grad == (name not in still) for name, parameter in backbone.named_parameters())


def test_swin__frozen_stage_in_training__drops_nothing_the_rest_does():
    """Catches stochastic depth and dropout that still disturb frozen layers, also after a change of mode."""
    settings = BlockSettings(window=4, dropout=0.5)
    backbone = SwinBackbone(**{**TINY, "settings": settings}, drop_path=0.9, freeze_at=2)
    image = torch.randn(1, 3, 32, 32)
    for _ in range(2):
        first, second = backbone(image), backbone(image)
        assert first["res2"].equal(second["res2"])
        assert not first["res3"].equal(second["res3"])
        backbone.eval().train()


def test_swin__freeze_at_in_the_configuration__is_read():
    """Catches a key that never reaches the backbone."""
    values = ["EMBED_DIM", 8, "DEPTHS", [1, 1, 1, 1], "NUM_HEADS", [1, 1, 1, 1], "WINDOW_SIZE", 2]
    for stages in (0, 2):
        cfg = swin_config(values)
        cfg.defrost()
        cfg.MODEL.BACKBONE.FREEZE_AT = stages
        assert build_backbone(cfg).patch_embed.proj.weight.requires_grad == (stages == 0)


def test_swin__absolute_positions__reach_the_output():
    """Catches APE accepted and ignored, and a grid that only fits the pretraining size."""
    backbone = SwinBackbone(**TINY, position_grid=5).eval()
    image = torch.randn(1, 3, 36, 44)
    with torch.no_grad():
        before = backbone(image)["res2"]
        backbone.absolute_pos_embed.add_(torch.randn_like(backbone.absolute_pos_embed))
        assert not torch.allclose(before, backbone(image)["res2"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"heads": [3, 4]}, r"NUM_HEADS\[0\]"),
        ({"heads": [2]}, "as many heads"),
        ({"out_features": ["res2", "res5"]}, "OUT_FEATURES.*res5"),
        ({"out_features": []}, "OUT_FEATURES"),
        ({"settings": BlockSettings(window=1)}, "WINDOW_SIZE 1"),
    ],
)
def test_swin__impossible_settings__raise(changes, words):
    """Catches settings that fail deep inside torch, or build a network without outputs."""
    with pytest.raises(ConfigError, match=words):
        SwinBackbone(**{**TINY, **changes})


def test_windows__split_and_join__are_inverse():
    """Catches rows and columns of windows exchanged (maps that are not square)."""
    tokens = torch.arange(2 * 6 * 9 * 5.0).view(2, 6, 9, 5)
    windows = split_windows(tokens, 3)
    assert windows.shape == (12, 9, 5)
    assert windows[1].equal(tokens[0, 0:3, 3:6].reshape(9, 5))
    assert join_windows(windows, 6, 9).equal(tokens)


def test_shifted_window_mask__brute_force__only_true_neighbours_attend():
    """Catches a mask that lets tokens from opposite borders attend; the oracle follows each token through the roll."""
    height, width, window, shift = 6, 9, 3, 1
    rows, columns = (
        axis.roll((-shift, -shift), (0, 1)) for axis in torch.meshgrid(torch.arange(6), torch.arange(9), indexing="ij")
    )
    mask = shifted_window_mask(height, width, window, shift, torch.zeros(()))
    places = [split_windows(axis[None, :, :, None], window)[..., 0] for axis in (rows, columns)]
    for n in range(mask.shape[0]):
        for i in range(window**2):
            for j in range(window**2):
                near = all(abs(int(p[n, i] - p[n, j])) < window for p in places)
                assert (mask[n, i, j] == 0) == near


def test_relative_position_index__two_by_two__as_in_the_formula():
    """Catches key minus query instead of query minus key."""
    assert relative_position_index(2).tolist() == [[4, 3, 1, 0], [5, 4, 2, 1], [7, 6, 4, 3], [8, 7, 5, 4]]
