"""Normalise, pad, stack."""

import torch

from dense.modeling.preprocess import Preprocessor


def test_preprocessor__two_sizes__zero_after_normalising():
    """Catches padding before normalising (it would hold -mean/std), padding on the wrong sides, sizes swapped."""
    prepare = Preprocessor([10.0, 20.0, 30.0], [2.0, 4.0, 8.0], 32)
    images = [torch.full((3, 33, 20), 50, dtype=torch.uint8), torch.full((3, 8, 40), 50, dtype=torch.uint8)]
    stack = prepare(images)
    assert stack.tensor.shape == (2, 3, 64, 64)
    assert stack.padded == (64, 64)
    assert stack.sizes == [(33, 20), (8, 40)]
    for image, (h, w) in zip(stack.tensor, stack.sizes, strict=True):
        assert image[:, :h, :w].flatten(1).unique(dim=1).flatten().tolist() == [20.0, 7.5, 2.5]
        assert image[:, h:].abs().max() == 0
        assert image[:, :, w:].abs().max() == 0


def test_preprocessor__state__is_in_no_checkpoint():
    """Catches mean and standard deviation as persistent buffers, which official checkpoints lack."""
    assert not Preprocessor([0.0] * 3, [1.0] * 3, 32).state_dict()


def test_preprocessor__no_divisibility__keeps_the_size():
    """Catches a division by zero, and -1 taken for a multiple."""
    for divisibility in (-1, 0, 1):
        assert Preprocessor([0.0] * 3, [1.0] * 3, divisibility)([torch.zeros(3, 7, 9)]).padded == (7, 9)
