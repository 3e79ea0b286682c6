"""RAF-DB, basic expressions: single pictures in seven classes.

`basic/EmoLabel/list_patition_label.txt` with lines `train_00001.jpg 5`, and the aligned pictures
`basic/Image/aligned/train_00001_aligned.jpg`, which are taken as they are.
"""

import re
from pathlib import Path

from train.data.corpora.build import Reading
from train.data.corpora.expressions import Still, stills
from train.data.corpora.index import CorpusError

LIST = "basic/EmoLabel/list_patition_label.txt"
_WORDS = {1: "surprise", 2: "fear", 3: "disgust", 4: "happiness", 5: "sadness", 6: "anger", 7: "neutral"}
_LINE = re.compile(r"((train|test)_(\d+))\.jpg\s+([1-7])")


def read(root: Path) -> Reading:
    """RAF-DB as delivered."""
    try:
        lines = (root / LIST).read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise CorpusError(f"{root / LIST}: {error.strerror}") from error
    problems, pictures, seen = list[str](), list[Still](), set[str]()
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line.strip())
        if match is None or match[1] in seen:
            if line.strip():
                why = "comes twice" if match else "expected `train_00001.jpg 5`"
                problems.append(f"{LIST}: line {number}: {why}: {line.strip()[:60]!r}")
            continue
        seen.add(match[1])
        path = f"basic/Image/aligned/{match[1]}_aligned.jpg"
        pictures.append(Still(path, match[2], int(match[3]), _WORDS[int(match[4])]))
    wanted = {still.path for still in pictures}
    found = (path.relative_to(root).as_posix() for path in sorted((root / "basic/Image/aligned").glob("*.jpg")))
    problems += [f"{path}: not in {LIST}" for path in found if path not in wanted]
    return Reading(stills("RAF-DB", root, pictures, problems), problems, [], cut="whole", follows=False)
