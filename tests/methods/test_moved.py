"""Names of the room that ensembles' modules were in before."""

import pytest
import torch

from ensembles.backbones import small_cnn


def test_old_names_are_found_and_say_where_they_are_now():
    import ensembles.members as old

    with pytest.warns(
        DeprecationWarning, match=r"ensembles\.members\.Separate is ensembles\.methods\.base\.Separate now"
    ):
        from ensembles.members import Separate
    assert len(old._MOVED) == 18
    for name in old._MOVED:
        with pytest.warns(DeprecationWarning, match=name):
            assert callable(getattr(old, name))
    assert Separate([small_cnn(10), small_cnn(10)], (3, 32, 32))(torch.zeros(1, 3, 32, 32)).shape == (2, 1, 10)
    with pytest.raises(AttributeError, match="has no attribute 'folded'"):
        old.folded  # noqa: B018
