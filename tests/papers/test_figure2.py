"""MIMO's Figure 2 as a user asks for it, at the smallest scale."""

import csv
import json
import re
from pathlib import Path

import pytest


@pytest.mark.slow
def test_figure2_is_drawn_from_its_runs(reproduce):
    code, out, err = reproduce("mimo/figure2", "--scale", "smoke", "runtime.progress=false", "trainer.accelerator=cpu")
    assert code == 0, err
    with open("results/mimo/figure2-smoke.csv") as file:
        rows = list(csv.DictReader(file))
    assert {(row["M"], row["epoch"], row["of"]) for row in rows} == {
        (M, epoch, of) for M in "15" for epoch in "12" for of in ("ensemble", "members")
    }
    for row in rows:
        assert abs(float(row["bias2"]) + float(row["variance"]) - float(row["error"])) < 1e-9
    alone = {row["of"]: row["error"] for row in rows if row["M"] == "1" and row["epoch"] == "2"}
    assert alone["ensemble"] == alone["members"]  # M = 1 has one member
    findings = json.loads(Path("results/mimo/figure2-smoke.json").read_text())["findings"]
    (beside,) = [said for said in findings if "its own run by train.py" in said]
    pairs = re.findall(r"([\d.]+) and ([\d.]+) \(M = (\d)\)", beside)
    assert [M for *_, M in pairs] == ["1", "5"]
    for together, alone, _ in pairs:
        assert float(together) == pytest.approx(float(alone), rel=1e-3)
    picture = Path("results/mimo/figure2-smoke.png").read_bytes()
    assert picture.startswith(b"\x89PNG") and Path("results/mimo/figure2-smoke.pdf").stat().st_size > 5000
    assert "The ensemble over 3 training sets: squared bias" in " ".join(out.split())
