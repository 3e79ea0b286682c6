import torch

from train.models.identity_net import IdentityExport, IdentityNet


def network() -> IdentityNet:
    torch.manual_seed(0)
    return IdentityNet((8, 8, 16, 16), (0, 0, 0, 0), size=12, subjects=4, aus=3).eval()


def test_aus_are_read_with_the_rows_of_the_own_subject_only() -> None:
    net = network()
    logits = net.au_logits(torch.randn(2, 12), torch.tensor([1, 3]))
    assert logits.shape == (2, 3)
    logits.sum().backward()  # type: ignore[no-untyped-call]
    assert net.labels.grad is not None
    moved = net.labels.grad.abs().sum(dim=(1, 2)) > 0
    assert moved.tolist() == [False, True, False, True]


def test_an_embedding_is_most_like_the_subject_whose_labels_it_shares() -> None:
    net = network()
    embedding = net.labels.detach().mean(dim=1) * 7
    likeness = net.likeness(embedding)
    assert likeness.argmax(dim=1).tolist() == [0, 1, 2, 3]
    torch.testing.assert_close(likeness.diagonal(), torch.ones(4))


def test_what_leaves_is_of_unit_length() -> None:
    (embedding,) = IdentityExport(network())(torch.randn(5, 3, 112, 112))
    torch.testing.assert_close(embedding.norm(dim=1), torch.ones(5))
