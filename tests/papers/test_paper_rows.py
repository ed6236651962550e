"""Each row of each table is an option of ``experiment``."""

import json
from collections import Counter

import pytest
from hydra import compose
from omegaconf import OmegaConf

from ensembles import papers
from ensembles.cli.composing import composing
from ensembles.cli.overrides import options_of
from ensembles.cli.paper_rows import rows
from ensembles.recipes import CONFIGS

STUDIES = {f"{path.parent.name}/{path.stem}" for path in (CONFIGS / "experiment").glob("*/*.yaml")}
NAMED = {
    "packed/table1-c10-r18-packed": ("packed/table1", "Packed-Ensembles, C10, R18"),
    "mimo/table1-deep_ensemble-thin": ("mimo/table1", "Thin Ensemble (M = 4)"),
    "mimo/table3-mimo-wide": ("mimo/table3", "Wide MIMO (M = 2, \N{GREEK SMALL LETTER RHO} = 0.6)"),
    "mixture/table2-mixture-120m": ("mixture/table2", "MixtureEnsembles, 120M"),
    "mixture/table5-deterministic": ("mixture/table5", "Baseline"),
}


def test_each_row_has_one_name():
    tables = [table for name in papers.names() if not (table := papers.load(name)).is_figure]
    assert sorted((row.name, row.arguments) for table in tables for row in table.rows) == sorted(
        (row.name, row.arguments) for row in rows().values()
    )
    with composing():
        assert sorted(set(options_of("experiment")) - STUDIES) == sorted(rows())
        assert "gaussian" not in "".join(options_of("data"))  # a group of its own
    for option, (table, name) in NAMED.items():
        assert rows()[option].name == name and rows()[option] in papers.load(table).rows


def test_it_is_what_the_rows_overrides_are():
    """Those whose settings are of all kinds: lists, numbers, nested groups and changed recipes."""
    for option in (*NAMED, "mixture/table4-mixture-thin", "packed/table2-r50-4-mimo", "mimo/table4-mimo"):
        with composing():
            named = compose("train", [f"experiment={option}"], return_hydra_config=True)
            given = compose("train", rows()[option].arguments, return_hydra_config=True)
        groups = [group for group in rows()[option].overrides if (CONFIGS / group).is_dir()]
        assert len(groups) == 4
        for group in groups:
            assert named.hydra.runtime.choices[group] == given.hydra.runtime.choices[group]
        named, given = ({k: v for k, v in config.items() if k != "hydra"} for config in (named, given))
        assert OmegaConf.create(named) == OmegaConf.create(given)


@pytest.mark.slow
def test_several_in_a_sweep(train, tmp_path):
    folder = tmp_path / "photos"
    options = "packed/table1-c10-r18-packed,packed/table1-c10-r18-mimo"
    small = ["data=digits", "data.ood_sets=[]", "model=small_cnn", "recipe.epochs=1", "data.train_size=100"]
    ended = train("-m", f"experiment={options}", *small, "trainer.accelerator=cpu", f"runs_dir={folder}")
    assert ended.code == 0, ended.err
    assert sorted(path.name.rpartition("-")[0] for path in folder.iterdir()) == [
        "digits-small_cnn-mimo",
        "digits-small_cnn-packed",
    ]
    for path in folder.iterdir():
        recipe = json.loads((path / "provenance.json").read_text())["recipe"]
        assert recipe.startswith("pe_resnet18_cifar10: Packed-Ensembles' for ResNet-18 on CIFAR-10 (the default")


def test_what_is_not_there_is_answered_with_near_matches(train):
    def said(option):
        ended = train(f"experiment={option}")
        assert ended.code == 1
        return " ".join(ended.err.split())

    assert "did you mean packed/table1-c10-r18-packed" in said("packed/table1-c10-r18-paked")
    assert "did you mean mimo/table4-deterministic or mimo/table4-mimo or mimo/table4-mimo-wide?" in said("mimo/table4")
    counts = {"mimo": 32, "mixture": 42, "packed": 48, **Counter(name.partition("/")[0] for name in STUDIES)}
    listed = ", ".join(f"{folder}/... ({n})" for folder, n in sorted(counts.items()))
    assert said("nothing").endswith(f"there are {listed}.")


def test_help_counts_them(train):
    ended = train("--help")
    lines = [line.split() for line in ended.out.splitlines()]
    assert ["packed/table1-...", "36", "rows"] in lines and ["mimo/table4-...", "3", "rows"] in lines
    assert "ensembles reproduce packed/table1 --dry-run" in ended.out
    assert "c10-r18" not in ended.out.replace("packed/table1-c10-r18-packed", "")


def test_nothing_is_read_unless_an_experiment_is_asked_for(monkeypatch):
    monkeypatch.setattr("ensembles.cli.paper_rows.rows", lambda: 1 / 0)
    with composing():
        compose("train", ["method=mimo", "data=cifar10"])
        assert options_of("model") and not options_of("nothing")
