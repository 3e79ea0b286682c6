"""Batches on their way through lanes, with the CPU in the place of the GPU."""

import gc
import weakref
from collections.abc import Callable

import av
import msgspec
import numpy as np
import pytest
import torch

from rtau.align import region
from rtau.crop import View
from rtau.engines import Arrays
from rtau.engines.cuda import CudaModel
from rtau.errors import LostDeviceError
from rtau.gpu.lane import Lane, Network
from rtau.gpu.network import GPUNetwork, batches
from rtau.gpu.views import Packed, bucket_of
from rtau.models import Role, load_artifact
from rtau.networks import CPUNetwork
from rtau.structures import Picture, grey_picture
from tests.rtau import film
from tests.rtau.gpu.host import HostDevice

CARD = load_artifact("default", "landmarks").card


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def face_picture(width: int = 480, height: int = 360) -> Picture:
    """The photograph as a decoder gives it."""
    rgb = film.picture((width, height), [(width / 2, height / 2, 110.0, 8.0)])
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p")
    planes = [np.asarray(frame.planes[i]).reshape(frame.planes[i].height, -1) for i in range(3)]
    format = grey_picture().format
    return Picture(msgspec.structs.replace(format, stored_width=width, stored_height=height), *planes)  # type: ignore[arg-type]


def numbers(count: int) -> np.ndarray:
    return np.arange(count, dtype=np.float32)[:, None]


def looks(count: int, side: int, seed: int = 0) -> np.ndarray:
    if count == 0:
        return np.empty((0, 2, 3))
    rng = np.random.default_rng(seed)
    return np.stack(
        [
            region(np.array([240, 180]) + rng.uniform(-8, 8, 2), rng.uniform(130, 170), rng.normal() / 10, side)
            for _ in range(count)
        ]
    )


def on_host(role: Role, max_batch: int) -> tuple[GPUNetwork, CPUNetwork, HostDevice]:
    artifact, device = load_artifact("default", role), HostDevice()
    model = CudaModel(artifact, device.place, half=False)  # CPUs are slow in float16
    lanes = [Lane(device, model, max_batch) for _ in range(2)]
    return GPUNetwork(artifact.card, lanes, max_batch), CPUNetwork(artifact, max_batch), device


class Means:
    """The quickest of networks: the mean of each channel, and how much the points add up to."""

    def at(self, shapes: dict[str, tuple[int, ...]]) -> Network:
        return lambda inputs: {"mean": inputs["image"].float().mean((2, 3)), "sum": inputs["number"].sum(1)}


def means(max_batch: int) -> tuple[GPUNetwork, HostDevice]:
    device = HostDevice()
    return GPUNetwork(CARD, [Lane(device, Means(), max_batch) for _ in range(2)], max_batch), device


def close(ours: Arrays, theirs: Arrays, limits: dict[str, float]) -> None:
    assert set(ours) == set(theirs)
    for name, limit in limits.items():
        assert ours[name].shape == theirs[name].shape
        assert np.abs(ours[name] - theirs[name]).max() < limit, name


def test_landmarks_are_those_of_the_cpu() -> None:
    gpu, cpu, device = on_host("landmarks", 4)
    picture, other = face_picture(), face_picture(640, 360)
    views = [View(picture, looks(2, 128)), View(other, looks(3, 128, seed=1)), View(picture, looks(1, 128))]
    close(gpu.faces(views), cpu.faces(views), {"landmarks": 0.3, "presence": 1e-2, "pose": 0.3})
    assert (device.recorded, device.launched) == (2, 2)  # batches of 4 and 2, one launch each


def test_aus_are_those_of_the_cpu_with_points_beside_the_crops() -> None:
    gpu, cpu, _ = on_host("au", 2)
    views = [View(face_picture(), looks(3, gpu.card.input_size))]
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (3, 478, 2)).astype(np.float32)
    limits = {"occurrence": 0.02, "intensity": 0.05, "left": 0.05, "right": 0.05}
    close(gpu.faces(views, points=points), cpu.faces(views, points=points), limits)


def test_the_detector_sees_the_whole_picture() -> None:
    gpu, cpu, device = on_host("detector", 1)
    picture = face_picture()
    for size, canvas in (((320, 240), (320, 256)), ((160, 120), (160, 128)), ((320, 240), (320, 256))):
        ours, theirs = gpu.picture(picture, size, canvas), cpu.picture(picture, size, canvas)
        np.testing.assert_allclose(ours["score"], theirs["score"], atol=0.05)
        seen = theirs["score"] > 0.5
        assert seen.any()
        wrong = np.abs(ours["box"] - theirs["box"])[:, :, seen[0]]
        assert wrong.max() < 2
    assert (device.recorded, device.launched) == (2, 3)  # a graph a canvas


def test_results_do_not_depend_on_what_went_before() -> None:
    """Buffers and graphs are used again, for more and for less, and grow."""
    network, device = means(4)
    small, large = grey_picture(64), face_picture(1280, 960)
    wide = looks(3, 128)
    wide[:, :, :2] *= 9  # more bytes than a lane begins with
    asked = [View(large, wide), View(small, looks(1, 128)), View(large, looks(4, 128)), View(small, looks(2, 128))]
    once = [network.faces([view], number=numbers(len(view.transforms))) for view in asked]
    assert once[0]["mean"].std() > 0.01
    recorded = device.recorded
    for view, before in zip(reversed(asked), reversed(once), strict=True):
        again = network.faces([view], number=numbers(len(view.transforms)))
        assert (again["sum"] == numbers(len(view.transforms))[:, 0]).all()
        np.testing.assert_array_equal(again["mean"], before["mean"])
    assert device.recorded == recorded


class Logged:
    """A lane that says what happens to it. Its result is the number of crops so far."""

    def __init__(self, name: str, log: list[str], fail: Callable[[Packed], bool] = lambda packed: False) -> None:
        self.name, self.log, self._fail = name, log, fail

    def start(self, packed: Packed, size: tuple[int, int], others: Arrays) -> None:
        if self._fail(packed):
            raise RuntimeError("out of memory")
        self.log.append(f"start {self.name}")
        self._rows = {"image": others["number"]}

    def finish(self) -> Arrays:
        self.log.append(f"finish {self.name}")
        return self._rows


def test_two_batches_are_under_way_and_results_keep_their_order() -> None:
    log: list[str] = []
    network = GPUNetwork(CARD, [Logged("a", log), Logged("b", log)], 4)
    out = network.faces([View(grey_picture(), looks(9, 128)), View(grey_picture(), looks(5, 128))], number=numbers(14))
    np.testing.assert_array_equal(out["image"], numbers(14))
    assert log == ["start a", "start b", "finish a", "start a", "finish b", "start b", "finish a", "finish b"]


def test_after_an_error_nothing_is_under_way_any_more() -> None:
    log: list[str] = []
    lanes = [Logged("a", log), Logged("b", log, fail=lambda packed: True)]
    with pytest.raises(RuntimeError, match="out of memory"):
        GPUNetwork(CARD, lanes, 4).faces([View(grey_picture(), looks(6, 128))], number=numbers(6))
    assert log == ["start a", "finish a"]


def test_a_network_that_nobody_needs_any_more_is_gone_at_once() -> None:
    lane = Lane(HostDevice(), Means(), 2)
    GPUNetwork(CARD, [lane], 2).faces([View(grey_picture(), looks(2, 128))], number=numbers(2))
    gone = weakref.ref(lane)
    gc.disable()
    try:
        del lane
        assert gone() is None
    finally:
        gc.enable()


def test_a_device_that_fails_for_good_is_named_with_the_cure() -> None:
    device = HostDevice(fails_at=3)
    network = GPUNetwork(CARD, [Lane(device, Means(), 4) for _ in range(2)], 4)
    view = View(grey_picture(), looks(9, 128))  # three batches: the last one fails while another is under way
    with pytest.raises(LostDeviceError) as error:
        network.faces([view], number=numbers(9))
    assert str(error.value).startswith(
        "NVIDIA Host (cuda:0) failed (CUDA error: an illegal memory access was encountered) and can be used again by"
    )
    assert "use --device cpu" in str(error.value)
    assert "\n" not in str(error.value)


def test_an_error_that_the_device_recovers_from_costs_its_batches_only() -> None:
    device = HostDevice(fails_at=2, recovers=True)
    network = GPUNetwork(CARD, [Lane(device, Means(), 4) for _ in range(2)], 4)
    view = View(grey_picture(), looks(7, 128))
    with pytest.raises(RuntimeError, match="illegal memory access"):  # as it was said, out of memory for instance
        network.faces([view], number=numbers(7))
    assert (network.faces([view], number=numbers(7))["sum"] == numbers(7)[:, 0]).all()


def test_after_a_recording_that_failed_all_graphs_of_its_lane_are_recorded_again() -> None:
    """They compute in memory that PyTorch frees with the one that failed."""

    class SmallDevice(HostDevice):
        full = False

        def record(self, work: Callable[[], torch.Tensor], stream: object) -> object:  # type: ignore[override]
            if self.full:
                raise RuntimeError("CUDA out of memory")
            return super().record(work, stream)  # type: ignore[arg-type]

    device = SmallDevice()
    network = GPUNetwork(CARD, [Lane(device, Means(), 4) for _ in range(2)], 4)
    one, all = View(grey_picture(), looks(1, 128)), View(grey_picture(), looks(4, 128))
    network.faces([one], number=numbers(1))
    device.full = True
    with pytest.raises(RuntimeError, match="out of memory"):
        network.faces([all], number=numbers(4))
    device.full = False
    network.faces([one], number=numbers(1))
    assert (device.recorded, device.launched) == (2, 2)


def test_every_lane_is_warmed_up_for_every_batch_size() -> None:
    network, device = means(4)
    for count in network.sizes:
        network.faces([View(grey_picture(), looks(count, 128))], number=numbers(count))
    assert device.recorded == 6  # 1, 2 and 4 on two lanes
    for count in range(1, 13):
        network.faces([View(grey_picture(), looks(count, 128))], number=numbers(count))
    assert device.recorded == 6


@pytest.mark.parametrize(("count", "bucket"), [(1, 1), (2, 2), (3, 4), (5, 8), (17, 24), (24, 24)])
def test_buckets_are_powers_of_two_up_to_the_largest_batch(count: int, bucket: int) -> None:
    assert bucket_of(count, 24) == bucket


def test_batches_cut_views_where_they_are_full() -> None:
    views = [View(grey_picture(), looks(count, 128)) for count in (3, 1, 0, 5)]
    cut = [[len(view.transforms) for view in batch] for batch in batches(views, 4)]
    assert cut == [[3, 1], [4], [1]]
