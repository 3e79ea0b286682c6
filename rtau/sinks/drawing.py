"""The result drawn on the picture: boxes, landmarks, head axes, and AU bars in a panel beside it."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from rtau.facs import CATALOGUE, OCCURRENCE_INTENSITY
from rtau.messages import AUFrame, FaceAUs, RunInfo
from rtau.sinks.pose import head_rotation
from rtau.sinks.spool import DrawnFrame
from rtau.structures import Float32

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]  # RGB

MAX_COLUMNS = 6  # faces whose AUs are shown at once; further ones get their box only
_MAX_NAME = 14  # letters
_MIN_HEIGHT = 300  # smaller pictures are enlarged until the panel can be read
_TRACKS: tuple[Colour, ...] = (
    (94, 201, 255), (255, 170, 70), (126, 217, 87), (255, 120, 150), (190, 150, 255), (245, 220, 80),
)  # fmt: skip
_GROUND, _LINE, _DIM, _TEXT, _FAINT_TEXT = (24, 26, 30), (52, 56, 63), (92, 98, 108), (225, 228, 232), (150, 155, 163)
_AXES: tuple[Colour, ...] = ((235, 80, 70), (90, 205, 90), (85, 140, 255))  # subject's left, up, forward
_FONT = cv2.FONT_HERSHEY_SIMPLEX


class Drawing:
    """Draws the frames of one run at one size, whatever is in them. `columns` faces get AU bars, at most 6."""

    def __init__(self, info: RunInfo, columns: int) -> None:
        self._zoom = max(1, math.ceil(_MIN_HEIGHT / info.source.height))
        self.picture_size = info.source.width * self._zoom, info.source.height * self._zoom  # width, height
        self._panel = _Panel(info.aus, self.picture_size[1], min(max(columns, 1), MAX_COLUMNS))
        width, height = self.picture_size
        self._picture_width = _even(width)
        self.size = _even(self._picture_width + self._panel.width), _even(max(height, self._panel.height))
        self._ground = np.full((*self.size[::-1], 3), _GROUND, np.uint8)
        self._seats = _Seats(self._panel.columns)

    def __call__(self, picture: Image, drawn: DrawnFrame) -> Image:
        """Picture (H, W, 3) RGB of `picture_size` -> (H', W', 3) RGB of one even size, the panel at its right."""
        canvas = self._ground.copy()
        height, width = picture.shape[:2]
        canvas[:height, :width] = picture
        seats = self._seats([face.track_id for face in drawn.frame.faces])
        for face, points in zip(drawn.frame.faces, drawn.points, strict=True):
            _draw_face(canvas[:height, :width], face, points, self._zoom)
        self._panel.draw(canvas[:, self._picture_width :], drawn.frame, seats)
        return canvas


class _Seats:
    """Which column of the panel shows which track: a face keeps its column while it stays."""

    def __init__(self, columns: int) -> None:
        self._tracks: list[int | None] = [None] * columns

    def __call__(self, track_ids: list[int]) -> dict[int, int]:
        """Column of every track that has one."""
        self._tracks = [track if track in track_ids else None for track in self._tracks]
        for track in track_ids:
            if track not in self._tracks and None in self._tracks:
                self._tracks[self._tracks.index(None)] = track
        return {track: column for column, track in enumerate(self._tracks) if track is not None}


class _Panel:
    """AU bars of up to 6 faces: the subject's right side to the left of the middle, as in the image."""

    def __init__(self, aus: tuple[str, ...], picture_height: int, columns: int) -> None:
        self.columns = columns
        known = {au.column: au for au in CATALOGUE}
        self._aus = [known[name] for name in aus]
        self._row = min(max(picture_height // (len(aus) + 3), 13), 34)  # pixels
        self.height = self._row * (len(aus) + 3)
        self._letter = max(7, round(self._row * 0.55))
        self._capital = _text_size("A", self._letter)[1]
        self._labels = [f"{au.column} {au.name}" for au in self._aus]
        self._names = max((_text_width(label, self._letter) for label in self._labels), default=0)
        self._half = round(self._row * (3.6 if columns <= 2 else 2.4))  # length of a bar of intensity 5
        self._column = 2 * self._half + _text_width("5.0", self._letter) + 2 * self._row
        self.width = self._row + self._names + columns * self._column + self._row // 2

    def draw(self, area: Image, frame: AUFrame, seats: dict[int, int]) -> None:
        """Onto the panel's area (H, width, 3)."""
        row = self._row
        self._write(area, f"frame {frame.frame_index}", row // 2, 0, _TEXT)
        self._write(area, f"{frame.time_s:.3f} s", row // 2, 1, _FAINT_TEXT)
        for i, label in enumerate(self._labels):
            self._write(area, label, row // 2, i + 3, _TEXT)
        shown = {seats[face.track_id]: face for face in frame.faces if face.track_id in seats}
        for column in range(self.columns):
            middle = row + self._names + column * self._column + row // 2 + self._half
            self._draw_scale(area, middle)
            if column in shown:
                self._draw_column(area, shown[column], middle)
        if frame.reason:
            self._write(area, frame.reason.replace("_", " "), row + self._names + row // 2, 0, _FAINT_TEXT)

    def _draw_scale(self, area: Image, middle: int) -> None:
        top, bottom = 3 * self._row, (3 + len(self._aus)) * self._row
        for value in (0, 1, 5):
            for x in {middle - self._length(value), middle + self._length(value)}:
                cv2.line(area, (x, top), (x, bottom), _DIM if value == 0 else _LINE, 1)
        for side, x in (("R", middle - self._half), ("L", middle + self._half - _text_width("L", self._letter))):
            self._write(area, side, x, 2, _FAINT_TEXT)

    def _draw_column(self, area: Image, face: FaceAUs, middle: int) -> None:
        colour = _colour(face.track_id)
        self._write(area, _name(face), middle - self._half, 0, colour)
        if face.low_quality:
            self._write(area, "low quality", middle - self._half, 1, _FAINT_TEXT)
        thick = max(2, self._row // 2)
        left, right = face.calibrated_left or face.left, face.calibrated_right or face.right
        for i, au in enumerate(self._aus):
            y = (i + 3) * self._row + (self._row - thick) // 2
            for value, sign in ((right[i], -1), (left[i], 1)):
                present = value >= OCCURRENCE_INTENSITY and not face.low_quality
                gap = 1 if au.sided else 0
                ends = sorted((middle + sign * gap, middle + sign * (gap + self._length(value))))
                if ends[1] - ends[0] >= 1:
                    cv2.rectangle(area, (ends[0], y), (ends[1], y + thick - 1), colour if present else _DIM, -1)
            strong = face.shown[i] >= OCCURRENCE_INTENSITY and not face.low_quality
            x = middle + self._half + self._row // 2
            self._write(area, f"{face.shown[i]:.1f}", x, i + 3, _TEXT if strong else _FAINT_TEXT)

    def _length(self, intensity: float) -> int:
        return round(min(max(intensity, 0.0), 5.0) / 5 * self._half)

    def _write(self, area: Image, text: str, x: int, row: int, colour: Colour) -> None:
        baseline = row * self._row + (self._row + self._capital) // 2
        _write(area, text, (x, baseline), self._letter, colour)


def _draw_face(picture: Image, face: FaceAUs, points: Float32, zoom: int) -> None:
    colour = _colour(face.track_id)
    x0, y0, x1, y1 = (round(edge * zoom) for edge in face.box)
    side = max(x1 - x0, y1 - y0)
    thick = 1 if side < 200 else 2
    if side >= 70:  # on smaller faces the points would hide what they mark
        _draw_points(picture, points * zoom, 1 + (side >= 160) + (side >= 480), colour)
    cv2.rectangle(picture, (x0, y0), (x1, y1), colour, thick, cv2.LINE_AA)
    nose = points[1] * zoom if len(points) else np.array([(x0 + x1) / 2, (y0 + y1) / 2])
    _draw_axes(picture, face, nose, side * 0.45, thick)
    letter = min(max(10, side // 14), 26)
    label = _name(face)
    top = y0 - letter * 3 // 2 if y0 >= letter * 3 // 2 else y0
    cv2.rectangle(picture, (x0, top), (x0 + _text_width(label, letter) + letter, top + letter * 3 // 2), colour, -1)
    _write(picture, label, (x0 + letter // 2, top + letter * 5 // 4), letter, _GROUND)


def _name(face: FaceAUs) -> str:
    """The person as far as the font knows the letters, or the track's number."""
    known = (face.person_id or "").encode("ascii", "replace").decode()[:_MAX_NAME]
    return known or f"#{face.track_id}"


def _draw_points(picture: Image, points: Float32, size: int, colour: Colour) -> None:
    """Squares of `size` pixels, slightly transparent."""
    height, width = picture.shape[:2]
    corners = np.floor(points - (size - 1) / 2).astype(int)
    for dx in range(size):
        for dy in range(size):
            x, y = corners[:, 0] + dx, corners[:, 1] + dy
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            x, y = x[inside], y[inside]
            picture[y, x] = (picture[y, x] * 0.2 + np.array(colour) * 0.8).astype(np.uint8)


def _draw_axes(picture: Image, face: FaceAUs, origin: NDArray[np.floating], length: float, thick: int) -> None:
    """The head's own axes from the tip of the nose: red to the subject's left, green up, blue forward."""
    rotation = head_rotation(face.pose)
    start = (round(float(origin[0])), round(float(origin[1])))
    for axis, colour in zip((rotation[:, 0], -rotation[:, 1], -rotation[:, 2]), _AXES, strict=True):
        end = (round(float(origin[0] + length * axis[0])), round(float(origin[1] + length * axis[1])))
        cv2.line(picture, start, end, colour, thick, cv2.LINE_AA)


def _write(image: Image, text: str, baseline: tuple[int, int], height: int, colour: Colour) -> None:
    """Text whose capitals are `height` pixels high, from the left end of its baseline."""
    thick = 1 if height < 16 else 2
    cv2.putText(image, text, baseline, _FONT, _scale(height, thick), colour, thick, cv2.LINE_AA)


def _text_width(text: str, height: int) -> int:
    return _text_size(text, height)[0]


def _text_size(text: str, height: int) -> tuple[int, int]:
    """Width and height in pixels above the baseline."""
    thick = 1 if height < 16 else 2
    width, above = cv2.getTextSize(text, _FONT, _scale(height, thick), thick)[0]
    return int(width), int(above)


def _scale(height: int, thick: int) -> float:
    return cv2.getFontScaleFromHeight(_FONT, height, thick)


def _colour(track_id: int) -> Colour:
    return _TRACKS[(track_id - 1) % len(_TRACKS)]


def _even(length: int) -> int:
    return length + length % 2
