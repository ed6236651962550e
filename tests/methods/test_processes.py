"""Every method trains and measures on several processes as on one."""

import os
from functools import cache
from itertools import product

import pytest
import pytorch_lightning as pl
import torch

from ensembles import metrics
from ensembles.data import Digits
from ensembles.processes import launch
from ensembles.training.callbacks import Collector
from ensembles.training.recipe import Recipe
from tests.methods.building import METHODS, built

# Networks that see no difference between one batch on one process and its parts on several.
DIVISIBLE = ("small_cnn", "ghost")
MEASURED = "ghost"  # of these: gathering predictions is the same for all networks

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def lightning(processes, **settings):
    """A Trainer of this process, or of all those that were launched with it."""
    return pl.Trainer(
        accelerator="cpu",
        devices=processes,
        strategy="ddp" if processes > 1 else "auto",
        use_distributed_sampler=False,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )


def predictions(method, model, processes=1):
    """Before any training, what each test set's collected logits and labels are."""
    found = {}
    data = Digits(batch_size=8, val_fraction=0, classes=range(9))  # 324 test images and 36 left out
    lightning(processes, callbacks=[Collector(lambda name, *both: found.update({name: both}))]).test(
        built(method, model), data, verbose=False
    )
    return found


def two_steps(method, model, processes=1):
    """The weights after two steps on digits."""
    module = built(method, model)
    module.recipe = Recipe(lambda groups: torch.optim.SGD(groups, lr=0.05), 1, 24, lambda done, of: 1.0)
    data = Digits(batch_size=24, val_fraction=0)
    data.deal = module.deal
    lightning(processes, max_steps=2).fit(module, data)
    return module.state_dict()


def cases(processes):
    return product(METHODS, DIVISIBLE if processes == 2 else [MEASURED])


def all_of_them(folder, processes):
    torch.set_num_threads(1)
    for method, model in cases(processes):
        found = trained_and_measured(method, model, processes)
        if os.environ.get("LOCAL_RANK") == "0":
            torch.save(found, folder / f"{method}-{model}.pt")


def trained_and_measured(method, model, processes=1):
    return two_steps(method, model, processes), predictions(method, model, processes) if model == MEASURED else {}


alone = cache(trained_and_measured)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_train_and_measure_as_one(tmp_path, processes):
    """Every method in one group of processes, without batch norm and with ghost batches; sets need not divide."""
    launch(all_of_them, (tmp_path, processes), processes)
    for method, model in cases(processes):
        name = f"{method}-{model}"
        weights, predicted = torch.load(tmp_path / f"{name}.pt", weights_only=True)
        expected_weights, expected = alone(method, model)
        torch.testing.assert_close(weights, expected_weights, rtol=1e-4, atol=1e-6, msg=name)
        start = built(method, model).state_dict()
        assert any(not torch.equal(weights[key], start[key]) for key in start), name
        assert predicted.keys() == expected.keys() and len(predicted) == (4 if model == MEASURED else 0)
        for key, (logits, labels) in predicted.items():
            assert torch.equal(labels, expected[key][1]), name
            torch.testing.assert_close(logits, expected[key][0], rtol=1e-4, atol=1e-5, msg=f"{name} {key}")
        if model == MEASURED:
            found, one = (
                metrics.scores(*both["test"], ("acc", "nll", "ece", "brier")) for both in (predicted, expected)
            )
            assert found == pytest.approx(one, rel=1e-4) and found["acc"] == one["acc"], name
