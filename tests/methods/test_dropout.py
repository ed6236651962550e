"""MC dropout: where it sits, what it does to the numbers, and that predictions can be repeated."""

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn

import ensembles
from ensembles.backbones import mlp, resnet50, small_cnn, timm_model, torchvision_model, wrn
from ensembles.data import Digits
from ensembles.errors import UserError
from ensembles.methods import Dropout
from ensembles.methods.dropout import drop, dropout_sites, image_keys
from ensembles.training.recipe import Recipe

SHAPE = (3, 32, 32)


def test_sits_inside_residual_blocks_before_each_convolution_but_the_first():
    blocks = [f"layer{group}.{block}" for group in (1, 2, 3) for block in (0, 1)]
    assert dropout_sites(wrn(16, 1, 10), SHAPE) == [f"{block}.conv2" for block in blocks]
    counts = (3, 4, 6, 3)
    bottlenecks = [f"layer{group + 1}.{block}" for group in range(4) for block in range(counts[group])]
    expected = [f"{block}.conv{number}" for block in bottlenecks for number in (2, 3)]
    assert dropout_sites(resnet50(10, width=0.125), SHAPE) == expected


def test_sits_between_the_layers_of_plain_networks():
    assert dropout_sites(small_cnn(10), SHAPE) == ["conv2", "conv3"]
    assert dropout_sites(mlp(10), SHAPE) == ["fc2", "fc"]
    dense = dropout_sites(torchvision_model("densenet121", 10, image_size=32), SHAPE)
    assert len(dense) == 119 and "features.conv0" not in dense and "classifier" not in dense
    kwargs = {"patch_size": 8, "embed_dim": 24, "depth": 1, "num_heads": 3}
    vit = timm_model("vit_tiny_patch16_224", 10, image_size=16, kwargs=kwargs)
    assert dropout_sites(vit, (3, 16, 16)) == ["blocks.0.attn.proj", "blocks.0.mlp.fc1", "blocks.0.mlp.fc2"]


def test_the_residual_site_is_after_a_blocks_first_convolution():
    blocks = [f"layer{group}.{block}" for group in (1, 2, 3) for block in (0, 1)]
    for preactivation in (True, False):
        found = dropout_sites(wrn(16, 2, 10, preactivation=preactivation), SHAPE, "residual")
        assert found == [f"{block}.conv1" for block in blocks]
    counts = (3, 4, 6, 3)
    bottlenecks = [f"layer{group + 1}.{block}" for group in range(4) for block in range(counts[group])]
    assert dropout_sites(resnet50(10, width=0.125), SHAPE, "residual") == [f"{block}.conv1" for block in bottlenecks]
    with pytest.raises(UserError, match=r"method\.site=residual needs residual blocks, and this Sequential has none"):
        ensembles.dropout(small_cnn(10), site="residual")
    with pytest.raises(UserError, match=r"method\.site is 'everywhere', but must be convolutions or residual"):
        ensembles.dropout(wrn(10, 1, 10), site="everywhere")


def test_the_residual_site_equals_the_block_by_hand():
    """Between the first convolution and the second norm, and nowhere else, the projection included."""
    ensemble = ensembles.dropout(lambda: wrn(10, 1, 10), rate=0.5, site="residual").eval()
    block, x = ensemble.network.layer2[0], torch.randn(4, *SHAPE)
    read = {}
    block.register_forward_pre_hook(lambda layer, inputs: read.update(x=inputs[0].clone()))
    block.bn2.register_forward_pre_hook(lambda layer, inputs: read.update(dropped=inputs[0].clone()))
    block.register_forward_hook(lambda layer, inputs, output: read.update(out=output.clone()))
    ensemble(x)
    hidden = F.conv2d(F.relu(block.bn1(read["x"])), block.conv1.weight, stride=2, padding=1)
    kept = read["dropped"] != 0
    assert kept.float().mean().item() == pytest.approx(0.5, abs=0.02)
    torch.testing.assert_close(read["dropped"], hidden * kept / 0.5)
    out = F.conv2d(F.relu(block.bn2(read["dropped"])), block.conv2.weight, padding=1)
    torch.testing.assert_close(read["out"], out + F.conv2d(read["x"], block.projection.weight, stride=2))


def test_equals_the_network_with_the_masks_by_hand():
    ensemble = ensembles.dropout(lambda: small_cnn(10), rate=0.25, samples=2).eval()
    x = torch.randn(4, *SHAPE)
    read = {}
    for name in ("conv2", "conv3"):
        ensemble.network.get_submodule(name).register_forward_hook(
            lambda layer, inputs, output, name=name: read.update({name: inputs[0].clone()})
        )
    logits = ensemble.member(1)(x)
    net = ensemble.network
    features = net.pool1(F.relu(F.conv2d(x, net.conv1.weight, net.conv1.bias, padding=1)))
    for name, conv, pool in (("conv2", net.conv2, net.pool2), ("conv3", net.conv3, net.pool3)):
        mask = (read[name] != 0) / 0.75
        torch.testing.assert_close(read[name], features * mask)
        features = pool(F.relu(F.conv2d(read[name], conv.weight, conv.bias, padding=1)))
    torch.testing.assert_close(logits, net.fc(features.flatten(1)))
    torch.testing.assert_close(logits, ensemble(x)[1])


def test_masks_are_as_random_as_coins():
    """Shares and correlations over images, places, layers and salts, against their standard errors."""
    x, rate = torch.randn(400, 3, 8, 8), 0.1
    ones = torch.ones(400, 64, 4, 4)
    kept = {
        (salt, layer): (drop(ones, image_keys(x, salt), layer, rate) > 0).flatten(1).double()
        for salt in (0, 1)
        for layer in (0, 1)
    }
    deviation = (rate * (1 - rate)) ** 0.5
    for mask in kept.values():
        assert mask.mean().item() == pytest.approx(1 - rate, abs=4 * deviation / mask.numel() ** 0.5)
        for dim in (0, 1):
            spread = mask.mean(dim).std().item()
            assert spread == pytest.approx(deviation / mask.shape[dim] ** 0.5, rel=0.15)
        between_images = torch.corrcoef(mask).fill_diagonal_(0)
        assert between_images.abs().max() < 6 / mask.shape[1] ** 0.5
    flat = torch.stack([mask.flatten() for mask in kept.values()])
    assert torch.corrcoef(flat).fill_diagonal_(0).abs().max() < 5 / flat.shape[1] ** 0.5


def test_the_mean_over_samples_of_a_linear_network_is_the_network():
    network = nn.Sequential(nn.Flatten(), nn.Linear(12, 200), nn.Linear(200, 3))
    ensemble = ensembles.dropout(network, rate=0.5, samples=500, input_shape=(3, 2, 2)).eval()
    x = torch.randn(2, 3, 2, 2)
    samples = ensemble(x)
    hidden = x.flatten(1) @ ensemble.network[1].weight.T + ensemble.network[1].bias
    expected = hidden @ ensemble.network[2].weight.T + ensemble.network[2].bias
    error = (samples.mean(0) - expected).abs() / (samples.std(0) / 500**0.5)
    assert error.max() < 4


def test_predictions_depend_on_image_and_sample_alone():
    ensemble = ensembles.dropout(lambda: wrn(10, 1, 10), samples=3).eval()
    x = torch.randn(6, *SHAPE)
    logits = ensemble(x)
    torch.manual_seed(7)
    assert torch.equal(ensemble(x), logits)
    torch.testing.assert_close(ensemble(x[2:4]), logits[:, 2:4])
    torch.testing.assert_close(ensemble(x.flip(0)), logits.flip(1))
    nearly = x * (1 + torch.finfo(x.dtype).eps)  # as normalised in another order of operations
    torch.testing.assert_close(ensemble(nearly), logits, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(logits[0], logits[1])


def test_training_takes_one_sample_and_draws_it_anew():
    ensemble = ensembles.dropout(lambda: small_cnn(10), samples=3)
    x = torch.randn(4, *SHAPE)
    assert ensemble(x).shape == (1, 4, 10)
    assert not torch.allclose(ensemble(x), ensemble(x))
    ensemble.salt = 5
    assert torch.equal(ensemble(x), ensemble(x))
    first = ensemble(x)
    ensemble.salt = 6
    assert not torch.allclose(ensemble(x), first)


def test_windows_of_one_image_have_masks_of_their_own():
    kept = drop(torch.ones(8, 50, 4), image_keys(torch.randn(2, 3, 4, 4), 0), 0, 0.5)
    assert len({tuple(window.flatten().tolist()) for window in kept}) == 8


@pytest.mark.parametrize("settings", [{"rate": 1.0}, {"rate": -0.1}, {"samples": 0}])
def test_refuses(settings):
    with pytest.raises(UserError, match=next(iter(settings))):
        ensembles.dropout(lambda: small_cnn(10), **settings)


def test_refuses_a_network_of_one_layer():
    with pytest.raises(UserError, match="has only one"):
        ensembles.dropout(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), input_shape=(3, 2, 2))


class Salts(pl.Callback):
    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, trainer, module, *_):
        self.seen.append(module.ensemble.salt)


def salts(seed):
    method = Dropout(lambda: small_cnn(10, in_channels=1, image_size=8), (1, 8, 8))
    method.recipe = Recipe(lambda groups: torch.optim.SGD(groups, lr=0.1), 2, 8, lambda done, of: 1.0)
    seen = Salts()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(
        max_epochs=2, limit_train_batches=2, accelerator="cpu", callbacks=seen, enable_model_summary=False, **quiet
    )
    trainer.fit(method, Digits(batch_size=8, seed=seed, val_fraction=0))
    return seen.seen


@pytest.mark.filterwarnings("ignore")
def test_follow_from_seed_epoch_and_step():
    first = salts(seed=0)
    assert len(set(first)) == 4
    assert salts(seed=0) == first
    assert not set(salts(seed=1)) & set(first)
