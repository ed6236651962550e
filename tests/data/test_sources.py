import io
import pickle

import numpy as np
import pytest
import torch

from ensembles.data.sources import ImageArray, map_array
from ensembles.errors import UserError

IMAGES = np.random.default_rng(0).integers(0, 256, (20, 5, 4, 3), dtype=np.uint8)


def as_file(array, **settings):
    content = io.BytesIO()
    np.save(content, array, **settings)
    return content.getvalue()


def test_batches_are_read_as_they_are_asked_for(tmp_path):
    (tmp_path / "fog.npy").write_bytes(as_file(IMAGES))
    array = map_array(tmp_path / "fog.npy", (20, 5, None, 3))
    assert isinstance(array, np.memmap)
    index = torch.tensor([3, 17, 3, 0])
    assert torch.equal(ImageArray(array).gather(index), torch.from_numpy(IMAGES[index].transpose(0, 3, 1, 2)))
    assert ImageArray(array).gather(index[:0]).shape == (0, 3, 5, 4)


class Hostile:
    def __reduce__(self):
        return (print, ("hostile code ran",))


def archived():
    content = io.BytesIO()
    np.savez(content, fog=IMAGES)
    return content.getvalue()


@pytest.mark.parametrize(
    "content, message",
    [
        (None, r"There is no .*fog\.npy: put the official file there"),
        (b"", r"truncated or damaged"),
        (as_file(IMAGES)[:40], r"truncated or damaged|pickled or no array"),
        (as_file(IMAGES)[:-1], r"truncated or damaged"),
        (b"no array at all, but long enough to be one", r"pickled or no array"),
        (pickle.dumps(Hostile()), r"pickled or no array"),
        (as_file(np.array([Hostile()], dtype=object), allow_pickle=True), r"pickled or no array"),
        (
            as_file(IMAGES[:, :, :, :2]),
            r"holds uint8 \(20, 5, 4, 2\), but must hold uint8 of shape \(20, 5, 'any', 3\)",
        ),
        (as_file(IMAGES[:19]), r"\(19, 5, 4, 3\)"),
        (as_file(IMAGES[0]), r"\(5, 4, 3\)"),
        (as_file(IMAGES.astype(np.float32)), r"holds float32"),
        (archived(), r"holds NpzFile"),
    ],
)
def test_a_file_that_cannot_work_is_named_and_nothing_in_it_is_run(tmp_path, capsys, content, message):
    path = tmp_path / "fog.npy"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        map_array(path, (20, 5, None, 3))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert "hostile" not in capsys.readouterr().out


def test_labels_are_integers_of_any_kind(tmp_path):
    for kind in (np.uint8, np.int64):
        (tmp_path / "labels.npy").write_bytes(as_file(np.arange(6, dtype=kind)))
        assert map_array(tmp_path / "labels.npy", (None,), integers=True).tolist() == [0, 1, 2, 3, 4, 5]
    (tmp_path / "labels.npy").write_bytes(as_file(np.arange(6.0)))
    with pytest.raises(UserError, match="must hold integers"):
        map_array(tmp_path / "labels.npy", (None,), integers=True)
