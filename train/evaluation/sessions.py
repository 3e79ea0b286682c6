"""Rendered sessions of people that no training saw, as clips on disk, and what the pipeline estimates in them."""

import tempfile
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from calibration.quality import identity_weight, reliable, sharpness_weight, steady
from rtau.align import inter_ocular
from rtau.au import AUs
from rtau.config import FacesConfig, PipelineConfig, SourceConfig
from rtau.decode import Decode
from rtau.faces import Faces
from rtau.identify import Identities, load_identity
from train.synthesis.person import Person, make_person
from train.synthesis.picture import Renderer
from train.synthesis.sample import Sample, render
from train.synthesis.session import rest, session, with_trait

Float32 = NDArray[np.float32]
Kind = str  # enrolment, normal, smiling or poses

FPS = 2.0  # of the rendered sessions: a picture every half second of their time
SECONDS, ENROLMENT_S, POSES = 170.0, 10.0, 6
SMILING = 0.6
SIZE = 256
KINDS: tuple[Kind, ...] = ("enrolment", "normal", "smiling", "poses")
_RENDERING = 1  # raised when the same seed gives another picture
_LOOK_EVERY = 5  # frames between embeddings


class Session(NamedTuple):
    """T frames of one person; NaN where no face was found or a label is unknown."""

    time_s: NDArray[np.float64]  # (T,)
    truth: Float32  # (T, 2, A) intensity 0-5, left and right
    sides: Float32  # (T, 2, A) as estimated
    good: NDArray[np.bool_]  # (T,) a resting face may be read from it
    looks: Float32  # (K, D) embeddings, of unit length
    weights: Float32  # (K,) of the looks


class Look(NamedTuple):
    embedding: Float32  # (D,) of unit length
    weight: float


class Looker:
    """The models of the pipeline that the study needs, loaded once."""

    def __init__(self) -> None:
        config = PipelineConfig(faces=FacesConfig(max_faces=1))
        self.faces, self.aus = Faces(config), AUs(config)
        self.identity = load_identity("default")
        self.identities = Identities(self.identity, config)

    def photo(self, data: bytes, suffix: str) -> list[Look]:
        """The look at the only face of a photo, from the bytes of its file; none where it does not serve."""
        with tempfile.NamedTemporaryFile(suffix=suffix) as file:
            file.write(data)
            file.flush()
            return [look for *_, look in self.look(Path(file.name)) if look is not None]

    def look(
        self, path: Path, *, every: int = _LOOK_EVERY
    ) -> Iterator[tuple[float, Float32 | None, bool, Look | None]]:
        """Of each frame its time, intensities (2, A) of the only face, whether it is steady; now and then a look."""
        self.faces.restart()
        with Decode(SourceConfig(path=str(path))) as decode:
            for number, frame in enumerate(decode):
                found = self.faces(frame)
                if frame.picture is None or len(found.score) != 1:
                    yield frame.time_s, None, False, None
                    continue
                (aus,) = self.aus([(frame.picture, found)])
                distance = inter_ocular(found.landmarks)
                good = reliable(distance, found.pose, found.score)[0] and steady(found.pose)[0]
                seen = None
                if number % every == 0:
                    weight = identity_weight(float(distance[0]), found.pose[0], float(found.score[0]))
                    if weight > 0:
                        aligned = self.identities.crop(frame.picture, found.landmarks[0])
                        seen = Look(self.identities(aligned), weight * sharpness_weight(aligned))
                yield frame.time_s, np.stack([aus.left[0], aus.right[0]]), bool(good), seen


def render_sessions(
    folder: Path, renderer: Renderer, dataset: int, persons: range, progress: Callable[[str], None]
) -> None:
    """Clips `PERSON_KIND.mkv` with their labels beside them; those that are there stay."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in persons:
        missing = [kind for kind in KINDS if not _labels(folder, number, kind).exists()]
        if not missing:
            continue
        person, trait = with_trait(renderer.head, make_person(renderer.head, dataset, number), number)
        for kind in missing:
            _keep(folder, number, kind, list(_samples(renderer, person, kind)))
        progress(f"person {number}: {trait}")


def _samples(renderer: Renderer, person: Person, kind: Kind) -> Iterator[Sample]:
    """Each kind in its own light; `poses` are single pictures, each in a pose and light of its own."""
    if kind == "poses":
        return (render(renderer, person, k, SIZE) for k in range(POSES))
    if kind == "enrolment":
        return rest(renderer, person, take=101, pictures=round(ENROLMENT_S * FPS), fps=FPS, size=SIZE)
    take, smiling = (102, 0.0) if kind == "normal" else (103, SMILING)
    return session(renderer, person, take=take, seconds=SECONDS, fps=FPS, smiling=smiling, size=SIZE)


def read_session(folder: Path, looker: Looker, number: int, kind: Kind) -> Session:
    """What the pipeline estimates in one clip, beside its labels."""
    with np.load(_labels(folder, number, kind), allow_pickle=False) as data:
        truth = np.stack([data["left"], data["right"]], axis=1)
    times, sides, good, looks = [], [], [], []
    for time_s, estimate, steady_view, look in looker.look(
        _clip(folder, number, kind), every=1 if kind == "poses" else _LOOK_EVERY
    ):
        times.append(time_s)
        sides.append(np.full(truth.shape[1:], np.nan, np.float32) if estimate is None else estimate)
        good.append(steady_view)
        looks += [] if look is None else [look]
    return Session(
        np.array(times),
        truth,
        np.stack(sides),
        np.array(good),
        np.array([look.embedding for look in looks], np.float32),
        np.array([look.weight for look in looks], np.float32),
    )


def write_clip(path: Path, jpegs: list[bytes], fps: float) -> None:
    """JPEG pictures as they are, as a clip with true times."""
    tick = Fraction(1, 1000)
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuvj420p"
        stream.codec_context.time_base = tick
        for i, data in enumerate(jpegs):
            packet = av.Packet(data)
            packet.pts = packet.dts = round(1000 * i / fps)
            packet.time_base, packet.stream = tick, stream
            container.mux(packet)


def _keep(folder: Path, number: int, kind: Kind, samples: list[Sample]) -> None:
    """The labels come last: while they are missing the clip does not exist."""
    write_clip(_clip(folder, number, kind), [sample.jpeg for sample in samples], FPS)
    left, right = (np.stack([getattr(sample, f"au_{side}") for sample in samples]) for side in ("left", "right"))
    np.savez(_labels(folder, number, kind), left=left, right=right)


def _clip(folder: Path, number: int, kind: Kind) -> Path:
    return folder / f"{number:04d}_{kind}_{_RENDERING}.mkv"


def _labels(folder: Path, number: int, kind: Kind) -> Path:
    return _clip(folder, number, kind).with_suffix(".npz")
