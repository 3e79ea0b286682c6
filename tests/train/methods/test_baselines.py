"""The contrastive baselines, on made-up batches."""

import torch
from torch.nn.functional import normalize

from train.methods.moco import MoCo, MoCoConfig
from train.methods.simclr import SimCLRConfig
from train.methods.supcon import SupConConfig
from train.models.encoder import EncoderConfig
from train.runs.method import Batch, Setting

AUS = 3
SETTING = Setting(
    encoder=EncoderConfig(backbone="light", channels=8),
    aus=("AU01", "AU02", "AU04"),
    rates=torch.full((AUS,), 0.3),
    subjects=2,
    activities=(),
    expressions=(),
    size=32,
)


def batch(size: int = 4) -> Batch:
    g = torch.Generator().manual_seed(0)
    nothing = torch.full((size,), -1)
    labels = (torch.rand(size, AUS, generator=g) < 0.5).float()
    images = torch.randn(2, size, 3, 32, 32, generator=g)
    known = torch.ones(size, AUS, dtype=torch.bool)
    return Batch(images, labels, known, nothing, nothing, nothing, nothing, nothing)


def test_moco_queues_keys_and_moves_its_momentum_copy() -> None:
    torch.manual_seed(0)
    method = MoCoConfig(momentum=0.9, queue=6, projection=5).build(SETTING)
    assert isinstance(method, MoCo)
    query, key = method.net.query.head[3].weight, method.net.key.net.head[3].weight
    first = method.losses(batch())["info_nce"]
    assert first.item() == 0  # nothing to tell the pair from yet
    with torch.no_grad():
        query += 1
    before = key.clone()
    method.after_step(0, 10)
    torch.testing.assert_close(key, before + 0.1 * (query - before))
    assert not key.requires_grad
    queue = method.net.queue
    assert len(queue.entries) == 4
    torch.testing.assert_close(queue.entries.norm(dim=1), torch.ones(4))
    assert not queue.vectors[4:].any()
    assert method.losses(batch())["info_nce"].item() > 0
    method.after_step(1, 10)
    assert (len(queue.entries), queue.pushed.item()) == (6, 8)  # two of them took the first two places
    torch.testing.assert_close(normalize(queue.vectors, dim=1), queue.vectors)


def test_unsupervised_methods_look_at_no_label() -> None:
    for config in (SimCLRConfig(), SimCLRConfig(beta=1.0, prior=0.1), MoCoConfig()):
        torch.manual_seed(0)
        method, given = config.build(SETTING), batch()
        own = [
            sum(method.losses(given._replace(occurrence=labels)).values())
            for labels in (given.occurrence, given.occurrence * 0)
        ]
        assert own[0] == own[1]
        assert method.features(given.images[0]).shape == (4, 128)


def test_supcon_gives_a_unit_vector_an_au() -> None:
    torch.manual_seed(0)
    method, given = SupConConfig().build(SETTING), batch()
    features = method.features(given.images[0])
    assert features.shape == (4, AUS, 8)
    assert ((features.norm(dim=2) - 1).abs() < 1e-5).logical_or(features.norm(dim=2) == 0).all()
    assert method.losses(given)["supcon"].item() > 0
