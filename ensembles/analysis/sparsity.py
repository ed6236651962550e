"""Quantities against the share of weights that are not zero (MIMO, appendix C and Figure 9)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean

from ensembles.analysis.curves import draw, findings
from ensembles.analysis.drawing import Drawing, Line
from ensembles.analysis.points import points, rows
from ensembles.checkpoints import read_checkpoint
from ensembles.runs import Run

LABEL = "weights that are not zero (%)"


def sparsity(
    lines: Sequence[Line],
    show: Sequence[Sequence[str]],
    group: str = "",
    panel: str = "",
    threshold: float = 1e-4,
    printed: Sequence[Mapping] = (),
) -> Drawing:
    """A row of axes for each panel, as `ensembles.analysis.curves.curves` draws them.

    Args:
        show, group, panel, printed: as there.
        threshold: a weight counts as not zero if its absolute value is above it.
    """
    share = {line.row.number: 100 * fmean(nonzero(tested(run), threshold) for run in line.runs) for line in lines}
    found = points(lines, lambda line: share[line.row.number], [key for keys in show for key in keys], panel, group)
    figure = draw(found, show, LABEL, True, printed, (panel, group, LABEL))
    return Drawing(figure, rows(found, panel, group, LABEL), findings(found, LABEL, (panel, group)))


def tested(run: Run) -> Path:
    """The checkpoint that was tested."""
    return run.best if run.config["checkpoint"] == "best" and run.best.exists() else run.last


def nonzero(checkpoint: Path, threshold: float) -> float:
    """The share of a checkpoint's trained numbers whose absolute value is above the threshold."""
    weights = [tensor for key, tensor in read_checkpoint(checkpoint)["state_dict"].items() if not _counted(key)]
    return sum((weight.abs() > threshold).sum().item() for weight in weights) / sum(w.numel() for w in weights)


def _counted(key: str) -> bool:
    """Whether it is a statistic of batch norm, which is counted and not trained."""
    return key.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked")
