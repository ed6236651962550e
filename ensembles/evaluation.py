"""From a trained network, or its saved predictions, to the results and plots in the run's folder."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from pytorch_lightning import Trainer
from torch import Tensor

from ensembles import build, evaluations, predictions, provenance
from ensembles.constructors import construct, require_constructor
from ensembles.data.datamodule import DataModule
from ensembles.errors import UserError
from ensembles.files import load_json, write_rows, write_text
from ensembles.likelihoods import Categorical, Likelihood, Regression
from ensembles.metrics import Predicted, RegressionSummary, Summary, confusion
from ensembles.metrics.base import log_mean
from ensembles.metrics.classification import statistics
from ensembles.reports.per_image import PER_IMAGE, save_per_image
from ensembles.reports.plots import save_plots
from ensembles.runs import Run, without_target_scale
from ensembles.training.callbacks import Collector
from ensembles.untrusted import refusal


@contextmanager
def collecting(trainer: Trainer, data: DataModule, run: Run) -> Iterator[Summary | RegressionSummary]:
    """Yield the summary of what the trainer validates and tests on in the meantime.

    Process 0 reduces each set to its results as soon as it is through, and saves its predictions if that is asked for;
    the other processes' summaries stay empty.

    Raises:
        UserError: predictions that cannot be measured.
    """
    saves = run.config["evaluation"]["save_predictions"]
    config = run.config
    if target_scale := getattr(data, "target_scale", None):  # a data module of the user's own need not have it
        scaled = config["data"]["likelihood"] | target_scale
        config = {**config, "data": {**config["data"], "likelihood": scaled}}
    summary = build.likelihood(config["data"]).summary(**_settings(run))
    kept = {"config": config, "class_names": [str(name) for name in data.class_names]}
    with ExitStack() as stack:
        takers = [summary.add] if trainer.is_global_zero else []
        if saves and trainer.is_global_zero:
            takers.append(stack.enter_context(predictions.saving(run.predictions_file, kept)))

        def take(name: str, logits: Tensor, labels: Tensor) -> None:
            of = data.sets[name]
            predicted = Predicted(logits, labels, of.covered_classes, of.valid_labels, of.groups, of.features)
            for taker in takers:
                taker(name, predicted)

        def take_reduced(name: str, values: dict[str, Tensor]) -> None:
            if trainer.is_global_zero:
                summary.take_reduced(name, values)

        streamed = {} if saves else {"metric": summary.metric, "take_reduced": take_reduced}
        trainer.callbacks.append(Collector(take, **streamed))
        yield summary


def validates(run: Run) -> bool:
    """Tell whether the evaluation needs predictions on the validation split."""
    settings = run.config["evaluation"]
    return bool(run.config["data"]["val_fraction"]) and (
        settings["temperature_scaling"] or settings["save_predictions"] or settings.get("conformal") is not None
    )


def evaluate_again(folder: Path, changes: dict[str, bool | float | None], trust: Sequence[str] = ()) -> dict:
    """Compute the results of a run's saved predictions, and put them at the top of its folder; its costs stay.

    Args:
        changes: settings of the evaluation that differ from those it was saved with.
        trust: packages besides this one whose likelihoods the file may name.

    Raises:
        UserError: no predictions, damaged ones, ones that cannot be measured, or a run that is being worked on.
    """
    path = folder / "predictions.npz"
    kept = predictions.about(path)
    likelihood = _likelihood(kept, trust, path)
    if "likelihood" in kept["config"]["data"]:
        kept["config"]["data"]["likelihood"] = without_target_scale(kept["config"]["data"]["likelihood"])
    images = evaluations.images_of(folder, Run(kept["config"], folder).evaluation)
    kept["config"]["evaluation"] |= changes
    run = Run(kept["config"], folder)
    with run.opened():
        summary = likelihood.summary(**_settings(run))
        networks = set()
        for name, predicted in predictions.saved(path):
            networks.add(predicted.logits.shape[0::2])
            _require_outputs(predicted, likelihood, networks, name, path)
            summary.add(name, predicted)
        before, origin = (_json(file) for file in (run.results_file, run.provenance_file))
        costs = {key: value for key, value in before.items() if key.startswith("cost/")}
        now = provenance.origin({})
        again = {key: now[key] for key in ("command", "commit", "versions")}
        origin |= {"images": images, "computed_again": again}
        return write_results(run, summary, costs, kept["class_names"], origin)


def write_results(
    run: Run, summary: Summary | RegressionSummary, costs: dict, class_names: Sequence[str], origin: dict
) -> dict:
    """Write results.json, provenance.json, what is found of each test image, and the plots; returns the results.

    Args:
        costs: results that do not come from predictions.
        origin: what provenance.json is to say.

    Raises:
        UserError: what `Summary.results` raises.
    """
    results = summary.results() | costs
    run.provenance_file.unlink(missing_ok=True)  # it vouches for the results
    if isinstance(summary, Summary):
        of = statistics(log_mean(summary.test.logits), summary.test.labels)
        save_per_image(
            run.folder / PER_IMAGE, *(x.cpu().numpy() for x in (of.correct, of.log_likelihood, of.confidence))
        )
        _write_classes(run.folder, summary.test, class_names)
    members = (value for key, value in results.items() if key.startswith("members/") and isinstance(value, list))
    summed = _losses_summed(run.config["method"], len(next(members, [0])))
    save_plots(summary, run.folder, results, run.history, class_names, summed)
    write_text(run.results_file, json.dumps(results, indent=2) + "\n")
    write_text(run.provenance_file, json.dumps(origin | {"evaluation": run.evaluation}, indent=2) + "\n")
    run.begun_anew.unlink(missing_ok=True)
    return results


def _losses_summed(method: Mapping, M: int) -> int:
    """Tell over how many members a training's loss is the sum: M, or 1 where it is their mean."""
    default = "mean" if method["_target_"].startswith("ensembles.") else "sum"  # ours say it where there are several
    return M if method.get("reduction", default) == "sum" else 1


def _write_classes(folder: Path, test: Predicted, class_names: Sequence[str]) -> None:
    """Write confusion.csv, how many test images of each class (row) are taken for each (column), and classes.csv."""
    counts = confusion(log_mean(test.logits), test.labels)
    rows = [[name, *row] for name, row in zip(class_names, counts.tolist(), strict=True)]
    write_rows(folder / "confusion.csv", [["class", *class_names], *rows])
    of_class = zip(class_names, *(x.tolist() for x in (counts.sum(1), counts.sum(0), counts.diag())), strict=True)
    shares = [(name, of, k / of if of else "", taken, k / taken if taken else "") for name, of, taken, k in of_class]
    write_rows(folder / "classes.csv", [("class", "images", "accuracy", "predicted", "precision"), *shares])


def _likelihood(kept: dict, trust: Sequence[str], path: Path) -> Likelihood:
    """Build the likelihood of the predictions by known constructors alone."""
    try:
        data = kept["config"]["data"]
        if "likelihood" not in data:
            return Categorical()
        require_constructor(data["likelihood"], "likelihoods", trust)
        return construct(data["likelihood"], "likelihoods", trust)
    except Exception as error:  # a constructor may raise anything on settings that no training had
        raise refusal(path, error, "have it written again by ensembles train") from error


def _require_outputs(predicted: Predicted, likelihood: Likelihood, networks: set, name: str, path: Path) -> None:
    """See that a set's outputs are the likelihood's, and of one network with the sets before."""
    regression = isinstance(likelihood, Regression)
    outputs = predicted.logits.shape[2]
    wrong = predicted.labels.is_floating_point() != regression or (regression and outputs != likelihood.outputs)
    if wrong or len(networks) > 1:
        why = "does not suit the likelihood" if wrong else "is of another network than the sets before"
        raise UserError(f"{path} cannot be read ({name} {why}); have it written again by ensembles train.")


def _settings(run: Run) -> dict[str, bool | float | None]:
    return {key: value for key, value in run.config["evaluation"].items() if key != "save_predictions"}


def _json(path: Path) -> dict:
    try:
        return load_json(path)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise UserError(f"{path} is damaged: delete it.") from error
