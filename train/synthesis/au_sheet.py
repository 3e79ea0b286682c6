"""One sheet to look at: every Action Unit alone, at rest and at three intensities, on several people side by side.

`python -m train au-sheet --out docs/renders_aus.jpg`
"""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rtau.facs import CATALOGUE
from train.synthesis.expression import Drawn
from train.synthesis.person import Person, make_person
from train.synthesis.picture import Renderer
from train.synthesis.sample import picture
from train.synthesis.scene import draw_scene, posed
from train.synthesis.seeds import generator

UInt8 = NDArray[np.uint8]

LEVELS = (0.0, 1.0, 3.0, 5.0)
DATASET = 9  # seed of the people on sheets; no split has it
_MARGIN = 44  # pixels left of the rows, for their names
_DRAWN = 160  # pixels a picture is rendered with


def au_sheet(renderer: Renderer, path: Path, persons: list[int], tile: int, aus: tuple[int, ...] = ()) -> None:
    """Write the sheet; one row an AU (all of the catalogue unless `aus` names some), `tile` pixels a picture."""
    shown = [unit for unit in CATALOGUE if not aus or unit.number in aus]
    people = [make_person(renderer.head, DATASET, number) for number in persons]
    rows = []
    for unit in shown:
        name = np.full((tile, _MARGIN, 3), 255, np.uint8)
        cv2.putText(name, f"AU{unit.number}", (2, tile // 2), cv2.FONT_HERSHEY_SIMPLEX, 0.42, (0, 0, 0), 1, cv2.LINE_AA)
        rows.append(np.hstack([name, *(_tile(renderer, p, unit.number, at, tile) for p in people for at in LEVELS)]))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = np.vstack(rows)
    options = [cv2.IMWRITE_JPEG_QUALITY, 82] if path.suffix.lower() in (".jpg", ".jpeg") else []
    try:
        written = cv2.imwrite(str(path), sheet, options)
    except cv2.error as error:  # no such format
        raise OSError(f"{path}: cannot be written; name a .jpg or .png") from error
    if not written:
        raise OSError(f"{path}: cannot be written")


def _tile(renderer: Renderer, person: Person, au: int, intensity: float, tile: int) -> UInt8:
    dataset, who = person.seed
    size = max(2 * tile, _DRAWN)
    scene = posed(draw_scene(generator("scene", dataset, who, 0), size, person.shine, frontal=True), (0.0, 0.0, 0.0))
    asked = {au: intensity} if intensity else {}
    drawn = Drawn(asked, asked, (0.0, 0.0), (0.0, 0.0), (0.0, 0.0), lips_shut=False)
    sample = picture(renderer, person, drawn, scene, 0, take=0, frontal=True, covered=False)
    image = cv2.imdecode(np.frombuffer(sample.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    low, high = sample.landmarks[:, :2].min(axis=0), sample.landmarks[:, :2].max(axis=0)
    half = 0.55 * float((high - low).max())
    (x0, y0), (x1, y1) = (np.clip((low + high) / 2 + step, 0, size).astype(int) for step in (-half, half))
    image = image[y0:y1, x0:x1]
    return np.asarray(cv2.resize(image, (tile, tile), interpolation=cv2.INTER_AREA), dtype=np.uint8)
