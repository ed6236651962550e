"""The figures of trained networks, drawn from tiny runs with the settings of their own files."""

import io
from pathlib import Path

import pytest
import yaml
from hydra.utils import instantiate

from ensembles import papers
from ensembles.analysis.series import FigureRow
from ensembles.analysis.trained import Trained
from ensembles.analysis.weight_space import plane_of
from ensembles.papers.scales import scale
from ensembles.runs import Run

EVERY = 360  # test images of the digits


@pytest.fixture
def line(tiny):
    """Train a tiny run; it is all that the line has."""

    def train(name, *arguments):
        before = set(Path("runs").glob("*"))
        ended = tiny("recipe.epochs=1", "data.val_fraction=0", "recipe.optimizer.lr=0.01", *arguments)
        assert ended.code == 0, ended.err
        (folder,) = set(Path("runs").glob("*")) - before
        return FigureRow(name, {}, (Run(yaml.safe_load((folder / "config.yaml").read_text()), folder),))

    return train


def draw(name, lines, **changes):
    drawing = scale("smoke").applied(papers.load(name)).drawing
    found = instantiate({**drawing, **changes, "_partial_": True}, _convert_="all")(lines)
    picture = io.BytesIO()
    found.figure.savefig(picture, format="png")
    assert picture.getvalue().startswith(b"\x89PNG") and len(found.findings) == len(lines)
    return found


@pytest.mark.slow
def test_the_figures_of_mimo(line):
    mimo = line("MIMO", "method=mimo", "method.M=3", "runtime.keep_every=1")
    naive = line("Naive multihead", "method=naive_multihead", "method.M=3", "runtime.keep_every=1")

    plane = draw("mimo/figure3", [mimo, naive], images=EVERY)
    assert len(plane.data) == 2 * 3 * 3 and {row["method"] for row in plane.data} == {"MIMO", "Naive multihead"}
    (results,) = naive.results
    own = ", ".join(f"{100 * accuracy:.1f}" for accuracy in results["members/acc"])
    assert f"the subnetworks' accuracy is {own} %" in plane.findings[1]
    assert f"disagree on {100 * results['diversity/disagreement']:.1f} % of the images" in plane.findings[1]

    for drawn in (mimo, naive):  # each at its own scale
        reach = 1.6 * plane_of(Trained(drawn.runs[0]).ensemble).reach()
        assert max(row["x"] for row in plane.data if row["method"] == drawn.name) == pytest.approx(reach)

    ways = draw("mimo/figure4_trajectories", [mimo, naive], images=EVERY)
    assert len(ways.data) == 2 * 3 * 2 and {row["epochs"] for row in ways.data} == {0, 1}
    apart = f"{100 * results['diversity/disagreement']:.1f} %"
    assert f"on {apart} after epoch 1; of the whole test set on {apart}" in ways.findings[1]

    units = draw("mimo/figure4_variances", [mimo])
    assert len(units.data) == 16 + 32 + 32 and units.data[0].keys() >= {"variance_1", "variance_2", "variance_3"}


@pytest.mark.slow
def test_the_figure_of_mixture(line):
    mixture = line("36.5M", "method=mixture", "method.M=3", "model=wrn", "model.depth=16")
    found = draw("mixture/figure4", [mixture], pairs=None)
    assert len(found.data) == 3 * 3  # pairs of members, points on the line
    assert {row["position"] for row in found.data} == {0, 0.5, 1} and "mean of 3 pairs" in found.findings[0]


@pytest.mark.parametrize(
    "name", ["mimo/figure3", "mimo/figure4_trajectories", "mimo/figure4_variances", "mixture/figure4"]
)
def test_rows_at_full_scale_are_the_papers(name, tmp_path):
    entry = papers.load(name)
    assert entry.is_figure and len({row.name for row in entry.rows}) == len(entry.rows)
    data = {row.overrides["data"] for row in entry.rows}
    assert data == ({"cifar100"} if name == "mixture/figure4" else {"cifar10"})
    assert all(row.overrides["test_on"] == "last" and row.overrides["data.val_fraction"] == "0" for row in entry.rows)
