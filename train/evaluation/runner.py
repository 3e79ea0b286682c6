"""Evaluation material through the pipeline, as a user's run would see it."""

import tempfile
from collections.abc import Iterable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from rtau.au import AUs
from rtau.boxes import bounds, overlap
from rtau.config import PipelineConfig, SourceConfig
from rtau.decode import Decode
from rtau.faces import Faces
from rtau.structures import AUEstimates, Float32, TrackedFaces
from train.data.photos import LabelledFace, load_photos, photo_files
from train.data.split import Part

IOU = 0.5  # of our box with the teacher's from which a face counts as found


class Seen(NamedTuple):
    """What the pipeline found in one frame."""

    faces: TrackedFaces
    aus: AUEstimates

    def match(self, box: Float32) -> int | None:
        """Index of the face that overlaps a box (4,) enough, or None."""
        if not len(self.faces.track_ids):
            return None
        overlaps = overlap(box, self.faces.boxes)
        best = int(overlaps.argmax())
        return best if overlaps[best] >= IOU else None


class Runner:
    """The default pipeline, loaded once."""

    def __init__(self) -> None:
        config = PipelineConfig()
        self._faces, self._aus = Faces(config), AUs(config)
        self.aus = self._aus.card.aus
        self.weights = {
            "detector": self._faces.cards[0],
            "landmarks": self._faces.cards[1],
            "au": self._aus.card,
        }

    def frames(self, path: Path) -> list[Seen]:
        """Every frame of a file."""
        self._faces.restart()
        seen = []
        with Decode(SourceConfig(path=str(path))) as decode:
            for frame in decode:
                faces = self._faces(frame)
                seen.append(Seen(faces, *self._aus([(frame.picture, faces)])))
        return seen

    def file(self, data: bytes, suffix: str) -> Seen:
        """One picture, from the bytes of its file."""
        with tempfile.NamedTemporaryFile(suffix=suffix) as file:
            file.write(data)
            file.flush()
            return self.frames(Path(file.name))[0]

    def lasting(self, picture: NDArray[np.uint8]) -> Seen:
        """A picture (H, W, 3) RGB that stands still: its frame after half a second, when small faces are believed."""
        with tempfile.NamedTemporaryFile(suffix=".mkv") as file:
            with av.open(file.name, "w") as container:
                stream = container.add_stream("ffv1", rate=10)
                stream.width, stream.height = picture.shape[1::-1]
                stream.pix_fmt = "yuv420p"
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                for i in range(6):
                    frame.pts, frame.time_base = i, Fraction(1, 10)
                    container.mux(stream.encode(frame))
                container.mux(stream.encode(None))
            return self.frames(Path(file.name))[-1]

    def photos(self, part: Part, *, start: str = "", mirror: bool = False) -> Iterator[tuple[LabelledFace, Seen]]:
        """The photos of a part whose names begin with `start`, from their own file bytes; or mirrored, as PNG."""
        import cv2

        wanted = {photo.name: photo for photo in load_photos(part) if photo.name.startswith(start)}
        with tempfile.TemporaryDirectory() as folder:
            for name, data in photo_files():
                if name not in wanted:
                    continue
                path = Path(folder) / (f"{name}.png" if mirror else name)
                if mirror:
                    cv2.imwrite(str(path), np.ascontiguousarray(wanted[name].image[:, ::-1, ::-1]))
                else:
                    path.write_bytes(data)
                yield wanted[name], self.frames(path)[0]
                path.unlink()


def found_faces(shown: Iterable[tuple[LabelledFace, Seen]]) -> tuple[list[LabelledFace], AUEstimates]:
    """The labelled faces that the pipeline found in their pictures, and its AUs of these F faces, (F, A) each."""
    matched = [(face, seen.aus, seen.match(bounds(face.landmarks))) for face, seen in shown]
    found = [(face, [values[i] for values in aus]) for face, aus, i in matched if i is not None]
    return [face for face, _ in found], AUEstimates(*map(np.stack, zip(*(aus for _, aus in found), strict=True)))


def intensities(seen: list[Seen], a: int, index: list[int | None]) -> NDArray[np.float64]:
    """Intensity of AU `a` of the matched face in each frame; NaN without one."""
    return np.array([np.nan if i is None else s.aus.intensity[i, a] for s, i in zip(seen, index, strict=True)])
