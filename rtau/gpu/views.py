"""What the crop kernel is told of each face, and the samples it will read, packed for one upload.

Only the part of a picture that a crop can touch travels. The kernel is given the address where sample (0, 0) would lie
if all of the plane were there, so that it computes in coordinates of the whole picture.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rtau.crop import Triple, View, normalised_colour, to_stored
from rtau.structures import PictureFormat, Plane

_ALIGN = 16  # bytes; where each packed plane begins
_MARGIN = 4  # samples about the corners of a crop, more than sampling reaches

FACE = np.dtype(  # struct Face in crop.cu
    [
        *((plane, np.uint64) for plane in ("y", "u", "v")),
        ("luma_pitch", np.int32),
        ("chroma_pitch", np.int32),
        ("chroma_step", np.int32),
        ("sample_bytes", np.int32),
        ("width", np.int32),
        ("height", np.int32),
        ("shift_x", np.int32),
        ("shift_y", np.int32),
        ("transform", np.float32, (2, 3)),
        ("colour", np.float32, (3, 4)),
        ("low", np.float32, 3),
        ("high", np.float32, 3),
    ]
)


class Packed(NamedTuple):
    """A batch of crops, ready to be uploaded."""

    faces: NDArray[np.void]  # (F,) of FACE; plane addresses count from the first packed byte
    parts: list[tuple[int, Plane]]  # where each part of a plane goes among the packed bytes
    nbytes: int  # of all packed samples

    def write(self, target: NDArray[np.uint8]) -> None:
        """Copy the samples into (nbytes or more,) bytes."""
        for start, part in self.parts:
            target[start : start + part.nbytes].view(part.dtype).reshape(part.shape)[...] = part

    def placed(self, address: int) -> NDArray[np.void]:
        """The faces as the kernel takes them when the samples lie at `address` of its memory."""
        faces = self.faces.copy()
        for plane in ("y", "u", "v"):
            faces[plane] += np.uint64(address)  # modulo 2**64: offsets before the first packed byte are negative
        return faces


def pack(views: Sequence[View], size: tuple[int, int], mean: Triple, std: Triple) -> Packed:
    """The crops of `size` (width, height), normalised by `mean` and `std`, in the order of the views."""
    counts = [len(view.transforms) for view in views]
    kinds: dict[PictureFormat, int] = {}
    for view in views:
        kinds.setdefault(view.picture.format, len(kinds))
    kind = np.repeat([kinds[view.picture.format] for view in views], counts)
    faces = np.array([_of_format(format, mean, std) for format in kinds], FACE)[kind]
    turns = np.stack([to_stored(format) for format in kinds])[kind]
    linear = turns[:, :, :2] @ np.concatenate([view.transforms for view in views])
    linear[:, :, 2] += turns[:, :, 2]
    faces["transform"] = linear

    x0, y0, x1, y1 = _touched(linear, size, faces["width"], faces["height"])
    u0, v0 = x0 >> faces["shift_x"], y0 >> faces["shift_y"]
    u1, v1 = ((x1 - 1) >> faces["shift_x"]) + 1, ((y1 - 1) >> faces["shift_y"]) + 1
    luma_pitch, chroma_pitch = x1 - x0, u1 - u0
    sample = faces["sample_bytes"].astype(np.int64)
    luma, chroma = luma_pitch * (y1 - y0) * sample, chroma_pitch * (v1 - v0) * sample
    nbytes = -(-np.stack([luma, chroma, chroma], axis=1) // _ALIGN) * _ALIGN  # (F, 3)
    ends = np.cumsum(nbytes).reshape(-1, 3)
    starts = ends - nbytes
    faces["luma_pitch"], faces["chroma_pitch"] = luma_pitch, chroma_pitch
    skipped = np.stack([y0 * luma_pitch + x0, *[v0 * chroma_pitch + u0] * 2], axis=1)  # from sample (0, 0)
    for i, plane in enumerate(("y", "u", "v")):
        faces[plane] = (starts[:, i] - skipped[:, i] * sample).view(np.uint64)

    parts: list[tuple[int, Plane]] = []
    boxes = np.stack([x0, y0, x1, y1, u0, v0, u1, v1], axis=1).tolist()
    pictures = (view.picture for view, count in zip(views, counts, strict=True) for _ in range(count))
    for (_, y, u, v), (at_y, at_u, at_v), box in zip(pictures, starts.tolist(), boxes, strict=True):
        left, top, right, bottom, *chroma_box = box
        parts.append((at_y, y[top:bottom, left:right]))
        left, top, right, bottom = chroma_box
        parts += [(at_u, u[top:bottom, left:right]), (at_v, v[top:bottom, left:right])]
    return Packed(faces, parts, int(ends[-1, -1]))


def _of_format(format: PictureFormat, mean: Triple, std: Triple) -> NDArray[np.void]:
    """What the faces of all pictures of a format have in common."""
    face = np.zeros((), FACE)
    face["colour"], face["low"], face["high"] = normalised_colour(format, mean, std)
    face["sample_bytes"], face["chroma_step"] = 1 if format.bits == 8 else 2, 1
    face["width"], face["height"] = format.stored_width, format.stored_height
    face["shift_x"], face["shift_y"] = format.chroma_shift_x, format.chroma_shift_y
    return face


def _touched(
    transforms: NDArray[np.float64], size: tuple[int, int], width: NDArray[np.int32], height: NDArray[np.int32]
) -> tuple[NDArray[np.int64], ...]:
    """x0, y0, x1, y1, each (F,): the luma samples that crops of stored pictures can touch, never none."""
    corners = np.array([[0, 0], [size[0], 0], [0, size[1]], list(size)], dtype=np.float64)
    points = corners @ transforms[:, :, :2].swapaxes(1, 2) + transforms[:, None, :, 2]  # (F, 4, 2)
    end = np.stack([width, height], axis=1)
    low = np.clip(np.floor(points.min(axis=1)) - _MARGIN, 0, end - 1)
    high = np.clip(np.ceil(points.max(axis=1)) + _MARGIN, low + 1, end)
    return tuple(np.concatenate([low, high], axis=1).astype(np.int64).T)


def bucket_of(count: int, max_batch: int) -> int:
    """The batch size that `count` crops are filled up to: a power of two, or `max_batch`."""
    return min(1 << (count - 1).bit_length(), max_batch)
