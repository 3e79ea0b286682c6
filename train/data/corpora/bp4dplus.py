"""BP4D+ (MMSE, 2016): 140 subjects; the four coded ones of ten tasks, 12 AUs.

Layout as BP4D, with compact columns; pictures in `2D+3D/F001/T1/0731.jpg`, or videos `F001_T1.mp4`. The ids are reused:
F001 is not BP4D's F001.
"""

from pathlib import Path

from train.data.corpora.bp4d import Layout, read_layout
from train.data.corpora.build import Reading

TASKS = {
    "T1": ("joke", "happy"),
    "T6": ("silly song", "embarrassment"),
    "T7": ("dart game threat", "fear"),
    "T8": ("cold water", "physical pain"),
}
_SUBJECTS = tuple(f"F{i:03d}" for i in range(1, 83)) + tuple(f"M{i:03d}" for i in range(1, 59))
_LAYOUT = Layout(
    "BP4D+",
    _SUBJECTS,
    TASKS,
    ("2D+3D", "Sequences(2D+3D)"),
    {f"{s}_{task}": f"{s}_{task}" for s in _SUBJECTS for task in TASKS},
    (),
)


def read(root: Path, frame_offset: int = -1) -> Reading:
    """BP4D+ as delivered. Coded frame f is picture f + `frame_offset`.

    One public loader says that pictures count from 0 and codes from 1, hence -1; verify it on the delivered data.
    """
    return read_layout(root, _LAYOUT, frame_offset)
