"""Noisers: the reference's draws give the reference's noise; laws of each mode; when there is none."""

import pytest
import torch

from dense import load_config
from dense.errors import ConfigError
from dense.projects.dvis.association import match_embeddings
from dense.projects.dvis.registries import NOISERS
from dense.projects.dvis.trackers import CropConcatenate, NoNoise, RandomShuffle, WeightedAverage
from dense.projects.dvis.trackers.noisers import TorchDraws

MODES = {"none": NoNoise, "rs": RandomShuffle, "wa": WeightedAverage, "cc": CropConcatenate}


@pytest.mark.golden
@pytest.mark.parametrize("switch", ["1.0_on", "0.5_on", "1.0_off"])
@pytest.mark.parametrize("mode", list(MODES))
def test_noiser__reference_draws__equal_reference(golden, parity, replayed, mode, switch):
    """Catches noise built from the matched order, a wrong side of a cut or threshold, draws in another order or too many."""
    arrays = parity.Arrays(golden("dvis_parts.npz"), f"noiser_{mode}_{switch}.")
    draws = replayed(arrays)
    noiser = MODES[mode](ratio=float(switch.split("_")[0]), draws=draws)
    indices, outputs = [], []
    triples = zip(arrays.tensor("reference"), arrays.tensor("current"), arrays.tensor("current_no_norm"), strict=True)
    for reference, current, values in triples:
        match = match_embeddings(current[:, 0], reference[:, 0], epsilon=1e-6)
        index, output = noiser(match, values[:, 0], active=switch.endswith("on"))
        indices.append(index)
        outputs.append(output[:, None])
    assert not draws.left
    assert torch.stack(indices).tolist() == arrays["indices"].tolist()
    assert arrays.distance("output", torch.stack(outputs)) < 1e-6


def test_weighted_average__weights__mix_each_query_with_its_partner(identity_draws):
    """Catches weights on the wrong side, and an index that names the lighter partner."""
    values = torch.randn(6, 4)
    index, mixed = WeightedAverage(ratio=1.0, draws=identity_draws)(torch.arange(6), values, active=True)
    for i, w in enumerate(torch.linspace(0, 0.99, 6)):
        assert torch.allclose(mixed[i], w * values[i] + (1 - w) * values[5 - i])
        assert index[i] == (i if w >= 0.5 else 5 - i)


def test_crop_concatenate__cut__first_channels_stay(identity_draws):
    """Catches the two parts swapped, and an index that follows the smaller part."""
    values = torch.arange(24.0).reshape(6, 4)
    index, joined = CropConcatenate(ratio=1.0, draws=identity_draws)(torch.arange(6), values, active=True)
    for i in range(6):
        cut = i % 4
        assert joined[i].tolist() == [*values[i, :cut].tolist(), *values[5 - i, cut:].tolist()]
        assert index[i] == (i if cut >= 2 else 5 - i)


@pytest.mark.parametrize("kind", list(MODES.values()))
def test_noiser__inactive__is_the_match_and_draws_nothing(kind):
    """Catches noise at inference, and draws there that would shift those of training."""
    torch.manual_seed(0)
    before = torch.get_rng_state()
    match, values = torch.tensor([2, 0, 1]), torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    index, output = kind(ratio=1.0)(match, values, active=False)
    assert torch.equal(index, match)
    assert torch.equal(output, values[match])
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 1.0])
def test_noiser__ratio__is_the_share_of_spoilt_frames(ratio):
    """Catches a coin compared the wrong way round."""
    noiser, values = RandomShuffle(ratio=ratio), torch.randn(20, 4)
    match = torch.arange(20)
    spoilt = sum(not torch.equal(noiser(match, values, active=True)[0], match) for _ in range(400))
    assert spoilt == pytest.approx(400 * ratio, abs=0 if ratio in (0, 1) else 40)


def test_torch_draws__same_seed__same_numbers():
    """Catches a generator that the trainer does not seed: a continued run would differ."""

    def drawn():
        torch.manual_seed(3)
        draws = TorchDraws()
        return draws.coin(), draws.permutation(5).tolist(), draws.weights(4).tolist(), draws.cuts(50, 7).tolist()

    first = drawn()
    assert drawn() == first
    assert sorted(first[1]) == [0, 1, 2, 3, 4]
    assert set(first[3]) == set(range(7))


def test_noiser__ratio_out_of_range__is_an_error():
    """Catches a percentage given as a share."""
    with pytest.raises(ConfigError, match="NOISE_RATIO"):
        NoNoise(ratio=80)


@pytest.mark.parametrize(("mode", "kind"), MODES.items())
def test_config__official_mode__names_our_noiser(mode, kind):
    """Catches an official mode that is not translated, or a ratio that is not read."""
    cfg = load_config(None, ["MODEL.TRACKER.NOISE_MODE", mode, "MODEL.TRACKER.NOISE_RATIO", "0.8"])
    noiser = NOISERS.get(cfg.MODEL.TRACKER.NOISE_MODE)(cfg)
    assert type(noiser) is kind
    assert noiser.ratio == 0.8


def test_config__unknown_mode__suggests_the_nearest():
    """Catches the mode 'hard' of the reference's constructor, which is none."""
    with pytest.raises(ConfigError, match="noiser"):
        NOISERS.get("hard")
