"""What ``python train.py`` measures on sets of all kinds, and what it measures again from saved predictions."""

import io
import json
import sys
import types
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pytorch_lightning import LightningDataModule, Trainer
from sklearn.metrics import log_loss
from torch.utils.data import DataLoader, TensorDataset

from ensembles.data.labelled_set import LabelledSet
from ensembles.deal import Deal
from ensembles.errors import UserError
from ensembles.methods import Method
from ensembles.metrics import Predicted, scores
from ensembles.metrics.temperature import fit
from ensembles.predictions import saved, saving
from ensembles.training.callbacks import Collector

K = 5
SIZES = {
    "val": 40,
    "test": 71,
    "ood/noise": 30,
    "shift/some": 33,
    "shift/frames": 24,
    "corrupted/fog/1": 71,
    "corrupted/fog/5": 71,
    "corrupted/snow/1": 71,
    "corrupted/spatter/1": 71,
}
GROUPS = [[i, i + 1, i + 2] for i in range(0, 24, 3)]


class Sets(LightningDataModule):
    """Noisy stripes, one of five places each; and sets of every kind."""

    num_classes, in_channels, image_size = K, 1, 8
    class_names, mean, std = list("abcde"), [0.0], [1.0]

    def __init__(self, batch_size, seed, **settings):
        super().__init__()
        self.deal = Deal()
        self.test_sets = {name: size for name, size in SIZES.items() if name != "val"}
        valid = torch.rand(24, K, generator=torch.Generator().manual_seed(0)) < 0.3
        valid[:, 0] = True
        self.sets = {name: LabelledSet(torch.zeros(size, 1, 8, 8)) for name, size in SIZES.items()}
        self.sets["shift/some"] = replace(self.sets["shift/some"], covered_classes=[3, 1])
        self.sets["shift/frames"] = replace(self.sets["shift/frames"], groups=GROUPS, valid_labels=valid)

    def draw(self, name, size):
        generator = torch.Generator().manual_seed(size)
        labels = torch.randint(K, (size,), generator=generator)
        labels = {"shift/some": 1 + labels % 2 * 2, "shift/frames": labels * 0}.get(name, labels)
        noise = {"corrupted": 2.0, "ood": 3.0}.get(name.split("/")[0], 1.0)
        x = noise * torch.randn(size, 1, 8, 8, generator=generator)
        x[torch.arange(size), :, :, labels + 1] += 1
        return TensorDataset(x, labels * 0 - 1 if name.startswith("ood/") else labels)

    def train_dataloader(self):
        return DataLoader(self.draw("train", 320), 32)

    def val_dataloader(self):
        return DataLoader(self.draw("val", SIZES["val"]), 16)

    def test_dataloader(self):
        return [DataLoader(self.draw(name, size), 16) for name, size in self.test_sets.items()]


@pytest.fixture
def measure(tiny, monkeypatch):
    """``python train.py`` on these sets, on few of whose examples a network is sure."""
    monkeypatch.setitem(sys.modules, "manysets", types.SimpleNamespace(Sets=Sets))
    return lambda *arguments: tiny("data._target_=manysets.Sets", *arguments)


@pytest.fixture
def metrics(call):
    """``python scripts/metrics.py``."""
    from ensembles.commands import metrics as program

    return partial(call, program)


def only_run():
    (run,) = Path("runs").iterdir()
    return run


def results(run):
    return json.loads((run / "results.json").read_text())


def measured(run):
    return {key: value for key, value in results(run).items() if not key.startswith("cost/")}


SAVING = ("evaluation.temperature_scaling=true", "evaluation.save_predictions=true")


def test_every_kind_of_set_is_measured_and_saved(measure, metrics, plots):
    ended = measure(*SAVING)
    assert ended.code == 0, ended.err
    run, found = only_run(), results(only_run())
    assert {path.name for path in run.iterdir()} >= {"severity.png", "temperature.png", "predictions.npz"}
    assert not [path for path in run.iterdir() if path.name.startswith(".")]
    for shown in ("corrupted, 3 of 75 cells", "corrupted, other types", "frames like them", "Temperature scaling"):
        assert shown in ended.out

    with np.load(run / "predictions.npz") as file:  # as a reader would who knows nothing of this package
        logits = {name: file[f"{name}/logits"] for name in file["sets"]}
        labels = {name: file[f"{name}/labels"] for name in file["sets"]}
    assert {name: len(each) for name, each in labels.items()} == SIZES
    p = {name: torch.tensor(each).double().softmax(-1).numpy() for name, each in logits.items()}
    mean = {name: each.mean(0) for name, each in p.items()}
    right = {name: mean[name].argmax(-1) == labels[name] for name in SIZES}
    assert found["test/nll"] == pytest.approx(log_loss(labels["test"], mean["test"]), abs=1e-6)
    assert found["members/acc"] == [(each.argmax(-1) == labels["test"]).mean() for each in p["test"]]
    cells = [name for name in SIZES if name.startswith("corrupted/") and "spatter" not in name]
    assert found["corrupted/acc"] == pytest.approx(np.mean([right[name].mean() for name in cells]))
    assert found["corrupted_extra/acc"] == right["corrupted/spatter/1"].mean() == found["corrupted/spatter/1/acc"]
    assert (found["corrupted/cells"], found["corrupted_extra/cells"]) == (3, 1)
    some = torch.tensor(logits["shift/some"])[..., [1, 3]].double().softmax(-1).mean(0).numpy()
    assert found["shift/some/nll"] == pytest.approx(log_loss(labels["shift/some"], some, labels=[1, 3]), abs=1e-6)
    accepted = Sets(1, 0).sets["shift/frames"].valid_labels.numpy()
    good = accepted[np.arange(24), mean["shift/frames"].argmax(-1)]
    assert found["shift/frames/acc"] == good.mean()
    assert found["shift/frames/pmk_acc"] == good.reshape(-1, 3).all(1).mean()
    temperatures = fit(torch.tensor(logits["val"]), torch.tensor(labels["val"]))
    assert found["scaled/pool/temperature"] == temperatures.pool
    assert found["scaled/members/temperature"] == temperatures.members

    before = results(run)
    (run / "results.json").unlink()
    (run / "provenance.json").unlink()
    assert metrics(run).code == 0
    assert measured(run) == {key: value for key, value in before.items() if not key.startswith("cost/")}


def test_another_evaluation_needs_no_training_and_from_saved_predictions_no_network(
    measure, metrics, plots, monkeypatch
):
    assert measure().code == 0
    run = only_run()
    plain, weights = results(run), (run / "last.ckpt").read_bytes()
    assert not (run / "predictions.npz").exists() and "scaled/pool/nll" not in plain
    assert measure(*SAVING).code == 0
    assert run == only_run() and (run / "last.ckpt").read_bytes() == weights
    scaled = measured(run)
    assert {key: scaled[key] for key in scaled if not key.startswith("scaled/")} == {
        key: value for key, value in plain.items() if not key.startswith("cost/")
    }

    monkeypatch.setattr(Method, "test_step", None)  # from here on there is no network
    costs = {key: value for key, value in results(run).items() if key.startswith("cost/")}
    ended = metrics(run, "evaluation.restrict_classes=false", "evaluation.temperature_scaling=false")
    assert ended.code == 0 and "Temperature" not in ended.out
    free = results(run)
    assert {key for key in free if free[key] != (scaled | costs)[key]} == {
        "shift/some/acc",
        "shift/some/nll",
        "shift/some/ece",
    }
    assert free["shift/some/nll"] > scaled["shift/some/nll"]
    assert not (run / "temperature.png").exists()
    again = measure("evaluation.restrict_classes=false")  # train.py finds these results
    assert again.code == 0 and again.out.splitlines()[-20:] == ended.out.splitlines()[-20:]
    assert json.loads((run / "provenance.json").read_text())["computed_again"]["command"].startswith(
        "python metrics.py"
    )


def test_an_interrupted_evaluation_saves_nothing(measure, monkeypatch):
    step, steps = Method.test_step, iter(range(9))

    def stops(self, *arguments):
        if next(steps, None) is None:
            raise UserError("Enough of this.")
        return step(self, *arguments)

    monkeypatch.setattr(Method, "test_step", stops)
    assert "Enough of this." in measure("evaluation.save_predictions=true").err
    left = {path.name for path in only_run().iterdir()}
    assert "last.ckpt" in left and not {"results.json", "predictions.npz", ".predictions.npz"} & left


BAD = {
    "evaluation.temperature_scaling=maybe": "evaluation.temperature_scaling is 'maybe', but must be true or false.",
    "evaluation.restrict_classes=1": "evaluation.restrict_classes is 1, but must be true or false.",
    "evaluation.temprature_scaling=true": "did you mean evaluation.temperature_scaling?",
    "evaluation=defautl": "did you mean default?",
}


@pytest.mark.parametrize("argument", BAD)
def test_a_setting_that_cannot_work(tiny, argument):
    ended = tiny(argument)
    assert ended.code == 1 and BAD[argument] in ended.err


def test_temperature_scaling_without_a_validation_split(tiny):
    ended = tiny("evaluation.temperature_scaling=true", "data.val_fraction=0")
    assert ended.code == 1 and "needs a validation split: set data.val_fraction above 0." in ended.err
    assert not Path("runs").exists()


def write(path, **changes):
    test = Predicted(torch.randn(2, 9, 3), torch.arange(9) % 3)
    about = {"config": {"seed": 0, "checkpoint": "best", "data": {}, "evaluation": {}}, "class_names": list("abc")}
    with saving(path, about) as save:
        save("test", test._replace(**changes))
    return test


def npz(**arrays):
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()


def test_damaged_predictions(metrics, tmp_path):
    def refused(*arguments):
        ended = metrics(tmp_path, *arguments)
        assert ended.code == 1 and len(ended.err.strip().splitlines()) == 1, ended.err
        return ended.err

    path = tmp_path / "predictions.npz"
    assert f"There is no {path}" in refused()
    write(path)
    whole = path.read_bytes()
    for content in (b"", whole[:100], whole[: len(whole) // 2], b"no archive", npz(sets=["test"]), npz(about="[")):
        path.write_bytes(content)
        assert f"{path} cannot be read" in refused()
    hostile = np.array([Path("touched")], dtype=object)
    path.write_bytes(npz(sets=np.array(["test"]), about=hostile))
    assert "cannot be read" in refused()
    write(path, labels=torch.arange(9))
    assert "labels from 0 to 8, but the network tells 3 classes apart" in refused()
    write(path, logits=torch.randn(9, 3))
    assert "cannot be read (test is no set of logits and labels)" in refused()
    write(path)
    assert "There is no setting evaluation.nothing" in refused("evaluation.nothing=true")
    assert "evaluation.risk is '[', but must be a number" in refused("evaluation.risk=[")
    assert "evaluation.restrict_classes is 'x', but must be true or false." in refused("evaluation.restrict_classes=x")


def test_what_is_saved_comes_back_exactly_and_compressed(tmp_path):
    path = tmp_path / "predictions.npz"
    given = {
        "test": Predicted(torch.randn(2, 500, 3).contiguous(), torch.arange(500) % 3),
        "shift/a/b": Predicted(
            torch.full((2, 500, 3), 1e38), torch.zeros(500).long(), [2, [0, 1]], None, [[1, 2], [0]]
        ),
        "shift/c": Predicted(torch.zeros(1, 2, 3), torch.tensor([0, 1]), valid_labels=torch.eye(3)[:2].bool()),
    }
    with saving(path, {"seed": 1}) as save:
        for name, predicted in given.items():
            save(name, predicted)
        assert not path.exists()
    for (name, predicted), (back, found) in zip(given.items(), saved(path), strict=True):
        assert back == name and found.covered_classes == predicted.covered_classes and found.groups == predicted.groups
        for one, other in zip(found[:2] + found[3:4], predicted[:2] + predicted[3:4], strict=True):
            assert (one is None and other is None) or (one.dtype == other.dtype and torch.equal(one, other))
    with zipfile.ZipFile(path) as archive:
        packed = archive.getinfo("shift/a/b/logits.npy")
    assert packed.compress_size < packed.file_size / 20


@pytest.mark.filterwarnings("ignore:.*does not have many workers", "ignore:.*LeafSpec")
def test_a_set_is_handed_over_before_the_next_one_runs():
    class Identity(torch.nn.Identity):
        M, input_shape = 1, (1, 8, 8)

        def forward(self, x):
            seen.append(len(x))
            return x[None, :, 0, 0, :K]

    seen, taken = [], {}
    data = Sets(batch_size=4, seed=0)

    def take(name, logits, labels):
        assert sum(seen) == sum(len(each) for _, each in taken.values()) + len(labels)
        taken[name] = logits, labels

    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_checkpointing=False,
        callbacks=[Collector(take)],
    )
    trainer.validate(Method(Identity()), data, verbose=False)
    trainer.test(Method(Identity()), data, verbose=False)
    assert list(taken) == list(SIZES)
    for name, size in SIZES.items():
        x, labels = data.draw(name, size).tensors
        assert torch.equal(taken[name][0], x[None, :, 0, 0, :K]) and torch.equal(taken[name][1], labels)


def test_validation_measures_while_training_as_the_metrics_do(measure):
    assert measure(*SAVING, "test_on=last").code == 0
    run = only_run()
    val = dict(saved(run / "predictions.npz"))["val"]
    last = (run / "metrics.csv").read_text().splitlines()
    logged = dict(zip(last[0].split(","), last[-1].split(","), strict=True))
    for name, value in scores(val.logits, val.labels, ("acc", "nll", "ece")).items():
        assert float(logged[f"val/{name}"]) == pytest.approx(value, abs=1e-6)


def test_a_folder_of_the_users_own_is_measured_again_when_its_images_change(tiny, tmp_path):
    def draw(number):
        Image.fromarray(np.random.default_rng(number).integers(0, 256, (8, 8), dtype=np.uint8)).save(
            tmp_path / f"own/{number}.png"
        )

    (tmp_path / "own").mkdir()
    for number in range(3):
        draw(number)
    command = f"data.ood={{own: {tmp_path / 'own'}}}"
    assert tiny(command).code == 0
    (results,) = Path("runs").glob("*/results.json")
    before = results.stat().st_mtime_ns
    assert tiny(command).code == 0 and results.stat().st_mtime_ns == before
    draw(3)
    assert tiny(command).code == 0 and results.stat().st_mtime_ns > before
