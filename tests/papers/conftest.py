import csv
import io
import json
import shutil
from functools import partial

import pytest
import yaml
from rich.console import Console

from ensembles import papers
from ensembles.reports.page import page
from ensembles.reproduction.running import Planned
from ensembles.runs import Run


@pytest.fixture
def changed(tmp_path):
    """Read a copy of a table's file after a change to its content."""

    def read(name, change):
        root = tmp_path / "papers"
        copy = root / f"{name}.yaml"
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(papers.HOME / f"{name}.yaml", copy)
        content = yaml.load(copy.read_text(), yaml.BaseLoader)
        change(content)
        copy.write_text(yaml.safe_dump(content, sort_keys=False))
        return papers.load(name, root)

    return read


def put(*path_and_value):
    """A change to a table's content: the value goes to the place of the path."""
    *path, last, value = path_and_value

    def change(content):
        for key in path:
            content = content[key]
        content[last] = value

    return change


def rendered(filled):
    console = Console(width=400, record=True, file=io.StringIO())
    console.print(filled.text(console))
    return {
        "text": console.export_text(),
        "markdown": filled.markdown(),
        "csv": filled.csv(),
        "html": page(filled.full_title, [filled]),
    }


def cells(filled):
    """The CSV as (row, column) -> line."""
    lines = csv.DictReader(io.StringIO(filled.csv()))
    return {(line["Method"], line["column"]): line for line in lines}


@pytest.fixture
def finish():
    """Leave results in a run's folder, as a run that has ended does."""

    def finish(run, **results):
        run.folder.mkdir(parents=True, exist_ok=True)
        run.results_file.write_text(json.dumps({key.replace("__", "/"): value for key, value in results.items()}))
        run.provenance_file.write_text(json.dumps({"evaluation": run.evaluation, "seed": run.config["seed"]}))

    return finish


@pytest.fixture
def planned(tmp_path):
    """Runs of a table or figure without composing configurations."""

    def run(table, row, seed):
        config = {"seed": seed, "test_on": "last", "evaluation": {}, "data": {"ood_sets": []}}
        config["recipe"] = {"epochs": 20}
        return Run(config, tmp_path / "runs" / f"{table.slug}-{row.number}-{seed}")

    return lambda table, seeds=2: [Planned(row, [run(table, row, seed) for seed in range(seeds)]) for row in table.rows]


@pytest.fixture
def reproduce(call, train, monkeypatch):
    """Call the script; what it would hand to train.py goes to it in this process."""
    from ensembles.commands import reproduce as program
    from ensembles.reproduction import running

    called = []

    def in_process(arguments):
        called.append(arguments)
        ended = train(*arguments)
        print(ended.out, ended.err)

    monkeypatch.setattr(running, "train", in_process)
    command = partial(call, program)
    command.called = called
    return command
