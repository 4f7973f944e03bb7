"""Plain vision transformer: tokens, positions, gradients (its numbers are compared with timm's where weights are converted)."""

import pytest
import torch

from dense.modeling.backbones import TransformerSize, VisionTransformer

TINY = TransformerSize(width=8, depth=2, heads=2, layer_scale=1.0)


def build(**changes):
    return VisionTransformer(**{"size": TINY, "patch": 4, "grid": 3, **changes})


@pytest.mark.parametrize(("class_token", "registers", "prefix"), [(True, 0, 1), (True, 4, 5), (False, 0, 0)])
def test_vision_transformer__tokens__lie_as_announced(class_token, registers, prefix):
    """Catches a prefix that cuts into the patches, and registers between patches and class token's position."""
    trunk = build(class_token=class_token, registers=registers)
    assert trunk.prefix == prefix
    patches = torch.randn(2, 3, 3, 8)
    with torch.no_grad():
        tokens = trunk.embed(patches)
        table = trunk.pos_embed[:, int(class_token) :]
        assert tokens.shape == (2, prefix + 9, 8)
        assert tokens[:, prefix:].equal(patches.flatten(1, 2) + table)
        if class_token:
            assert tokens[1, 0].equal(trunk.cls_token[0, 0] + trunk.pos_embed[0, 0])
        if registers:
            assert tokens[1, 1:prefix].equal(trunk.register_tokens[0])


def test_vision_transformer__positions__are_resized_by_the_given_part():
    """Catches height and width exchanged on their way to the table, and the class token's row resized with the rest."""
    asked = []

    def resize(table, height, width):
        asked.append((table.shape[1], height, width))
        return torch.zeros(1, height * width, table.shape[2])

    trunk = build(resize_positions=resize)
    assert trunk(torch.randn(1, 3, 8, 20)).shape == (1, 1 + 10, 8)
    assert asked == [(9, 2, 5)]


@pytest.mark.parametrize("gated", [False, True])
def test_vision_transformer__checkpointing__same_gradients_everywhere(gated):
    """Catches recomputed blocks that lose gradients, and parameters that reach no output."""
    size = TransformerSize(width=8, depth=2, heads=2, hidden=6, gated=gated, layer_scale=0.5)
    plain, saving = build(size=size, registers=1), build(size=size, registers=1, checkpointing=True)
    saving.load_state_dict(plain.state_dict())
    image = torch.randn(2, 3, 8, 12)
    for trunk in (plain, saving):
        trunk(image).square().sum().backward()
    for (name, a), (_, b) in zip(plain.named_parameters(), saving.named_parameters(), strict=True):
        assert a.grad.abs().sum() > 0, name
        torch.testing.assert_close(a.grad, b.grad, msg=name)


def test_vision_transformer__drop_path__acts_in_training_only():
    """Catches images that lose branches in evaluation, and a rate that never reaches the blocks."""
    trunk = build(drop_path=0.9)
    assert [block.drop_rate for block in trunk.blocks] == pytest.approx([0.0, 0.9])
    plain = build()
    plain.load_state_dict(trunk.state_dict())
    image = torch.randn(8, 3, 12, 12)
    with torch.no_grad():
        assert trunk.eval()(image).equal(plain.eval()(image))
        assert not trunk.train()(image).equal(plain(image))


def test_vision_transformer__side_that_is_no_multiple__raises():
    """Catches a strip of the picture that the patches silently leave out."""
    with pytest.raises(ValueError, match=r"\(8, 13\).*patch, 4"):
        build()(torch.zeros(1, 3, 8, 13))
