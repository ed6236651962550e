"""python scripts/describe.py: what a configuration is, without training."""

import csv
import json
from functools import partial

import pytest

from ensembles.cost import describe


@pytest.fixture
def run(call, monkeypatch):
    """Call the script."""
    from ensembles.commands import describe as program

    monkeypatch.setenv("COLUMNS", "120")
    return partial(call, program)


@pytest.mark.slow
def test_counts_of_the_papers_without_their_data(run):
    code, out, _ = run("method=packed", "method.gamma=2", "model=wrn28_10", "data=cifar10", "--json")
    found = json.loads(out)
    assert code == 0 and found["cost/params"] == 19_352_008
    assert found["cost/member_params"] == 19_352_008 / 4
    _, out, _ = run("method=mimo", "model=wrn28_10", "data=cifar10", "--json")
    found = json.loads(out)
    assert (found["cost/params"], found["cost/member_params"]) == (36_492_878, 36_479_194)
    assert found["cost/forward_passes"] == pytest.approx(1, rel=1e-4)
    assert {"cost/params", "cost/mult_adds", "cost/forward_passes"} <= set(found)


def test_says_where_members_share_and_where_they_differ(run):
    code, out, _ = run("method=treenet", "model=wrn28_10", "data=cifar100", "method.M=3")
    lines = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
    assert code == 0
    assert lines["layer2"] == ["6,968,000", "-"]
    assert lines["layer3"] == ["-", "27,862,400"]
    assert lines["fc"] == ["-", "64,100"]
    assert "own, of each of 3" in out and "M = 3" in out
    assert "120,089,464" not in out and f"{432 + 1_640_672 + 6_968_000 + 3 * (27_862_400 + 1280 + 64_100):,}" in out


def test_members_that_share_every_parameter(run):
    _, out, _ = run("method=masksembles", "model=small_cnn")
    assert "What tells the members apart is not trained." in out


@pytest.mark.slow
def test_several_configurations_in_one_table(run, tmp_path):
    code, out, err = run(
        "-m", "method=mixture,deterministic", "model=small_cnn,wrn", "--markdown", "table.md", "--csv", "table.csv"
    )
    assert code == 0 and not err
    assert "refused" in out and "would be mixed" in out
    with open(tmp_path / "table.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(row["method"], row["model"]) for row in rows] == [
        ("mixture", "small_cnn"),
        ("mixture", "wrn"),
        ("deterministic", "small_cnn"),
        ("deterministic", "wrn"),
    ]
    assert rows[2]["cost/params"] == str(160 + 4640 + 9248 + 330)
    table = (tmp_path / "table.md").read_text().splitlines()
    assert table[0] == "| method | model | params | one member | mult-adds | passes |"
    assert table[4].startswith("| deterministic | small_cnn | 14.4 k | 14.4 k |")
    assert table[-1].startswith("- mixture, small_cnn: Nothing of this Sequential would be mixed")
    _, out, _ = run("-m", "method=deterministic", "model=small_cnn,wrn", "--json")
    assert [entry["overrides"] for entry in json.loads(out)] == [{"model": "small_cnn"}, {"model": "wrn"}]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["method=pakced"], "did you mean packed?"),
        (["method.alhpa=1"], "did you mean method.alpha?"),
        (["method.alpha=-1"], "method.alpha is -1"),
        (["method=packed,mimo"], "describe them side by side with -m"),
        (["method=treenet", "method.split=layer9"], "method.split=layer9 is no module"),
        (["data=image_folder"], "data.root"),
    ],
)
def test_bad_input_is_answered_in_one_sentence(run, arguments, sentence):
    code, out, err = run(*arguments)
    assert code == 1 and not out
    assert sentence in " ".join(err.split()) and len(err.splitlines()) == 1


def test_warnings_are_notes(run):
    _, out, _ = run("method=packed", "method.M=3", "model=small_cnn")
    assert "note: Widths times 0.666667" in out


def test_an_image_folder_is_only_listed(run, tmp_path):
    for name in ("train/cats/1.png", "train/dogs/1.png", "test/cats/1.png", "test/dogs/1.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no image")
    code, out, err = run("data=image_folder", "data.root=photos", "data.image_size=64", "model=small_cnn")
    assert code == 0, err
    assert "3x64x64 in, 2 classes out" in out


def test_pretrained_weights_are_not_fetched(monkeypatch):
    from hydra import compose

    from ensembles.cli.composing import checked, composing

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", lambda *_, **__: pytest.fail("downloads"))
    with composing():
        given = ["method=deterministic", "model=torchvision", "model.name=squeezenet1_1", "model.pretrained=true"]
        config = checked(compose("train", [*given, "data=cifar10"]))
    assert describe(config)["cost/params"] == describe(config)["cost/member_params"]
