"""configs/recipes.yaml: the default recipe is the paper's, each recipe is whole, and a run says which it has."""

import json
import re

import pytest
import yaml
from hydra import compose
from omegaconf import OmegaConf

from ensembles import papers
from ensembles.cli import paper_rows
from ensembles.cli.composing import composing
from ensembles.recipes import CONFIGS, FILE, describe_recipe, recipe_for, rule, rules

RECIPES = sorted(path.stem for path in (CONFIGS / "recipe").glob("*.yaml"))
TABLES = [name for name in papers.names() if not papers.load(name).is_figure]
OWN = {"mimo": "MIMO", "mixture": "MixtureEnsembles", "packed": "Packed-Ensembles"}
KEYS = {
    *("_target_", "epochs", "batch_size", "warmup_epochs", "l1", "l2", "decay_norms", "loss", "label_smoothing"),
    *("optimizer", "schedule"),
}


def composed(*words):
    """Compose a command line; returns the recipe's settings and its name."""
    with composing():
        config = compose("train", list(words), return_hydra_config=True)
    return OmegaConf.to_container(config.recipe), config.hydra.runtime.choices.recipe


def settings(recipe, overrides):
    """A recipe's settings from its file, with a row's own changes."""
    config = OmegaConf.load(CONFIGS / "recipe" / f"{recipe}.yaml")
    for key, value in overrides.items():
        if key.startswith("recipe."):
            OmegaConf.update(config, key.removeprefix("recipe."), yaml.safe_load(value))
    return OmegaConf.to_container(config)


def options(row):
    return [str(row.overrides[group]) for group in ("data", "model", "method")]


@pytest.mark.parametrize("name", TABLES)
def test_the_default_is_each_rows_recipe_or_the_row_says_whose_is(name):
    """Settings are compared, not names: a row may be another recipe with other epochs."""
    for row in papers.load(name).rows:
        found = rule(*options(row))
        same = settings(row.overrides["recipe"], row.overrides) == settings(found.recipe, {})
        assert same == (row.precedence is None), f"{row.name}: the default is {found.recipe}"
        assert row.precedence in {None, found.paper}
        assert OWN.get(row.overrides["method"], found.paper) == found.paper or name.startswith("packed/")


def test_a_papers_method_has_its_own_papers_recipe_wherever_that_paper_has_rows():
    folders = {"mimo": "mimo", "mixture": "mixture", "packed": "packed"}
    rows = [(name.partition("/")[0], options(row)) for name in TABLES for row in papers.load(name).rows]
    own = [chosen for folder, chosen in rows if folders.get(chosen[2]) == folder]
    assert len(rows) > 100 and len(own) > 20
    for chosen in own:
        assert rule(*chosen).paper == OWN[chosen[2]], chosen


@pytest.mark.parametrize(
    ("chosen", "recipe"),
    [
        (("imagenet", "resnet50", "packed"), "pe_imagenet"),
        (("imagenet_a3", "resnet50", "packed"), "pe_imagenet"),
        (("imagenet", "resnet50", "mimo"), "mimo_imagenet_mimo"),
        (("imagenet", "resnet50", "mixture"), "mixture_imagenet"),
        (("imagenet", "resnet50", "batch_ensemble"), "mimo_imagenet_batch_ensemble"),
        (("imagenet", "resnet50", "dropout"), "mimo_imagenet"),
        (("cifar100_mixed", "wrn28_10", "packed"), "pe_wrn_cifar100"),
        (("cifar100", "wrn28_5", "mixture"), "mixture_cifar_thin"),
        (("cifar100", "wrn28_5", "packed"), "sgd"),
        (("digits", "small_cnn", "treenet"), "digits_shared_trunk"),
        (("digits", "mlp", "treenet"), "digits"),
        (("synthetic_regression", "mlp", "mimo"), "mimo_regression"),
        (("mine", "resnet50", "packed"), "sgd"),
        (("cifar10", "mine", "mine"), "sgd"),
        (("cifar10", "wrn28_10", "mine"), "mimo_cifar_baseline"),
    ],
)
def test_the_first_row_that_matches(chosen, recipe):
    assert recipe_for(*chosen) == recipe


def test_hydra_chooses_by_the_table_unless_told_otherwise():
    words = ["data=imagenet", "model=resnet50", "method=packed"]
    assert composed(*words) == (settings("pe_imagenet", {}), "pe_imagenet")
    assert composed(*words, "recipe=sgd") == (settings("sgd", {}), "sgd")
    assert composed("data=synthetic_regression")[1] == "mimo_regression"  # the data set chooses the model
    assert composed("data=synthetic_regression", "recipe=sgd")[1] == "sgd"


def test_the_table_names_what_there_is():
    given = yaml.safe_load(FILE.read_text())
    there = {group: {path.stem for path in (CONFIGS / group).glob("*.yaml")} for group in ("data", "model", "method")}
    for row, found in zip(given, rules(), strict=True):
        assert {"data", "model", "method", "recipe", "paper"} <= row.keys()
        assert found.recipe in RECIPES
        assert (found.paper is None) == (found.about is None) and found.paper in {None, *OWN.values()}
        for group, options in there.items():
            assert all(pattern == "*" or pattern in options for pattern in getattr(found, group)), row
    assert rules()[-1].data == rules()[-1].model == rules()[-1].method == ("*",) and rules()[-1].recipe == "sgd"
    for i, found in enumerate(rules()):
        chosen = [getattr(found, group)[0] for group in ("data", "model", "method")]
        assert rules().index(rule(*chosen)) == i, f"no choice gets as far as row {i + 1}"


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_is_whole_in_its_file(name):
    text = (CONFIGS / "recipe" / f"{name}.yaml").read_text()
    assert text.startswith("# ") and "defaults:" not in text
    of_numbers = {key: {"loss", "label_smoothing"} for key in ("mimo_regression", "uci")}
    missing = {"pe_imagenet": {"label_smoothing"}, **of_numbers}.get(name, set())
    more = {"airbench": {"norms_lr"}, "finetune": {"freeze_trunk"}}.get(name, set())
    assert yaml.safe_load(text).keys() == KEYS - missing | more


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_begins_with_a_command_that_has_it_and_what_to_expect(name):
    _, command, expected = (CONFIGS / "recipe" / f"{name}.yaml").read_text().splitlines()[:3]
    words = re.sub("<.*>", "nowhere", command.removeprefix("# python train.py")).split()
    own = dict(word.split("=", 1) for word in words)
    assert composed(*words)[0] == settings(name, own)
    if printed := re.match(r"# expect (?:an NLL of )?([\d.]+) .*as the paper prints", expected):
        number = printed.group(1)
        scores = [score for score in paper_rows.rows()[own["experiment"]].paper[:3] if score is not None]
        assert any(round(float(score), len(number.partition(".")[2])) == float(number) for score in scores)
    elif measured := re.search(r"as measured: (\S+)$", expected):
        assert (CONFIGS.parent / measured.group(1)).exists()


def test_batch_ensemble_decays_where_the_authors_code_does():
    for data in ("cifar10", "cifar100"):
        found, _ = composed(f"data={data}", "model=wrn28_10", "method=batch_ensemble")
        schedule = found["schedule"]
        assert [m * found["epochs"] / schedule["of"] for m in schedule["milestones"]] == [100, 200, 225]
        assert (schedule["decay"], found["optimizer"]["weight_decay"], found["batch_size"]) == (0.1, 2 * 2e-4, 128)


def test_whose_a_recipe_is():
    assert describe_recipe("pe_imagenet", "imagenet", "resnet50", "packed") == (
        "pe_imagenet: Packed-Ensembles' for ResNet-50 on ImageNet; Table 2's row also needs data=imagenet_a3"
    )
    assert "also needs data=cifar100_mixed" in describe_recipe("pe_cifar", "cifar100", "wrn28_10", "packed")
    assert describe_recipe("pe_wrn_cifar100", "cifar100_mixed", "wrn28_10", "packed") == (
        "pe_wrn_cifar100: Packed-Ensembles' for WRN-28-10 on CIFAR-100"
    )
    assert describe_recipe("digits", "digits", "mlp", "mimo") == "digits: not from a paper"
    assert describe_recipe("mimo_cifar", "digits", "mlp", "mimo") == (
        "mimo_cifar: MIMO's for WRN-28-10 on CIFAR (the default here is digits: not from a paper)"
    )
    assert describe_recipe("mine", "imagenet", "resnet50", "mimo") == (
        "mine: not from a paper (the default here is mimo_imagenet_mimo: MIMO's for ResNet-50 on ImageNet)"
    )


def test_a_run_says_its_recipe_and_keeps_it_outside_its_name(tiny, tmp_path):
    ended = tiny("recipe.epochs=1")
    assert ended.code == 0 and "recipe digits: not from a paper\n" in ended.out
    (folder,) = (tmp_path / "runs").iterdir()
    assert json.loads((folder / "provenance.json").read_text())["recipe"] == "digits: not from a paper"
    again = tiny("recipe=sgd", "recipe.batch_size=32", "recipe.epochs=1")  # the same numbers by another name
    assert again.code == 0 and "recipe digits" not in again.out
    assert list((tmp_path / "runs").iterdir()) == [folder]


def test_the_papers_recipe_is_in_the_printed_config(train):
    ended = train("method=packed", "model=resnet50", "data=imagenet", "--cfg", "job", "--package", "recipe")
    assert ended.code == 0
    assert OmegaConf.create(ended.out) == settings("pe_imagenet", {})


def test_own_options_end_at_sgd(train, tmp_path):
    for group, option in (("data", "digits"), ("model", "mlp"), ("method", "mimo")):
        (tmp_path / "own" / group).mkdir(parents=True)
        text = f"defaults: [{option}]\n"
        (tmp_path / "own" / group / "mine.yaml").write_text(text)
    chosen = ["data=mine", "model=mine", "method=mine"]
    ended = train("--config-dir", tmp_path / "own", *chosen, "--cfg", "job", "--package", "recipe")
    assert ended.code == 0
    assert OmegaConf.create(ended.out) == settings("sgd", {})


def test_auto_says_what_to_do(train):
    ended = train("recipe=auto")
    assert ended.code == 1 and "recipe=auto is what a run gets anyway: leave recipe= out." in ended.err
