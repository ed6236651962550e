"""The leaderboard: cards and collected runs on one page, rows of outsiders among them."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ensembles.commands import leaderboard as program
from ensembles.errors import UserError
from ensembles.zoo.card import Card
from ensembles.zoo.leaderboard import best, entries, html, markdown, read_cards

ROOT = Path(__file__).parents[2]


def row(name="mine", acc=0.95, **more):
    results = {"test/acc": acc, "test/nll": 0.2, "cost/params": 1000}
    return {"card": 1, "name": name, "data": "digits", "model": "mlp", "method": "packed", "results": results, **more}


@pytest.fixture
def rows(tmp_path):
    """Write rows into a folder; returns it."""

    def write(*rows):
        folder = tmp_path / "leaderboard"
        folder.mkdir(exist_ok=True)
        for i, value in enumerate(rows):
            (folder / f"{i}.json").write_text(value if isinstance(value, str) else json.dumps(value))
        return folder

    return write


def read(folder):
    cards, wrong = read_cards([folder])
    assert not wrong
    return entries(cards)


def test_the_best_comes_first_and_seeds_are_one_row(rows):
    found = read(
        rows(
            *(row(f"a-{seed}", acc, seed=seed, command=f"train seed={seed}") for seed, acc in ((0, 0.9), (1, 0.94))),
            row("b", 0.97, measured_by="someone"),
            row("c", data="cifar10"),
        )
    )
    assert list(found) == ["cifar10", "digits"] and [len(rows) for rows in found.values()] == [1, 2]
    first, second = found["digits"]
    assert (
        first.first.name == "b" and second.show("test/acc") == "92.0 ± 2.8" and second.show("cost/params") == "1.00 k"
    )
    assert best(found["digits"], "test/acc") == "97.0" and best(found["digits"], "cost/params") is None
    text = markdown(found)
    assert "| packed | mlp | - | **97.0** |" in text and "| 92.0 ± 2.8 |" in text and "## cifar10" in text


class Reader(HTMLParser):
    """The tags and attributes of a page."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.links = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for key, value in attributes if key in ("href", "src")]


def test_what_a_card_says_is_text_and_the_page_asks_for_nothing(rows):
    evil = '<script>alert(1)</script>"&'
    found = read(
        rows(
            row(measured_by=evil, command=evil, note=evil, method=evil, data=evil, weights="https://x.org/a"),
            row("b", weights="hf://someone/b", data=evil),
        )
    )
    page = Reader(html(found))
    assert page.tags.count("script") == 1 and "link" in page.tags and "img" not in page.tags
    assert [link for link in page.links if not link.startswith("#")] == ["data:,", "https://x.org/a"]
    assert "<script>" not in markdown(found).replace(r"\<", "")


def test_who_is_verified(rows):
    seen = {"by": "B. Person", "tolerance": 1e-4, "largest_difference": 3e-8}
    found = read(rows(row("a", verified=seen), row("b", 0.9)))
    assert [entry.status for entry in found["digits"]] == ["verified", "reported"]
    assert "by B. Person, largest difference 3e-08 of 0.0001 allowed" in html(found)


BAD = {
    "{": "cannot be read (Expecting property name",
    json.dumps(row(acc=98.6)): "results.test/acc is 98.6, but is a share from 0 to 1",
    json.dumps(row(verfied=True)): "verfied is no key of it",
    json.dumps({**row(), "results": {"acc": 0.5}}): "results has neither test/acc nor test/rmse",
    json.dumps({key: value for key, value in row().items() if key != "method"}): "method is missing",
    json.dumps({**row(), "results": {"test/acc": "98 %"}}): "results.test/acc",
    json.dumps([1]): "cannot be read",
    '{"card": 1, "results": NaN}': "must be finite",
}


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_a_bad_row_is_one_sentence_and_the_others_are_shown(rows, call, text):
    ended = call(program, rows(row(), text))
    assert ended.code == 1 and ended.err.startswith("error: ") and ended.err.count("\n") == 1
    assert BAD[text] in ended.err and "1.json" in ended.err
    assert "of 1 runs on 1 data sets" in ended.out and "mlp" in Path("leaderboard.html").read_text()


def test_studies_and_folders_without_runs(call, tmp_path):
    """Collected runs are rows; a folder with nothing is no error beside others, but alone it is."""
    (tmp_path / "none").mkdir()
    ended = call(program, ROOT / "results/digits_wrn", tmp_path / "none", "--markdown", "table.md")
    assert ended.code == 0 and "of 10 runs on 1 data sets" in ended.out
    lines = [line for line in Path("table.md").read_text().splitlines() if line.startswith("| ") and "wrn" in line]
    assert len(lines) == 10 and lines[0].startswith("| deep_ensemble | wrn | 4 | **99.7** |")
    assert all(" reported " in line for line in lines)
    ended = call(program, tmp_path / "none")
    assert ended.code == 1 and "There is no card and no run in" in ended.err
    with pytest.raises(UserError, match="There is no nowhere"):
        read_cards([Path("nowhere")])


def test_committed_rows_are_whole_and_the_command_shows_them(call):
    """All that is in results/ is understood."""
    for path in (ROOT / "results/leaderboard").glob("*.json"):
        card = Card.from_json(path.read_bytes(), path)
        assert card.measured_by and card.command and card.commit and re.fullmatch("[0-9a-f]{7,40}", card.commit)
    ended = call(program, ROOT / "results")
    assert ended.code == 0, ended.err


def test_runs_of_another_recipe_or_fewer_images_are_rows_of_their_own(rows):
    method = {"method": {"M": 4}}
    ways = [
        {"settings": {**method, "recipe": {"epochs": 10}}},
        {"settings": {**method, "recipe": {"epochs": 20}}},
        {"settings": {**method, "data": {"train_size": 100}}},
        {"settings": method, "recipe": "digits, this package's"},
    ]
    found = read(rows(*(row(f"a-{i}-{seed}", seed=seed, **way) for i, way in enumerate(ways) for seed in (0, 1))))
    assert [len(entry.cards) for entry in found["digits"]] == [2] * 4


def test_the_best_is_what_reads_best_among_two_or_more(rows):
    results = {"test/acc": 0.9501, "test/nll": 0.2, "cost/params": 1000}
    found = read(rows(row("a", results=results), row("b", 0.9499), row("c", 0.5, results={"test/acc": 0.5})))
    text = markdown(found)
    assert text.count("**95.0**") == 2 and text.count("**0.200**") == 2 and "**-**" not in text
    assert html(found).count('class="number best"') == 4
    alone = markdown(read(rows(row("a"), row("b", results={"test/acc": 0.5}), row("c", results={"test/acc": 0.5}))))
    assert "**95.0**" in alone and "**0.200**" not in alone and "**-**" not in alone


def test_a_studys_runs_are_called_by_their_data_and_network(tmp_path):
    entry = {
        "row": "packed",
        "seed": 0,
        "command": "python train.py -m experiment=vit/packed seed=0 data=image_folder data.root=/home/me/cifar10",
        "settings": {
            "method": {"M": 4, "checkpoints": ["/home/me/a.ckpt"]},
            "model": {"_target_": "ensembles.backbones.timm_model", "name": "resnet26", "pretrained": "/home/me/b.pth"},
            "recipe": {"epochs": 20},
            "data": {"train_size": 5000, "classes": None},
        },
        "results": {"test/acc": 0.5},
    }
    (tmp_path / "cifar10_vit").mkdir()
    (tmp_path / "cifar10_vit/runs.json").write_text(json.dumps([entry]))
    ((card,), wrong) = read_cards([tmp_path / "cifar10_vit"])
    assert not wrong and (card.data, card.model) == ("cifar10 (train_size=5000)", "resnet26")
    assert card.settings["recipe"] == {"epochs": 20} and card.settings["data"] == {"train_size": 5000}
    assert "/home/me" not in json.dumps(card.settings)


def test_the_committed_leaderboard_is_what_the_command_writes(call, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    page, table = tmp_path / "leaderboard.html", tmp_path / "README.md"
    assert call(program, "results", "--out", page, "--markdown", table).code == 0
    for path in (page, table):
        kept = ROOT / "results/leaderboard" / path.name
        assert path.read_text() == kept.read_text(), f"{kept} is not what ensembles leaderboard results writes"
