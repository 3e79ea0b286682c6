"""The figures that the first version promises, on material that no training saw.

`python -m train evaluate --write docs/evaluation.md`
"""

import datetime
import os
import platform
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import get_args

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from rtau.align import inter_ocular
from rtau.boxes import bounds
from rtau.config import SourceConfig
from rtau.crop import to_rgb
from rtau.decode import Decode
from rtau.models import Role, load_artifact
from train.data.photos import BLENDSHAPES, LabelledFace
from train.data.pseudo_labels import LADDERS
from train.data.split import material
from train.evaluation import rendered
from train.evaluation.coded import coded_faces, coding_of
from train.evaluation.figure import Figure
from train.evaluation.identity import identities
from train.evaluation.runner import Runner, Seen, found_faces, intensities
from train.evaluation.small_faces import small_faces

Float32 = NDArray[np.float32]

ONE_FACE = (
    "pexels_langer_expressions.mp4",
    *(f"crema_1001_DFA_{emotion}_XX.flv" for emotion in ("ANG", "DIS", "FEA", "HAP", "NEU", "SAD")),
    "pyfeat_single_face.mp4",
    "pyfeat_face_noface.mov",
    "pyfeat_noface_face.mov",
)
_MIXED = ("pyfeat_face_noface.mov", "pyfeat_noface_face.mov")
_COMPARED = {  # AUs that the teacher sees well, and the correlation aimed at
    "AU01": 0.65, "AU02": 0.65, "AU04": 0.80, "AU10": None, "AU12": 0.85, "AU25": 0.88, "AU43": 0.90,
}  # fmt: skip
_EMOTIONS = {  # of the CREMA clips: AUs of which one at least must rise against neutral, or all where joined
    "ANG": ("anger", (("AU04",),)),
    "DIS": ("disgust", (("AU09", "AU10"),)),
    "FEA": ("fear", ()),
    "HAP": ("happiness", (("AU06",), ("AU12",))),
    "SAD": ("sadness", (("AU01", "AU04"),)),
}
_TOLD = 16  # AUs that the coding must tell of a face that counts as one without any
_TARGETS = "Targets"
_RISE = 0.1  # of 5, from which an AU counts as raised


def report(diagram: Path | None = None, *, update_cards: bool = False) -> str:
    """All figures as Markdown.

    `diagram`: where the reliability diagrams go; `update_cards`: the cards of the models take their figures over.
    """
    started = time.perf_counter()
    runner = Runner()
    clips = {name: (runner.frames(material() / "media" / name), Teacher(name)) for name in ONE_FACE}
    photos = list(runner.photos("evaluation", start="ff_"))
    sections = {
        _TARGETS: [*photo_targets(photos), *clip_targets(clips), *walking(runner), *empty(runner), *smiles(runner)],
        "Small faces": small_faces(runner),
        "AUs on the evaluation clips": [*against_teacher(runner, clips), *emotions(runner, clips)],
        "Real faces coded by eye": coded_faces(runner, photos, {name: seen for name, (seen, _) in clips.items()}),
        "Calm faces": calm(photos, runner.aus),
        "Mirror": flips(runner),
        "Identity": identities(runner),
        "Groups of people": groups(photos),
    }
    missing = f"not measured: {rendered.FOLDER} is missing (python -m train render --split test)"
    sections["Rendered people that no training saw"] = [Figure(missing, "")]
    if rendered.FOLDER.is_dir():
        estimates = rendered.estimate(runner, rendered.FOLDER)
        sections["Rendered people that no training saw"] = rendered.figures(estimates)
        if diagram is not None:
            rendered.draw_reliability(estimates, diagram)
        if update_cards:
            _update_cards(sections, estimates)
    minutes = (time.perf_counter() - started) / 60
    weights = ", ".join(f"{card.name} {card.version} ({card.sha256[:8]})" for card in runner.weights.values())
    today = datetime.date.today().isoformat()
    lines = [
        f"Measured {today} by `python -m train evaluate --write docs/evaluation.md` on {os.cpu_count()} cores of an "
        f"{platform.machine()} CPU in {minutes:.0f} min, engine openvino-cpu, weights {weights}. The material "
        "is listed in `train/data/split.py`; no training saw any of it, where it is not called validation: of those "
        "photos the AU encoder's recipe knows how far our landmarks err. It has no labels of certified FACS "
        "coders: it was coded by eye ([coding.md](coding.md)), and the teacher is MediaPipe Face Landmarker. "
        "Agreement with either is not the truth.",
    ]
    for title, rows in sections.items():
        lines += ["", f"### {title}", "", "| what | measured | target | reached |", "|---|---|---|---|"]
        for figure in rows:
            mark = {True: "yes", False: "**no**", None: ""}[figure.reached]
            lines.append(f"| {figure.what} | {figure.value} | {figure.target} | {mark} |")
    if diagram is not None and diagram.exists():
        lines += ["", f"![Reliability of each AU's probability on rendered people]({diagram.name})"]
    return "\n".join(lines) + "\n"


def _update_cards(sections: dict[str, list[Figure]], estimates: rendered.Estimates) -> None:
    """Put each model's figures into its card, and into the AU encoder's those of each AU on rendered people."""
    scores = rendered.scores(estimates)
    for role in get_args(Role):
        artifact = load_artifact("default", role)
        found = {
            figure.what if title == _TARGETS else f"{title}: {figure.what}": figure.verdict
            for title, figures in sections.items()
            for figure in figures
            if figure.of == role and figure.what not in scores
        }
        card = msgspec.structs.replace(artifact.card, evaluation=found)
        if role == "au":
            own = {name: value for name, value in card.metrics.items() if not name.startswith("pipeline_renders_")}
            card = msgspec.structs.replace(card, metrics=own | rendered.card_metrics(scores))
        (artifact.folder / "card.yaml").write_bytes(msgspec.yaml.encode(card))


class Teacher:
    """The teacher's track of one clip."""

    def __init__(self, clip: str) -> None:
        data = np.load(material() / "media" / "teacher" / f"{clip}.npz", allow_pickle=False)
        width, height = data["size_wh"]
        self.detected: NDArray[np.bool_] = data["detected"]  # (T, F)
        scale = np.array([width, height, width], np.float32)
        self.landmarks: Float32 = data["landmarks"].astype(np.float32) * scale  # (T, F, 478, 3)
        self.blendshapes: Float32 = data["blendshapes"].astype(np.float32)  # (T, F, 52)

    def box(self, t: int, f: int = 0) -> Float32:
        return bounds(self.landmarks[t, f])

    def score(self, au: str) -> NDArray[np.float64]:
        """(T,) the teacher's measure nearest to an AU; NaN where it saw no face."""
        if au == "AU25":
            gap = np.linalg.norm(self.landmarks[:, 0, 13, :2] - self.landmarks[:, 0, 14, :2], axis=-1)
            return np.asarray(gap / inter_ocular(self.landmarks[:, 0]))
        name = LADDERS[au][0]
        sides = [i for i, shape in enumerate(BLENDSHAPES) if shape in (name, f"{name}Left", f"{name}Right")]
        return np.asarray(self.blendshapes[:, 0, sides].max(axis=-1), dtype=np.float64)


Clips = dict[str, tuple[list[Seen], Teacher]]
Photos = list[tuple[LabelledFace, Seen]]


def photo_targets(photos: Photos) -> list[Figure]:
    """Detection and landmarks on the held-out tenth of FairFace."""
    found: dict[str, list[bool]] = defaultdict(list)
    error: dict[str, list[float]] = defaultdict(list)
    pose: list[Float32] = []
    for photo, seen in photos:
        i = seen.match(bounds(photo.landmarks))
        groups = ["all", *(photo.attributes[kind] for kind in ("race", "gender", "age"))]
        for group in groups:
            found[group].append(i is not None)
        if i is None:
            continue
        distance = np.linalg.norm(seen.faces.landmarks[i, :, :2] - photo.landmarks[:, :2], axis=-1).mean()
        yaw = abs(photo.pose[1])
        band = "frontal" if yaw < 30 else "30 to 45" if yaw < 45 else "beyond 45"
        error[band].append(float(distance / inter_ocular(photo.landmarks)))
        pose.append(np.abs(seen.faces.pose[i] - photo.pose))
    share, frontal = float(np.mean(found["all"])), float(np.mean(error["frontal"]))
    off = np.mean(pose, axis=0)
    by_group = ", ".join(
        f"{name} {np.mean(hits):.0%} of {len(hits)}" for name, hits in sorted(found.items()) if name != "all"
    )
    bands = ", ".join(f"{band} {np.mean(e):.1%} ({len(e)})" for band, e in error.items() if band != "frontal")
    return [
        Figure(
            f"FairFace, face found, {len(found['all'])} photos", f"{share:.1%}", ">= 97 %", share >= 0.97, "detector"
        ),
        Figure(
            f"landmarks to the teacher / inter-ocular distance, |yaw| < 30° ({len(error['frontal'])} photos)",
            f"{frontal:.2%}", "<= 4 %", frontal <= 0.04, "landmarks",
        ),
        Figure("the same by yaw", bands, of="landmarks"),
        Figure(
            "mean difference to the teacher's pitch, yaw, roll", ", ".join(f"{v:.1f}°" for v in off), of="landmarks"
        ),
        Figure("found by group", by_group, of="detector"),
    ]  # fmt: skip


def clip_targets(clips: Clips) -> list[Figure]:
    """Share of the teacher's frames in which we have the face; faces that are none."""
    figures = []
    hits = total = 0
    for name, (seen, teacher) in clips.items():
        frames = [t for t in range(min(len(seen), len(teacher.detected))) if teacher.detected[t, 0]]
        found = sum(seen[t].match(teacher.box(t)) is not None for t in frames)
        hits, total = hits + found, total + len(frames)
        if found < len(frames):
            figures.append(Figure(f"of these {name}", f"{found} of {len(frames)}", of="detector"))
    share = hits / total
    figures.insert(0, Figure(
        f"one-face clips, face found, {total} frames", f"{share:.2%}", ">= 99 %", share >= 0.99, "detector"
    ))  # fmt: skip
    free = false = 0
    for seen, teacher in (clips[name] for name in _MIXED):
        for t, frame in enumerate(seen):
            if t < len(teacher.detected) and not teacher.detected[t].any():
                free, false = free + 1, false + len(frame.faces.track_ids)
    figures.append(Figure(
        f"false faces in the {free} face-free frames of the mixed clips", f"{100 * false / free:.2f} a 100 frames",
        "<= 1", false / free <= 0.01, "detector",
    ))  # fmt: skip
    others = sum(
        len(frame.faces.track_ids) - (frame.match(teacher.box(t)) is not None)
        for seen, teacher in clips.values()
        for t, frame in enumerate(seen)
        if t < len(teacher.detected) and teacher.detected[t, 0]
    )
    figures.append(
        Figure("faces beside the teacher's in the one-face clips", f"{others} in {total} frames", of="detector")
    )
    return figures


def walking(runner: Runner) -> list[Figure]:
    """Three people walking up; the teacher misses most. Counted: faces a frame; a sheet to look at lies in runs/."""
    name = "intel_walking_three.mp4"
    seen, teacher = runner.frames(material() / "media" / name), Teacher(name)
    counts = np.array([len(frame.faces.track_ids) for frame in seen])
    shares = [float((counts >= n).mean()) for n in (1, 2, 3)]
    pairs = [(t, f) for t, f in zip(*np.nonzero(teacher.detected), strict=True) if t < len(seen)]
    matched = sum(seen[t].match(teacher.box(t, f)) is not None for t, f in pairs)
    _contact_sheet(material() / "media" / name, seen, Path("runs") / "walking_three.png")
    return [
        Figure(
            "walking_three, at least one / two / three faces", " / ".join(f"{share:.0%}" for share in shares),
            "> 32 / 27 / 0 %", shares[0] > 0.32 and shares[1] > 0.27 and shares[2] > 0, "detector",
        ),
        Figure("walking_three, the teacher's faces found", f"{matched} of {len(pairs)}", of="detector"),
    ]  # fmt: skip


def empty(runner: Runner) -> list[Figure]:
    """The clip without any face."""
    seen = runner.frames(material() / "media" / "pyfeat_no_face.mp4")
    false = sum(len(frame.faces.track_ids) for frame in seen)
    return [Figure(f"faces in pyfeat_no_face, {len(seen)} frames", str(false), "0", false == 0, "detector")]


def smiles(runner: Runner) -> list[Figure]:
    """AU12 and AU6 on posed smiles against posed neutral faces of the same people."""
    a = runner.aus.index("AU12")
    cheek = runner.aus.index("AU06") if "AU06" in runner.aus else None
    ours: list[tuple[float, float, float, bool, str]] = []
    for photo, seen in runner.photos("evaluation", start="london_"):
        i = seen.match(bounds(photo.landmarks))
        teacher = photo.blendshapes[[BLENDSHAPES.index("mouthSmileLeft"), BLENDSHAPES.index("mouthSmileRight")]].mean()
        value = 0.0 if i is None else float(seen.aus.intensity[i, a])
        raised = 0.0 if i is None or cheek is None else float(seen.aus.intensity[i, cheek])
        group = f"{photo.attributes['ethnicity']} {photo.attributes['gender']}"
        ours.append((value, raised, float(teacher), photo.attributes["posed"] == "smile", group))
    scores, cheeks, theirs, smiling = (np.array(column) for column in list(zip(*ours, strict=True))[:4])
    of_cheeks = roc_auc_score(smiling, cheeks)
    area, reference = roc_auc_score(smiling, scores), roc_auc_score(smiling, theirs)
    groups = []
    for group in sorted({row[4] for row in ours}):
        some = np.array([row[4] == group for row in ours])
        groups.append(f"{group} {roc_auc_score(smiling[some], scores[some]):.2f} ({int(some.sum())})")
    return [
        Figure(
            f"London, AU12 smile against neutral, ROC-AUC, {len(ours)} photos", f"{area:.3f}", ">= 0.96", area >= 0.96
        ),
        Figure(
            "London, AU6 smile against neutral, ROC-AUC",
            "not estimated" if cheek is None else f"{of_cheeks:.3f}",
            ">= 0.95",
            cheek is not None and of_cheeks >= 0.95,
        ),
        Figure("the teacher's mouthSmile on the same photos", f"{reference:.3f}"),
        Figure(
            "London, mean AU12 intensity smiling / neutral",
            f"{scores[smiling].mean():.2f} / {scores[~smiling].mean():.2f}",
        ),
        Figure("the same by group", ", ".join(groups)),
    ]


def against_teacher(runner: Runner, clips: Clips) -> list[Figure]:
    """Correlation with the teacher's measure over all frames of the one-face clips together.

    Of frames that were coded by eye, too: how the teacher's measure and ours correlate with that.
    """
    figures = []
    match = {
        name: [
            one.match(teacher.box(t)) if teacher.detected[t, 0] else None
            for t, one in enumerate(seen[: len(teacher.detected)])
        ]
        for name, (seen, teacher) in clips.items()
    }
    coding = coding_of([f"{name}:{t}:0" for name, index in match.items() for t in range(len(index))])
    for au, target in _COMPARED.items():
        a, ours, theirs = runner.aus.index(au), list[NDArray[np.float64]](), list[NDArray[np.float64]]()
        for name, (seen, teacher) in clips.items():
            ours.append(intensities(seen[: len(match[name])], a, match[name]))
            theirs.append(teacher.score(au)[: len(match[name])])
        x, y, coded = np.concatenate(ours), np.concatenate(theirs), coding[:, a]
        both = np.isfinite(x) & np.isfinite(y)
        measure = "inner-lip gap" if au == "AU25" else LADDERS[au][0]
        r = _correlation(x[both], y[both])
        goal, reached = ("", None) if target is None else (f">= {target}", r >= target)
        figures.append(Figure(f"{au} with the teacher's {measure}, r", f"{r:.2f}", goal, reached))
        all_three = both & np.isfinite(coded)
        with_coding = ", ".join(f"{_correlation(each[all_three], coded[all_three]):.2f}" for each in (x, y))
        figures.append(
            Figure(f"{au} in {all_three.sum()} frames coded by eye, r of ours, of the teacher's", with_coding)
        )
    return figures


def _correlation(x: NDArray[np.floating], y: NDArray[np.floating]) -> float:
    return float(np.corrcoef(x, y)[0, 1])


def emotions(runner: Runner, clips: Clips) -> list[Figure]:
    """One actor: mean intensity in each emotion minus neutral."""

    def mean(emotion: str) -> NDArray[np.float64]:
        seen, _ = clips[f"crema_1001_DFA_{emotion}_XX.flv"]
        return np.asarray(np.mean([frame.aus.intensity[0] for frame in seen if len(frame.aus.intensity)], axis=0))

    neutral, figures = mean("NEU"), []
    for emotion, (word, wanted) in _EMOTIONS.items():
        change = dict(zip(runner.aus, mean(emotion) - neutral, strict=True))
        strongest = sorted(change, key=lambda au: -change[au])[:4]
        named = dict.fromkeys([*strongest, *(au for either in wanted for au in either if au in change)])
        text = ", ".join(f"{au} {change[au]:+.1f}" for au in named)
        goal = " and ".join(" or ".join(either) for either in wanted)
        reached = all(any(change.get(au, 0.0) >= _RISE for au in either) for either in wanted) if wanted else None
        figures.append(Figure(f"CREMA, {word} minus neutral", text, f"{goal} rises" if goal else "", reached))
    return figures


def calm(photos: Photos, aus: tuple[str, ...]) -> list[Figure]:
    """Held-out FairFace photos without an expression, by the teacher's shapes and by eye: nothing should be strong."""
    limits = {
        "mouthSmile": 0.15,
        "jawOpen": 0.05,
        "browDown": 0.35,
        "browInnerUp": 0.15,
        "eyeBlink": 0.4,
        "mouthPucker": 0.2,
    }
    highest = np.array([limits.get(name.removesuffix("Left").removesuffix("Right"), np.inf) for name in BLENDSHAPES])
    faces, found = found_faces(photos)
    calm_to_teacher = (np.stack([face.blendshapes for face in faces]) <= highest.astype(np.float32)).all(axis=1)
    coded = coding_of([face.name for face in faces])
    nothing_coded = (np.isfinite(coded).sum(axis=1) >= _TOLD) & ~(coded >= 1).any(axis=1)
    figures = []
    for who, chosen in (
        ("calm by six of the teacher's shapes", calm_to_teacher),
        ("in which the coding by eye has no AU", nothing_coded),
    ):
        means, truth = found.intensity[chosen].mean(axis=0), np.nanmean(coded[chosen], axis=0)
        worst = float(means.max())
        figures += [
            Figure(
                f"mean intensity on {chosen.sum()} FairFace photos {who}, largest",
                f"{worst:.2f}",
                "<= 0.5",
                worst <= 0.5,
            ),
            Figure(f"by AU, {who}", _by_au(aus, means)),
            Figure(f"as coded by eye, {who}", _by_au(aus, truth)),
        ]
    groups = defaultdict(list)
    for i in np.flatnonzero(calm_to_teacher):
        for kind in ("race", "gender", "age"):
            groups[faces[i].attributes[kind]].append(float(found.intensity[i].mean()))
    by_group = ", ".join(f"{name} {np.mean(values):.2f} ({len(values)})" for name, values in sorted(groups.items()))
    return [*figures, Figure("mean over all AUs by group, of those calm by the teacher's shapes", by_group)]


def _by_au(aus: tuple[str, ...], values: NDArray[np.floating]) -> str:
    return ", ".join(f"{au[2:]} {value:.2f}" for au, value in zip(aus, values, strict=True))


def groups(photos: Photos) -> list[Figure]:
    """Held-out FairFace by race, gender and age group: how far our intensities are from what was coded by eye."""
    faces, found = found_faces(photos)
    off = np.abs(found.intensity - coding_of([face.name for face in faces]))
    figures = [Figure("mean difference to the intensity coded by eye (0-5), all AUs", f"{np.nanmean(off):.2f}")]
    for kind in ("race", "gender", "age"):
        members = np.array([face.attributes[kind] for face in faces])
        text = ", ".join(
            f"{m} {np.nanmean(off[members == m]):.2f} ({(members == m).sum()})" for m in sorted({*members})
        )
        figures.append(Figure(f"the same by {kind}", text))
    return figures


def flips(runner: Runner) -> list[Figure]:
    """Mirrored photos: left and right change places."""
    straight = {photo.name: (photo, seen) for photo, seen in runner.photos("evaluation", start="london_")}
    differences, turns = [], []
    for photo, mirrored in runner.photos("evaluation", start="london_", mirror=True):
        _, seen = straight[photo.name]
        if len(seen.faces.track_ids) and len(mirrored.faces.track_ids):
            differences.append(np.abs(seen.aus.left[0] - mirrored.aus.right[0]).mean())
            differences.append(np.abs(seen.aus.right[0] - mirrored.aus.left[0]).mean())
            turns.append(abs(seen.faces.pose[0, 1] + mirrored.faces.pose[0, 1]))
    mean = float(np.mean(differences))
    return [
        Figure(
            "left against mirrored right, mean difference of intensity (0-5)", f"{mean:.3f}", "<= 0.05", mean <= 0.05
        ),
        Figure("yaw against mirrored yaw, mean difference", f"{np.mean(turns):.1f}°", of="landmarks"),
    ]


def _contact_sheet(path: Path, seen: Iterable[Seen], out: Path) -> None:
    """All found faces, a row a frame, to check by eye."""
    rows = []
    with Decode(SourceConfig(path=str(path))) as decode:
        for frame, found in zip(decode, seen, strict=True):
            assert frame.picture is not None
            rgb = np.ascontiguousarray(to_rgb(frame.picture))
            for box in found.faces.boxes:
                x0, y0, x1, y1 = (round(float(value)) for value in box)
                cv2.rectangle(rgb, (x0, y0), (x1, y1), (0, 255, 0), 1)
            rows.append(rgb[::1, ::1])
    columns = 6
    rows += [np.zeros_like(rows[0])] * (-len(rows) % columns)
    sheet = np.vstack([np.hstack(rows[i : i + columns]) for i in range(0, len(rows), columns)])
    out.parent.mkdir(exist_ok=True)
    cv2.imwrite(str(out), sheet[..., ::-1])
