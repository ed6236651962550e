"""Methods on families of backbones: a sample of docs/backbones.md, and all of it behind the marker ``matrix``."""

import importlib.util
from pathlib import Path

import pytest

from ensembles.backbones import timm_model

spec = importlib.util.spec_from_file_location("backbones", Path(__file__).parents[1] / "scripts" / "backbones.py")
matrix = importlib.util.module_from_spec(spec)
spec.loader.exec_module(matrix)

SAMPLE = [
    ("packed", "timm/beit"),
    ("packed", "timm/swin_transformer"),
    ("mimo", "timm/crossvit"),
    ("naive_multihead", "timm/levit"),
    ("batch_ensemble", "timm/deit"),
    ("masksembles", "timm/xcit"),
    ("mixture", "timm/convit"),
    ("treenet", "timm/mobilenetv3"),
]
FAMILIES = matrix.families()


@pytest.mark.parametrize(("method", "family"), SAMPLE)
def test_sample(method, family):
    assert matrix.attempt(method, *matrix.build(family, FAMILIES[family])) == ""


@pytest.mark.matrix
@pytest.mark.parametrize("method", matrix.METHODS)
@pytest.mark.parametrize("family", FAMILIES)
def test_family_by_method(method, family):
    """As committed, refusals included."""
    wanted = matrix.kept()[family][method]
    try:
        found = matrix.attempt(method, *matrix.build(family, FAMILIES[family]))
    except matrix.UserError as error:
        found = f"refused: {error}"
    assert found == wanted


def test_the_page_is_of_the_results():
    assert matrix.TABLE.read_text() == matrix.table(matrix.kept())


def test_members_that_share_numbers_do_not_pass():
    class Shared(matrix.METHODS["deep_ensemble"]):
        def __init__(self, backbone, input_shape):
            super().__init__(backbone, input_shape, M=2)
            first, other = self.ensemble.networks
            other.conv1 = first.conv1

    matrix.METHODS["shared"] = Shared
    with pytest.raises(AssertionError, match="has members that share numbers"):
        matrix.attempt("shared", timm_model("resnet10t", 10, kwargs={"layers": [1, 1, 1, 1]}), (3, 32, 32))
    del matrix.METHODS["shared"]


def test_packed_of_another_size_is_noted():
    network = timm_model("vit_tiny_patch16_224", 10, kwargs={"depth": 1})
    ensemble = matrix.METHODS["packed"](network, (3, 32, 32), alpha=1)
    assert "of the parameters expected" in matrix.size_note(ensemble, network, (3, 32, 32))
