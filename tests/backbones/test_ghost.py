"""Batch norm over ghost batches."""

import copy

import pytest
import torch
import torch.distributed as dist
from torch import nn

from ensembles.backbones import resnet18, small_cnn, timm_model, torchvision_model, wrn
from ensembles.backbones.ghost import ghost
from ensembles.errors import UserError
from ensembles.methods.batch_ensemble import batch_ensemble
from ensembles.methods.mixture import mixture

BACKBONES = {
    "wrn": lambda **settings: wrn(10, 1, 10, image_size=16, **settings),
    "resnet18": lambda **settings: resnet18(10, image_size=16, width=0.125, **settings),
    "timm": lambda **settings: timm_model("test_efficientnet", 10, image_size=16, **settings),
    "torchvision": lambda **settings: torchvision_model("shufflenet_v2_x0_5", 10, image_size=32, **settings),
}


def statistics(network):
    return {name: buffer.clone() for name, buffer in network.named_buffers() if "running" in name}


@pytest.mark.parametrize("name", BACKBONES)
def test_training_is_that_of_the_ghost_batches_apart(name):
    """Outputs, gradients, and running statistics moved by the mean of what the ghost batches have."""
    network = BACKBONES[name](ghost_batch=4)
    plain = BACKBONES[name]()
    plain.load_state_dict(network.state_dict())
    x = torch.randn(12, 3, 32, 32) if name == "torchvision" else torch.randn(12, 3, 16, 16)
    expected, moved = [], []
    for part in x.split(4):
        own = copy.deepcopy(plain)
        output = own(part)
        output.square().sum().backward()
        expected.append(output)
        moved.append((statistics(own), [parameter.grad for parameter in own.parameters()]))
    outputs = network(x)
    outputs.square().sum().backward()
    torch.testing.assert_close(outputs, torch.cat(expected), rtol=1e-4, atol=1e-4)
    for key, buffer in statistics(network).items():
        torch.testing.assert_close(buffer, torch.stack([own[key] for own, _ in moved]).mean(0))
    gradients = [torch.stack(parts).sum(0) for parts in zip(*(own for _, own in moved), strict=True)]
    largest = max(gradient.abs().max().item() for gradient in gradients)  # some are zero but for rounding
    for parameter, expected in zip(network.parameters(), gradients, strict=True):
        torch.testing.assert_close(parameter.grad, expected, rtol=1e-3, atol=1e-4 * largest)
    assert {int(buffer) for key, buffer in network.named_buffers() if key.endswith("num_batches_tracked")} == {1}
    plain.load_state_dict(network.state_dict())
    torch.testing.assert_close(network.eval()(x), plain.eval()(x))


def test_a_batch_of_one_ghost_batch_or_less_is_ordinary():
    norm, plain = ghost(nn.Sequential(nn.BatchNorm2d(3)), 8), nn.Sequential(nn.BatchNorm2d(3))
    for size in (8, 5, 15):
        x = torch.randn(size, 3, 4, 4)
        torch.testing.assert_close(norm(x), plain(x))
    torch.testing.assert_close(norm.state_dict(), plain.state_dict())


def test_what_does_not_fill_a_ghost_batch_is_spread_over_the_others():
    norm, plain = ghost(nn.Sequential(nn.BatchNorm1d(3)), 4), nn.BatchNorm1d(3)
    x = torch.randn(10, 3)
    torch.testing.assert_close(norm(x), torch.cat([plain(part) for part in x.split(5)]))


@pytest.mark.parametrize("member_batch_norm", [False, True])
def test_a_shared_norms_ghost_batch_has_its_examples_of_each_member(member_batch_norm):
    """So a device that holds some of the examples holds whole ghost batches, whatever M."""
    ensemble = batch_ensemble(
        BACKBONES["wrn"](ghost_batch=2), M=3, member_batch_norm=member_batch_norm, input_shape=(3, 16, 16)
    )
    x = torch.randn(6, 3, 16, 16)
    parts = [copy.deepcopy(ensemble)(part) for part in x.split(2)]
    torch.testing.assert_close(ensemble(x), torch.cat(parts, dim=1), rtol=1e-4, atol=1e-4)
    assert ensemble.member(0)(x[:4]).shape == (4, 10)


@pytest.mark.parametrize("build", [batch_ensemble, mixture])
def test_two_processes_do_as_one(build, monkeypatch):
    """Each has half of the batch; an all-reduce, stood in for here, adds the other's statistics."""
    one = build(wrn(16, 1, 10, image_size=16, ghost_batch=2), M=2, input_shape=(3, 16, 16))
    halves = [copy.deepcopy(one), copy.deepcopy(one)]
    x = torch.randn(8, 3, 16, 16)
    logits = one(x)
    sent = []
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    monkeypatch.setattr(dist, "all_reduce", lambda tensor: sent.append(tensor.clone()))
    second = copy.deepcopy(halves[1])(x[4:])
    monkeypatch.setattr(dist, "all_reduce", lambda tensor: tensor.add_(sent.pop(0)))
    first = halves[0](x[:4])
    assert not sent
    torch.testing.assert_close(torch.cat([first, second], dim=1), logits, rtol=1e-4, atol=1e-4)
    for (name, ours), both in zip(one.named_buffers(), halves[0].buffers(), strict=True):
        torch.testing.assert_close(ours, both, rtol=1e-4, atol=1e-5, msg=name)


def test_refuses():
    with pytest.raises(UserError, match=r"model\.ghost_batch: VisionTransformer has no batch norm, so set it to null"):
        timm_model("test_vit", 10, image_size=16, ghost_batch=4)
    with pytest.raises(UserError, match=r"model\.ghost_batch is 0, but must be an integer of at least 1"):
        BACKBONES["wrn"](ghost_batch=0)
    with pytest.raises(UserError, match="Sequential has no batch norm"):
        ghost(small_cnn(10), 4)
