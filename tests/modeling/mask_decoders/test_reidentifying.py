"""Re-identification head of the masked decoder: widths, names, what is shared; one implementation with the plain decoder."""

import pytest
import torch

from dense import load_config
from dense.layers import LayerSettings
from dense.modeling.mask_decoders import MaskedDecoder, ReidentifyingDecoder
from dense.modeling.registries import MASK_DECODERS


def decoder(cfg_options=()):
    options = [
        "MODEL.MASK_FORMER.HIDDEN_DIM",
        "16",
        "MODEL.MASK_FORMER.DIM_FEEDFORWARD",
        "32",
        "MODEL.SEM_SEG_HEAD.MASK_DIM",
        "8",
    ]
    name = ["MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME", "VideoMultiScaleMaskedTransformerDecoder_dvisPlus"]
    cfg = load_config(None, [*options, *name, "MODEL.MASK_FORMER.NUM_OBJECT_QUERIES", "5", *cfg_options])
    torch.manual_seed(0)
    return MASK_DECODERS.get(cfg.MODEL.MASK_FORMER.TRANSFORMER_DECODER_NAME)(cfg, 16).eval()


def decoded(module):
    torch.manual_seed(1)
    with torch.no_grad():
        return module([torch.randn(2, 16, s, s) for s in (2, 3, 5)], torch.randn(2, 8, 10, 10))


def test_reidentifying_decoder__official_name__has_the_official_keys():
    """Catches a head whose names or widths differ from the official checkpoints (the hidden width is a key)."""
    module = decoder(["MODEL.MASK_FORMER.REID_HIDDEN_DIM", "24"])
    assert type(module) is ReidentifyingDecoder
    shapes = {k: tuple(v.shape) for k, v in module.state_dict().items() if k.startswith("reid_embed")}
    assert shapes == {
        "reid_embed.layers.0.weight": (24, 16),
        "reid_embed.layers.0.bias": (24,),
        "reid_embed.layers.1.weight": (24, 24),
        "reid_embed.layers.1.bias": (24,),
        "reid_embed.layers.2.weight": (16, 24),
        "reid_embed.layers.2.bias": (16,),
    }


def test_reidentifying_decoder__embeddings__end_in_the_same_half():
    """Catches a head on the embeddings before the norm, or two different halves."""
    module = decoder()
    output = decoded(module)
    plain, half = output.embeddings[..., :16], output.embeddings[..., 16:]
    assert torch.equal(half, output.embeddings_without_norm[..., 16:])
    assert torch.equal(half, output.reid)
    assert torch.equal(half, module.reid_embed(plain))
    assert torch.equal(plain, module.decoder_norm(output.embeddings_without_norm[..., :16]))
    assert torch.equal(output.final.logits, module.class_embed(plain))


def test_reidentifying_decoder__no_layers__head_is_the_identity():
    """Catches a head of zero layers that fails."""
    output = decoded(decoder(["MODEL.MASK_FORMER.NUM_REID_HEAD_LAYERS", "0"]))
    assert torch.equal(output.reid, output.embeddings[..., :16])


def test_masked_decoder__without_head__nothing_is_appended():
    """Catches a head that plain decoders get too: their checkpoints would lack its keys."""
    settings = LayerSettings(count=1, heads=2, hidden=8)
    module = MaskedDecoder(in_channels=16, num_classes=2, width=16, queries=5, mask_width=8, layers=settings).eval()
    output = decoded(module)
    assert output.reid is None
    assert output.embeddings.shape == (2, 5, 16)
    assert not [k for k in module.state_dict() if k.startswith("reid")]


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_reidentifying_decoder__new__weights_have_variance_one_over_inputs(layer):
    """Catches torch's default initialisation in place of Caffe2's Xavier, and biases that are not zero."""
    head = decoder(["MODEL.MASK_FORMER.REID_HIDDEN_DIM", "400"]).reid_embed.layers[layer]
    bound = (3 / head.in_features) ** 0.5
    assert head.weight.detach().abs().max().item() == pytest.approx(bound, rel=0.05)
    assert not head.bias.any()
