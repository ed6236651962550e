import pytest
import torch

from ensembles.data.augment import CropFlip
from ensembles.data.mixing import Mix, MixDraw, partners
from ensembles.errors import UserError
from ensembles.rng import generator


def filled(data, batch):
    return data.on_after_batch_transfer(batch, 0)


def draws(mix, number=2000):
    return [mix.draw(torch.Generator().manual_seed(seed)) for seed in range(number)]


def test_mixup_is_a_weighted_mean_of_images_and_labels():
    x, other = torch.rand(3, 2, 5, 5), torch.rand(3, 2, 5, 5)
    mix, drawn = Mix(), MixDraw(own=0.7, side=0.0, down=0.5, across=0.5)
    assert torch.allclose(mix(x, other, drawn), 0.7 * x + 0.3 * other)
    labels = mix.labels(x, torch.tensor([0, 1, 2]), torch.tensor([1, 1, 0]), drawn, 4)
    expected = torch.tensor([[0.7, 0.3, 0, 0], [0, 1, 0, 0], [0.3, 0, 0.7, 0]])
    assert torch.allclose(labels, expected)


@pytest.mark.parametrize(
    "down, across, box", [(0.5, 0.5, (2, 6, 3, 7)), (0.0, 0.99, (0, 2, 7, 10)), (0.99, 0.2, (5, 8, 0, 4))]
)
def test_cutmix_pastes_a_box_and_weighs_the_labels_by_its_area(down, across, box):
    x, other = torch.zeros(2, 3, 8, 10), torch.ones(2, 3, 8, 10)
    drawn = MixDraw(own=1.0, side=0.5, down=down, across=across)
    top, bottom, left, right = box
    expected = x.clone()
    expected[..., top:bottom, left:right] = 1
    got = Mix()(x, other, drawn)
    assert torch.equal(got, expected)
    labels = Mix().labels(x, torch.tensor([0, 1]), torch.tensor([1, 1]), drawn, 2)
    assert torch.allclose(labels[0, 1], got[0].mean()) and torch.allclose(labels.sum(1), torch.ones(2))


def test_strengths_are_beta_distributed_and_both_kinds_as_often_as_asked_for():
    weights = torch.tensor([drawn.own for drawn in draws(Mix(mixup=0.4, cutmix=0))])
    assert abs(weights.mean() - 0.5) < 0.03
    assert abs(weights.var() - 1 / (4 * (2 * 0.4 + 1))) < 0.01  # of Beta(a, a): 1 / (4 (2a + 1))
    areas = torch.tensor([drawn.side**2 for drawn in draws(Mix(mixup=0, cutmix=1))])
    assert abs(areas.mean() - 0.5) < 0.03 and abs(areas.var() - 1 / 12) < 0.01
    kinds = torch.tensor([drawn.side > 0 for drawn in draws(Mix(switch=0.3))]).double()
    assert abs(kinds.mean() - 0.3) < 0.04


def test_neighbours_are_partners_within_their_stream():
    assert partners(4, 1).tolist() == [1, 0, 3, 2]
    assert partners(5, 2).tolist() == [1, 0, 3, 2, 4, 6, 5, 8, 7, 9]


def test_a_batch_is_what_its_key_says(one_each, deal):
    data = one_each(augment=CropFlip(2, True), mix=Mix(mixup=0.8, cutmix=0))
    data.deal, epoch, step, B = deal, 4, 2, 8
    x, y = filled(data, data.train_dataloader().batch(epoch, step))

    streams = data.deal.shuffles
    orders = [torch.randperm(50, generator=generator(3, "order", epoch, stream)) for stream in range(streams)]
    unique = torch.stack(orders)[:, step * B : (step + 1) * B]
    drawn = data.augment.draw(streams * B, generator(3, "augment", epoch, step))
    images = data.normalise(data.augment(data.load()["train"].images.pixels[unique.flatten()], drawn)).view(
        streams, B, 3, 6, 6
    )
    own = data.mix.draw(generator(3, "mix", epoch, step)).own
    swapped = [1, 0, 3, 2, 5, 4, 7, 6]
    mixed = (own * images + (1 - own) * images[:, swapped]).flatten(0, 1)
    probabilities = torch.nn.functional.one_hot(unique, 50).float()
    probabilities = (own * probabilities + (1 - own) * probabilities[:, swapped]).flatten(0, 1)
    positions = data.deal.positions(B, generator(3, "deal", epoch, step))
    if streams > 1:
        positions = torch.stack([positions + B * stream for stream in range(streams)])
    assert y.shape == (*positions.shape, 50)
    assert torch.allclose(y, probabilities[positions])
    assert torch.allclose(x, mixed[positions], atol=1e-5)


@pytest.mark.parametrize("batch_size, processes", [(8, 2), (8, 4), (6, 2)])
def test_the_processes_shares_make_up_the_one_process_batch(one_each, process, deal, batch_size, processes):
    """With six examples and two processes, neighbours are in different processes."""
    data = one_each(augment=CropFlip(2, True), mix=Mix(), batch_size=batch_size)
    data.deal = deal
    for step in range(3):
        process(data, 0, 1)
        x, y = filled(data, data.train_dataloader().batch(1, step))
        shares = []
        for rank in range(processes):
            process(data, rank, processes)
            shares.append(filled(data, data.train_dataloader().batch(1, step)))
        assert torch.equal(torch.cat([share for _, share in shares], dim=-2), y)
        assert torch.equal(torch.cat([share for share, _ in shares], dim=x.dim() - 4), x)


def test_evaluation_is_not_mixed(one_each):
    data = one_each(mix=Mix())
    (loader,) = data.test_dataloader()
    assert torch.cat([filled(data, batch)[1] for batch in loader]).tolist() == list(range(13))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"mixup": -0.1}, r"data\.mix\.mixup is -0\.1"),
        ({"cutmix": "1"}, r"data\.mix\.cutmix is '1'"),
        ({"switch": 1.5}, r"data\.mix\.switch is 1\.5, but must be a number from 0 to 1"),
        ({"mixup": 0, "cutmix": 0}, r"set data\.mix=null"),
    ],
)
def test_a_setting_that_cannot_work_is_named(settings, message):
    with pytest.raises(UserError, match=message):
        Mix(**settings)
