"""What only a GPU can show; `make test-gpu`. Needs neither OpenVINO nor PyAV, but where a test says so."""

import os
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from rtau.align import region
from rtau.config import AUConfig, FacesConfig, PipelineConfig
from rtau.crop import View, crop, shrink
from rtau.engines import Arrays, choose, probe
from rtau.engines.cuda import CudaModel
from rtau.engines.onnx_torch import OnnxNet
from rtau.gpu.lane import Lane, Network, Tensors
from rtau.gpu.network import GPUNetwork
from rtau.models import Role, load_artifact
from rtau.structures import Frame, Picture, PictureFormat
from tests.rtau.gpu.test_kernel import NORM, SIZE, same, some_regions
from tests.rtau.test_crop import SUBSAMPLING, picture

WHY = probe.missing_for_cuda() if probe.gpus() else "no NVIDIA GPU with its driver here"
pytestmark = [pytest.mark.needs_gpu, pytest.mark.skipif(bool(WHY), reason=WHY)]

MAX_BATCH = 8
LIMITS: dict[str, dict[str, float]] = {  # what float16 convolutions and TF32 may cost
    "landmarks": {"landmarks": 0.5, "presence": 0.02, "pose": 0.5},
    "au": {"occurrence": 0.02, "intensity": 0.05, "left": 0.05, "right": 0.05},
}
without_pyav = pytest.mark.skipif(
    find_spec("av") is None or find_spec("openvino") is None, reason="PyAV and OpenVINO are not installed"
)


def device() -> Any:
    from rtau.gpu.device import cuda_device

    return cuda_device(0)


def face_picture(width: int = 1280, height: int = 720) -> Picture:
    """A real face in the middle, as a decoder would give it."""
    from skimage import data

    rgb = np.full((height, width, 3), 110, np.uint8)
    face = data.astronaut()[0:300, 80:380]
    top, left = (height - 300) // 2, (width - 300) // 2
    rgb[top : top + 300, left : left + 300] = face
    planes = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).reshape(-1)
    y, u, v = np.split(planes, [width * height, width * height * 5 // 4])
    format = PictureFormat(width, height, 1, 1, 8, "bt601", full_range=False)
    return Picture(format, y.reshape(height, width), *(c.reshape(height // 2, width // 2) for c in (u, v)))


def looks(count: int, side: int, seed: int = 0) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    where = [np.array([640, 345]) + rng.uniform(-12, 12, 2) for _ in range(count)]
    return np.stack([region(at, rng.uniform(200, 260), rng.normal() / 10, side) for at in where])


def au_side() -> int:
    return load_artifact("default", "au").card.input_size


def on_gpu(role: Role, max_batch: int = MAX_BATCH) -> GPUNetwork:
    artifact = load_artifact("default", role)
    model = CudaModel(artifact, device().place)
    return GPUNetwork(artifact.card, [Lane(device(), model, max_batch) for _ in range(2)], max_batch)


def on_cpu(role: Role, views: list[View], **others: NDArray[np.float32]) -> Arrays:
    """The numba kernel and the float32 module."""
    artifact = load_artifact("default", role)
    net, card = OnnxNet(artifact.onnx), artifact.card
    side = card.input_size
    crops = np.concatenate([crop(p, transforms, (side, side), card.mean, card.std) for p, transforms in views])
    inputs = {"image": crops, **others}
    with torch.no_grad():
        outputs = net(*(torch.from_numpy(inputs[name]) for name in net.inputs))
    return {name: value.numpy() for name, value in zip(net.outputs, outputs, strict=True)}


def close(ours: Arrays, theirs: Arrays, role: str) -> None:
    """Where two AUs are all but equally near, rounding decides which is among a third one's nearest: in few faces."""
    for name, limit in LIMITS[role].items():
        assert ours[name].shape == theirs[name].shape
        wrong = np.abs(ours[name] - theirs[name]).reshape(len(ours[name]), -1).max(axis=1)  # of each face
        others = len(wrong) // 8 if role == "au" else 0
        assert np.isfinite(wrong).all(), name
        assert (wrong >= limit).sum() <= others, (name, wrong)


class Crops:
    """No network: the crops themselves."""

    def at(self, shapes: dict[str, tuple[int, ...]]) -> Network:
        def run(inputs: Tensors) -> Tensors:
            return {"crops": inputs["image"].float()}

        return run


@pytest.mark.parametrize("bits", [8, 10, 12])
@pytest.mark.parametrize("subsampling", list(SUBSAMPLING))
def test_the_kernel_equals_numba(subsampling: str, bits: int) -> None:
    card = msgspec.structs.replace(load_artifact("default", "au").card, input_size=SIZE[0], mean=NORM[0], std=NORM[1])
    network = GPUNetwork(card, [Lane(device(), Crops(), MAX_BATCH)], MAX_BATCH)
    for rotation in (0, 90, 180, 270):
        source = picture(subsampling=subsampling, bits=bits, rotation=rotation)
        regions = some_regions(source)
        same(network.faces([View(source, regions)])["crops"], crop(source, regions, SIZE, *NORM))


@pytest.mark.parametrize("count", [1, 3, MAX_BATCH, 2 * MAX_BATCH + 5])
def test_landmarks_are_those_of_the_cpu(count: int) -> None:
    views = [View(face_picture(), looks(count, 128))]
    close(on_gpu("landmarks").faces(views), on_cpu("landmarks", views), "landmarks")


@pytest.mark.parametrize("count", [1, 3, MAX_BATCH, 2 * MAX_BATCH + 5])
def test_aus_are_those_of_the_cpu(count: int) -> None:
    views = [View(face_picture(), looks(count, au_side()))]
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (count, 478, 2)).astype(np.float32)
    close(on_gpu("au").faces(views, points=points), on_cpu("au", views, points=points), "au")


def test_the_detector_sees_what_the_cpu_sees() -> None:
    artifact = load_artifact("default", "detector")
    source, size, canvas = face_picture(), (320, 180), (320, 192)
    net = OnnxNet(artifact.onnx)
    with torch.no_grad():
        score, box = net(torch.from_numpy(shrink(source, size, canvas, artifact.card.mean, artifact.card.std)))
    ours = on_gpu("detector", 1).picture(source, size, canvas)
    np.testing.assert_allclose(ours["score"], score.numpy(), atol=0.05)
    seen = score.numpy()[0] > 0.5
    assert seen.any()
    assert np.abs(ours["box"] - box.numpy())[:, :, seen].max() < 3


def test_batches_in_flight_do_not_touch_each_other() -> None:
    """The same crops alone, in batches of any size, again and again."""
    network, views = on_gpu("landmarks"), looks(64, 128)
    source = face_picture()
    alone = np.concatenate([network.faces([View(source, one[None])])["landmarks"] for one in views])
    rng = np.random.default_rng(0)
    for _ in range(40):
        chosen = rng.choice(64, rng.integers(1, 65), replace=False)
        together = network.faces([View(source, views[chosen])])["landmarks"]
        assert np.abs(together - alone[chosen]).max() < 0.3


def test_faces_and_aus_on_one_gpu() -> None:
    """The stages of the pipeline: the face is found, followed and estimated."""
    from rtau.au import AUs
    from rtau.faces import Faces

    config = PipelineConfig(device="cuda", au=AUConfig(max_batch=4), faces=FacesConfig(max_faces=2))
    faces, aus = Faces(config), AUs(config)
    source = face_picture()
    for index in range(5):
        found = faces(Frame(index, index / 30, time.monotonic_ns(), time.time_ns(), source))
        (estimates,) = aus([(source, found)])
    assert found.track_ids.tolist() == [1]
    assert 500 < found.boxes[0, 0] < found.boxes[0, 2] < 800
    assert np.isfinite(estimates.intensity).all()


BREAKING = """
import os
from rtau.crop import View
from rtau.errors import LostDeviceError
from rtau.gpu.lane import Lane
from rtau.gpu.views import Packed, pack
from tests.rtau.gpu.test_on_gpu import Crops, device, face_picture, looks

packed = pack([View(face_picture(), looks(1, 32))], (32, 32), (0.5,) * 3, (0.25,) * 3)
placed = Packed.placed
Packed.placed = lambda self, address: placed(self, 1 << 46)  # where there is no memory
lane = Lane(device(), Crops(), 1)
try:
    lane.start(packed, (32, 32), {})
    lane.finish()
except LostDeviceError as error:
    print(error, flush=True)
os._exit(0)  # what PyTorch and PyCUDA do at the end needs the context
"""


def test_an_illegal_access_is_told_as_a_lost_device() -> None:
    root = Path(__file__).parents[3]
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(root), *filter(None, [os.environ.get("PYTHONPATH")])])
    }
    done = subprocess.run(
        [sys.executable, "-c", BREAKING], cwd=root, env=environment, capture_output=True, text=True, timeout=120
    )
    assert "(cuda:0) failed (" in done.stdout, done.stderr
    assert "illegal memory access" in done.stdout
    assert "use --device cpu" in done.stdout


def test_tensorrt_gives_what_cuda_gives_and_is_built_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if missing := probe.missing_for_tensorrt():
        pytest.skip(missing)
    from rtau.engines.tensorrt import TensorRTModel

    monkeypatch.setenv("RTAU_CACHE", str(tmp_path))
    artifact = load_artifact("default", "au")
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (5, 478, 2)).astype(np.float32)
    views = [View(face_picture(), looks(5, au_side()))]
    for _ in range(2):
        model = TensorRTModel(artifact, device().place, MAX_BATCH)
        network = GPUNetwork(artifact.card, [Lane(device(), model, MAX_BATCH) for _ in range(2)], MAX_BATCH)
        close(network.faces(views, points=points), on_cpu("au", views, points=points), "au")
        (kept,) = tmp_path.iterdir()
        written = kept.stat().st_mtime_ns
    assert kept.stat().st_mtime_ns == written


@without_pyav
@pytest.mark.parametrize("processes", [False, True])
def test_a_clip_gives_nearly_the_rows_of_the_cpu(tmp_path: Path, processes: bool) -> None:
    from rtau.config import RuntimeConfig, SourceConfig
    from rtau.pipeline import open_run
    from tests.rtau import film

    clip = SourceConfig(path=str(film.face_clip(tmp_path / "one.mp4", [lambda t: (240 + 40 * t, 180, 110, 0)])))
    runs = []
    for name in ("cpu", "cuda"):
        with open_run(PipelineConfig(device=name, runtime=RuntimeConfig(processes=processes)), clip) as run:
            assert run.info.engine == choose(name).label
            runs.append(list(run))
    for cpu, gpu in zip(*runs, strict=True):
        assert [face.track_id for face in gpu.faces] == [face.track_id for face in cpu.faces]
        for ours, theirs in zip(gpu.faces, cpu.faces, strict=True):
            assert np.abs(np.subtract(ours.box, theirs.box)).max() < 3
            assert np.abs(np.subtract(ours.intensity, theirs.intensity)).mean() < 0.2


@without_pyav
def test_nvdec_gives_the_frames_of_the_cpu(tmp_path: Path) -> None:
    from rtau.config import SourceConfig
    from rtau.decode import Decode
    from rtau.errors import DeviceError
    from tests.rtau import film

    clip = str(film.face_clip(tmp_path / "one.mp4", [lambda t: (240 + 40 * t, 180, 110, 0)]))
    try:
        decode = Decode(SourceConfig(path=clip, nvdec=0))
    except DeviceError as error:
        pytest.skip(f"this machine's GPU does not decode here: {error}")
    assert decode.info.codec == "h264 (nvdec)"
    with Decode(SourceConfig(path=clip)) as cpu, decode:
        pairs = 0
        for ours, theirs in zip(decode, cpu, strict=True):
            assert ours.picture is not None
            assert theirs.picture is not None
            assert ours.time_s == theirs.time_s
            for one, other in zip(ours.picture[1:], theirs.picture[1:], strict=True):
                np.testing.assert_array_equal(one, other)  # H.264 says what comes out, to the bit
            pairs += 1
    assert pairs == 30
