import json

import pytest
from matplotlib.figure import Figure


@pytest.fixture
def run(tmp_path):
    """Make a finished run's folder."""

    def make(name, seed=0, **results):
        folder = tmp_path / "runs" / name
        folder.mkdir(parents=True)
        found = {"test/acc": 0.9, "members/acc": [0.8, 0.9], "cost/images_per_second": 1000.0, "cost/params": 100}
        found |= {"cost/mult_adds": 5000}
        (folder / "results.json").write_text(json.dumps(found | results))
        (folder / "provenance.json").write_text(json.dumps({"seed": seed, "command": f"python train.py seed={seed}"}))
        (folder / "config.yaml").write_text(f"method: {{_target_: a.Packed, M: 4}}\nseed: {seed}\nnote: <b>\n")
        for plot in ("severity.png", "curves.png", "reliability.png"):
            Figure(figsize=(1, 1)).savefig(folder / plot)
        return folder

    return make
