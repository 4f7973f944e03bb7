"""DITO's parts from configuration keys."""

import pytest
import torch

from dense import load_config
from dense.errors import ConfigError
from dense.projects.dito import building


def config(*options):
    return load_config(None, ["MODEL.DITO.BACKBONE.SIZE", "tiny", "MODEL.DITO.BACKBONE.GLOBAL_BLOCKS", 2, *options])


def test_build_transformer__phases__windows_and_shifts_of_each():
    """Catches pretraining with windows, and the frozen copy with the windows or the shift of the trainable one."""
    cfg = config("MODEL.DITO.SWL.SHIFT", 3, "MODEL.DITO.SWL.SHIFT_FROZEN", -1)
    trainable, frozen = building.build_transformer(cfg), building.build_transformer(cfg, frozen=True)
    pretraining = building.build_transformer(cfg, windows=False)
    assert trainable.windows == [4, 4, None, 4, 4, None]
    assert frozen.windows == [4] * 5 + [None]
    assert pretraining.windows == [None] * 6
    assert (trainable.shift, frozen.shift, pretraining.shift) == (3, None, 0)
    names = [{k: v.shape for k, v in model.state_dict().items()} for model in (trainable, frozen, pretraining)]
    assert names[0] == names[1] == names[2]


def test_build_transformer__tiny__half_a_window_is_two_tokens():
    """Catches a shift that does not follow the size of the map: 256 pixels, 16 tokens, windows of 4."""
    assert building.build_transformer(config())._roll(16, 32) == (2, 4)


def test_build_parts__one_configuration__fit_together():
    """Catches a width, a number of channels or a level that one part has and the next has not."""
    cfg = config("MODEL.DITO.HEADS.CHANNELS", 8, "MODEL.DITO.HEADS.HIDDEN", 16, "MODEL.DITO.BACKBONE.POSITION_GRID", 8)
    with torch.no_grad():
        levels = building.build_pyramid(cfg)(building.build_transformer(cfg).eval()(torch.rand(1, 3, 64, 128)))
        scores, distances = building.build_proposal_head(cfg)(levels)
        embedding, deltas = building.build_box_head(cfg)(torch.randn(2, 8, 7, 7))
        masks = building.build_mask_head(cfg)(torch.randn(2, 8, 14, 14))
    assert [tuple(s.shape) for s in scores.values()] == [(1, 1, 16, 32), (1, 1, 8, 16), (1, 1, 4, 8), (1, 1, 2, 4)]
    assert [d.shape[1] for d in distances.values()] == [4] * 4
    assert embedding.shape == (2, building.transformer_width(cfg)) == (2, 192)
    assert deltas.shape == (2, 4)
    assert masks.shape == (2, 1, 28, 28)


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("BACKBONE.SIZE", "bas", "Did you mean 'base'"),
        ("BACKBONE.GLOBAL_BLOCKS", 4, "GLOBAL_BLOCKS: 4, expected 0 or a divisor of 6"),
        ("BACKBONE.GLOBAL_BLOCKS_FROZEN", 5, "GLOBAL_BLOCKS_FROZEN: 5"),
        ("BACKBONE.WINDOW_GRID", -1, "WINDOW_GRID: -1, expected 0 or more"),
        ("BACKBONE.DROP_PATH", 1.0, "DROP_PATH: 1.0"),
        ("SWL.SHIFT", -2, "SWL.SHIFT: -2, expected -1 or more"),
        ("HEADS.CHANNELS", 0, "HEADS.CHANNELS: 0, expected 1 or more"),
    ],
)
def test_build__values_that_do_not_go__name_the_key(key, value, text):
    """Catches a wrong value that shows as a foreign error, or not at all."""
    with pytest.raises(ConfigError, match=text):
        building.build_pyramid(config(f"MODEL.DITO.{key}", value))
