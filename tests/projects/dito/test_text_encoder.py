"""Text encoder: padding, pools, causal attention, fingerprints; open_clip's towers behind the same face."""

import sys

import pytest
import torch

from dense.errors import ConfigError, DependencyError
from dense.projects.dito.text.encoder import TextEncoder, TextTower, embed_texts
from dense.projects.dito.text.open_clip_tower import OpenClipText
from dense.projects.dito.text.tokenizer import Tokens, load_tokenizer

TEXTS = ["a red disc", "a striped star in black and white left of a blue ring on grass.", "sand", ""]


def build(**given):
    torch.manual_seed(2)
    tokenizer = given.pop("tokenizer", load_tokenizer("configs/dito/world_tokenizer.json", 40))
    settings = {"pieces": 512, "context": 40, "width": 32, "depth": 2, "heads": 2, "embedding": 24} | given
    return TextEncoder(tokenizer, **settings).double()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("pool", ["mean", "last"])
def test_encoder__texts_of_one_batch__embedded_as_if_alone(pool, causal):
    """Catches padding that is attended to or pooled."""
    encoder = build(pool=pool, causal=causal)
    assert isinstance(encoder, TextTower)
    together = encoder(TEXTS)
    assert together.shape == (4, 24)
    for text, row in zip(TEXTS, together, strict=True):
        torch.testing.assert_close(encoder([text])[0], row, rtol=1e-10, atol=1e-12)
    tokens = encoder.tokenizer.encode(TEXTS)
    longer = Tokens(torch.nn.functional.pad(tokens.ids, (0, 3), value=7), tokens.lengths)  # whatever fills the rows
    torch.testing.assert_close(encoder.embed(longer), together, rtol=1e-10, atol=1e-12)


def test_encoder__steps_written_out__same_numbers():
    """Catches another order of pooling, norm and projection, post-norm blocks, and positions that are not added."""
    encoder = build()
    tokens = encoder.tokenizer.encode(TEXTS[:1])
    x = encoder.pieces(tokens.ids) + encoder.pos_embed[: tokens.ids.shape[1]]
    for block in encoder.blocks:
        y = block.norm1(x)
        q, k, v = (part.unflatten(-1, (2, 16)).transpose(1, 2) for part in block.attn.qkv(y).chunk(3, dim=-1))
        attended = (q @ k.mT / 4).softmax(-1) @ v
        x = x + block.attn.proj(attended.transpose(1, 2).flatten(2))
        x = x + block.mlp.fc2(torch.nn.functional.gelu(block.mlp.fc1(block.norm2(x))))
    expected = encoder.norm(x.mean(1)) @ encoder.projection.weight.T
    torch.testing.assert_close(encoder(TEXTS[:1]), expected, rtol=1e-10, atol=1e-12)
    assert encoder.projection.bias is None


def test_encoder__causal__later_words_do_not_change_earlier_pieces():
    """Catches a causal switch without effect."""
    texts = ["a red disc on sand", "a red disc on water"]
    for causal in (False, True):
        encoder, seen = build(causal=causal), []
        encoder.blocks[-1].register_forward_hook(lambda module, given, output, seen=seen: seen.append(output))
        encoder(texts)
        same = torch.allclose(seen[0][0, :4], seen[0][1, :4], atol=1e-12)
        assert same == causal


def test_encoder__eos_pool__first_end_sign_inside_the_text():
    """Catches a pool that reads padding equal to the end sign, or the last piece instead."""

    class Ended:
        end, pieces, context, fingerprint = 5, 512, 40, ""

    encoder = build(pool="eos", tokenizer=Ended())
    ids = torch.tensor([[1, 9, 5, 5, 5], [1, 8, 7, 6, 5]])
    lengths = torch.tensor([4, 5])
    seen = []
    encoder.norm.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    encoder.blocks[-1].register_forward_hook(lambda module, given, output: seen.append(output))
    encoder.embed(Tokens(ids, lengths))
    assert torch.equal(seen[1], seen[0][[0, 1], [2, 4]])


def test_encoder__tokenizer_that_does_not_fit__refused():
    """Catches numbers outside the table, which fail on a GPU without a name, and a text without end sign pooled there."""
    with pytest.raises(ConfigError, match="PIECES"):
        build(pieces=300)
    with pytest.raises(ConfigError, match="40 pieces"):
        build(context=20)
    with pytest.raises(ConfigError, match="no end sign"):
        build(pool="eos")
    with pytest.raises(ConfigError, match="pool"):
        build(pool="max")
    with pytest.raises(ConfigError, match="TOKENIZER"):
        build(tokenizer=None)(["a"])


def test_fingerprint__weights_tokenizer_and_settings__each_change_it():
    """Catches stale embeddings: a cache keyed without one of them."""
    plain = build()
    assert plain.fingerprint() == build().fingerprint()
    changed = build()
    changed.blocks[1].mlp.fc2.bias.data[3] += 1e-7
    other = load_tokenizer("configs/dito/world_tokenizer.json", 30)
    prints = [
        plain.fingerprint(),
        changed.fingerprint(),
        build(causal=True).fingerprint(),
        build(tokenizer=other).fingerprint(),
    ]
    assert len({*prints, build(pool="last").fingerprint()}) == 5


def test_embed_texts__many__in_their_order_without_gradients():
    """Catches rows left in the order of lengths."""
    encoder = build().float()
    found = embed_texts(encoder, TEXTS * 3, batch=5)
    torch.testing.assert_close(found, encoder(TEXTS * 3).detach())
    assert not found.requires_grad
    assert embed_texts(encoder, []).shape == (0, 24)


def test_open_clip__absent__said_how_to_get_it(monkeypatch):
    """Catches a bare ImportError where the optional library is missing."""
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(DependencyError, match="pip install open-clip-torch"):
        OpenClipText("ViT-B-16")


@pytest.mark.slow
def test_open_clip__random_weights__a_text_tower():
    """Catches a tower that does not fit the protocol, or downloads."""
    pytest.importorskip("open_clip")
    with pytest.raises(ConfigError, match="no model"):
        OpenClipText("no such model")
    torch.manual_seed(0)
    tower = OpenClipText("RN50")  # the smallest
    assert isinstance(tower, TextTower)
    assert tower(["a red disc", "a"]).shape == (2, tower.width)
    assert tower.lengths(["a"]) == [3]
    assert not any(name.startswith(("text.visual", "visual")) for name in tower.state_dict())
    with pytest.raises(ConfigError, match=r"missing\.pt"):
        OpenClipText("RN50", "missing.pt")
