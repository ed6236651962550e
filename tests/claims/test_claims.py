"""``python scripts/claims.py`` as a user types it, and the ledger that it has written."""

import json
import re
from functools import partial
from pathlib import Path

import pytest

from ensembles.claims import evidence
from ensembles.claims.evidence import Missing
from ensembles.claims.ledger import ledger, load_ledger, markdown
from ensembles.claims.schema import COST, all_claims
from ensembles.reproduction import work
from ensembles.reproduction.work import GPU

ROOT = Path(__file__).parents[2]
KEPT = ROOT / "results" / "claims.md"


def claim_rows(text):
    """The ledger's rows: (paper, claim) -> row."""
    found, paper = {}, ""
    for line in text.splitlines():
        if line.startswith("## "):
            paper = line.removeprefix("## ")
        if line.startswith("| **"):
            found[paper, re.match(r"\| \*\*([\w-]+)\*\*", line)[1]] = line
    return found


@pytest.fixture
def uncounted(monkeypatch):
    """No network is counted, which takes seconds for each."""

    def counted(overrides):
        raise Missing("not counted here")

    monkeypatch.setattr(evidence, "counted", counted)


@pytest.fixture
def run(call):
    """Call the script."""
    from ensembles.commands import claims as program

    return partial(call, program)


def test_the_ledger_is_up_to_date(uncounted):
    """All that does not take counting networks; what does is compared in a slow test."""
    claims = all_claims()
    kept, now = KEPT.read_text(), markdown(ledger(claims, [ROOT / "results"]))
    counts = {
        (paper, claim.id)
        for paper, of_paper in claims.items()
        for claim in of_paper.claims
        if any(evidence.source == COST for evidence in claim.evidence)
    }
    kept_rows, rows = claim_rows(kept), claim_rows(now)
    assert kept_rows.keys() == rows.keys(), "run python scripts/claims.py"
    for key, row in rows.items():
        columns = 2 if key in counts else None
        assert kept_rows[key].split(" | ")[:columns] == row.split(" | ")[:columns], "run python scripts/claims.py"
    assert claim_rows(markdown(load_ledger(KEPT.with_suffix(".json")))) == kept_rows


@pytest.mark.campaign
def test_the_ledger_is_up_to_date_with_counted_networks():
    assert KEPT.read_text() == markdown(ledger(all_claims(), [ROOT / "results"])), "run python scripts/claims.py"


def test_the_counts_at_the_top_are_those_of_the_rows():
    text = KEPT.read_text()
    rows = claim_rows(text)
    for paper in {paper for paper, _ in rows}:
        outcomes = [row.split(" | ")[2] for (of, _), row in rows.items() if of == paper]
        cells = [str(outcomes.count(outcome)) for outcome in ("holds", "does not hold", "undecided", "not tested")]
        assert f"| {paper} | {len(outcomes)} | {' | '.join(cells)} |" in text


def test_what_fails_says_what_was_checked():
    text = KEPT.read_text()
    notes = "\n".join(re.findall(r"^- (\*\*[^:]*): ", text, re.MULTILINE))  # before a colon are the claims of the note
    for (_, name), row in claim_rows(text).items():
        if row.split(" | ")[2] == "does not hold":
            assert f"**{name}**" in notes, f"{name} does not hold: say in its claims.yaml what was checked"


def test_what_is_not_decided_has_a_command_with_hours(uncounted):
    sources = {(p, c.id): {e.source for e in c.evidence} for p, of in all_claims().items() for c in of.claims}
    found = {(paper, e.id): e for paper, of in ledger(all_claims(), []).items() for e in of.entries}
    for key, entry in found.items():
        command, kinds = " or ".join(entry.commands), sources[key]
        if kinds - {"cifar10", COST}:
            assert re.search(r"`python scripts/reproduce.py .*` \((minutes|.* (h|min) of a GPU; needs )", command)
        assert ("study.py results/cifar10" in command) == ("cifar10" in kinds)
        assert ("needs the paper's setting" in command) == (not kinds & {"cifar10", COST})
    command = found["mimo", "accuracy-cifar10"].commands[0]
    assert "mimo/table1 --only 1 --only 4`" in command and "needs a GPU, cifar10" in command
    one, four = (work.counts()["mimo/table1"][i].hours(GPU) for i in (0, 3))
    assert f"({3 * (one + four):.0f} h" in command


def test_a_user_judges_runs_of_their_own(run, uncounted, tmp_path):
    folder = tmp_path / "mine" / "cifar10"
    folder.mkdir(parents=True)
    runs = [
        {"row": row, "seed": seed, "seconds": {"train": 1800.0}, "results": {"test/acc": accuracy + 0.0001 * seed}}
        for row, accuracy in (("packed", 0.94), ("deterministic", 0.93))
        for seed in range(3)
    ]
    (folder / "runs.json").write_text(json.dumps(runs))
    code, out, err = run("mine")
    assert code == 0 and not err
    assert "does not hold" in out and "mine/claims.md" in out
    text = (tmp_path / "mine" / "claims.md").read_text()
    rows = claim_rows(text)
    assert rows["packed", "better-than-one"].split(" | ")[2] == "holds"
    assert "packed 0.9401, deterministic 0.9301, difference +0.01 [" in rows["packed", "better-than-one"]
    assert rows["mimo", "accuracy-cifar10"].split(" | ")[2] == "not tested"
    command = "`python scripts/study.py results/cifar10 --rows mimo-3,deterministic,mimo-2 --seeds 3` (3.0 h of a CPU"
    (line,) = (line for line in text.splitlines() if line.startswith("- **accuracy-cifar10**: ") and "mimo" in line)
    assert command in line  # six runs, each as long as those that are there
    assert "| mimo: accuracy-cifar10 |" not in text and "| packed: better-than-one |" in text  # decided by networks
    code, out, _ = run("mine", "--out", "elsewhere.md")
    assert load_ledger(tmp_path / "elsewhere.json")["packed"].entries
    assert code == 0 and (tmp_path / "elsewhere.md").read_text() == (tmp_path / "mine" / "claims.md").read_text()


@pytest.mark.parametrize(
    ("text", "sentence"),
    [(None, "There is no folder mine"), ("{", "runs.json"), ('[{"row": "packed"}]', "run 1, seed: Field required")],
)
def test_bad_input_is_answered_in_one_sentence(run, uncounted, tmp_path, text, sentence):
    if text is not None:
        (tmp_path / "mine" / "cifar10").mkdir(parents=True)
        (tmp_path / "mine" / "cifar10" / "runs.json").write_text(text)
    code, out, err = run("mine")
    assert code == 1 and not out
    assert sentence in err and len(err.splitlines()) == 1
    assert not (tmp_path / "mine" / "claims.md").exists()
