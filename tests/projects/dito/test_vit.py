"""DITO's transformer: windows, shifted passes, positions; against reference arrays and against full attention."""

import pytest
import torch
from torch import nn

from dense.projects.dito.vit import SIZES, VisionTransformer, window_pattern

#: the golden file's size
SIZE = (48, 4, 3)
MIXED, LATE = [4, None, 4, None], [4, 4, 4, None]


def build(windows=None, shift=0, size=(16, 3, 2), grid=4, **options):
    """A small transformer whose blocks mix tokens strongly enough for a wrong neighbour to show."""
    model = VisionTransformer(*size, grid, windows, shift, **options).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "attn" in name and value.dim() > 1:
                value.copy_(torch.randn_like(value) * 1.5 / value.shape[1] ** 0.5)
    return model


@pytest.mark.golden
@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(
    ("name", "place", "windows", "shift"),
    [
        ("vit.window.shift0", "backbone.", MIXED, 0),
        ("vit.window.shift", "backbone.", MIXED, 1),
        ("vit.window.shift", "backbone.", MIXED, None),  # 8 tokens in 4 windows: half a window is one token
        ("vit.frozen_windows.shift0", "frozen_backbone.", LATE, 0),
        ("vit.frozen_windows.shift", "frozen_backbone.", LATE, 1),
        ("vit.all_global.shift0", "backbone.", None, 0),
    ],
)
def test_transformer__reference_weights__reference_map(arrays, name, place, windows, shift, together):
    """Catches grid counts taken for window lengths, a roll the wrong way, rolled positions, the mean after the norm."""
    arrays.need(name)
    model = VisionTransformer(*SIZE, windows=windows, shift=shift, together=together).eval()
    model.load_state_dict(arrays.part(place))
    with torch.no_grad():
        actual = model(arrays.image())
    assert (actual - arrays.nchw(name)).abs().max() < 1e-4


@pytest.mark.golden
def test_transformer__not_square__reference_map(arrays):
    """Catches rows and columns exchanged in windows and positions."""
    arrays.need("vit.rect.image_u8")
    model = VisionTransformer(*SIZE, windows=MIXED, shift=int(arrays.tensor("vit.rect.shift_tokens"))).eval()
    model.load_state_dict(arrays.part("backbone."))
    with torch.no_grad():
        actual = model(arrays.image("vit.rect.image_u8"))
    assert (actual - arrays.nchw("vit.rect.window.shift")).abs().max() < 1e-4


@pytest.mark.golden
def test_transformer__pretraining_size__reference_tokens(arrays):
    """Catches a table that is resampled although it has the size, and pooling over something else than all tokens."""
    arrays.need("vit.pretrain.image_u8")
    model = VisionTransformer(*SIZE).eval()
    model.load_state_dict(arrays.part("backbone."))
    with torch.no_grad():
        actual = model(arrays.image("vit.pretrain.image_u8"))
    assert (actual - arrays.nchw("vit.pretrain.tokens")).abs().max() < 1e-4
    assert (actual.mean((2, 3)) - arrays.tensor("vit.pretrain.pooled")).abs().max() < 1e-4


@pytest.mark.golden
def test_transformer__each_pass__reference_before_the_norm(arrays):
    """Catches errors of the two passes that cancel in their mean."""
    arrays.need("vit.window.pass0_before_ln_post")
    model = VisionTransformer(*SIZE, windows=MIXED).eval()
    model.load_state_dict(arrays.part("backbone."))
    with torch.no_grad():
        patches = model.patches(arrays.image())
        positions = model.resize_positions(model.pos_embed, 8, 8).unflatten(1, (8, 8))
        plain = model.single_pass(patches + positions)
        shifted = model.single_pass(patches.roll((-1, 1), (1, 2)) + positions).roll((1, -1), (1, 2))
    for actual, name in ((plain, "pass0"), (shifted, "pass1")):
        expected = arrays.tensor(f"vit.window.{name}_before_ln_post")
        assert (actual - expected).abs().max() < 1e-4 * max(1.0, float(expected.abs().max()))


def test_single_pass__block_of_4x4_windows__equals_16_calls_of_attention():
    """Catches windows that see each other, lie elsewhere, or are put together in another order."""
    model = build([4], size=(16, 1, 2))
    tokens = torch.randn(2, 8, 12, 16)
    with torch.no_grad():
        actual = model.single_pass(tokens)
        for row in range(0, 8, 2):
            for column in range(0, 12, 3):
                window = tokens[:, row : row + 2, column : column + 3]
                alone = model.blocks[0](window.flatten(1, 2)).view_as(window)
                torch.testing.assert_close(actual[:, row : row + 2, column : column + 3], alone)


def test_single_pass__grids_of_several_sizes__equal_blocks_applied_one_by_one():
    """Catches tokens left in the order of another block's windows."""
    model = build([2, None, 4, 2, None], size=(16, 5, 2))
    tokens = expected = torch.randn(1, 8, 8, 16)
    with torch.no_grad():
        for block, grid in zip(model.blocks, model.windows, strict=True):
            sides = 8 // (grid or 1)
            after = torch.empty_like(expected)
            for row in range(0, 8, sides):
                for column in range(0, 8, sides):
                    window = expected[:, row : row + sides, column : column + sides]
                    after[:, row : row + sides, column : column + sides] = block(window.flatten(1, 2)).view_as(window)
            expected = after
        torch.testing.assert_close(model.single_pass(tokens), expected, rtol=1e-4, atol=1e-5)


def test_transformer__windows_as_large_as_the_map__equals_global_attention():
    """Catches a windowed path that computes something else than attention over the window."""
    image = torch.rand(2, 3, 64, 128)
    windowed, whole = build([1, 1, 1]), build(None)
    whole.load_state_dict(windowed.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(windowed(image), whole(image))


@pytest.mark.parametrize("together", [False, True])
def test_transformer__global_blocks_without_positions__shift_changes_nothing(together):
    """Catches an unroll that is not the inverse of the roll: without windows and positions both passes are equal."""
    image = torch.rand(1, 3, 96, 128)
    once, twice = build(None, 0), build(None, 2, together=together)
    with torch.no_grad():
        once.pos_embed.zero_()
        twice.load_state_dict(once.state_dict())
        torch.testing.assert_close(twice(image), once(image), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("together", [False, True])
def test_both_passes__no_shift__equals_one_pass(together):
    """Catches a second pass that counts although the shift is 0 or the map too small for half a window."""
    image = torch.rand(1, 3, 64, 64)
    once = build([4, None, 4], 0)
    calls = []
    once.blocks[0].register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        expected = once.norm(once.single_pass(once.patches(image) + once.pos_embed.unflatten(1, (4, 4)))).permute(0, 3, 1, 2)
        calls.clear()
        torch.testing.assert_close(once(image), expected)
        assert len(calls) == 1
        half = build([4, None, 4], None, together=together)  # windows of one token: half of it is 0
        half.load_state_dict(once.state_dict())
        torch.testing.assert_close(half(image), expected)


@pytest.mark.parametrize("shift", [0, 1, None])
def test_transformer__content_moved_by_one_window__interior_features_move_along(shift):
    """Catches windows that do not lie at multiples of their size, and any leak between windows.

    Windowed blocks only, positions that repeat in each window; the picture moves on and new content enters at its border.
    Tolerance 1e-5.
    """
    model = build([8, 8, 8], shift, size=(16, 3, 2), grid=16)
    with torch.no_grad():
        period = torch.randn(2, 2, 16)
        model.pos_embed.copy_(period.repeat(8, 8, 1).view(1, 256, 16))
        scene = torch.rand(1, 3, 288, 288)
        one, other = model(scene[..., :256, :256]), model(scene[..., 32:, 32:])  # 2 tokens of 16 pixels: one window
    inner = other[..., 2:12, 2:12]
    torch.testing.assert_close(inner, one[..., 4:14, 4:14], rtol=1e-5, atol=1e-5)
    assert (other[..., 12:, 12:] - one[..., 12:, 12:]).abs().max() > 0.1


def test_transformer__shift__couples_tokens_across_a_border_of_windows():
    """Catches a second pass over the same windows: without it a token never feels its neighbour in the next window."""
    image = torch.rand(1, 3, 128, 128)
    changed = image.clone()
    changed[..., :16, 32:48] += 0.5  # the first token of the second window
    for shift, is_felt in ((0, False), (None, True)):
        model = build([4, 4, 4], shift, grid=8)
        with torch.no_grad():
            change = (model(changed) - model(image)).abs().sum(1)[0]
        assert bool(change[0, 1] > 1e-3) is is_felt
        assert change[0, 2] > 1e-3


@pytest.mark.parametrize("together", [False, True])
def test_transformer__checkpointing__same_gradients(together):
    """Catches blocks recomputed with other windows in the backward pass, and a second pass without gradient."""
    torch.manual_seed(1)
    image, kept = torch.rand(2, 3, 64, 64), build([2, None, 2], None, together=together).train()
    again = build([2, None, 2], None, together=not together, checkpointing=True).train()
    again.load_state_dict(kept.state_dict())
    weight = torch.randn(2, 16, 4, 4)
    for model in (kept, again):
        (model(image) * weight).sum().backward()
    for (name, one), (_, other) in zip(kept.named_parameters(), again.named_parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-4, atol=1e-5, msg=name)


def test_transformer__drop_path__drops_whole_images():
    """Catches branches dropped for single windows: all windows of an image go through a block, or none."""
    model = build([4], size=(16, 1, 2), drop_path=0.0).train()
    model.blocks[0].drop_rate = 0.5
    tokens = torch.randn(32, 8, 8, 16)
    with torch.no_grad():
        model.blocks[0].mlp.fc2.weight.zero_()
        model.blocks[0].mlp.fc2.bias.zero_()
        unchanged = (model.single_pass(tokens) == tokens).all(-1).flatten(1)
    assert 0 < unchanged.any(1).sum() < 32
    assert unchanged.any(1).equal(unchanged.all(1))


def test_transformer__drop_path__grows_from_first_to_last_block():
    """Catches one rate for all blocks."""
    assert [block.drop_rate for block in build(None, drop_path=0.2).blocks] == pytest.approx([0.0, 0.1, 0.2])


def test_transformer__crops__each_image_gets_its_own_and_without_them_the_whole_table():
    """Catches one crop for the whole batch, crops that stay on in detection, and crops of another batch."""
    model = build(None, crop_side=8)
    image = torch.rand(1, 3, 64, 64).expand(2, -1, -1, -1)
    crops = torch.tensor([[0.0, 0, 8, 8], [1, 2, 4, 7]])
    with torch.no_grad():
        cropped, whole = model(image, crops), model(image)
        torch.testing.assert_close(whole[0], whole[1])
        assert (cropped[0] - cropped[1]).abs().max() > 1e-2
        torch.testing.assert_close(model(image[:1], crops[1:]), cropped[1:])
        with pytest.raises(ValueError, match="one for each"):
            model(image, crops[:1])


@pytest.mark.parametrize(
    ("size", "text"), [((64, 70), "multiples of the patch"), ((64, 80), r"64 x 80 pixels, expected multiples of 64")]
)
def test_transformer__sides_that_do_not_fit__say_what_would(size, text):
    """Catches windows of unequal size cut silently."""
    with pytest.raises(ValueError, match=text):
        build([4, None, 4])(torch.rand(1, 3, *size))


def test_window_pattern__published_sizes__their_global_blocks():
    """Catches global blocks at the beginning of a part, or one block off."""
    found = {
        name: [i for i, grid in enumerate(window_pattern(SIZES[name][1], 4, 2 if name == "tiny" else 4)) if grid is None]
        for name in SIZES
    }
    expected = {"tiny": [2, 5], "base": [2, 5, 8, 11], "large": [5, 11, 17, 23], "huge": [7, 15, 23, 31]}
    assert found == expected
    assert window_pattern(6, 4, 1) == [4] * 5 + [None]
    assert window_pattern(2, 0, 1) == [None, None]
    assert window_pattern(2, 3, 0) == [3, 3]
    with pytest.raises(ValueError, match="equal parts"):
        window_pattern(12, 4, 5)
    with pytest.raises(ValueError, match="one for each of 2 blocks"):
        VisionTransformer(16, 2, 2, windows=[4])


def test_transformer__initial_values__positions_of_the_published_spread():
    """Catches the positions' spread of another recipe (0.02)."""
    model = VisionTransformer(64, 1, 2)
    assert float(model.pos_embed.detach().std()) == pytest.approx(64**-0.5, rel=0.05)
    assert isinstance(model.blocks[0].ls1, nn.Identity)
