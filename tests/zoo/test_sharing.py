"""A run that is pushed, pulled without being trusted, used, and evaluated again."""

import hashlib
import json
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import save_file

import ensembles
from ensembles.checkpoints import ABOUT, read_checkpoint
from ensembles.commands.verify import show
from ensembles.errors import UserError
from ensembles.export import export
from ensembles.runs import network_file
from ensembles.zoo.verifying import Verification

WRITTEN = Path(__file__).parents[1] / "security/written"
IMAGES = torch.randint(256, (5, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A finished run's folder, under the name that it was given, and an empty folder around it."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "runs/digits-mlp-packed-01234567"
    shutil.copytree(WRITTEN / "digits", folder)
    return folder


@pytest.fixture
def shared(run):
    """The run, pushed to a folder."""
    ensembles.push(run, "shared", by="A. Person", note="a [small] one | two")
    return Path("shared")


@pytest.fixture
def server(tmp_path):
    """A web server of the folder's files: its URL."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}"
    running.shutdown()
    running.server_close()


@pytest.fixture
def program(call):
    """Call a command by its name."""
    from importlib import import_module

    return lambda name, *arguments: call(import_module(f"ensembles.commands.{name}"), *arguments)


def recard(folder, change=lambda card: None):
    """Write a folder's card anew, with the hashes of the files that are there."""
    path = folder / "card.json"
    card = json.loads(path.read_text())
    for name in card["files"]:
        contents = (folder / name).read_bytes()
        card["files"][name] = {"sha256": hashlib.sha256(contents).hexdigest(), "bytes": len(contents)}
    change(card)
    path.write_text(json.dumps(card))


def test_what_is_pushed(run, shared):
    card = json.loads((shared / "card.json").read_text())
    assert {path.name for path in shared.iterdir()} == {*card["files"], "card.json"}
    assert [card[key] for key in ("data", "model", "method")] == ["digits (train_size=100)", "mlp", "packed"]
    assert card["members"] == 2
    assert card["results"] == json.loads((run / "results.json").read_text())
    assert card["command"].startswith("python train.py model=mlp") and card["seed"] == 0 and not card["verified"]
    text = (shared / "README.md").read_text()
    assert "| accuracy (%) | 10.0 |" in text and "measured by A. Person" in text and card["command"] in text
    assert r"a \[small\] one \| two" in text and 'ensembles.load("zoo/digits-mlp-packed-01234567")' in text
    config = yaml.safe_load((shared / "config.yaml").read_text())
    assert "root" not in config["data"] and config["method"]["M"] == 2 and "runs_dir" not in config
    with safe_open(shared / "model.safetensors", "pt") as file:
        state = read_checkpoint(run / "best.ckpt")["state_dict"]
        assert set(file.keys()) == set(state) and all(torch.equal(file.get_tensor(key), state[key]) for key in state)


def test_files_that_a_network_began_from_are_not_told(run):
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["method"]["checkpoints"] = ["/home/me/a.ckpt"]
    config["model"] |= {"pretrained": "/home/me/b.pth", "kwargs": {"checkpoint_path": "/home/me/c.pth", "depth": 4}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    card = ensembles.push(run, "shared")
    assert not [path.name for path in Path("shared").iterdir() if b"/home/me" in path.read_bytes()]
    assert card.settings["model"]["kwargs"] == {"depth": 4} and card.settings["recipe"] and ensembles.pull("shared")


def test_a_web_server_may_read_all_that_is_pushed(shared):
    assert len({path.stat().st_mode for path in shared.iterdir()}) == 1


def test_what_is_pulled_loads_predicts_and_is_exported_as_the_run(run, shared):
    folder = ensembles.pull(shared)
    assert folder == Path("zoo/digits-mlp-packed-01234567")
    model, before = ensembles.load(folder), ensembles.load(run / "best.ckpt")
    assert torch.equal(model.predict(IMAGES), before.predict(IMAGES)) and model.class_names == before.class_names
    assert torch.equal(ensembles.load(run).predict(IMAGES), before.predict(IMAGES))
    export(folder, "packed.pt2")
    again = torch.export.load("packed.pt2").module()(IMAGES)[0]
    torch.testing.assert_close(again, before.predict(IMAGES))
    assert ensembles.pull(shared) == folder  # again


def test_from_a_web_server(run, shared, server, program):
    ended = program("pull", f"{server}/shared", "--to", "here/packed")
    assert ended.code == 0 and 'ensembles.load("here/packed")' in ended.out, ended.err
    names = {path.name for path in shared.iterdir()}
    assert {path.name for path in Path("here/packed").iterdir()} == names
    assert all((Path("here/packed") / name).read_bytes() == (shared / name).read_bytes() for name in names)
    ended = program("pull", f"{server}/nowhere")
    assert ended.code == 1 and f"card.json of {server}/nowhere cannot be had (HTTP Error 404" in ended.err
    ended = program("push", run, f"{server}/shared")
    assert ended.code == 1 and "is a web server, which takes no files: push to the folder that it serves" in ended.err


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """The hub's API object, replaced by one that keeps repositories in a folder."""
    import huggingface_hub

    place = tmp_path / "the_hub"

    class Api:
        def create_repo(self, repo_id, *, exist_ok):
            (place / repo_id).mkdir(parents=True, exist_ok=exist_ok)

        def upload_folder(self, *, repo_id, folder_path, revision):
            assert revision is None
            shutil.copytree(folder_path, place / repo_id, dirs_exist_ok=True)

        def hf_hub_download(self, repo_id, filename, *, revision):
            path = place / repo_id / filename
            if not path.is_file():
                raise huggingface_hub.errors.LocalEntryNotFoundError(f"no {filename} at {revision}")
            return str(path)

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    return place


def test_to_and_from_the_hub(run, hub, program):
    ended = program("push", run, "hf://someone/packed", "--by", "A. Person")
    assert ended.code == 0 and "ensembles pull hf://someone/packed" in ended.out, ended.err
    assert json.loads((hub / "someone/packed/card.json").read_text())["weights"] == "hf://someone/packed"
    assert program("pull", "hf://someone/packed").code == 0
    assert ensembles.load("zoo/digits-mlp-packed-01234567").predict(IMAGES).shape == (5, 10)
    ended = program("pull", "hf://someone/else@v1")
    assert ended.code == 1 and "card.json of hf://someone/else@v1 cannot be had (no card.json at v1)" in ended.err
    assert "is no repository of the hub" in program("pull", "hf://../packed").err


def not_whole(card):
    del card["files"]["model.safetensors"]


HOSTILE = {
    "a path that leaves the folder": (
        lambda card: card["files"].update({"../x": card["files"]["README.md"]}),
        "is no file of a shared run",
    ),
    "an absolute path": (
        lambda card: card["files"].update({"/tmp/x": card["files"]["README.md"]}),
        "is no file of a shared run",
    ),
    "a name that leaves the folder": (lambda card: card.update(name="../../x"), "must consist of letters"),
    "no weights": (not_whole, "lists no model.safetensors"),
    "an unknown key": (lambda card: card.update(colour="red"), "colour is no key of it"),
    "another accuracy": (lambda card: card["results"].update({"test/acc": 0.9}), "has another test/acc than card.json"),
    "an accuracy of 98": (lambda card: card["results"].update({"test/acc": 98.0}), "is a share from 0 to 1"),
    "an interpolation": (lambda card: card.update(command="${oc.env:HOME}"), "holds an interpolation"),
    "code for a link": (lambda card: card.update(weights="javascript:alert(1)"), "must be a URL"),
    "a false size": (
        lambda card: card["files"]["README.md"].update(bytes=5),
        "README.md of shared is larger than its card says",
    ),
    "a false hash": (
        lambda card: card["files"]["README.md"].update(sha256="0" * 64),
        "README.md of shared is not what card.json has the hash of",
    ),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_card_that_lies_is_refused_in_a_sentence(shared, program, what):
    change, said = HOSTILE[what]
    recard(shared, change)
    ended = program("pull", "shared")
    assert ended.code == 1 and said in ended.err and ended.err.startswith("error: ") and ended.err.count("\n") == 1
    assert {path.name for path in Path().iterdir()} == {"runs", "shared"}


def config_with(**data):
    def write(folder):
        config = yaml.safe_load((folder / "config.yaml").read_text())
        config["data"] |= data
        (folder / "config.yaml").write_text(yaml.safe_dump(config))

    return write


def described(change):
    def write(folder):
        checkpoint = read_checkpoint(folder / "model.safetensors")
        change(checkpoint[ABOUT])
        state = {name: value.clone() for name, value in checkpoint["state_dict"].items()}
        save_file(state, folder / "model.safetensors", metadata={ABOUT: json.dumps(checkpoint[ABOUT])})

    return write


FILES = {
    "a pickle": (
        lambda folder: shutil.copy(WRITTEN / "digits/best.ckpt", folder / "model.safetensors"),
        "cannot be read",
    ),
    "cut short": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-9]),
        "cannot be read",
    ),
    "no description": (
        lambda folder: save_file({"x": torch.ones(2)}, folder / "model.safetensors"),
        "does not say which network",
    ),
    "an infinite mean": (described(lambda about: about.update(mean=[float("inf")])), "must be finite"),
    "another file": (
        described(lambda about: about["model"].update(pretrained="/etc/passwd")),
        "names files of another",
    ),
    "checkpoints": (described(lambda about: about["method"].update(checkpoints=["/x"])), "names files of another"),
    "places": (config_with(root="/etc"), "names places on another machine"),
    "a cache": (config_with(cache_dir="/root"), "names places on another machine"),
    "a tag of YAML": (
        lambda folder: (folder / "config.yaml").write_text("data: !!python/object/apply:os.system [touch touched]"),
        "config.yaml cannot be read",
    ),
    "a bomb": (
        lambda folder: (folder / "config.yaml").write_text(
            "a: &a [1,1,1,1,1,1,1,1,1,1]\n"
            + "".join(f"{b}: &{b} [{','.join([f'*{a}'] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
        ),
        "holds too much",
    ),
    "no JSON": (lambda folder: (folder / "provenance.json").write_text("{"), "provenance.json cannot be read"),
}


@pytest.mark.parametrize("what", FILES)
def test_files_that_are_none_are_refused_in_a_sentence(shared, program, what):
    change, said = FILES[what]
    change(shared)
    recard(shared)
    ended = program("pull", "shared")
    assert ended.code == 1 and said in ended.err and ended.err.count("\n") == 1, ended.err
    assert {path.name for path in Path().iterdir()} == {"runs", "shared"}


def test_code_that_a_pulled_network_wants_called_is_not(shared):
    described(lambda about: about["model"].update(_target_="os.system"))(shared)
    recard(shared)
    folder = ensembles.pull(shared)
    with pytest.raises(UserError, match=r"wants os\.system to be called"):
        ensembles.load(folder)


def test_a_link_out_of_the_folder_is_not_followed(shared, tmp_path):
    (tmp_path / "secret").write_text((shared / "README.md").read_text())
    (shared / "README.md").unlink()
    (shared / "README.md").symlink_to(tmp_path / "secret")
    with pytest.raises(UserError, match="is no file of this folder"):
        ensembles.pull(shared)


def test_what_cannot_be_pushed(run, program):
    assert "is no finished run's folder" in program("push", "runs", "shared").err
    Path("full").mkdir()
    Path("full/x").touch()
    assert "full holds something else than a run that was shared" in program("push", run, "full").err
    assert Path("full/x").exists()
    for path in run.glob("*.ckpt"):
        path.unlink()
    assert "holds no trained network" in program("push", run, "shared").err


def test_a_runs_folder_is_the_network_that_was_tested(run):
    assert network_file(run) == run / "best.ckpt"
    config = yaml.safe_load((run / "config.yaml").read_text())
    (run / "config.yaml").write_text(yaml.safe_dump({**config, "checkpoint": "last"}))
    assert network_file(run) == run / "last.ckpt"


def test_verify_finds_the_digits_and_says_which_differ(run, shared, server, program):
    for source in (run, shared, f"{server}/shared"):
        ended = program("verify", source)
        assert ended.code == 0 and "The digits agree" in ended.out and "tolerance 0.0001" in ended.out, ended
    for name, change in (("results.json", None), ("card.json", "results")):
        value = json.loads((shared / name).read_text())
        (value[change] if change else value)["test/nll"] += 0.01
        (shared / name).write_text(json.dumps(value))
    recard(shared)
    ended = program("verify", "shared")
    assert ended.code == 1 and "1 results differ, test/nll" in ended.out
    ended = program("verify", "shared", "--json", "--tolerance", "0.1")
    about = json.loads(ended.out)
    assert ended.code == 0 and about["holds"] and about["results"]["test/nll"]["difference"] > 0.004
    ended = program("verify", "shared", "data.val_fraction=2")
    assert ended.code == 1 and "data.val_fraction is 2" in ended.err


def test_verify_a_row_of_a_leaderboard_stamps_it(shared, server, program):
    card = json.loads((shared / "card.json").read_text())
    row = Path("row.json")
    row.write_text(json.dumps(card | {"weights": f"{server}/shared", "files": {}}))
    ended = program("verify", row, "--stamp", "--by", "B. Person")
    assert ended.code == 0, ended
    seen = json.loads(row.read_text())["verified"]
    assert seen["by"] == "B. Person" and seen["tolerance"] == 1e-4 and seen["largest_difference"] <= 1e-4
    row.write_text(json.dumps(card | {"weights": None}))
    assert "does not say where its weights are" in program("verify", row).err


def test_verify_a_row_of_a_file_of_many_runs(run, program):
    results = json.loads((run / "results.json").read_text())
    Path("many").mkdir()
    Path("many/results.json").write_text(json.dumps([{"run": run.name, "seed": 0, "results": results}]))
    assert program("verify", "many", "--row", run.name).code == 0
    ended = program("verify", "many", "--row", "other")
    assert ended.code == 1 and f"many has no other with seed 0: there are {run.name}" in ended.err
    shutil.rmtree(run)
    assert "are not at hand: its run would be in runs/" in program("verify", "many", "--row", run.name).err


def test_verify_a_studys_row(train, program):
    """Its run is found by the study's plan."""
    quick = {"data": "digits", "data.train_size": 60, "recipe.epochs": 1, "data.val_fraction": 0}
    quick |= {"data.corrupted.source": "null", "data.ood_sets": [], "trainer.accelerator": "cpu"}
    rows = {"one": {"name": "one", "experiment": "single", "settings": quick}}
    Path("own").mkdir()
    plan = {"title": "own", "experiments": "wrn16", "rows": rows, "reference": "one"}
    Path("own/study.yaml").write_text(yaml.safe_dump(plan))
    words = [f"{key}={value}" for key, value in quick.items()]
    ended = train("experiment=wrn16/single", *words, "runtime.progress=false", "seed=1")
    assert ended.code == 0, ended.err
    (folder,) = Path("runs").iterdir()
    entry = {"row": "one", "seed": 1, "settings": {}, "results": json.loads((folder / "results.json").read_text())}
    Path("own/runs.json").write_text(json.dumps([entry]))
    ended = program("verify", "own", "--row", "one", "--seed", "1")
    assert ended.code == 0 and "The digits agree" in ended.out, ended


def test_severities_that_agree_are_one_line(capsys):
    stated = {"test/acc": 0.9} | {f"corrupted/fog/{severity}/acc": severity / 10 for severity in range(1, 6)}
    show(Verification(stated, stated | {"corrupted/fog/2/acc": 0.5}, 1e-4))
    printed = capsys.readouterr().out
    assert "<severity>: 4 results" in printed and "corrupted/fog/2/acc" in printed and "fog/3" not in printed
    assert "1 results differ" in printed and "6 results, tolerance" in printed
