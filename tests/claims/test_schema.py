"""The claims' files: complete as they are, and refused in one sentence where they are wrong."""

import shutil

import pytest
import yaml

from ensembles import papers
from ensembles.claims.schema import COST, all_claims, load
from ensembles.cli.overrides import check, combinations
from ensembles.errors import UserError


def test_every_claim_names_what_there_is():
    claims = all_claims()  # which refuses a row, table, figure or metric that is not there
    assert set(claims) == {name.partition("/")[0] for name in papers.names()}
    assert sum(len(of_paper.claims) for of_paper in claims.values()) >= 40


@pytest.mark.slow
def test_the_networks_that_claims_count_can_be_configured():
    configs = {
        part.config
        for of_paper in all_claims().values()
        for claim in of_paper.claims
        for evidence in claim.evidence
        if evidence.source == COST
        for part in evidence.parts
        if part.config
    }
    assert len(configs) > 10
    for config in configs:
        check(list(config))
        assert len(combinations(list(config))) == 1


def test_claims_are_no_table():
    assert not any("claims" in name for name in papers.names())


@pytest.fixture
def changed(tmp_path):
    """Read a copy of a paper's claims after a change to its first claim or the whole."""

    def read(change):
        path = tmp_path / "mimo" / papers.CLAIMS
        path.parent.mkdir()
        shutil.copy(papers.HOME / "mimo" / papers.CLAIMS, path)
        content = yaml.safe_load(path.read_text())
        change(content)
        path.write_text(yaml.safe_dump(content))
        return load("mimo", tmp_path)

    return read


def put(*path_and_value):
    *path, last, value = path_and_value

    def change(content):
        for step in path:
            content = content[step]
        content[last] = value

    return change


CLAIM, EVIDENCE = ("claims", 5), ("claims", 5, "evidence", 0)
TEST = (*EVIDENCE, "tests", 0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (put("papre", "x"), ", papre: there is no such key."),
        (put(*CLAIM, "id", "Not An Id"), "claim Not An Id, id: string should match pattern"),
        (put(*CLAIM, "id", "nll-cifar10"), "claim nll-cifar10: another claim has the same id."),
        (put(*CLAIM, "evidence", []), "claim accuracy-cifar10, evidence: "),
        (put(*CLAIM, "were", "Table 1"), "claim accuracy-cifar10, were: there is no such key."),
        (lambda content: content["claims"][5].pop("where"), "claim accuracy-cifar10, where: it is missing."),
        (put(*TEST, "expect", "better"), "evidence 1, test 1, expect: input should be 'higher'"),
        (put(*TEST, "margin", "5%"), "margin: it must be a number of at least 0, or a share"),
        (put(*TEST, "margin", -1), "margin: it must be a number of at least 0, or a share"),
        (put(*TEST, "metric", "test/accuracy"), "metric is 'test/accuracy', but must be a key of results.json"),
        (put(*TEST, "of", "MIMO"), "claim accuracy-cifar10, source mimo/table1: there is no row 'MIMO': there are"),
        (put(*TEST, "of", {"row": "Deterministic", "number": 3}), "but has row and number"),
        (put(*TEST, "of", {"times": 2}), "but has none"),
        (put(*TEST, "of", {"finding": "no group", "called": "x"}), "with a group"),
        (put(*TEST, "of", {"finding": "(", "called": "x"}), "finding is no regular expression"),
        (put(*TEST, "of", {"finding": "(.)"}), "called is missing"),
        (put(*TEST, "of", {"where": {"M": 1}}), "value is missing"),
        (put(*TEST, "of", {"config": ["model=wrn"]}), "metric is 'test/acc', but counted can be cost/params"),
        (put(*TEST, "of", {"where": {"M": 1}, "value": "x"}), "it has a where, but can have row, number"),
        (put(*EVIDENCE, "source", "mimo/table9"), "source mimo/table9: there is no such table or figure"),
        (put(*EVIDENCE, "source", "cifar10"), "source cifar10: there is no row 'MIMO (M = 3)'"),
        (put(*EVIDENCE, "any_scale", True), "any_scale is for figures"),
    ],
)
def test_a_wrong_file_is_answered_in_one_sentence(changed, change, sentence):
    with pytest.raises(UserError) as error:
        changed(change)
    assert sentence in str(error.value)
    assert "claims.yaml" in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "- a list", "claims: [", "{paper: P, claims: {}}", "{paper: P, claims: [3]}"])
def test_what_is_no_file_of_claims_is_answered_in_one_sentence(tmp_path, text):
    (tmp_path / "mimo").mkdir()
    (tmp_path / "mimo" / papers.CLAIMS).write_text(text)
    with pytest.raises(UserError, match=r"claims\.yaml") as error:
        load("mimo", tmp_path)
    assert "\n" not in str(error.value)
