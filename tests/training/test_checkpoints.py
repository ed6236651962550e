"""Checkpoints that were damaged on the disk are recognised, wherever the damage is."""

import random

import pytest
import torch

from ensembles.checkpoints import ABOUT, read_checkpoint
from ensembles.errors import UserError


@pytest.fixture
def whole(tmp_path):
    contents = {"state_dict": {f"layer{n}": torch.randn(40, 30) for n in range(3)}, ABOUT: {"format": 2}, "epoch": 1}
    torch.save(contents, tmp_path / "whole.ckpt")
    return tmp_path / "whole.ckpt", contents["state_dict"]


@pytest.mark.parametrize("kind", ["cut", "overwritten", "bit", "zeros at the end", "grown"])
def test_damage_is_seen_or_does_no_harm(whole, kind):
    path, weights = whole
    before, chance, seen = path.read_bytes(), random.Random(kind), 0
    for _ in range(60):
        data, place = bytearray(before), chance.randrange(len(before) - 64)
        if kind == "cut":
            data = data[:place]
        elif kind == "overwritten":
            data[place : place + 64] = chance.randbytes(64)
        elif kind == "bit":
            data[place] ^= 1 << chance.randrange(8)
        elif kind == "zeros at the end":
            data[place:] = bytes(len(data) - place)
        else:
            data[place:place] = chance.randbytes(100)
        path.write_bytes(data)
        try:
            found = read_checkpoint(path)["state_dict"]
        except UserError as error:
            assert str(path) in str(error)
            seen += 1
        else:
            assert found.keys() == weights.keys() and all(torch.equal(found[key], weights[key]) for key in weights)
    assert seen > 40
