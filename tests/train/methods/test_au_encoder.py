import numpy as np

from train.methods.au_encoder import honest_slopes


def test_a_probability_rises_as_steeply_as_the_faces_tell() -> None:
    rng = np.random.default_rng(0)
    intensity = rng.uniform(0, 3, (20_000, 2)).astype(np.float32)
    wanted = rng.random(intensity.shape) < 1 / (1 + np.exp(-np.array([1.0, 4.0]) * (intensity - 1)))
    known = rng.random(intensity.shape) < 0.9
    wanted[~known] = intensity[~known] < 1  # what is not known may be anything
    assert np.allclose(honest_slopes(intensity, wanted, known), [1, 4], rtol=0.1)
