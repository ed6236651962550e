"""The code computes what it has always computed; what was recorded is in the JSON files beside this one."""

import importlib.util
from pathlib import Path

import pytest

spec = importlib.util.spec_from_file_location("reference_values", Path(__file__).with_name("values.py"))
values = importlib.util.module_from_spec(spec)
spec.loader.exec_module(values)

# Shares of images and ranks: one image that two processors' rounding decides differently moves them by a step.
COUNTED = ("acc", "ece", "auroc", "aupr", "fpr95", "disagreement", "ratio")
STEP = 0.02


@pytest.mark.parametrize("name", ["batches", "structures", "runs"])
def test_recorded_exactly(name):
    found, kept = values.FILES[name](), values.recorded(name)["values"]
    assert found.keys() == kept.keys()
    for key in kept:
        assert found[key] == kept[key], key


@pytest.mark.parametrize("name", values.METHODS)
def test_twenty_steps_and_the_results_after(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    kept = values.recorded("trainings")
    before, now = kept["values"][name], values._training([f"method={name}", *values.METHODS[name]])
    assert len(now["losses"]) == 20
    assert now["results"].keys() == before["results"].keys()
    if kept["machine"] == values.machine():
        assert now == before
    assert now["losses"] == pytest.approx(before["losses"], rel=1e-5)
    for key, value in before["results"].items():
        counted = any(part in key.rpartition("/")[2] for part in COUNTED)
        tolerance = {"rel": 0, "abs": STEP} if counted else {"rel": 1e-5, "abs": 1e-9}
        assert now["results"][key] == pytest.approx(value, **tolerance), key
