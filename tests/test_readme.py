"""What the README shows is so: its commands compose, the cheap ones run, and the run it names is the default's."""

import re
import shlex
import shutil
from functools import cache
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra._internal.utils import get_args_parser
from PIL import Image

from ensembles.cli.composing import checked
from ensembles.cli.overrides import check, combinations
from ensembles.cluster import job_settings
from ensembles.runs import Run

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
FENCED = re.findall(r"```\w*\n(.*?)```", README, re.DOTALL)
PROSE = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
INLINE = [span.replace("\n", " ") for span in re.findall(r"`([^`]+)`", PROSE)]
GENERATED = re.findall(r"<!-- begin: (.+) -->", README)
COMMANDS = [line.partition(" # ")[0].strip() for block in FENCED for line in block.splitlines()] + INLINE + GENERATED
COMMANDS = list(dict.fromkeys(text for text in COMMANDS if text.startswith(("python ", "make "))))
RUN = re.compile(r"digits-small_cnn_4x-packed-[0-9a-f]{8}")
TINY = ("recipe.epochs=1", "runtime.progress=false", "trainer.accelerator=cpu", "data.corrupted.source=null")


def words(program):
    """The arguments of each of the README's commands for a program."""
    found = [shlex.split(command.partition(" | ")[0]) for command in COMMANDS]
    return [command[2:] for command in found if command[:2] == ["python", program]]


@cache
def blocks():
    """The user's own files that the README writes out."""
    (module,) = [block for block in FENCED if block.startswith("# mine.py")]
    (configs,) = [block for block in FENCED if block.startswith("# conf/")]
    files, middle = {"mine.py": module}, configs.index("# conf/", 1)
    for column in (slice(0, middle), slice(middle, None)):
        name, *lines = (line[column].strip() for line in configs.splitlines())
        files[name.removeprefix("# ")] = "\n".join(lines) + "\n"
    return files


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder in which the README's commands find what they name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name, text in blocks().items():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(text)
    for part, count in (("train", 20), ("test", 5)):
        for k, label in enumerate(("cat", "dog")):
            place = Path("photos", part, label)
            place.mkdir(parents=True)
            for i in range(count):
                pixels = np.random.default_rng(100 * k + i).integers(256, size=(64, 64, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(place / f"{i}.png")
    return tmp_path


def composed(arguments):
    """The configurations of a command line for train.py, checked as that does, and its parsed arguments."""
    parsed = get_args_parser().parse_args(arguments)
    check(parsed.overrides, parsed.config_dir)
    found = combinations(parsed.overrides, parsed.config_dir)
    assert parsed.multirun or len(found) == 1
    for _, config in found:
        job_settings(config)
        checked(config)
    return found


def test_there_are_commands():
    assert len(words("train.py")) >= 10 and len(COMMANDS) >= 20
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert all(command.split()[1] in targets for command in COMMANDS if command.startswith("make "))
    programs = {command.split()[1] for command in COMMANDS if command.startswith("python ")}
    assert all((ROOT / program).is_file() for program in programs)


def test_commands_for_training_compose(folder):
    for arguments in words("train.py"):
        composed(arguments)


def test_settings_in_the_text_are_there():
    """Each as a shell reads it; those of a table's row together with the option in its first cell."""
    seen = 0
    for line in PROSE.splitlines():
        spans = [span for span in re.findall(r"`([^`]+)`", line) if re.match(r"[a-z_.]+=[^<]*$", span)]
        option = re.match(r"\| `(\w+)`", line) if "data." in line else None
        for span in spans:
            overrides = shlex.split(span)
            if overrides[-1].endswith("="):  # a table's head names the group alone
                continue
            if option:
                overrides.insert(0, f"data={option[1]}")
            check(overrides)
            seen += 1
    assert seen >= 15


def test_the_run_that_is_named_is_the_defaults():
    ((_, config),) = combinations([])
    name = Run.of(checked(config), config.hydra.runtime.choices).folder.name
    named = RUN.findall(README)
    assert len(named) >= 2 and set(named) == {name}, "python scripts/readme.py writes README.md anew"


def test_each_generated_block_is_filled():
    readme = import_module("scripts.readme")
    found = {block["command"]: block["output"] for block in readme.BLOCK.finditer(README)}
    assert list(found) == GENERATED and all(len(output.splitlines()) > 5 for output in found.values())


def test_blocks_are_written_from_what_commands_print(tmp_path):
    readme = import_module("scripts.readme")
    assert readme.output("echo; echo 'a  '; echo $COLUMNS | tail -n 1", tmp_path) == "a\n100\n"
    text = "x\n<!-- begin: echo b -->\n```\nold\nlines\n```\n<!-- end -->\ny\n"
    block = readme.BLOCK.search(text)
    assert (block["command"], block["output"]) == ("echo b", "old\nlines\n")


def test_a_study_s_table_is_written_once_it_is_there(tmp_path):
    readme = import_module("scripts.readme")
    folder = tmp_path / "results" / "mine"
    folder.mkdir(parents=True)
    assert readme.of_study(tmp_path, Path("results/mine")) == ""
    (folder / "table.md").write_text("# My study\n\n| a |\n|---|\n| 1 |\n\n\n| other |\n")
    (folder / "accuracy_flops.png").touch()
    (folder / "study.yaml").write_text("rows: {one: One, two: Two}")
    text = readme.of_study(tmp_path, Path("results/mine"))
    assert (
        text.startswith("My study: ")
        and "over seeds, 1 of 2 rows so far (" in text
        and "| 1 |" in text
        and "other" not in text
    )
    assert text.endswith("![Accuracy against multiply-adds](results/mine/accuracy_flops.png)\n")
    (block,) = readme.STUDY.finditer(README)
    assert block["folder"] == "results/cifar10" and (ROOT / block["folder"] / "study.yaml").is_file()
    for shown in re.findall(r"!\[[^]]*\]\(([^)]+)\)", README):
        assert (ROOT / shown).is_file(), shown


@pytest.mark.slow
def test_networks_of_ones_own_and_a_vit_train(folder, train):
    (own,) = (arguments for arguments in words("train.py") if "--config-dir" in arguments)
    ended = train(*own, *TINY, "data.train_size=100")
    assert ended.code == 0, ended.err
    (vit,) = (shlex.split(span) for span in INLINE if "vit_tiny" in span)
    ended = train(*vit, *TINY, "data.train_size=60", "data.classes=[0,1]")
    assert ended.code == 0, ended.err
    (photos,) = (arguments for arguments in words("train.py") if "data.root=photos" in arguments)
    ended = train(*photos, *TINY, "model=small_cnn", "trainer.devices=1", "data.num_workers=0")
    assert ended.code == 0, ended.err


@pytest.mark.slow
def test_what_follows_a_run(folder, call, train):
    """Evaluating, exporting, measuring again, gathering and loading it, each as the README has it."""
    assert train(*TINY, "data.train_size=100", "evaluation.save_predictions=true").code == 0
    (run,) = Path("runs").iterdir()
    shutil.copytree(run, Path("runs", RUN.search(README)[0]))
    shutil.copytree(ROOT / "results/cifar10", "results/cifar10")

    def filled(arguments):
        arguments = [str(run) if word == "<run>" else word for word in arguments]
        return [word.replace("<run>", run.name).replace("<file>", f"{run}/best.ckpt") for word in arguments]

    (evaluating,) = (shlex.split(span) for span in INLINE if span.startswith("train=false"))
    composed(filled(evaluating))
    for script in ("export", "metrics", "report"):
        program = import_module(f"ensembles.commands.{script}")
        for arguments in words(f"scripts/{script}.py"):
            ended = call(program, *filled(arguments))
            assert ended.code == 0, (arguments, ended.err)
    assert Path("ensemble.onnx").is_file() and Path("report.html").is_file()
    from ensembles.backbones import small_cnn

    (code,) = (block for block in FENCED if block.startswith("import ensembles"))
    names = {"images": torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "backbone": small_cnn(10)}
    exec(compile(code, "README.md", "exec"), names)
    assert names["p"].shape == (2, 10) and names["found"].members.shape == (4, 2, 10)
    assert names["ensemble"](torch.zeros(2, 3, 32, 32)).shape == (3, 2, 10)


@pytest.mark.slow
def test_scripts_that_need_no_run(folder, call):
    from ensembles.commands import corrupt, describe, reproduce

    for arguments in words("scripts/describe.py"):
        assert call(describe, *arguments).code == 0
    for arguments in words("scripts/corrupt.py"):
        composed(arguments)
        assert call(corrupt, "--help").code == 0
    shutil.copytree("photos", "photos/cifar10")
    for arguments in words("scripts/reproduce.py"):
        if "--list" not in arguments:
            ended = call(reproduce, *arguments, "--dry-run")
            runs = "ensembles study" if "small" in arguments else "ensembles train"
            assert ended.code == 0 and runs in ended.out, (arguments, ended.err)
