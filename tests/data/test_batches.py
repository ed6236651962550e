import pytest
import torch
from torchvision.transforms.v2 import functional as F

from ensembles.data.augment import CropFlip
from ensembles.deal import Deal
from ensembles.errors import UserError
from ensembles.rng import generator


def filled(data, batch):
    return data.on_after_batch_transfer(batch, 0)


def pixels(data, x):
    """Undo the normalising: integers again, whatever the leading dimensions."""
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (data.mean, data.std))
    return ((x * std + mean) * 255).round().to(torch.uint8)


def test_a_batch_is_what_its_key_says(one_each, deal):
    data = one_each(augment=CropFlip(2, True))
    data.deal, epoch, step, B = deal, 4, 2, 8
    x, y = filled(data, data.train_dataloader().batch(epoch, step))

    streams = data.deal.shuffles
    orders = [torch.randperm(50, generator=generator(3, "order", epoch, stream)) for stream in range(streams)]
    unique = torch.stack(orders)[:, step * B : (step + 1) * B].flatten()
    drawn = data.augment.draw(streams * B, generator(3, "augment", epoch, step))
    images = data.load()["train"].images.pixels
    seen = []
    for label, (top, left, mirrored) in zip(unique.tolist(), drawn.tolist(), strict=True):
        image = F.crop(F.pad(images[label], [2]), top, left, 6, 6)
        seen.append(F.horizontal_flip(image) if mirrored else image)
    positions = data.deal.positions(B, generator(3, "deal", epoch, step))
    if streams > 1:
        positions = torch.stack([positions + B * stream for stream in range(streams)])
    assert torch.equal(y, unique[positions])
    assert x.dtype == torch.float32
    assert torch.equal(pixels(data, x), torch.stack(seen)[positions])


def test_normalised_images_have_mean_0_and_deviation_1(one_each):
    data = one_each(batch_size=50)
    x, _ = filled(data, data.train_dataloader().batch(0, 0))
    assert torch.allclose(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(x.std((0, 2, 3), correction=0), torch.ones(3), atol=1e-5)


@pytest.mark.parametrize("processes", [2, 4])
def test_the_processes_shares_make_up_the_one_process_batch(one_each, process, deal, processes):
    data = one_each(augment=CropFlip(2, True))
    data.deal = deal
    x, y = filled(data, data.train_dataloader().batch(1, 3))
    shares = []
    for rank in range(processes):
        process(data, rank, processes)
        shares.append(filled(data, data.train_dataloader().batch(1, 3)))
    assert torch.equal(torch.cat([share for _, share in shares], dim=-1), y)
    assert torch.equal(torch.cat([share for share, _ in shares], dim=y.dim() - 1), x)


@pytest.mark.parametrize("processes", [1, 2, 3, 5, 20])
@pytest.mark.parametrize("eval_batch_size", [1, 4, 500])
def test_the_processes_evaluate_each_image_once_and_in_order(one_each, process, processes, eval_batch_size):
    data = one_each(eval_batch_size=eval_batch_size)
    labels, images, lengths = [], [], set()
    for rank in range(processes):
        process(data, rank, processes)
        (loader,) = data.test_dataloader()
        batches = [filled(data, batch) for batch in loader]
        assert len(batches) == len(loader)
        assert all(len(y) <= eval_batch_size for _, y in batches)
        lengths.add(len(batches))
        labels += [y for _, y in batches]
        images += [x for x, _ in batches]
    assert torch.cat(labels).tolist() == list(range(13))
    assert torch.equal(pixels(data, torch.cat(images)), data.load()["test"].images.pixels)
    assert len(lengths) == 1  # a wrapped network communicates in every forward pass


def test_an_epoch_shows_each_image_once_but_for_the_last_partial_batch(one_each):
    data = one_each()
    loader = data.train_dataloader()
    labels = torch.cat([batch.labels for batch in loader])
    assert len(loader) == 6
    assert len(labels) == len(labels.unique()) == 48


def test_a_set_smaller_than_the_batch_is_one_batch(one_each):
    loader = one_each(batch_size=64).train_dataloader()
    assert [len(batch.labels) for batch in loader] == [50]


def test_epochs_and_streams_and_seeds_have_orders_of_their_own(one_each):
    data, other = one_each(), one_each(seed=4)
    data.deal = other.deal = Deal(shuffles=2)
    loader = data.train_dataloader()
    orders = [*loader.orders(0), *loader.orders(1), *other.train_dataloader().orders(0)]
    assert len({tuple(order.tolist()) for order in orders}) == 6


def test_a_step_that_does_not_divide_among_the_processes_is_refused(one_each, process):
    data = one_each()
    process(data, 0, 3)
    with pytest.raises(UserError, match=r"8 examples .* 3 processes.*recipe\.batch_size"):
        next(iter(data.train_dataloader()))


@pytest.mark.filterwarnings("ignore")
def test_lightning_trains_on_the_same_batches_when_it_resumes(one_each, recorded):
    def data():
        return one_each(augment=CropFlip(2, True))

    whole = recorded(data(), "whole", 3)
    recorded(data(), "cut", 1)
    resumed = recorded(data(), "cut", 3, resume=True)
    assert list(whole.seen) == [(epoch, step) for epoch in range(3) for step in range(6)]
    assert list(resumed.seen) == [key for key in whole.seen if key[0] > 0]
    for key, (x, y) in resumed.seen.items():
        assert torch.equal(x, whole.seen[key][0])
        assert torch.equal(y, whole.seen[key][1])
    other = data()
    expected, _ = filled(other, other.train_dataloader().batch(2, 5))
    assert torch.equal(whole.seen[2, 5][0], expected)
    assert torch.cat([y for _, y in whole.tested[0]]).tolist() == list(range(13))
