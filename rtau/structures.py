"""What flows between the stages of the pipeline. Pictures are upright as displayed unless said otherwise."""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from rtau.boxes import bounds
from rtau.messages import BaselineState

Float32 = NDArray[np.float32]

Plane = NDArray[np.uint8] | NDArray[np.uint16]
ColourMatrix = Literal["bt601", "bt709", "bt2020"]


class PictureFormat(msgspec.Struct, frozen=True):
    """How the planes of one picture are to be read.

    `stored_*` is the size of the luma plane. Chroma is subsampled by 2**shift, sited at the left as MPEG-2 and
    H.264 do. For display a stored pixel is drawn `pixel_aspect` times as wide as high, left and right are exchanged
    where it is `mirrored`, and then the picture is turned counter-clockwise by `rotation` degrees.
    """

    stored_width: int
    stored_height: int
    chroma_shift_x: int  # 1 for 4:2:0 and 4:2:2, 0 for 4:4:4
    chroma_shift_y: int  # 1 for 4:2:0
    bits: int  # 8, or 9-16 held in uint16
    matrix: ColourMatrix
    full_range: bool
    rotation: Literal[0, 90, 180, 270] = 0
    mirrored: bool = False
    pixel_aspect: float = 1.0

    @property
    def unturned(self) -> tuple[int, int]:
        """Width and height in square pixels, before the picture is turned."""
        return max(round(self.stored_width * self.pixel_aspect), 1), self.stored_height

    @property
    def width(self) -> int:
        """Width as displayed, in square pixels."""
        return self.unturned[self.rotation in (90, 270)]

    @property
    def height(self) -> int:
        """Height as displayed, in square pixels."""
        return self.unturned[self.rotation in (0, 180)]

    @property
    def as_stored(self) -> bool:
        """Whether displayed pixels are stored pixels."""
        return self.rotation == 0 and not self.mirrored and self.unturned[0] == self.stored_width

    @property
    def chroma_shape(self) -> tuple[int, int]:
        """(rows, columns) of each chroma plane."""
        return (
            -(-self.stored_height >> self.chroma_shift_y),
            -(-self.stored_width >> self.chroma_shift_x),
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the three planes together, without padding."""
        rows, columns = self.chroma_shape
        samples = self.stored_width * self.stored_height + 2 * rows * columns
        return samples * (1 if self.bits == 8 else 2)


class Picture(NamedTuple):
    """Three planes, uint8 or uint16, rows may be padded: y (H, W), u and v of `format.chroma_shape`."""

    format: PictureFormat
    y: Plane
    u: Plane
    v: Plane


def grey_picture(side: int = 64) -> Picture:
    """A square picture without content, as most decoders would give it."""
    format = PictureFormat(side, side, 1, 1, 8, "bt709", full_range=False)
    chroma = np.full(format.chroma_shape, 128, np.uint8)
    return Picture(format, np.full((side, side), 128, np.uint8), chroma, chroma)


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded frame, or the place where one should have been."""

    index: int  # counts decoded frames from 0
    time_s: float  # pts * time_base, in the source's own clock
    t_capture_ns: int  # monotonic clock of this host when the frame was decoded
    t_wall_ns: int  # the same moment since 1970-01-01 UTC
    picture: Picture | None  # None: the decoder failed here (`decode_error`)


class TrackedFaces(NamedTuple):
    """The F faces of one frame, in the order of their track ids. Coordinates in pixels of the displayed picture."""

    track_ids: NDArray[np.int64]  # (F,) from 1
    score: Float32  # (F,) probability that this is a face, in [0, 1]
    landmarks: Float32  # (F, 478, 3) x, y in pixels, z in pixels towards the back of the head
    pose: Float32  # (F, 3) pitch, yaw, roll in degrees: up, the subject's right, tilt to the subject's right are +

    @property
    def boxes(self) -> Float32:
        """(F, 4) x0, y0, x1, y1: the bounding box of the landmarks."""
        return bounds(self.landmarks)


class AUEstimates(NamedTuple):
    """AUs of the F faces of one frame, in the order of `aus` of the encoder's card (a subset of `facs.CATALOGUE`)."""

    occurrence: Float32  # (F, A) probability in [0, 1]
    intensity: Float32  # (F, A) in [0, 5]; 1 is the occurrence threshold
    left: Float32  # (F, A) in [0, 5], the subject's left
    right: Float32  # (F, A) in [0, 5]


class Personal(NamedTuple):
    """What is known of the F persons of one frame, and their AUs relative to their own resting faces."""

    person_ids: list[str | None]  # (F,) None: not known
    states: list[BaselineState]  # (F,) of the baseline; AUs are calibrated where it is ready or fixed
    confidence: list[float]  # (F,) of the baseline, in [0, 1]
    calibrated: Float32  # (F, 2, A) intensity in [0, 5], left, right; as estimated where nothing is calibrated
    occurrence: Float32  # (F, A) probability in [0, 1]; follows the calibrated intensity where there is one
