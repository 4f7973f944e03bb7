"""Parts of vision transformers against torch's own layers and counted by hand."""

import pytest
import torch
from torch import nn

from dense.layers import FeedForward, PackedSelfAttention, SharedBatchNorm, VisionBlock, drop_path


def test_packed_self_attention__same_weights__equals_torch():
    """Catches query, key and value exchanged, heads split along the wrong axis, another scale."""
    ours, theirs = PackedSelfAttention(12, 3), nn.MultiheadAttention(12, 3, batch_first=True)
    theirs.load_state_dict(
        {
            "in_proj_weight": ours.qkv.weight,
            "in_proj_bias": torch.randn(36),
            "out_proj.weight": ours.proj.weight,
            "out_proj.bias": ours.proj.bias,
        }
    )
    with torch.no_grad():
        ours.qkv.bias.copy_(theirs.in_proj_bias)
        x = torch.randn(2, 5, 12)
        torch.testing.assert_close(ours(x), theirs(x, x, x, need_weights=False)[0])


def test_packed_self_attention__heads_that_do_not_divide__raise():
    """Catches a failure deep inside a reshape."""
    with pytest.raises(ValueError, match=r"width: 10.*heads \(3\)"):
        PackedSelfAttention(10, 3)


def test_drop_path__training__drops_whole_images_and_keeps_the_mean():
    """Catches dropped elements instead of images, and survivors that are not scaled."""
    x = torch.ones(4000, 3, 2)
    out = drop_path(x, 0.25, training=True)
    kept = out[:, 0, 0] > 0
    assert (out == out[:, :1, :1]).all()
    assert out[kept].unique().tolist() == pytest.approx([4 / 3])
    assert out.mean().item() == pytest.approx(1.0, abs=0.05)  # four standard deviations
    assert drop_path(x, 0.25, training=False) is x
    assert drop_path(x, 0.0, training=True) is x


def test_vision_block__zero_layer_scale__is_the_identity():
    """Catches a branch that its factor does not reach."""
    block = VisionBlock(8, 2, FeedForward(8, 16), layer_scale=1.0)
    x = torch.randn(1, 3, 8)
    with torch.no_grad():
        assert not block(x).allclose(x)
        for scale in (block.ls1, block.ls2):
            scale.gamma.zero_()
            assert not block(x).equal(x) or scale is block.ls2
        assert block(x).equal(x)


def test_shared_batch_norm__distributed_run_on_a_cpu__equals_batch_norm(tmp_path):
    """Catches a distributed run on CPUs that ends in torch's error; statistics and state dict are those of BatchNorm2d."""
    ours, theirs = SharedBatchNorm(3), nn.BatchNorm2d(3)
    x = torch.randn(4, 3, 5, 6)
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        with pytest.raises(ValueError, match="GPU"):  # if that ends, the class can go
            nn.SyncBatchNorm(3)(x)
        assert ours(x).equal(theirs(x))
    finally:
        torch.distributed.destroy_process_group()
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    assert all(value.equal(theirs.state_dict()[name]) for name, value in ours.state_dict().items())
    assert ours.eval()(x).equal(theirs.eval()(x))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("last", ["input", "gradient", "both"])
def test_shared_batch_norm__one_image_in_either_layout__gradients_of_the_formula(last, training):
    """Catches torch's wrong gradients for one image when input and gradient lie differently in memory."""
    norm = SharedBatchNorm(3).train(training)
    x, gradient = torch.randn(1, 3, 4, 5), torch.randn(1, 3, 4, 5)
    layout = torch.channels_last
    given = (x.to(memory_format=layout) if last != "gradient" else x.clone()).requires_grad_()
    plain = x.clone().requires_grad_()
    variance, mean = torch.var_mean(plain, (0, 2, 3), correction=0)
    if not training:
        variance, mean = torch.ones(3), torch.zeros(3)
    expected = (plain - mean[:, None, None]) / (variance[:, None, None] + norm.eps).sqrt()
    expected.backward(gradient)
    norm(given).backward(gradient if last == "input" else gradient.to(memory_format=layout))
    torch.testing.assert_close(given.grad, plain.grad, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(norm.bias.grad, gradient.sum((0, 2, 3)), atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(norm.weight.grad, (gradient * expected).sum((0, 2, 3)).detach(), atol=1e-5, rtol=1e-4)
