import json
import shutil
import sys

import pytest
import yaml

from ensembles import papers


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


@pytest.fixture
def finish():
    """Leave results in a run's folder, as a run that has ended does."""

    def finish(run, **results):
        run.folder.mkdir(parents=True, exist_ok=True)
        run.results_file.write_text(json.dumps({key.replace("__", "/"): value for key, value in results.items()}))
        run.provenance_file.write_text(json.dumps({"evaluation": run.evaluation, "seed": run.config["seed"]}))

    return finish


@pytest.fixture
def reproduce(train, monkeypatch, capfd):
    """Call the script with arguments, in this process; what it would hand to train.py goes to it here."""
    from scripts import reproduce as program

    called = []

    def in_process(arguments):
        called.append(arguments)
        ended = train(*arguments)
        print(ended.out, ended.err)

    monkeypatch.setattr(program, "train", in_process)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["reproduce.py", *arguments])
        capfd.readouterr()
        with pytest.raises(SystemExit) as stop:
            program.main()
        return stop.value.code or 0, *capfd.readouterr()

    call.called = called
    return call
