import torch

from train.models.dictionary import NOBODY, Dictionary


def entries(first: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    numbers = torch.arange(first, first + count)
    return numbers[:, None].float().repeat(1, 2), numbers


def test_the_oldest_give_way_and_owners_stay_with_their_vectors() -> None:
    dictionary = Dictionary(5, 2)
    assert dictionary.owners.tolist() == [NOBODY] * 5
    dictionary.push(*entries(0, 3))
    assert not dictionary.full
    assert dictionary.entries[:, 0].tolist() == [0, 1, 2]
    assert dictionary.owners.tolist() == [0, 1, 2, NOBODY, NOBODY]
    dictionary.push(*entries(3, 4))  # around the end
    assert dictionary.full
    assert len(dictionary.entries) == 5
    assert dictionary.owners.tolist() == [5, 6, 2, 3, 4]
    assert dictionary.vectors[:, 0].tolist() == [5, 6, 2, 3, 4]


def test_of_more_than_fit_the_last_stay() -> None:
    dictionary = Dictionary(5, 2)
    dictionary.push(*entries(0, 2))
    dictionary.push(*entries(2, 12))
    assert sorted(dictionary.owners.tolist()) == [9, 10, 11, 12, 13]
    dictionary.push(*entries(14, 1))
    assert sorted(dictionary.owners.tolist()) == [10, 11, 12, 13, 14]


def test_it_goes_on_after_a_restart_where_it_stood() -> None:
    first, second = Dictionary(5, 2), Dictionary(5, 2)
    first.push(*entries(0, 7))
    second.load_state_dict(first.state_dict())
    for dictionary in (first, second):
        dictionary.push(*entries(7, 2))
    torch.testing.assert_close(first.vectors, second.vectors)
    assert first.owners.tolist() == second.owners.tolist() == [5, 6, 7, 8, 4]
