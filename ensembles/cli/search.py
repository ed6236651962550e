"""A search: Optuna chooses the runs of a sweep, one after another. Torch is not imported here.

``hydra/sweeper=optuna`` under ``-m`` comes here. Hydra's own plugin (hydra-optuna-sweeper 1.3) wants optuna<3 and knows
nothing of this project's sweeps, so Optuna itself is asked for each trial's values, and a trial is a run like others.
"""

import csv
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.errors import HydraException
from omegaconf import DictConfig

from ensembles.cli.composing import checked, composed, composing
from ensembles.cli.overrides import check, parsed
from ensembles.cluster import CLUSTERS
from ensembles.errors import UserError, complain, reason
from ensembles.files import held
from ensembles.reports.schema import quantity
from ensembles.reports.sweep_table import RunRow, short
from ensembles.runs import Run, state
from ensembles.sweeps import Sweep

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

SWEEPER, SPACE, OWN = "hydra/sweeper", "search", "hydra.sweeper."
ASKED = f"{SWEEPER}=optuna"
STUDY = "study.db"
MONITORS = ("val/acc", "val/nll", "val/mse")  # the first of these that a run follows tells its best epoch


@dataclass(frozen=True)
class Search(Sweep):
    """A sweep whose runs are an Optuna study's trials; the study is kept in its folder and taken up again there.

    Attributes:
        fixed: overrides that all runs have.
        space: by override, what values it can have, as on a command line: choice(...), range(...), interval(...).
        settings: n_trials, objective, startup_trials and seed.
        config_dir: a folder of the user's own configs.
    """

    fixed: list[str] = field(default_factory=list)
    space: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping = field(default_factory=dict)
    config_dir: str | None = None

    @classmethod
    def plan(cls, arguments: list[str], config_dir: str | None = None) -> "Search":
        """Check what a command line asks for, and take up its study where there is one.

        Raises:
            UserError: a space or a setting that cannot work, or a package that is missing.
        """
        _optuna()
        with composing(config_dir):
            overrides = parsed(arguments)
            given = {override.key_or_group for override in overrides}
            swept = [override for override in overrides if override.is_sweep_override()]
            varied = {override.get_key_element(): override.input_line.partition("=")[2] for override in swept}
            if grouped := [key for key in ("method", SPACE, SWEEPER) if key in varied]:
                raise UserError(f"{grouped[0]}={varied[grouped[0]]}: a search is of one {grouped[0]}, so name one.")
            words = [override.input_line for override in overrides if not override.is_sweep_override()]
            config = composed(words)
            method = config.hydra.runtime.choices.method
            if SPACE not in given and method in GlobalHydra.instance().config_loader().get_group_options(SPACE):
                config = composed([*words, f"{SPACE}={method}"])
            settings = dict(config.hydra.sweeper)
            space = {**{key: str(text) for key, text in (settings.pop("params") or {}).items()}, **varied}
            space = {key: text for key, text in space.items() if key in varied or key not in given}
            _require(settings, space, config)
            _distributions(space)
            fixed = [word for word in words if word.partition("=")[0] not in (SWEEPER, SPACE) and OWN not in word]
            plan = [*fixed, *(f"{key}={text}" for key, text in space.items())]
            plan += [f"{OWN}{key}={settings[key]}" for key in ("objective", "startup_trials", "seed")]
            folder = cls.folder_of(plan, config.sweeps_dir)
        check([*fixed, *(f"{key}={text}" for key, text in space.items())], config_dir)
        known = Sweep.in_folder(folder).runs if (folder / "index.json").is_file() else []
        return cls(folder, arguments, known, fixed=fixed, space=space, settings=settings, config_dir=config_dir)

    def run_trials(self, carry_out: Callable[[Run], bool]) -> bool:
        """Run what is left of the study: a trial that was interrupted first, then new ones; returns whether all worked.

        Args:
            carry_out: runs what is left of a run, and returns whether there are results.

        Raises:
            Busy: another process is at the study.
            OSError, UserError: the folder cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with held(self.folder):
            self.write_index()
            study, space = self._study(), _distributions(self.space)
            begun = [(trial.number, trial.params) for trial in study.trials if not trial.state.is_finished()]
            left = self.settings["n_trials"] - (len(study.trials) - len(begun))
            successful = True
            for _ in range(left):
                number, values = begun.pop(0) if begun else self._ask(study, space)
                value = self._tried({key: _text(value) for key, value in values.items()}, carry_out)
                study.tell(number, value, state=_optuna().trial.TrialState.FAIL if value is None else None)
                successful = successful and value is not None
        return successful

    def _tried(self, chosen: dict[str, str], carry_out: Callable[[Run], bool]) -> float | None:
        """Run a trial with these values and judge it; None where they cannot work, which has been said then."""
        try:
            with composing(self.config_dir):
                config = composed([*self.fixed, *(f"{key}={text}" for key, text in chosen.items())])
            run = Run.of(checked(config), config.hydra.runtime.choices)
        except UserError as error:
            complain(error)
            return None
        if all(run.folder.absolute() != known.folder.absolute() for _, known in self.runs):
            self.runs.append((chosen, run))
            self.write_index()
        return self.objective(run) if carry_out(run) else None

    def objective(self, run: Run) -> float:
        """Judge a finished run: the objective in the epoch that was tested.

        Raises:
            UserError: the run does not follow it.
        """
        wanted = self.settings["objective"]
        with open(run.history, newline="") as file:
            rows = list(csv.DictReader(file))
        if not rows or not rows[0].get(wanted):
            there = ", ".join(key for key in rows[0] if key.startswith("val/")) if rows else "nothing"
            raise UserError(f"hydra.sweeper.objective={wanted} is not followed in {run.folder}: it has {there}.")
        monitor = next(key for key in MONITORS if rows[0].get(key))
        sign = 1 if quantity(monitor).better == "higher" else -1
        tested = max(rows, key=lambda row: sign * float(row[monitor])) if run.config["test_on"] == "best" else rows[-1]
        return float(tested[wanted])

    @property
    def total(self) -> int:
        return self.settings["n_trials"]

    def rows(self) -> list[RunRow]:
        """List for each run its values and what it is judged by, its state and its results."""
        found = []
        for varied, run in self.runs:
            results = run.results()
            judged = "" if results is None else f"{self.objective(run):.4f}"
            found.append(RunRow({**varied, self.settings["objective"]: judged}, state(run), results or {}))
        return found

    def show(self) -> bool:
        """Print the table and the best run; returns whether every run has results."""
        whole = super().show()
        done = [(self.objective(run), varied) for varied, run in self.runs if run.results() is not None]
        if done:
            best = max if quantity(self.settings["objective"]).better == "higher" else min
            value, varied = best(done, key=lambda one: one[0])
            words = " ".join([*self.fixed, *(f"{key}={text}" for key, text in varied.items())])
            names = short(list(varied))
            said = ", ".join(f"{names[key]}={text}" for key, text in varied.items())
            print(f"Best by {self.settings['objective']}, {value:.4f}: {said}\nensembles train {words}")
        return whole

    def _study(self) -> "Study":
        optuna = _optuna()
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        return optuna.create_study(
            storage=f"sqlite:///{self.folder / STUDY}",
            study_name="search",
            direction="maximize" if quantity(self.settings["objective"]).better == "higher" else "minimize",
            load_if_exists=True,
        )

    def _ask(self, study: "Study", space: dict[str, "BaseDistribution"]) -> tuple[int, dict]:
        """Ask for a new trial. Its draw follows from the seed and its number, so a resumed study chooses the same."""
        drawn = random.Random(f"{self.settings['seed']} {len(study.trials)}").getrandbits(32)
        study.sampler = _optuna().samplers.TPESampler(seed=drawn, n_startup_trials=self.settings["startup_trials"])
        trial = study.ask(space)
        return trial.number, trial.params


def _require(settings: Mapping, space: Mapping, config: DictConfig) -> None:
    for key, least in (("n_trials", 1), ("startup_trials", 1), ("seed", 0)):
        value = settings[key]
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise UserError(f"{OWN}{key} is {value!r}, but must be an integer of at least {least}.")
    if not str(settings["objective"]).startswith("val/") or quantity(settings["objective"]).better is None:
        raise UserError(
            f"{OWN}objective={settings['objective']} is none: choose by validation, val/nll, val/acc or val/mse."
        )
    if not space:
        raise UserError(f"{ASKED} has nothing to choose: name a space, {SPACE}=..., or key='interval(0.01,1)'.")
    if not config.train or config.method.get("checkpoints"):
        given = "method.checkpoints" if config.train else "train=false"
        raise UserError(f"{ASKED} chooses how to train, and nothing is trained with {given}: leave it out.")
    if not config.data.get("val_fraction"):
        raise UserError(f"{ASKED} chooses by validation: set data.val_fraction above 0.")
    if config.hydra.launcher._target_ in CLUSTERS:
        raise UserError(f"{ASKED} runs its trials one after another here: leave the cluster out.")


def _distributions(space: Mapping[str, str]) -> dict[str, "BaseDistribution"]:
    """Give a space in Optuna's form."""
    return {key: _distribution(key, text) for key, text in space.items()}


def _distribution(key: str, text: str) -> "BaseDistribution":
    kinds = _optuna().distributions
    try:
        override: Override = OverridesParser.create().parse_override(f"{key}={text}")
        sweep = override.value()
        if isinstance(sweep, IntervalSweep):
            kind = kinds.IntDistribution if isinstance(sweep.start, int) else kinds.FloatDistribution
            return kind(sweep.start, sweep.end, log="log" in sweep.tags)
        if isinstance(sweep, RangeSweep) or override.is_discrete_sweep():
            return kinds.CategoricalDistribution(list(override.sweep_string_iterator()))
    except (HydraException, ValueError) as error:
        raise UserError(f"{key}={text} is no space ({reason(error)}): write choice(...) or interval(...).") from error
    raise UserError(f"{key}={text} is no space: write choice(...), range(...) or interval(...).")


def _text(value: object) -> str:
    """Write a value as a command line has it, a number with six digits: a run that is named so is the same."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _optuna():
    try:
        import optuna
    except ImportError as error:
        raise UserError(f"{ASKED} needs the package optuna: pip install optuna.") from error
    return optuna
