"""What makes members of a packed ensemble differ can be taken away, source by source."""

import json
from pathlib import Path

import pytest


def trained(tiny, *arguments):
    """The results of a tiny packed ensemble, and its members' differences."""
    ended = tiny("method=packed", "method.M=2", *arguments)
    assert ended.code == 0, ended.err
    folder = Path(ended.out.split("Results and plots: ")[1].split()[0])
    return json.loads((folder / "results.json").read_text())


def test_members_that_start_alike_and_see_the_same_batches_stay_alike(tiny):
    common = ("method.initialisation=common",)
    alike = trained(tiny, *common)
    assert alike["diversity/kl"] == alike["diversity/disagreement"] == 0
    assert alike["members/nll"][0] == alike["members/nll"][1] == pytest.approx(alike["test/nll"])
    assert trained(tiny, *common, "method.batches=own")["diversity/kl"] > 0
    exact = trained(tiny, *common, "trainer.deterministic=true")
    timed = {key for key in alike if key.startswith("cost/")}
    assert {k: v for k, v in exact.items() if k not in timed} == {k: v for k, v in alike.items() if k not in timed}


def test_a_source_that_there_is_not(tiny):
    ended = tiny("method=packed", "method.initialisation=shared")
    assert ended.code == 1 and "method.initialisation is 'shared', but must be own or common" in ended.err
