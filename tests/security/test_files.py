"""Hostile and damaged files run nothing and are refused in one sentence; what earlier versions wrote is still read."""

import collections
import json
import shutil
import warnings
from pathlib import Path

import pytest
import torch
import yaml
from omegaconf import OmegaConf

import ensembles
from ensembles import build
from ensembles.constructors import find_constructor, without_pretrained
from ensembles.errors import UserError
from ensembles.evaluation import evaluate_again
from ensembles.renamed import by_present_names
from ensembles.runs import Run
from ensembles.training.resuming import checkpoint_to_resume
from ensembles.training.trainer import make_trainer
from ensembles.untrusted import Unfit
from tests.security import variants
from tests.security.campaign import outcomes, traps

WRITTEN = Path(__file__).with_name("written")  # by the version before descriptions were checked
KINDS = ("digits", "synthetic")


@pytest.fixture
def touched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with traps(tmp_path) as touched:
        yield touched


def counted(made):
    """How many files there were; all were refused in a sentence."""
    made = list(made)
    other = [entry for entry in made if entry[1] != "sentence"]
    assert not other, other
    assert not [said for _, _, said in made if not said.endswith(".")]
    return collections.Counter(name.partition(":")[0] for name, _, _ in made)


def test_checkpoints_that_are_none(touched, tmp_path):
    sound = WRITTEN / "digits/last.ckpt"
    changes = [*variants.hostile(touched), *variants.damaged()]
    files = [(name, variants.edited(sound, change)) for name, change in changes]
    files += variants.broken(sound, touched)
    found = counted(outcomes(files, tmp_path / "x.ckpt", ensembles.load, touched))
    assert found["code"] >= 200 and found.total() >= 400, found


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_that_are_none(touched, tmp_path, kind):
    shutil.copytree(WRITTEN / kind, tmp_path / kind)
    files = variants.predictions(WRITTEN / kind / "predictions.npz", touched)
    place = tmp_path / kind / "predictions.npz"
    found = counted(outcomes(files, place, lambda path: evaluate_again(path.parent, {}), touched))
    assert found["code"] >= 35 and found.total() >= 90, found


def test_what_was_written_before_is_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = ensembles.load(WRITTEN / "digits/best.ckpt")
    assert model.predict(torch.zeros(3, 1, 8, 8, dtype=torch.uint8)).shape == (3, 10)
    assert model.class_names == [str(digit) for digit in range(10)]
    points = ensembles.load(WRITTEN / "synthetic/last.ckpt")
    assert points.predict(torch.zeros(3, 1), details=True).member_sd.shape == (2, 3)
    for kind in KINDS:
        shutil.copytree(WRITTEN / kind, tmp_path / kind)
        before = json.loads((WRITTEN / kind / "results.json").read_text())
        after = evaluate_again(tmp_path / kind, {})
        assert after.keys() == before.keys()
        for key, value in before.items():
            assert after[key] == pytest.approx(value, rel=1e-4), key


@pytest.fixture
def going_on(tmp_path, monkeypatch):
    """Ask which of the run's checkpoints its training goes on from, and with which warnings."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "run"
    shutil.copytree(WRITTEN / "digits", folder)
    shutil.copy(folder / "previous.ckpt", folder / "last.ckpt")  # after one epoch of two
    config = OmegaConf.create(by_present_names(yaml.safe_load((folder / "config.yaml").read_text())))
    run = Run(OmegaConf.to_container(config), folder)
    data = build.call(config.data, batch_size=config.recipe.batch_size, seed=config.seed)
    about = build.description(config, data)
    method = build.method(about)
    method.recipe = build.call(config.recipe)
    trainer = make_trainer(config, run, about, method)
    return run, lambda: checkpoint_to_resume(run, method, trainer)


def test_a_sound_training_goes_on(going_on, recwarn):
    run, find = going_on
    assert find() == run.last
    shutil.copy(WRITTEN / "digits/last.ckpt", run.last)
    assert find() == run.last  # a finished one
    assert not [warning for warning in recwarn if "goes on" in str(warning.message)]


def test_a_damaged_training_goes_on_from_the_one_before(going_on, touched):
    run, find = going_on
    sound = WRITTEN / "digits/previous.ckpt"
    damaged = [(name, change) for name, change in variants.damaged() if name.startswith(("weights", "entry"))]
    files = [(name, variants.edited(sound, change)) for name, change in [*variants.unresumable(), *damaged]]
    files += variants.broken(sound, touched)

    def use(path):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            found = find()
        (warning,) = (str(one.message) for one in said if "goes on" in str(one.message))
        assert found == run.previous and "training goes on from previous.ckpt, the one before" in warning
        raise UserError(f"{warning}.")

    found = counted(outcomes(files, run.last, use, touched))
    assert found["training"] >= 90 and found.total() >= 130, found


def test_damaged_last_and_previous(going_on):
    run, find = going_on
    for path in (run.last, run.previous):
        path.write_bytes(b"no checkpoint")
    with pytest.warns(UserWarning, match="training goes on from the start"):
        assert find() is None

    def change(checkpoint):
        checkpoint["state_dict"].update({"ensemble.other": torch.ones(1)})

    for path in (run.last, run.previous):
        path.write_bytes(variants.edited(WRITTEN / "digits/previous.ckpt", change))
    with pytest.raises(UserError, match=r"another architecture: .*ensemble\.other is missing here"):
        find()


def test_a_trusted_package_gives_what_it_defines_alone():
    assert find_constructor("json.decoder.JSONDecoder", "backbones", ["json"]) is json.decoder.JSONDecoder
    for target in ("json.decoder.re.compile", "json.nothing", "json.decoder", "json.decoder.scanner.re.compile"):
        with pytest.raises(Unfit):
            find_constructor(target, "backbones", ["json"])
    with pytest.raises(Unfit, match=r"trust=\['json'\]"):
        find_constructor("json.loads", "backbones", ["yaml"])


def test_where_a_training_started_is_left_out():
    """Its pretrained weights and its file of weights, since a checkpoint holds all weights itself."""
    kwargs = {"checkpoint_path": "weights.pt", "drop_rate": 0.1}
    about = {"model": {"_target_": "ensembles.backbones.timm_model", "pretrained": True, "kwargs": kwargs}}
    model = without_pretrained(about)["model"]
    assert model["pretrained"] is False and model["kwargs"] == {"drop_rate": 0.1}
    assert kwargs["checkpoint_path"]
