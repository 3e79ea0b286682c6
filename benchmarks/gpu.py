"""What one GPU does: faces a second, latency, preprocessing, sources, against this card's own ceilings.

    python -m benchmarks.gpu --write docs/gpu.md      (make bench-gpu; a few minutes, no network, no OpenVINO, no PyAV)

"Whole path" is from YUV planes in ordinary memory of the host to float32 results in memory of the host. Pictures are
made here; decoding is not part of any figure.
"""

import datetime
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import cv2
import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from rtau.align import region
from rtau.au import AUs
from rtau.config import AUConfig, FacesConfig, PipelineConfig
from rtau.crop import View
from rtau.engines import choose, probe
from rtau.engines.cuda import CudaModel
from rtau.errors import DeviceError, RtauError
from rtau.faces import FaceNetworks, Faces, together
from rtau.gpu.device import CudaDevice, cuda_device
from rtau.gpu.lane import Lane, Model, Network, Tensors
from rtau.gpu.network import GPUNetwork
from rtau.gpu.views import pack
from rtau.models import Card, load_artifact
from rtau.structures import Frame, Picture, PictureFormat
from train.evaluation.document import replace_figures
from train.models.encoder import EncoderConfig, Pooled

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
ALONE = (1, 64, 256)  # batches of the network without what is before and after it
COMPILED = ALONE[1:]
IN_A_ROW = 16  # batches of a measured call
MATRIX_SIDE, COPIED_BYTES = 8192, 1 << 30  # of the ceilings
SOURCES = (1, 8, 16, 32, 48, 64, 96)
SIZES = {"720p30": (1280, 720), "1080p30": (1920, 1080)}
FPS, SOURCE_SECONDS, MOST_P99_MS = 30, 3.0, 33.0
TARGETS = {  # on an H200
    "default encoder, faces/s": 40_000.0,
    "Swin-T, faces/s at batch 64": 12_000.0,
    "Swin-T at 256, share of the matrix ceiling": 0.45,
    "preprocessing, us a face": 15.0,
    "one face, host to host, ms": 1.5,
}
_HALF_SECOND, _COMPILE_UNTIL_S = 0.5, 300.0  # time for each figure; no compilation begins after this
_ROW_S, _MOST_IN_A_ROW = 0.005, 100  # of work between two events

Figures = dict[str, float]
Part = Callable[[], Iterator[str]]


@click.command()
@click.option("--device", default="cuda", show_default=True, metavar="cuda[:N]")
@click.option("--write", type=click.Path(dir_okay=False, path_type=Path), help="Document whose figures are replaced.")
def main(device: str, write: Path | None) -> None:
    """Measure and print."""
    try:
        choice = choose(device)
        if choice.engine == "openvino":
            raise DeviceError(f"device {device} is not a GPU; use --device cuda")
    except RtauError as error:
        raise click.ClickException(str(error)) from error
    started = time.perf_counter()
    gpu, reached = cuda_device(choice.gpu), Figures.fromkeys(("matrix", "copy", "up", "down"), float("nan"))
    parts: list[Part] = [
        lambda: _ceilings(gpu, reached),
        lambda: _default_encoder(gpu, reached),
        lambda: _swin(gpu, reached),
        lambda: _preprocessing(gpu, reached),
        lambda: _sources(choice.label, device),
        lambda: _against_targets(reached),
        lambda: _compiled(gpu, reached, started),  # last: nobody knows how long it takes
    ]
    lines: list[str] = []
    broken = 0
    for part in parts:
        try:
            for line in part():
                click.echo(line)
                lines.append(line)
        except Exception as error:  # whatever it is, it costs the other parts nothing
            traceback.print_exception(error)
            broken += 1
            lines += ["", f"Broke off here: {_in_short(error)}.", ""]
        head = (
            f"Measured {datetime.date.today().isoformat()} by `python -m benchmarks.gpu --write docs/gpu.md` in "
            f"{(time.perf_counter() - started) / 60:.1f} min: {gpu.label}, PyTorch {torch.__version__}, engine of the "
            f"pipeline: {choice.label}."
        )
        if write is not None:
            replace_figures(write, "\n".join([head, "", *lines]) + "\n")
    click.echo(head)
    if broken:
        raise click.ClickException(f"{broken} of {len(parts)} parts broke off; the others are measured")


def _in_short(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


# Ceilings of this card, in this process.


def _ceilings(gpu: CudaDevice, reached: Figures) -> Iterator[str]:
    side, place = MATRIX_SIDE, gpu.place
    a, b = (torch.randn((side, side), dtype=torch.bfloat16, device=place) for _ in range(2))
    reached["matrix"] = 2 * side**3 / _seconds(lambda: a @ b)
    here = torch.empty(COPIED_BYTES, dtype=torch.uint8, device=place)
    there = torch.empty_like(here)
    reached["copy"] = 2 * here.numel() / _seconds(lambda: there.copy_(here))
    pinned = torch.empty(COPIED_BYTES // 4, dtype=torch.uint8, pin_memory=True)
    part = here[: pinned.numel()]
    reached["up"] = pinned.numel() / _seconds(lambda: part.copy_(pinned, non_blocking=True))
    reached["down"] = pinned.numel() / _seconds(lambda: pinned.copy_(part, non_blocking=True))
    yield "### Ceilings"
    yield ""
    yield (
        f"bf16 matrix product of side {side}: {reached['matrix'] / 1e12:.0f} TFLOP/s; copy on the device (bytes read "
        f"and written): {reached['copy'] / 1e12:.2f} TB/s; from pinned memory up {reached['up'] / 1e9:.0f} GB/s, down "
        f"{reached['down'] / 1e9:.0f} GB/s."
    )
    yield ""


# Encoders.


class _Encoder(NamedTuple):
    """A network in half precision on the GPU, and how to feed and count it."""

    title: str
    card: Card  # how its crops are made
    net: nn.Module
    model: Model  # the same, as lanes take it
    inputs: dict[str, tuple[int, ...]]  # shape of one sample by name
    flops: float  # of one face


def _encoder(gpu: CudaDevice) -> _Encoder:
    artifact = load_artifact("default", "au")
    model = CudaModel(artifact, gpu.place)
    inputs = dict(zip(model.net.inputs, model.net.shapes, strict=True))
    flops = _flops(CudaModel(artifact, "cpu", half=False).net, [torch.zeros((1, *shape)) for shape in inputs.values()])
    return _Encoder(f"The default encoder ({artifact.label})", artifact.card, model.net, model, inputs, flops)


def _swin_t(gpu: CudaDevice) -> _Encoder:
    torch.manual_seed(0)
    net = Pooled(EncoderConfig(backbone="swin_t")).eval()
    flops = _flops(net, [torch.zeros(1, 3, 224, 224)])
    net = net.half().to(gpu.place)
    card = msgspec.structs.replace(load_artifact("default", "au").card, input_size=224)
    attention = _quickest_attention(net, torch.randn((64, 3, 224, 224), device=gpu.place).half())
    title = f"Swin-T at 224 pixels, random weights, {attention.name.lower().replace('_', ' ')}"
    return _Encoder(title, card, net, _Module(net, attention), {"image": (3, 224, 224)}, flops)


def _quickest_attention(net: nn.Module, images: Tensor) -> SDPBackend:
    """PyTorch's own choice need not be that, and what it chooses may refuse such small windows when it runs."""
    seconds = {SDPBackend.MATH: float("inf")}
    for backend in (SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION):
        try:
            with sdpa_kernel(backend):
                seconds[backend] = _seconds(_called(net, {"image": images}))
        except Exception as error:
            click.echo(f"{backend.name}: {_in_short(error)}", err=True)
    return min(seconds, key=lambda backend: seconds[backend])


def _default_encoder(gpu: CudaDevice, reached: Figures) -> Iterator[str]:
    encoder = _encoder(gpu)
    card, flops = encoder.card, encoder.flops
    yield f"### {encoder.title}"
    yield ""
    models: dict[str, Model] = {"cuda": encoder.model}
    if probe.missing_for_tensorrt():
        yield f"TensorRT is not measured: {probe.missing_for_tensorrt()}."
        yield ""
    else:
        from rtau.engines.tensorrt import TensorRTModel

        models["tensorrt"] = TensorRTModel(load_artifact("default", "au"), gpu.place, max(BATCHES))
    for name, model in models.items():
        rates = _whole_path(gpu, card, model, points=True)
        yield from _table(f"engine `{name}`, whole path", rates, flops, reached)
        key = "default encoder, faces/s"
        reached[key] = float(np.nanmax([reached.get(key, 0), *rates.values()]))
        network = _network(gpu, card, model, 1)
        views = [View(_picture(1280, 720), _looks(1, card.input_size))]
        points = _points(1)
        ms = 1e3 * np.array(_host_seconds(lambda: network.faces(views, points=points), 300))  # noqa: B023
        yield f"One face, host to host: median {np.median(ms):.2f} ms, p99 {np.percentile(ms, 99):.2f} ms."
        yield ""
        key = "one face, host to host, ms"
        reached[key] = min(reached.get(key, 1e9), float(np.median(ms)))
    yield from _forms(gpu, encoder, models, reached)


def _swin(gpu: CudaDevice, reached: Figures) -> Iterator[str]:
    encoder = _swin_t(gpu)
    yield f"### {encoder.title}"
    yield ""
    rates = _whole_path(gpu, encoder.card, encoder.model, points=False)
    yield from _table("in the lanes of engine `cuda`, whole path", rates, encoder.flops, reached)
    reached["Swin-T, faces/s at batch 64"] = rates[64]
    reached["Swin-T at 256, share of the matrix ceiling"] = rates[256] * encoder.flops / reached["matrix"]
    yield from _forms(gpu, encoder, {"cuda": encoder.model}, reached)


class _Module:
    """Any module on one image, as a lane takes it."""

    def __init__(self, net: nn.Module, attention: SDPBackend) -> None:
        self._net, self._attention = net, attention

    def at(self, shapes: dict[str, tuple[int, ...]]) -> Network:
        def run(inputs: Tensors) -> Tensors:
            with sdpa_kernel(self._attention):
                return {"out": self._net(inputs["image"])}

        return run


def _network(gpu: CudaDevice, card: Card, model: Model, batch: int) -> GPUNetwork:
    return GPUNetwork(card, [Lane(gpu, model, batch) for _ in range(2)], batch)


def _whole_path(gpu: CudaDevice, card: Card, model: Model, *, points: bool) -> dict[int, float]:
    """Faces a second by batch, NaN where it failed: one face a picture, many batches in a row, two under way."""
    pictures = [_picture(1280, 720, shift) for shift in range(8)]

    def rate(batch: int) -> float:  # its graphs end with it
        network, count = _network(gpu, card, model, batch), batch * IN_A_ROW
        looks = _looks(count, card.input_size)
        views = [View(pictures[i % 8], looks[i : i + 1]) for i in range(count)]
        others = {"points": _points(count)} if points else {}
        return count / statistics.median(_host_seconds(lambda: network.faces(views, **others)))

    rates: dict[int, float] = {}
    for batch in BATCHES:
        try:
            rates[batch] = rate(batch)
        except Exception as error:  # too large, perhaps; the others are measured
            traceback.print_exception(error)
            rates[batch] = float("nan")
        torch.cuda.empty_cache()
    return rates


def _forms(gpu: CudaDevice, encoder: _Encoder, models: dict[str, Model], reached: Figures) -> Iterator[str]:
    """The network alone on the device: as engines run it, and in PyTorch eager."""
    yield _alone("", ALONE)
    yield "|---" * (len(ALONE) + 1) + "|"
    for name, model in models.items():
        yield _row(f"graph of `{name}`", lambda inputs: _recorded(gpu, model, inputs), gpu, encoder, ALONE, reached)  # noqa: B023
    yield _row("PyTorch eager", lambda inputs: _eager(encoder.model, inputs), gpu, encoder, ALONE, reached)
    yield ""


def _compiled(gpu: CudaDevice, reached: Figures, started: float) -> Iterator[str]:
    """Also the network alone. One compilation takes up to a minute or two, and none begins when time is up."""

    def compiled(inputs: Tensors) -> Callable[[], object] | None:
        if time.perf_counter() - started > _COMPILE_UNTIL_S:
            return None
        torch._dynamo.reset()
        return _called(torch.compile(net, dynamic=False), inputs)  # type: ignore[arg-type]

    yield "### torch.compile"
    yield ""
    yield _alone("through torch.compile, ", COMPILED)
    yield "|---" * (len(COMPILED) + 1) + "|"
    for encoder in (_swin_t(gpu), _encoder(gpu)):
        net = encoder.net
        yield _row(encoder.title, compiled, gpu, encoder, COMPILED, reached)
    yield ""


def _alone(how: str, batches: Sequence[int]) -> str:
    return f"| the network alone, {how}faces/s | " + " | ".join(f"batch {batch}" for batch in batches) + " |"


def _row(
    name: str,
    form: Callable[[Tensors], Callable[[], object] | None],
    gpu: CudaDevice,
    encoder: _Encoder,
    batches: Sequence[int],
    reached: Figures,
) -> str:
    """What `form` makes of inputs, measured; None from it: not measured."""
    cells = []
    for batch in batches:
        inputs = {key: torch.randn((batch, *shape), device=gpu.place) for key, shape in encoder.inputs.items()}
        inputs["image"] = inputs["image"].half()
        try:
            work = form(inputs)
            if work is None:
                cells.append("not measured: time was up")
                continue
            rate = batch / _seconds(work)
        except Exception as error:  # a form of the network that does not run costs the others nothing
            traceback.print_exception(error)
            cells.append(f"failed: {type(error).__name__}")
            continue
        cells.append(f"{rate:,.0f} ({rate * encoder.flops / reached['matrix']:.0%} of the matrix ceiling)")
    return f"| {name} | " + " | ".join(cells) + " |"


def _recorded(gpu: CudaDevice, model: Model, inputs: Tensors) -> Callable[[], object]:
    run = model.at({name: tuple(value.shape) for name, value in inputs.items()})
    stream = gpu.stream()
    torch.cuda.synchronize()  # the inputs were made on another stream
    with gpu.on(stream):
        launch, _ = gpu.record(
            lambda: torch.cat([out.reshape(len(out), -1) for out in run(inputs).values()], 1), stream
        )

    def launched(_keep: tuple[Any, ...] = (run, inputs, stream)) -> None:
        launch()

    return launched


def _eager(model: Model, inputs: Tensors) -> Callable[[], object]:
    run = model.at({name: tuple(value.shape) for name, value in inputs.items()})
    return torch.no_grad()(lambda: run(inputs))


def _called(net: nn.Module, inputs: Tensors) -> Callable[[], object]:
    values = list(inputs.values())
    return torch.no_grad()(lambda: net(*values))


def _table(title: str, rates: dict[int, float], flops: float, reached: Figures) -> Iterator[str]:
    yield f"| {title}: batch | " + " | ".join(str(batch) for batch in rates) + " |"
    yield "|---" * (len(rates) + 1) + "|"
    yield "| faces/s | " + " | ".join(f"{rate:,.0f}" for rate in rates.values()) + " |"
    shares = (f"{rate * flops / reached['matrix']:.1%}" for rate in rates.values())
    yield f"| share of the matrix ceiling ({flops / 1e9:.2f} GFLOP a face) | " + " | ".join(shares) + " |"
    yield ""


# Preprocessing.


def _preprocessing(gpu: CudaDevice, reached: Figures) -> Iterator[str]:
    card, count = load_artifact("default", "au").card, 256
    side = (card.input_size, card.input_size)
    picture = _picture(1280, 720)
    views = [View(picture, look[None]) for look in _looks(count, card.input_size)]
    packed = pack(views, side, card.mean, card.std)
    pixels = torch.zeros(packed.nbytes, dtype=torch.uint8, pin_memory=True)
    there = torch.empty_like(pixels, device=gpu.place)
    faces = torch.from_numpy(packed.placed(there.data_ptr()).view(np.uint8).copy()).to(gpu.place)
    image = torch.empty((count, 3, side[1], side[0]), dtype=torch.float16, device=gpu.place)
    packed.write(pixels.numpy())
    there.copy_(pixels)
    stream = gpu.stream()

    def crops() -> Tensor:
        for _ in range(IN_A_ROW):
            gpu.crop(faces, image, stream)
        return image

    torch.cuda.synchronize()
    with gpu.on(stream):
        launch, _ = gpu.record(crops, stream)  # Python launches one kernel more slowly than the GPU runs it
        kernel_s = _seconds(launch) / (IN_A_ROW * count)
        upload_s = _seconds(lambda: there.copy_(pixels, non_blocking=True)) / count
    pack_s = (
        statistics.median(_host_seconds(lambda: pack(views, side, card.mean, card.std).write(pixels.numpy()))) / count
    )
    reached["preprocessing, us a face"] = 1e6 * (kernel_s + upload_s)
    moved = (packed.nbytes + image.numel() * 2) / count
    yield "### Preprocessing"
    yield ""
    yield (
        f"A 230 px face of a 720p picture, {count} in a batch: kernel {1e6 * kernel_s:.2f} us a face "
        f"({moved / kernel_s / reached['copy']:.0%} of the copy ceiling), upload of "
        f"{packed.nbytes / count / 1e3:.0f} kB {1e6 * upload_s:.2f} us "
        f"({packed.nbytes / count / upload_s / reached['up']:.0%} of its ceiling), packing "
        f"on one core {1e6 * pack_s:.1f} us."
    )
    yield ""


# Sources.


def _sources(label: str, device: str) -> Iterator[str]:
    yield f"### Sources with one face each at {FPS} frames/s"
    yield ""
    yield (
        f"Frames lie ready in memory and fall due source by source; faces and AUs in one process, engine {label}; "
        f"{SOURCE_SECONDS:.0f} s each. Held: p99 from due to done at most {MOST_P99_MS:.0f} ms."
    )
    yield ""
    yield "| | sources held | p99 then | the next step |"
    yield "|---|---|---|---|"
    config = PipelineConfig(device=device, au=AUConfig(max_batch=32), faces=FacesConfig(max_faces=1))
    networks, aus = FaceNetworks(config), AUs(config)
    networks.warm_up()
    aus.warm_up()
    for name, (width, height) in SIZES.items():
        pictures = [_picture(width, height, shift) for shift in range(30)]
        held, p99, beyond = 0, 0.0, "not tried"
        for count in SOURCES:
            ms = _p99_ms([Faces(config, networks) for _ in range(count)], networks, aus, pictures)
            if ms > MOST_P99_MS:
                beyond = f"{count}: {ms:.0f} ms"
                break
            held, p99 = count, ms
        yield f"| {name} | {held} | {p99:.1f} ms | {beyond} |"
    yield ""


def _p99_ms(sources: list[Faces], networks: FaceNetworks, aus: AUs, pictures: list[Picture]) -> float:
    """Latency from due to done over all frames but those of the first second."""
    count, period_s = len(sources), 1 / FPS
    due = [i * period_s / count for i in range(count)]
    indices = [0] * count
    latencies: list[float] = []
    began = time.perf_counter()
    while (now := time.perf_counter() - began) < SOURCE_SECONDS + 1:
        ready = [i for i in range(count) if due[i] <= now]
        if not ready:
            continue
        frames = [Frame(indices[i], indices[i] / FPS, 0, 0, pictures[(indices[i] + i) % len(pictures)]) for i in ready]
        found = together([sources[i].steps(frame) for i, frame in zip(ready, frames, strict=True)], networks)
        aus([(frame.picture, faces) for frame, faces in zip(frames, found, strict=True)])
        done = time.perf_counter() - began
        for i in ready:
            if due[i] > 1:
                latencies.append(done - due[i])
            due[i] += period_s
            indices[i] += 1
    return 1e3 * float(np.percentile(latencies, 99)) if latencies else float("inf")


def _against_targets(reached: Figures) -> Iterator[str]:
    yield "### Targets (for an H200)"
    yield ""
    yield "| | measured | target |"
    yield "|---|---|---|"
    for name, target in TARGETS.items():
        if name not in reached:
            yield f"| {name} | not measured | {target:g} |"
            continue
        small = name.endswith((" ms", "us a face"))
        good = reached[name] <= target if small else reached[name] >= target
        yield f"| {name} | {reached[name]:,.4g} | {target:,g}: {'reached' if good else '**not reached**'} |"
    yield ""


# Material and clocks.


def _picture(width: int, height: int, shift: int = 0) -> Picture:
    """A real face in the middle of grey, moved by some pixels."""
    from skimage import data

    rgb = np.full((height, width, 3), 110, np.uint8)
    top, left = (height - 300) // 2, (width - 300) // 2 + shift
    rgb[top : top + 300, left : left + 300] = data.astronaut()[0:300, 80:380]
    planes = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420).reshape(-1)
    y, u, v = np.split(planes, [width * height, width * height * 5 // 4])
    format = PictureFormat(width, height, 1, 1, 8, "bt601", full_range=False)
    return Picture(format, y.reshape(height, width), *(c.reshape(height // 2, width // 2) for c in (u, v)))


def _looks(count: int, side: int) -> NDArray[np.float64]:
    """Regions about that face."""
    rng = np.random.default_rng(0)
    middles = np.array([640.0, 345.0]) + rng.uniform(-12, 12, (count, 2))
    return np.stack([region(middle, 230.0, rng.normal() / 10, side) for middle in middles])


def _points(count: int) -> NDArray[np.float32]:
    """Landmarks all over the crop, as the encoder takes them."""
    return np.random.default_rng(0).uniform(-0.4, 0.4, (count, 478, 2)).astype(np.float32)


def _flops(net: nn.Module, inputs: list[Tensor]) -> float:
    """Of one sample, counted on the CPU."""
    products_only = sdpa_kernel(SDPBackend.MATH)  # fused attention on the CPU is not counted
    with products_only, FlopCounterMode(display=False) as counter, torch.no_grad():
        net(*inputs)
    return float(counter.get_total_flops())


def _seconds(work: Callable[[], object]) -> float:
    """On the device, by its own clock, of work on the current stream: median over half a second after a warm-up.

    Short work is measured several times in a row: launching the first of them counts, and should not weigh.
    """
    for _ in range(3):
        work()
    torch.cuda.synchronize()
    begun = time.perf_counter()
    work()
    torch.cuda.synchronize()
    row = min(max(int(_ROW_S / (time.perf_counter() - begun)), 1), _MOST_IN_A_ROW)
    spans: list[float] = []
    until = time.perf_counter() + _HALF_SECOND
    while len(spans) < 10 or time.perf_counter() < until:
        begin, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        begin.record()
        for _ in range(row):
            work()
        end.record()
        end.synchronize()
        spans.append(begin.elapsed_time(end) / 1e3 / row)
    return statistics.median(spans)


def _host_seconds(work: Callable[[], object], least: int = 5) -> list[float]:
    """By this side's clock, of work that returns when it is done."""
    for _ in range(3):
        work()
    spans: list[float] = []
    until = time.perf_counter() + _HALF_SECOND
    while len(spans) < least or time.perf_counter() < until:
        begun = time.perf_counter()
        work()
        spans.append(time.perf_counter() - begun)
    return spans


if __name__ == "__main__":
    main()
