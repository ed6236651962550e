"""Small files that unfold to more than any memory holds, or name code where none is looked for, are refused."""

import io
import json
import os
import pickle
import resource
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import ensembles
from ensembles.constructors import require_constructor
from ensembles.data.files.decode import open_rgb
from ensembles.data.files.fingerprint import Column, image_hashes
from ensembles.data.files.listing import image_files, read_columns
from ensembles.data.uci import _numbers
from ensembles.errors import UserError
from ensembles.evaluation import evaluate_again
from ensembles.files import load_json, load_text, open_arrays, parse_json, parse_yaml
from ensembles.renamed import by_present_names
from ensembles.reports.page import small_image
from ensembles.runs import Run, network_file, state
from ensembles.studies.study import Study
from ensembles.sweeps import Sweep
from ensembles.zoo.card import Card
from tests.security.test_files import WRITTEN
from tests.security.variants import rewritten

MEMORY = 2**29  # bytes that refusing a file may take


@pytest.fixture(autouse=True)
def little_memory():
    """Let this process have little more memory than it has, so that what takes more fails and takes nobody else's."""
    before = resource.getrlimit(resource.RLIMIT_DATA)
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    used = int(status["VmData"].split()[0]) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (used + MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_DATA, before)


def unfolding(line: str) -> str:
    """Nine lines, in each of which the one before occurs nine times."""
    lines = ["a0: &a0 {x: 1, y: 2}"]
    for i in range(1, 10):
        lines.append(f"a{i}: &a{i} {line.format(', '.join([f'*a{i - 1}'] * 9))}")
    return "\n".join(lines)


YAMLS = {
    "lists in lists": unfolding("[{}]"),
    "merged": unfolding("{{<<: [{}]}}"),
    "holds itself": "a: &a [*a]",
    "deep": "[" * 3000,
    "an integer": f"seed: {'9' * 5000}",
    "a date": "seed: 2001-99-99",
    "code": "a: !!python/object/apply:os.getcwd []",
}


@pytest.mark.parametrize("name", YAMLS)
def test_yaml(tmp_path, name):
    with pytest.raises(ValueError):
        parse_yaml(YAMLS[name])
    (tmp_path / "study.yaml").write_text(YAMLS[name])
    with pytest.raises(UserError, match=r"study\.yaml cannot be read"):
        Study.of(tmp_path)
    (tmp_path / "config.yaml").write_text(YAMLS[name])
    (tmp_path / "best.ckpt").touch()
    assert network_file(tmp_path).name == "best.ckpt"
    for file in ("results.json", "provenance.json"):
        (tmp_path / file).write_text('{"test/acc": 0.5}')
    assert ensembles.results(tmp_path)["test/acc"].tolist() == [0.5]


def test_json(tmp_path):
    for text in ("[" * 100_000, '{"a":' * 100_000):
        with pytest.raises(ValueError):
            parse_json(text)
        (tmp_path / "index.json").write_text(text)
        with pytest.raises(UserError, match="damaged or old"):
            Sweep.in_folder(tmp_path)
        (tmp_path / "card.json").write_text(text)
        with pytest.raises(UserError, match="cannot be read"):
            Card.load(tmp_path / "card.json")
    assert parse_json("[" + "9" * 4000 + "]") == [float("inf")] and parse_json("[18446744073709551615]") == [2**64 - 1]


@pytest.mark.parametrize("config", [{}, [], {"data": {}, "evaluation": {}, "recipe": {}, "test_on": "best"}])
def test_a_sweep_of_something_else(tmp_path, config):
    index = {"arguments": [], "started_in": str(tmp_path), "runs": [{"varied": {}, "folder": "x", "config": config}]}
    (tmp_path / "index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="damaged or old"):
        Sweep.in_folder(tmp_path)


def test_links_to_devices_and_to_other_files(tmp_path):
    link, secret = tmp_path / "plot.png", tmp_path / "secret"
    secret.write_text("secret")
    os.symlink("/dev/zero", link)
    for load in (load_text, load_json):
        with pytest.raises(ValueError, match="no regular file"):
            load(link)
    with pytest.raises(UserError, match="no regular file"):
        Card.load(link)
    assert small_image(link) == ("png", b"")
    link.unlink()
    os.symlink(secret, link)
    assert small_image(link) == ("png", b"")
    with open(tmp_path / "large", "wb") as file:
        file.truncate(2**40)
    with pytest.raises(ValueError, match="too large"):
        load_text(tmp_path / "large")


def pickled(value: bytes) -> bytes:
    """A checkpoint whose description is what the operations of a pickle make."""
    text = b"\x80\x02}(X\x0a\x00\x00\x00state_dict}X\x09\x00\x00\x00ensembles" + value + b"u."
    sound = (WRITTEN / "digits/best.ckpt").read_bytes()
    return rewritten(sound, lambda part, data: text if part.filename.endswith("data.pkl") else data)


def operations(value: object) -> bytes:
    return pickle.dumps(value, 2)[2:-1]


def doubled() -> bytes:
    found = operations("ab")
    for codec in ("utf-8", *["hex"] * 32):
        found = b"c_codecs\nencode\n" + found + operations(codec) + b"\x86R"
    return found


def copied(name: bytes) -> bytes:
    """A list once, and many copies of it."""
    return (
        b"](" + operations(list(range(300))).replace(b"q\x00", b"q\x64") + name.join([b"", *[b"h\x64\x85R"] * 9]) + b"e"
    )


@pytest.mark.parametrize(
    "value",
    [
        b"cbuiltins\nbytearray\n\x8a\x05" + (2**33).to_bytes(5, "little") + b"\x85R",
        b"ctorch\nTensor\n\x8a\x05" + (2**33).to_bytes(5, "little") + b"\x85R",
        doubled(),
        copied(b"cbuiltins\nset\n"),
        copied(b"ccollections\nCounter\n"),
        copied(b"ccollections\nOrderedDict\n"),
        b"ccollections\nOrderedDict\nq\x65h\x65]\x85R",
    ],
    ids=["bytearray", "Tensor", "encoded", "sets", "counters", "dicts", "a kept dict"],
)
def test_checkpoints(tmp_path, value):
    path = tmp_path / "x.ckpt"
    path.write_bytes(pickled(value))
    with pytest.raises(UserError, match="carries code or is no checkpoint"):
        ensembles.load(path)


def test_a_tensor_with_attributes_in_the_place_of_its_methods(tmp_path):
    checkpoint = torch.load(WRITTEN / "digits/best.ckpt", weights_only=True)
    name, tensor = next(iter(checkpoint["state_dict"].items()))
    tensor = torch.nn.Parameter(tensor)
    tensor.untyped_storage = 3
    checkpoint["state_dict"][name] = tensor
    torch.save(checkpoint, tmp_path / "x.ckpt")
    with pytest.raises(UserError, match="carries code or is no checkpoint"):
        ensembles.load(tmp_path / "x.ckpt")


def headed(kind: str, shape: tuple, data: bytes = b"") -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
    return file.getvalue() + data


def array(value: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, value, allow_pickle=False)
    return file.getvalue()


@pytest.mark.parametrize(
    ("part", "contents"),
    [
        ("sets", headed("<U0", (10**10,))),
        ("sets", headed("|S0", (10**10,))),
        ("sets", array(np.zeros(10**6, "U1"))),
        ("about", array(np.array('{"classes":{},"groups":{},"x":[' + "[]," * 3_000_000 + "1]}"))),
        ("test/logits", headed("<f4", (2, 10**11, 10))),
        ("test/logits", headed("<f4", (2, 10, 10), b"\0" * 100)),
        ("test/logits", b"\x93NUMPY\x09\x00" + b"\0" * 100),
    ],
)
def test_predictions(tmp_path, part, contents):
    shutil.copytree(WRITTEN / "digits", tmp_path / "run")
    path = tmp_path / "run/predictions.npz"
    with zipfile.ZipFile(WRITTEN / "digits/predictions.npz") as old, zipfile.ZipFile(path, "w", 8) as new:
        for name in old.namelist():
            new.writestr(name, contents if name == f"{part}.npy" else old.read(name))
    with pytest.raises(UserError, match=r"predictions\.npz cannot be read"):
        evaluate_again(path.parent, {})


def test_arrays_are_opened(tmp_path):
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros((0, 3)), b=np.array("text"), c=np.ones(3, bool))
    with open_arrays(tmp_path / "x.npz") as file:
        assert file["a"].shape == (0, 3) and file["b"].item() == "text" and file["c"].all()


@pytest.mark.parametrize(
    "keys", [("x[_target_]", "x[self]"), ("corrupted[_target_]", "corrupted[x]"), ("[_target_]", "y")]
)
def test_a_key_that_would_lead_to_another_place(tmp_path, monkeypatch, keys):
    """A config beside a checkpoint gives plain values to its data, under their keys as they are."""
    from ensembles.commands import train

    monkeypatch.chdir(tmp_path)
    shutil.copytree(WRITTEN / "digits", tmp_path / "run")
    config = yaml.safe_load((WRITTEN / "digits/config.yaml").read_text())
    config["data"] |= dict(zip(keys, ("pathlib.Path.touch", str(tmp_path / "touched")), strict=True))
    (tmp_path / "run/config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setattr("sys.argv", ["ensembles train", "train=false", "ckpt_path=run/best.ckpt"])
    with pytest.raises(SystemExit):
        train.main()
    assert not Path("touched").exists()


def test_an_image_that_is_a_program(tmp_path, monkeypatch):
    """Pillow would hand PostScript to Ghostscript, whatever the file is called."""
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/touched\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    path = tmp_path / "cat.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(UserError, match=r"cat\.png is no image"):
        open_rgb(path)
    assert not (tmp_path / "touched").exists()
    path.rename(tmp_path / "cat.eps")
    assert image_files(tmp_path) == []


def test_settings_of_the_command_line_are_loaded():
    """What can be trained is not refused as too large when it is read from its checkpoint."""
    require_constructor({"_target_": "ensembles.methods.DeepEnsemble", "M": 1000}, "methods", ())
    require_constructor({"_target_": "ensembles.methods.Dropout", "samples": 10_000}, "methods", ())


def test_devices_in_the_place_of_data(tmp_path):
    os.symlink("/dev/zero", tmp_path / "data.txt")
    with pytest.raises(UserError, match="no regular file"):
        read_columns(tmp_path / "data.txt", "path")
    with pytest.raises(UserError, match="no regular file"):
        _numbers(tmp_path / "data.txt", 2)
    (tmp_path / "images.csv").write_text("path\ndata.txt\n")
    assert image_hashes({"train": Column(tmp_path / "images.csv", "path")})["train"]["contents"]


@pytest.mark.parametrize("text", ['["\\u001b[31m"]', '["\\u009B31m"]', '["\x9b31m"]'])
def test_orders_to_a_terminal(text):
    for parse in (parse_json, parse_yaml):
        with pytest.raises(ValueError):
            parse(text)
    with pytest.raises(ValueError):
        parse_yaml(r'a: "\e[31m"')


def test_an_error_s_last_line_is_shown_as_text(tmp_path):
    run = Run(by_present_names(yaml.safe_load((WRITTEN / "digits/config.yaml").read_text())), tmp_path)
    (tmp_path / "error.log").write_text("ValueError: \x1b]0;title\x07[/red]\n")
    assert "\x1b" not in state(run) and "[/red]" in state(run)


def test_images_are_not_larger_than_the_network_s(tmp_path, monkeypatch, capsys):
    from ensembles.commands import train

    monkeypatch.chdir(tmp_path)
    shutil.copytree(WRITTEN / "digits", tmp_path / "run")
    config = yaml.safe_load((WRITTEN / "digits/config.yaml").read_text())
    config["data"]["image_size"] = 16_000
    (tmp_path / "run/config.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setattr("sys.argv", ["ensembles train", "train=false", "ckpt_path=run/best.ckpt"])
    with pytest.raises(SystemExit):
        train.main()
    assert "images of another size" in capsys.readouterr().err
