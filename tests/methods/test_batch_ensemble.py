"""BatchEnsemble: W o r s^T."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from ensembles import cost
from ensembles.backbones import resnet18, resnet50, torchvision_model, wrn
from ensembles.errors import UserError
from ensembles.methods.batch_ensemble import batch_ensemble


@pytest.mark.parametrize(
    ("backbone", "printed", "params"),
    [
        (lambda: resnet18(10), 11.21e6, 11_210_652),
        (lambda: resnet50(10), 23.63e6, 23_725_468),
        (lambda: wrn(28, 10, 10, late_stride=True, conv_bias=True), 36.59e6, 36_597_932),
        (lambda: wrn(28, 10, 10), 36.59e6, 36_557_548),
    ],
)
def test_parameters_of_the_table(backbone, printed, params):
    """Packed-Ensembles, Table 1, M = 4 on CIFAR-10; its WRN has biases on convolutions, and members their own."""
    with torch.device("meta"):
        ensemble = batch_ensemble(backbone)
        single = backbone()
    assert cost.parameters(ensemble) == params == pytest.approx(printed, rel=0.005)
    layers = [layer for layer in single.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    own = sum(sum(layer.weight.shape[:2]) + (len(layer.bias) if layer.bias is not None else 0) for layer in layers)
    shared = sum(p.numel() for p in single.parameters()) - sum(len(b.bias) for b in layers if b.bias is not None)
    assert params == shared + 4 * own


@pytest.mark.parametrize("member_batch_norm", [False, True])
def test_equals_the_equation(member_batch_norm):
    """Weights multiplied out by hand, put into an ordinary network, give the member's logits."""
    backbone = resnet18(10, image_size=16, width=0.25)
    ensemble = batch_ensemble(backbone, M=3, member_batch_norm=member_batch_norm, input_shape=(3, 16, 16)).eval()
    x = torch.randn(4, 3, 16, 16)
    names = [name for name, layer in backbone.named_modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    for m in range(3):
        network = copy.deepcopy(backbone).eval()
        for name, fast in zip(names, ensemble.fast, strict=True):
            layer = network.get_submodule(name)
            weight = torch.einsum("oi...,o,i->oi...", layer.weight, fast.r[m], fast.s[m])
            layer.weight = nn.Parameter(weight.detach())
        torch.testing.assert_close(ensemble(x)[m], network(x), rtol=1e-4, atol=1e-5)


def test_each_group_of_a_convolution_reads_its_own_inputs():
    """Scaling input channel i by s_i and output channel o by r_o, as one does without folding."""
    for groups, inputs, outputs in [(1, 4, 6), (2, 4, 6), (4, 4, 4), (4, 4, 8)]:
        conv = nn.Conv2d(inputs, outputs, 3, groups=groups)
        ensemble = batch_ensemble(
            nn.Sequential(conv, nn.Flatten(), nn.Linear(outputs, 2)), M=2, input_shape=(inputs, 3, 3)
        )
        fast, x = ensemble.fast[0], torch.randn(5, inputs, 3, 3)
        for m in range(2):
            scaled = F.conv2d(x * fast.s[m][:, None, None], conv.weight, groups=groups)
            by_hand = scaled * fast.r[m][:, None, None] + fast.bias[m][:, None, None]
            torch.testing.assert_close(ensemble.member(m)[0](x), by_hand)


@pytest.mark.parametrize(
    "backbone",
    [
        lambda: resnet18(10, image_size=16, width=0.25),
        lambda: torchvision_model("shufflenet_v2_x0_5", 10, image_size=32),
    ],
)
def test_layer_by_layer_equals_scaling_the_activations(backbone):
    """In training, with shared batch norms: outputs and all gradients are those of the usual way, float64."""
    M, B = 3, 4
    torch.manual_seed(1)
    shape = (3, 32, 32)
    ensemble = batch_ensemble(backbone, M=M, input_shape=shape).double()
    usual = copy.deepcopy(ensemble.network)
    fast = copy.deepcopy(ensemble.fast)
    places = {usual.get_submodule(layer.name): own for layer, own in zip(ensemble.layers, fast, strict=True)}

    def expanded(rows, like):
        return rows.repeat_interleave(B, 0).view(M * B, -1, *[1] * (like.dim() - 2))

    for layer, own in places.items():
        layer.register_forward_pre_hook(lambda _, inputs, own=own: inputs[0] * expanded(own.s, inputs[0]))
        layer.register_forward_hook(
            lambda _, inputs, output, own=own: (
                output * expanded(own.r, output) + (0 if own.bias is None else expanded(own.bias, output))
            )
        )
    x = torch.randn(B, *shape, dtype=torch.double)
    logits, by_scaling = ensemble(x), usual(x.repeat(M, 1, 1, 1)).unflatten(0, (M, B))
    torch.testing.assert_close(logits, by_scaling)
    torch.testing.assert_close(ensemble.each(x.expand(M, *x.shape)), logits)
    for out in (logits, by_scaling):
        out.log_softmax(-1)[..., 3].sum().backward()
    for ours, theirs in ((ensemble.network, usual), (ensemble.fast, fast)):
        for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a.grad, b.grad, msg=lambda text, name=name: f"{name}: {text}")


def test_fast_weights_start():
    normal = torch.cat([p.detach().flatten() for p in batch_ensemble(lambda: resnet18(10)).fast_weights()])
    assert normal.mean() == pytest.approx(1, abs=0.02) and normal.std() == pytest.approx(0.5, abs=0.01)
    signed = batch_ensemble(lambda: resnet18(10), init="signs")
    signs = torch.cat([p.detach().flatten() for p in signed.fast_weights()])
    assert signs.abs().eq(1).all() and signs.mean() == pytest.approx(0, abs=0.02)
    with pytest.raises(UserError, match=r"method\.init is 'ones', but must be normal, signs or close"):
        batch_ensemble(lambda: resnet18(10), init="ones")
