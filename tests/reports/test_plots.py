import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.nn.functional import one_hot

from ensembles.errors import UserError
from ensembles.metrics import Predicted, scores
from ensembles.metrics.base import log_mean
from ensembles.metrics.classification import confusion, statistics
from ensembles.metrics.diversity import disagreement_matrix
from ensembles.metrics.ood import detection
from ensembles.reports import plots
from ensembles.reports.curves import curves, read_history

pytestmark = pytest.mark.filterwarnings("error")  # what matplotlib warns of (empty legends, missing glyphs) shows

HISTORY = """epoch,step,lr,train/loss,val/acc,val/nll,note
0,0,0.1,2.0,,,warm
0,1,0.1,1.0,,,
0,1,,,0.5,1.5,
1,2,0.05,0.5,,,
1,3,0.05,nan,,,
1,3,,,0.75,0.7,
"""


def draw(M=4, N=200, K=10, spread=1.0):
    generator = torch.Generator().manual_seed(M + K)
    labels = torch.randint(K, (N,), generator=generator)
    logits = torch.randn(N, K, generator=generator) + spread * torch.randn(M, N, K, generator=generator)
    logits[:, torch.arange(N), labels] += 3
    return Predicted(logits, labels)


def save(folder, results, test, ood=(), history=Path("missing.csv"), class_names=None):
    """Write the plots of a test set's predictions and of sets' confidences."""
    scores = {f"ood/{name}": {"max_probability": -sure} for name, sure in dict(ood).items()}
    summary = SimpleNamespace(test=test, ood_scores=scores | {"test": {}})
    return plots.save_plots(summary, folder, results, history, class_names)


def confidences(predicted):
    return log_mean(predicted.logits).amax(-1).exp()


def reduced(logits, labels):
    """What is kept of the ensemble's predictions and of each member's."""
    return statistics(log_mean(logits), labels), [statistics(log_mean(member[None]), labels) for member in logits]


CORRUPTED = {"test/acc": 0.9, "test/ece": 0.1} | {
    f"corrupted/{type}/{severity}/{metric}": 0.5 + 0.01 * severity
    for type in ("fog", "snow", "spatter")
    for severity in (1, 3)
    for metric in ("acc", "nll", "ece")
}


@pytest.fixture
def history(tmp_path):
    path = tmp_path / "metrics.csv"
    path.write_text(HISTORY)
    return path


def certain(M=3):
    labels = torch.arange(100) % 10
    return Predicted((torch.nn.functional.one_hot(labels, 10) * 100.0).expand(M, -1, -1), labels)


CASES = {
    "four members": (draw(), {"photos": draw(), "_under $score$": draw(spread=3)}),
    "one member": (draw(M=1), {"photos": draw(M=1, spread=3)}),
    "sixteen members": (draw(M=16), {}),
    "two classes": (draw(M=2, K=2), {}),
    "thousand classes": (draw(K=1000), {f"set {i}": draw(K=1000) for i in range(9)}),
    "perfect": (certain(), {"the same": certain()}),
}


@pytest.mark.parametrize(("test", "ood"), CASES.values(), ids=CASES.keys())
def test_draw_writes_small_pictures(test, ood, tmp_path, history):
    names = [f"class ${k}$ with a name that is long" for k in range(test[0].shape[-1])]
    results = CORRUPTED | {"scaled/pool/temperature": 1.7}
    unsure = {name: confidences(out) for name, out in ood.items()}
    written = save(tmp_path, results, test, unsure, history, class_names=names)
    wanted = {f"{name}.png" for name in plots.NAMES}
    wanted -= set() if len(test[0]) > 1 else {"disagreement.png", "members.png"}
    wanted -= set() if ood else {"ood_roc.png"}
    assert {path.name for path in written} == wanted
    assert {path.name for path in tmp_path.iterdir()} == wanted | {"metrics.csv"}
    for path in written:
        assert path.read_bytes().startswith(b"\x89PNG")
        assert path.stat().st_size < 180_000


def test_without_training_there_are_no_curves(tmp_path):
    (tmp_path / "empty.csv").touch()
    (tmp_path / "heads.csv").write_text("epoch,step,train/loss\n")
    for history in (tmp_path / "missing.csv", tmp_path / "empty.csv", tmp_path / "heads.csv"):
        names = {path.name for path in save(tmp_path, {}, draw(M=1, N=20), history=history)}
        assert names == {"reliability.png", "confidence.png", "risk_coverage.png", "confusion.png"}


def test_pictures_of_an_earlier_evaluation_do_not_stay(tmp_path):
    (tmp_path / "mine.png").write_bytes(b"")
    save(tmp_path, CORRUPTED | {"scaled/pool/temperature": 1.0}, draw(N=20))
    left = {path.name for path in save(tmp_path, {}, draw(M=1, N=20))}
    assert {path.name for path in tmp_path.iterdir()} == left | {"mine.png"} and "severity.png" not in left


def test_reliability_shows_the_bins_of_the_ece():
    logits, labels = draw()[:2]
    top, bottom = plots.reliability(*reduced(logits, labels)).axes
    _, _, ensemble = top.lines
    mean, accuracy = ensemble.get_data()
    counts = bottom.patches[-1].get_data().values
    held = counts[counts > 0] / counts.sum()
    ece = scores(logits, labels, ["ece"])["ece"]
    assert (held * abs(mean - accuracy)).sum() == pytest.approx(ece)
    assert counts.sum() == len(labels)
    assert (held * accuracy).sum() == pytest.approx(scores(logits, labels, ["acc"])["acc"])
    assert ensemble.get_label() == f"ensemble, ECE {ece:.3f}"


def test_a_single_bin_is_a_line_over_its_width():
    top, _ = plots.reliability(reduced(*certain(M=1)[:2])[0], []).axes
    (bin,) = top.patches
    assert bin.get_data().edges.tolist() == pytest.approx([14 / 15, 1]) and bin.get_data().values.tolist() == [1]
    assert not plots.reliability(*reduced(*draw()[:2])).axes[0].patches


def test_reliability_pools_the_members():
    logits, labels = draw()[:2]
    top, bottom = plots.reliability(*reduced(logits, labels)).axes
    accuracy, counts = top.lines[1].get_ydata(), bottom.patches[0].get_data().values
    correct = (logits.argmax(-1) == labels).double().mean().item()
    assert (counts[counts > 0] / counts.sum() * accuracy).sum() == pytest.approx(correct)
    assert counts.sum() == pytest.approx(len(labels))


def test_before_and_after_shows_each_calibration_error_and_all_images():
    logits, labels = draw()[:2]
    axes = plots.before_and_after(log_mean(logits), labels, 1.7).axes
    scaled = (logits.double().softmax(-1).mean(0).log() / 1.7)[None]
    for top, bottom, shown in ((axes[0], axes[2], logits), (axes[1], axes[3], scaled)):
        ece = scores(shown, labels, ["ece"])["ece"]
        assert top.get_title().endswith(f"ECE {ece:.3f}")
        counts = bottom.patches[-1].get_data().values
        mean, accuracy = top.lines[-1].get_data()
        assert (counts[counts > 0] / len(labels) * abs(mean - accuracy)).sum() == pytest.approx(ece)
        assert counts.sum() == len(labels)


def test_confidence_shows_shares_of_each_set():
    flat = torch.full((7,), 0.1, dtype=torch.float64)
    axes = plots.confidence(confidences(draw(N=50)), {"photos": confidences(draw(N=999)), "flat": flat}).axes[0]
    shares = [patch.get_data().values for patch in axes.patches]
    assert [share.sum() for share in shares] == pytest.approx([100, 100, 100])
    assert shares[2].argmax() == 2  # ten classes alike: a confidence of 0.1 among bins of 0.04
    assert [patch.get_label() for patch in axes.patches] == ["in distribution", "out: photos", "out: flat"]


def test_bins_of_few_images_are_pale():
    logits, labels = draw()[:2]
    pool, members = reduced(logits, labels)
    points = plots.reliability(pool, members).axes[0].collections[-1]
    counts = torch.histc(pool.confidence, plots.BINS, 0, 1)
    shades = points.get_facecolor()[:, 3]
    assert 0 < sum(shades < 1) < len(shades)
    assert (shades == 1).tolist() == [count >= plots.FEW for count in counts[counts > 0].tolist()]


def test_roc_has_the_area_of_the_results():
    inside, outside = (confidences(draw(N=300, spread=s)).round(decimals=1) for s in (1, 3))  # with many equals
    taken, found = plots.roc(inside, outside)
    assert taken[0] == found[0] == 0 and taken[-1] == found[-1] == 1
    assert torch.trapezoid(found, taken).item() == pytest.approx(detection(-inside, -outside)["auroc"])
    labels = plots.ood_roc(inside, {"photos": outside}).axes[0].get_legend_handles_labels()[1]
    assert labels == [f"photos, AUROC {100 * detection(-inside, -outside)['auroc']:.1f} %"]


def test_risk_ends_at_the_error_rate_and_names_the_area():
    logits, labels = draw()[:2]
    axes = plots.risk_coverage(*reduced(logits, labels)).axes[0]
    members, ensemble = axes.lines
    assert ensemble.get_xydata()[-1].tolist() == pytest.approx(
        [100, 100 - 100 * scores(logits, labels, ["acc"])["acc"]]
    )
    assert ensemble.get_label() == f"ensemble, AURC {scores(logits, labels, ['aurc'])['aurc']:.4f}"
    each = [scores(member[None], labels, ["acc"])["acc"] for member in logits]
    assert members.get_ydata()[-1] == pytest.approx(100 - 100 * sum(each) / 4)


def test_numbers_of_members_go_from_the_mean_member_to_the_ensemble():
    logits, labels = draw(M=4)[:2]
    accuracy, nll = plots.by_number(logits, labels)
    each = [scores(member[None], labels, ["acc", "nll"]) for member in logits]
    assert accuracy[0] == pytest.approx(sum(one["acc"] for one in each) / 4)
    assert nll[0] == pytest.approx(sum(one["nll"] for one in each) / 4)
    pairs = [scores(logits[[m, (m + 1) % 4]], labels, ["acc", "nll"]) for m in range(4)]
    assert nll[1] == pytest.approx(sum(one["nll"] for one in pairs) / 4)
    whole = scores(logits, labels, ["acc", "nll"])
    assert [accuracy[-1], nll[-1]] == pytest.approx([whole["acc"], whole["nll"]])


def test_confusion_counts_each_image_once():
    labels = torch.tensor([0, 0, 1, 2, 2, 2])
    predicted = torch.tensor([0, 1, 1, 0, 0, 2])
    counts = [confusion(one_hot(predicted, K).double().log(), labels) for K in (3, 100)]
    axes = plots.confusions(counts[0], ["cat", "dog", "a bird of a long name"]).axes[0]
    assert {(text.get_position(), text.get_text()) for text in axes.texts} == {
        *(((0, 0), "1"), ((1, 0), "1"), ((1, 1), "1"), ((0, 2), "2"), ((2, 2), "1"))
    }
    assert axes.get_title() == "3 errors of 6 images"
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["cat", "dog", "a bird of a l…"]
    many = plots.confusions(counts[1], None).axes[0]
    assert [tick.get_text() for tick in many.get_yticklabels()] == ["0 → 1", "2 → 0"]
    assert [bar.get_width() for bar in many.patches] == [1, 2]


def test_disagreement_shows_the_matrix_and_the_classes_in_order():
    logits, labels = draw(K=20)[:2]
    left, right = plots.disagreement(logits, labels, [f"c{k}" for k in range(20)]).axes[:2]
    shown = torch.tensor(left.images[0].get_array().filled(math.nan))
    expected = 100 * disagreement_matrix(logits)
    assert shown.diagonal().isnan().all()
    assert shown[0, 1:].tolist() == pytest.approx(expected[0, 1:].tolist())
    widths = [bar.get_width() for bar in right.patches]
    assert len(widths) == 10 and widths == sorted(widths)
    worst = int(right.get_yticklabels()[-1].get_text().removeprefix("c"))
    predicted = logits[:, labels == worst].argmax(-1)
    pairs = [(predicted[m] != predicted[n]).double().mean().item() for m in range(4) for n in range(m)]
    assert widths[-1] == pytest.approx(100 * sum(pairs) / len(pairs))


def test_numbers_of_members_that_hardly_differ_are_black_on_pale():
    logits = one_hot(torch.zeros(2, 1000, dtype=torch.long), 10).double()
    logits[0, 0] = one_hot(torch.tensor(1), 10)
    (matrix, *_) = plots.disagreement(logits, torch.zeros(1000, dtype=torch.long), None).axes
    assert [(text.get_text(), text.get_color()) for text in matrix.texts] == [("0.1", "#000000")] * 2


def test_history_takes_means_over_an_epoch_and_skips_what_is_no_number(history):
    found = read_history(history)
    assert found["train/loss"].to_dict() == {1: 1.5, 2: 0.5}
    assert found["val/acc"].to_dict() == {1: 0.5, 2: 0.75}
    assert found["lr"].to_dict() == {1: pytest.approx(0.1), 2: pytest.approx(0.05)}
    assert "note" not in found


def test_curves_have_a_panel_for_each_quantity(history):
    axes = {panel.get_title(): panel for panel in curves(read_history(history)).axes}
    assert list(axes) == ["training loss", "validation accuracy (%)", "validation NLL (nats)", "learning rate"]
    assert axes["validation accuracy (%)"].lines[0].get_xydata().tolist() == [[1, 50], [2, 75]]
    assert all(panel.get_legend() is None for panel in axes.values())
    for panel in axes.values():  # the best epoch is marked in each
        assert [list(line.get_xdata()) for line in panel.lines[1:]] == [[2, 2]]


def test_a_loss_that_is_summed_over_members_is_shown_as_one_member_s(history):
    loss, *_ = curves(read_history(history), summed=4).axes
    assert loss.get_title() == "training loss of a member"
    assert loss.lines[0].get_xydata().tolist() == [[1, 0.375], [2, 0.125]]


def test_no_cell_among_the_curves_is_empty(tmp_path):
    (tmp_path / "m.csv").write_text("epoch,lr,train/loss,val/acc\n0,0.1,2,0.5\n")
    figure = curves(read_history(tmp_path / "m.csv"))
    figure.draw_without_rendering()
    left, _, wide = (axes.get_position() for axes in figure.axes)
    assert wide.width > 1.9 * left.width


def test_curves_of_both_splits_share_a_panel(tmp_path):
    (tmp_path / "m.csv").write_text("epoch,train/acc,val/acc\n0,0.5,0.4\n")
    [panel] = curves(read_history(tmp_path / "m.csv")).axes
    assert panel.get_title() == "accuracy (%)"
    assert [text.get_text() for text in panel.get_legend().get_texts()] == ["training", "validation"]
    assert all(line.get_marker() == "o" for line in panel.lines[:2])  # one epoch would make no visible line


def test_what_cannot_be_drawn_is_refused(tmp_path):
    test = draw(N=20)
    with pytest.raises(UserError, match=r"Cannot write .*\.png"):
        save(tmp_path / "nowhere", {}, test)
    with pytest.raises(UserError, match="NaN"):
        save(tmp_path, {}, test._replace(logits=test.logits.index_fill(1, torch.tensor(3), math.nan)))
    assert not list(tmp_path.iterdir())
