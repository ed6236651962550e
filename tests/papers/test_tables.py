"""The papers' tables as files: they load, they name configurations that exist, and what is wrong is said."""

from decimal import Decimal

import pytest
import torch
import yaml
from hydra import compose

from ensembles import papers
from ensembles.cli.composing import checked, composing
from ensembles.errors import UserError
from ensembles.metrics.ood import criteria
from ensembles.papers.scales import scale, study_row
from ensembles.recipes import CONFIGS
from ensembles.reports.schema import CRITERIA
from tests.papers.conftest import put

TABLES = {
    "mimo/diversity": (5, 2),
    "mimo/table1": (8, 8),
    "mimo/table2": (8, 8),
    "mimo/table3": (8, 8),
    "mimo/table4": (3, 16),
    "mixture/table1": (7, 4),
    "mixture/table2": (8, 4),
    "mixture/table3": (8, 4),
    "mixture/table4": (8, 4),
    "mixture/table5": (6, 3),
    "mixture/table6": (5, 5),
    "packed/table1": (36, 8),
    "packed/table2": (12, 13),
}


def test_every_table_is_there_with_all_its_rows_and_columns():
    loaded = {name: table for name in papers.names() if not (table := papers.load(name)).is_figure}
    assert {name: (len(table.rows), len(table.columns)) for name, table in loaded.items()} == TABLES


def test_numbers_keep_the_digits_that_are_printed():
    deterministic = papers.load("mimo/table3").rows[0]
    assert str(deterministic.paper[0]) == "76.100"
    wide_masksembles = papers.load("packed/table2").rows[9]
    assert wide_masksembles.names[0] == "Masksembles" and set(wide_masksembles.paper) == {None}


@pytest.mark.slow
@pytest.mark.parametrize("at", ["full", "smoke"])
def test_every_row_is_a_configuration_that_composes(at):
    """Each distinct configuration of all tables, whatever options, keys and limits there are; of figures, whose rows
    differ in the values of an axis, one for each choice of options and keys."""
    entries = [scale(at).applied(papers.load(name)) for name in papers.names()]
    distinct = {}
    for entry in entries:
        for row in entry.rows:
            words = [
                key if entry.is_figure and not (CONFIGS / key).is_dir() else f"{key}={row.overrides[key]}"
                for key in row.overrides
            ]
            distinct.setdefault(frozenset(words), (entry.name, row.name, row.arguments))
    assert len(distinct) > 20
    with composing():
        for *which, arguments in distinct.values():
            config = checked(compose("train", arguments))
            assert config["recipe"]["epochs"] >= 1, which


def test_rows_have_their_papers_settings():
    rows = {row.name: row.overrides for row in papers.load("mimo/table1").rows}
    assert all(row["data.val_fraction"] == "0" and row["test_on"] == "last" for row in rows.values())
    assert rows["Thin Ensemble (M = 4)"]["model.width"] == "0.5"
    packed = {row.name: row.overrides for row in papers.load("packed/table1").rows}
    assert packed["Packed-Ensembles, C10, WR"]["method.gamma"] == "2"
    assert packed["Packed-Ensembles, C100, WR"]["method.gamma"] == "1"
    assert all(row["test_on"] == "best" and float(row["data.val_fraction"]) > 0 for row in packed.values())
    criteria = {row.name: row.criterion for row in papers.load("packed/table2").rows}
    assert criteria["Single Model, R50"] == criteria["MIMO, R50"] == "max_probability"
    assert criteria["Deep Ensembles, R50"] == "mutual_information"


def every_row(paper):
    for name in papers.names():
        if name.startswith(f"{paper}/"):
            yield from ((name, row) for row in papers.load(name).rows)


def test_fast_weights_learn_as_in_the_code_behind_the_printed_numbers():
    """Havasi et al. at the full rate on CIFAR and half of it on ImageNet; Packed-Ensembles' rows have one optimiser."""
    seen = 0
    for paper in ("mimo", "mixture", "packed"):
        for name, row in every_row(paper):
            if row.overrides["method"] == "batch_ensemble":
                seen += 1
                rate = 0.5 if row.overrides["data"] == "imagenet" else 1
                assert float(row.overrides["method.fast_lr"]) == rate, (name, row.name)
                assert row.overrides.get("method.decay_fast", "false") == ("true" if paper == "packed" else "false")
    assert seen == 3 + 1 + 9 + 1 + 3 + 8 + 2


def test_packed_ensembles_networks_are_its_librarys():
    for name, row in every_row("packed"):
        assert row.overrides["model.init"] == "torch", (name, row.name)
        wide = row.overrides["model"] == "wrn28_10"
        assert row.overrides.get("model.preactivation", "true") == ("false" if wide else "true")


def test_corrupted_images_are_only_where_a_column_shows_them():
    for name in papers.names():
        table = papers.load(name)
        corrupted = any((column.key or "").startswith("corrupted") for column in table.columns)
        assert all(("data.corrupted.source" in row.overrides) == corrupted for row in table.rows), name


def test_figure_6b_has_the_settings_of_the_released_ablation():
    """A step's positions are divided among the repetitions, and the rate goes with its examples."""
    base = {1: 0.025, 2: 0.05, 4: 0.1, 6: 0.2}
    expected = {
        (R, positions, M, L2) for R in base for positions in (512, 1024) for M in (2, 4) for L2 in (1e-4, 3e-4, 5e-4)
    }
    found = set()
    for row in papers.load("mimo/figure6b").rows:
        of = {key: float(row.overrides[f"recipe.{key}"]) for key in ("batch_size", "optimizer.lr", "l2")}
        R, positions = int(row.at["Repetitions"]), int(row.at["Positions"])
        assert int(row.overrides["method.batch_repetition"]) == R and of["batch_size"] == positions // R
        assert of["optimizer.lr"] == pytest.approx(base[R] * of["batch_size"] / 128, rel=1e-3)
        found.add((R, positions, int(row.overrides["method.M"]), of["l2"]))
    assert found == expected and len(found) == 48


@pytest.mark.parametrize("name", ["mimo/figure7", "mimo/figure8", "mimo/figure9"])
def test_regularisation_is_that_of_the_released_study(name):
    for row in papers.load(name).rows:
        assert row.overrides["method.penalty"] == "layers" and float(row.overrides["method.norm_l2"]) == 3e-4
        assert row.overrides["recipe.optimizer.weight_decay"] == "0"


WRONG = {
    "row 3 (Naive multihead (M = 3)): paper has 7 numbers, but the table has 8 columns": put(
        "rows", 2, "paper", ["1"] * 7
    ),
    "row 4 (MIMO (M = 3)): paper's NLL is '0.l23', but must be a number or null": put("rows", 3, "paper", 1, "0.l23"),
    "row 1 (Deterministic): there is no overides; known are overrides": put("rows", 0, "overides", {}),
    "row 2 (Dropout): overrides is missing": put("rows", 1, {"name": "Dropout", "paper": []}),
    "row 2 (Deterministic): another row has the same name": put("rows", 1, "name", "Deterministic"),
    "row 1 (Deterministic): the override model is {'a': 'b'}": put("rows", 0, "overrides", "model", {"a": "b"}),
    "column 2: better is 'less', but must be higher or lower": put("columns", 1, "better", "less"),
    "column 1: take is 'worst', but must be count, mean or best": put("columns", 0, "take", "worst"),
    "column 7: take is best: say which is better": put(
        "columns", 6, {"key": "members/acc", "head": "Best", "take": "best"}
    ),
    "column 1: over is 'Baseline', but no row has that name": put("columns", 0, "over", "Baseline"),
    "rows must be a list with at least one entry": put("rows", []),
    "criterion is 'entropie', but must be one of max_probability": put("criterion", "entropie"),
    "row 2 (Dropout): criterion is ['entropy'], but must be": put("rows", 1, "criterion", ["entropy"]),
    "title is '', but must be text": put("title", ""),
    "cites is ['Table 1'], but must be text": put("cites", ["Table 1"]),
    "paper is ' ', but must be text": put("paper", " "),
    "seeds is '0', but must be an integer of at least 1": put("seeds", "0"),
}


@pytest.mark.parametrize("sentence", WRONG)
def test_a_wrong_file_is_named_with_its_row(changed, sentence):
    with pytest.raises(UserError) as error:
        changed("mimo/table1", WRONG[sentence])
    assert "table1.yaml" in str(error.value) and sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_criteria_are_those_that_are_computed():
    assert list(CRITERIA) == list(criteria(torch.zeros(2, 3, 4)))


def test_a_table_that_is_not_there_and_one_that_is_no_yaml(tmp_path):
    with pytest.raises(UserError, match="There is no table mimo/table9: there are mimo/table"):
        papers.load("mimo/table9")
    (tmp_path / "mimo").mkdir()
    (tmp_path / "mimo" / "table1.yaml").write_text("title: a: b")
    with pytest.raises(UserError, match=r"table1\.yaml is no YAML"):
        papers.load("mimo/table1", tmp_path)


def test_a_block_gives_its_rows_their_names_and_overrides():
    row = papers.load("packed/table1").rows[13]
    assert row.names == ("BatchEnsemble", "C10", "WR") and row.number == 14
    assert row.overrides["data"] == "cifar10" and row.overrides["model.conv_bias"] == "true"
    assert row.paper[0] == Decimal("95.6")


def test_at_smoke_scale_stand_ins_are_told():
    table = papers.load("packed/table1")
    smoke = scale("smoke").applied(table)
    assert scale("full").applied(table) is table
    assert smoke.slug == "packed/table1-smoke" and smoke.scale == "smoke"
    assert all(row.overrides["data"] == "digits" and row.overrides["model"] == "wrn" for row in smoke.rows)
    assert [row.paper for row in smoke.rows] == [row.paper for row in table.rows]
    assert smoke.rows[4].overrides["method.gamma"] == "2" and "model.init" not in smoke.rows[4].overrides
    assert smoke.columns[3].key == "ood/photos/{criterion}/aupr"
    assert len(smoke.substitutions) == 1 and smoke.substitutions[0].startswith("WRN-16-1, 100 of")


def test_at_small_scale_rows_on_cifar10_are_rows_of_the_study():
    """Every name in the map is a row's, and every row of it an experiment; rows on other data have none."""
    shown = {}
    for name in papers.names():
        if not (table := papers.load(name)).is_figure:
            shown |= {(name, row.name): (study_row(row), row) for row in table.rows if study_row(row)}
    assert all(row.overrides["data"] == "cifar10" for _, row in shown.values())
    assert {name for name, _ in shown.values()} <= {
        path.stem for path in (CONFIGS / "experiment/cifar10").glob("*.yaml")
    }
    assert shown["packed/table1", "Packed-Ensembles, C10, R18"][0] == "packed-gamma2"
    assert shown["mimo/table1", "Thin Ensemble (M = 4)"][0] == "thin"
    assert ("mixture/table1", "MixtureEnsembles, 120M") not in shown and len(shown) == 5 + 8 + 5 + 15
    for name, row in shown.values():  # the same method, and as many subnetworks of MIMO, and as wide
        given = yaml.safe_load((CONFIGS / f"experiment/cifar10/{name}.yaml").read_text())
        methods = [entry["override /method"] for entry in given["defaults"] if "override /method" in entry]
        assert row.overrides["method"] == (methods or ["deep_ensemble"])[0], row.name
        if row.overrides["method"] == "mimo":
            assert row.overrides["method.M"] == str(given["method"]["M"])


def test_at_full_scale_image_files_take_the_place_of_the_official_ones(tmp_path, monkeypatch):
    listing = {split: {name: [None] * n for name in "0123456789"} for split, n in (("train", 5000), ("test", 1000))}
    monkeypatch.setattr("ensembles.papers.scales.scan", lambda root: listing)
    table = papers.load("mixture/table1")
    found = scale("full", str(tmp_path)).applied(table)
    assert (found.scale, found.substitutions) == ("full", ())
    here = {"data": "image_folder", "data.root": f'"{tmp_path}"'}
    assert [row.overrides for row in found.rows] == [row.overrides | here for row in table.rows]
    other = papers.load("mixture/table2")
    assert scale("full", str(tmp_path)).applied(other) == other  # CIFAR-100 is not there
    listing["train"]["3"].pop()
    with pytest.raises(UserError, match="does not hold 5,000 training and 1,000 test images of each"):
        scale("full", str(tmp_path))


def test_scales_and_images_that_cannot_be():
    with pytest.raises(UserError, match="There is no scale tiny: there are full, small, smoke"):
        scale("tiny")
    with pytest.raises(UserError, match="--images nowhere is no folder"):
        scale("full", "nowhere")
    with pytest.raises(UserError, match="At small scale no images are read"):
        scale("small", "nowhere")
