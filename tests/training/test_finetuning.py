"""Going on from pretrained weights: a frozen trunk, an early stop, and steps of gathered gradients."""

import csv
import json
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

from ensembles import methods
from ensembles.backbones import small_cnn
from ensembles.data import from_datasets
from ensembles.errors import UserError
from ensembles.training.callbacks import Losses
from ensembles.training.recipe import Recipe, cosine

SHAPE = (3, 8, 8)


def network():
    return nn.Sequential(
        *(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3),
            nn.BatchNorm2d(8),
            nn.ReLU(),
        ),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)),
    )


METHODS = {  # and what may change, by the last part of the names of modules
    "deterministic": (methods.Deterministic, {"8"}),
    "dropout": (methods.Dropout, {"8"}),
    "deep_ensemble": (partial(methods.DeepEnsemble, M=2), {"8"}),
    "treenet": (partial(methods.TreeNet, M=2, split="3"), {"8"}),
    "masksembles": (partial(methods.Masksembles, M=2), {"8"}),
    "batch_ensemble": (partial(methods.BatchEnsemble, M=2, init="close"), {"8", "2"}),  # fast.2 is the third layer's
    "naive_multihead": (partial(methods.NaiveMultihead, M=2), {"8"}),
    "mimo": (partial(methods.MIMO, M=2), {"8", "0"}),
}


def recipe(**settings):
    return Recipe(partial(torch.optim.SGD, lr=0.5, weight_decay=0.1), 1, 8, cosine(), l2=0.1, **settings)


@pytest.mark.parametrize("name", METHODS)
def test_a_frozen_trunk_stays_as_it_is_and_the_head_learns(name):
    make, trained = METHODS[name]
    method = make(network, SHAPE)
    method.recipe = recipe(freeze_trunk=True)
    method.setup("fit")
    optimizer = method.recipe.optimizers(method.parameter_groups(), 1)["optimizer"]
    before = {key: value.clone() for key, value in method.state_dict().items()}
    method.train()
    x, y = torch.randn(8, *SHAPE), torch.arange(8) % 4
    for _ in range(2):
        optimizer.zero_grad()
        method.loss(method(x), y).backward()
        method.recipe.penalise(optimizer)
        optimizer.step()
    changed = {key.split(".")[-2] for key, value in method.state_dict().items() if not torch.equal(value, before[key])}
    assert changed == trained
    method.eval()
    assert not any(module.training for module in method.modules())


@pytest.mark.parametrize("method", [methods.Packed, partial(methods.Mixture, grouping="flat")])
def test_a_frozen_trunk_of_random_numbers_is_refused(method):
    with pytest.raises(UserError, match="draws its weights anew, so a frozen trunk would stay at random numbers"):
        method(partial(small_cnn, 4, image_size=8), SHAPE).freeze_trunk()


def test_a_frozen_trunk_from_the_command_line(tiny):
    """The optimiser of what is saved has the head's numbers alone, so a training goes on from it, too."""
    arguments = ("method=deep_ensemble", "recipe=finetune", "recipe.freeze_trunk=true", "runtime.keep_every=1")
    ended = tiny(*arguments)
    assert ended.code == 0, ended.err
    (run,) = Path("runs").iterdir()
    start, end = (torch.load(run / f"epochs/{n:04d}.ckpt", weights_only=True) for n in (0, 2))
    changed = {key for key, value in end["state_dict"].items() if not torch.equal(value, start["state_dict"][key])}
    assert changed == {f"ensemble.networks.{m}.fc.{kind}" for m in range(4) for kind in ("weight", "bias")}
    (run / "results.json").unlink()
    assert tiny(*arguments).code == 0 and (run / "results.json").exists()
    assert "Packed draws its weights anew" in tiny("recipe=finetune", "recipe.freeze_trunk=true").err


def test_pretrained_weights_are_read_for_the_members_alone(tiny, monkeypatch):
    """Not once more to count what one network costs."""
    read = []

    def network(num_classes, in_channels, image_size, pretrained, **_):
        read.append(pretrained)
        return small_cnn(num_classes, in_channels=in_channels, image_size=image_size)

    monkeypatch.setitem(sys.modules, "starting", SimpleNamespace(network=network))
    ended = tiny(
        *("model._target_=starting.network", "+model.pretrained=true", "method=deterministic", "recipe.epochs=1")
    )
    assert ended.code == 0, ended.err
    assert read == [True, False]


def test_patience_ends_a_training_and_does_so_once(tiny):
    arguments = ("method=deterministic", "recipe.epochs=9", "recipe.optimizer.lr=1e-12", "runtime.patience=2")
    ended = tiny(*arguments)
    assert ended.code == 0, ended.err
    (run,) = Path("runs").iterdir()

    def epochs():
        return len(list(csv.DictReader((run / "metrics.csv").open())))

    assert epochs() == 3  # the first is the best
    (run / "results.json").unlink()
    assert tiny(*arguments).code == 0 and epochs() == 3
    assert json.loads((run / "results.json").read_text())["test/acc"] >= 0


def trained(batch_size, gathered, N=96, epochs=2, callbacks=()):
    """Weights after a training without augmentation, by the project's own loader, recipe and method."""
    generator = torch.Generator().manual_seed(0)
    pixels, labels = torch.randint(256, (N, *SHAPE), generator=generator, dtype=torch.uint8), torch.arange(N) % 4
    data = from_datasets((pixels, labels), (pixels[:8], labels[:8]), batch_size=batch_size, val_fraction=0)
    torch.manual_seed(0)
    method = methods.Deterministic(partial(small_cnn, 4, image_size=8), SHAPE)
    method.recipe = Recipe(
        partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=0.01),
        *(epochs, batch_size, cosine()),
        warmup_epochs=1,
        l2=0.01,
    )
    start = {key: value.clone() for key, value in method.state_dict().items()}
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = pl.Trainer(
        max_epochs=epochs,
        accelerator="cpu",
        enable_model_summary=False,
        accumulate_grad_batches=gathered,
        gradient_clip_val=1.0,
        callbacks=list(callbacks),
        **quiet,
    )
    trainer.fit(method, data)
    return method, data, trainer, start


def test_gathered_gradients_are_those_of_one_large_batch():
    """Losses, weight decay, penalty, clipping, momentum, warm-up and schedule."""
    (large, _, one, _), (small, _, many, _) = trained(48, 1), trained(16, 3)
    assert one.global_step == many.global_step == 4
    for key, value in large.state_dict().items():
        torch.testing.assert_close(small.state_dict()[key], value, rtol=1e-4, atol=1e-6)


def test_the_loss_that_is_logged_is_the_batches_own():
    """Of gathered gradients Lightning divides it by the number of batches of a step."""
    trainers = [trained(*sizes, epochs=1, callbacks=[Losses()])[2] for sizes in ((48, 1), (16, 3))]
    large, small = (trainer.callback_metrics["train/loss"].item() for trainer in trainers)
    assert small == pytest.approx(large, rel=1e-4)


def test_an_epochs_last_group_of_fewer_batches_counts_as_what_it_is():
    """Seven batches by threes, against a plain loop over groups of three, three and one."""
    method, data, trainer, start = trained(12, 3, N=84)
    assert trainer.global_step == 6
    plain = methods.Deterministic(partial(small_cnn, 4, image_size=8), SHAPE)
    plain.load_state_dict(start)
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, weight_decay=0.01)
    step = 0
    data.trainer = None
    for epoch in range(2):
        loader = data.train_dataloader()
        batches = [data.on_after_batch_transfer(loader.batch(epoch, number), 0) for number in range(7)]
        for first in (0, 3, 6):
            x, y = (torch.cat(parts) for parts in zip(*batches[first : first + 3], strict=True))
            optimizer.param_groups[0]["lr"] = 0.1 * method.recipe.factor(2 * step / 6)
            optimizer.zero_grad()
            nn.functional.cross_entropy(plain(x)[0], y).backward()
            for parameter in plain.parameters():
                parameter.grad.add_(parameter.detach(), alpha=0.02)
            nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
            optimizer.step()
            step += 1
    for key, value in plain.state_dict().items():
        torch.testing.assert_close(method.state_dict()[key], value, rtol=1e-4, atol=1e-6)
