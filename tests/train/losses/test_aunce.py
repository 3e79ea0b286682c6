import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from train.losses.aunce import AUNCELoss

NEAREST, VIEW, MIXTURE = 0, 1, 2


def golden(kind: int, beta_inactive: float = 0.4) -> float:
    """Two images, one AU, worked by hand from the official code."""
    first = torch.tensor([[[1.0, 0.0]], [[0.6, 0.8]]])
    second = torch.tensor([[[0.8, 0.6]], [[0.0, 1.0]]])
    loss = AUNCELoss(positives=(0.2, 0.2, 0.6), self_included=True, centroid=False, beta_inactive=beta_inactive)
    return loss(first, second, torch.tensor([[1], [0]]), torch.ones(2, 1), torch.tensor([kind])).item()


@pytest.mark.parametrize(
    ("kind", "beta_inactive", "expected"),
    [
        (NEAREST, 0.4, 0.580939),
        (MIXTURE, 0.4, 1.032007),
        (VIEW, 0.4, 0.766076),
        (NEAREST, 0.8, 0.672613),
        (MIXTURE, 0.8, 1.175006),
        (VIEW, 0.8, 0.881013),
    ],
)
def test_official_form_gives_the_worked_numbers(kind: int, beta_inactive: float, expected: float) -> None:
    assert golden(kind, beta_inactive) == pytest.approx(expected, abs=1e-6)


def batch(seed: int = 0, size: int = 6, aus: int = 4) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    g = torch.Generator().manual_seed(seed)
    views = torch.rand(2, size, aus, 5, generator=g, dtype=torch.float64)
    label = (torch.rand(size, aus, generator=g) < 0.5).long()
    known = torch.rand(size, aus, generator=g) < 0.8
    label[:2], known[:2] = torch.tensor([[0], [1]]), True  # both values occur
    return views[0], views[1], label, known


def by_loops(first: Tensor, second: Tensor, label: Tensor, known: Tensor, kinds: Tensor, *, paper: bool) -> float:
    """The equations, one sample at a time."""
    tau, size, per_au = 0.5, len(first), []
    for i in range(first.shape[1]):
        f = normalize(torch.cat([first[:, i], second[:, i]]), dim=-1)
        y, k = label[:, i].repeat(2).tolist(), known[:, i].repeat(2).tolist()
        places, losses = [a for a in range(2 * size) if k[a]], []
        for a in places:
            cos = [float(f[a] @ f[b]) for b in range(2 * size)]
            beta = 1.2 if y[a] else 0.4
            negative = sum(math.exp(beta * cos[b] / tau) for b in places if y[b] != y[a])
            same = [b for b in places if y[b] == y[a]]
            view = (a + size) % (2 * size)
            positive = math.exp(cos[view] / tau)
            if kinds[i] == NEAREST:
                nearest = [b for b in same if b not in (a, view)] if paper else same
                positive = math.exp(max(cos[b] for b in nearest) / tau) if nearest else positive
            elif kinds[i] == MIXTURE and paper:
                centroid = normalize(sum((f[b] for b in same if b != a), torch.zeros(5, dtype=f.dtype)), dim=0)
                positive = math.exp(float(f[a] @ centroid) / tau)
            elif kinds[i] == MIXTURE:
                positive = sum(math.exp(cos[b] / tau) for b in same) / (2 * size)
            losses.append(-math.log(positive / (positive + negative)))
        per_au.append(sum(losses) / len(losses))
    return sum(per_au) / len(per_au)


@pytest.mark.parametrize("paper", [False, True])
@pytest.mark.parametrize("kind", [NEAREST, VIEW, MIXTURE])
def test_equals_the_equations_in_plain_loops(paper: bool, kind: int) -> None:
    loss = AUNCELoss.paper() if paper else AUNCELoss.official()
    kinds = torch.full((4,), kind)
    values = batch()
    assert loss(*values, kinds).item() == pytest.approx(by_loops(*values, kinds, paper=paper), rel=1e-6)


@pytest.mark.parametrize(("active", "beta"), [(1, 1.2), (0, 0.4)])
def test_beta_is_the_ratio_of_negative_to_positive_gradient(active: int, beta: float) -> None:
    u = torch.tensor([0.7, 0.2, 0.4], dtype=torch.float64, requires_grad=True)  # positive, two negatives
    loss = torch.logaddexp(u[0] / 0.5, (beta * u[1:] / 0.5).logsumexp(0)) - u[0] / 0.5
    (grad,) = torch.autograd.grad(loss, u)
    assert (grad[1:].sum() / -grad[0]).item() == pytest.approx(beta)
    taken = AUNCELoss.official()._beta(torch.tensor([[bool(active)]]), None)
    assert taken.item() == pytest.approx(beta)


def test_the_order_of_the_samples_does_not_matter() -> None:
    first, second, label, known = batch()
    order = torch.randperm(6)
    kinds = torch.tensor([0, 1, 2, 2])
    loss = AUNCELoss.paper()
    shuffled = loss(first[order], second[order], label[order], known[order], kinds)
    assert shuffled.item() == pytest.approx(loss(first, second, label, known, kinds).item())


@pytest.mark.parametrize("loss", [AUNCELoss.paper(), AUNCELoss.official()])
def test_unknown_labels_and_single_label_aus_give_no_gradient(loss: AUNCELoss) -> None:
    first, second, label, known = batch()
    label[:, 0] = 1  # one value only
    known[:, 1] = False
    known[3, 2] = False
    first.requires_grad_(True)
    loss(first, second, label, known, torch.tensor([0, 1, 2, 0])).backward()
    assert first.grad is not None
    assert torch.isfinite(first.grad).all()
    assert not first.grad[:, :2].any()
    assert not first.grad[3, 2].any()
    assert first.grad[:, 2:].any()


def test_beta_by_class_rate_follows_the_rarer_class() -> None:
    loss = AUNCELoss(positives=(0, 1, 0), self_included=False, centroid=True, beta_by="anchor_class_rate")
    label = torch.tensor([[True, False], [True, False]])
    beta = loss._beta(label, torch.tensor([0.2, 0.8]))
    assert beta.tolist() == [[pytest.approx(1.2), pytest.approx(0.4)], [pytest.approx(0.4), pytest.approx(1.2)]]


def test_hcl_weights_hold_the_gradient_ratio_at_one() -> None:
    loss = AUNCELoss(positives=(0, 1, 0), self_included=False, centroid=True, hcl_weights=True)
    values = batch()
    assert torch.isfinite(loss(*values, torch.ones(4, dtype=torch.long)))


def test_kinds_are_drawn_with_the_given_probabilities() -> None:
    kinds = AUNCELoss.paper().draw(20_000, torch.Generator().manual_seed(0))
    shares = torch.bincount(kinds, minlength=3) / 20_000
    assert shares.tolist() == pytest.approx([0.15, 0.15, 0.7], abs=0.02)


def test_the_least_similar_positive_is_the_ablation_of_table_viii() -> None:
    first, second, label, known = batch()
    loss = AUNCELoss.paper(positives=(0, 0, 0, 1))
    assert set(loss.draw(8).tolist()) == {3}
    kinds = {kind: loss(first, second, label, known, torch.full((4,), kind)).item() for kind in (NEAREST, 3)}
    assert kinds[3] > kinds[NEAREST]


def test_probabilities_of_the_kinds_must_sum_to_one() -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        AUNCELoss.official(positives=(0.5, 0.5, 0.5))


def test_rare_aus_make_collapse_cheaper_than_features_that_know_no_label() -> None:
    """A property of the loss that docs/benchmarks_train.md explains its figures by, not a wish."""
    torch.manual_seed(0)
    batch, channels = 64, 256
    occurrence = torch.zeros(batch, 4)
    occurrence[:9] = 1  # DISFA's rates with one label in ten wrong
    known = torch.ones_like(occurrence)
    constant = torch.ones(batch, 4, channels)
    blind = torch.randn(batch, 4, channels)
    knowing = torch.zeros(batch, 4, channels)
    knowing[..., 0], knowing[..., 1] = occurrence, 1 - occurrence
    loss = AUNCELoss.official()

    def mean_over_kinds(views: Tensor) -> float:
        values = [loss(views, views, occurrence, known, torch.full((4,), kind)).item() for kind in (0, 1, 2)]
        return float(torch.tensor(values) @ loss.positives)

    assert mean_over_kinds(knowing) < mean_over_kinds(constant) < mean_over_kinds(blind)
