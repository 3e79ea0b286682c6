import numpy as np
import pytest
import torch

from train.methods.identity import recognition, same_person


def test_same_person_is_nt_xent() -> None:
    torch.manual_seed(0)
    z = torch.randn(6, 4, dtype=torch.float64)
    unit = z / z.norm(dim=1, keepdim=True)
    expected = 0.0
    for a in range(6):
        partner = a + 1 if a % 2 == 0 else a - 1
        near = torch.exp(unit[a] @ unit[partner] / 0.2)
        every = sum(torch.exp(unit[a] @ unit[b] / 0.2) for b in range(6) if b != a)
        expected += float(-torch.log(near / every)) / 6
    assert float(same_person(z, 0.2)) == pytest.approx(expected)


def test_recognition_of_separate_people_is_perfect() -> None:
    person = np.repeat(np.arange(4), 3)
    found = recognition(np.eye(4, dtype=np.float32)[person], person)
    assert found == {"rank1": 1.0, "eer": 0.0}


def test_recognition_of_noise_is_chance() -> None:
    rng = np.random.default_rng(0)
    embeddings = rng.standard_normal((300, 16)).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    found = recognition(embeddings, np.repeat(np.arange(100), 3))
    assert found["rank1"] < 0.1
    assert found["eer"] == pytest.approx(0.5, abs=0.06)
