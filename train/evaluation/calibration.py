"""What the neutral baseline and the identities are worth, on people that no training saw.

`python -m train calibration-study --write docs/calibration.md`
"""

import datetime
import itertools
import os
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, roc_curve

from calibration.baseline import CALM, CALM_ENROLLED, calibrated, estimate
from calibration.gallery import Index
from calibration.profile import Profile, to_bytes
from calibration.recognise import EVERY_S, KNOWN_S, Recogniser
from train.data.photos import load_photos, photo_files
from train.data.split import material, part_of_clip
from train.evaluation.agreement import icc31
from train.evaluation.figure import Figure
from train.evaluation.sessions import FPS, KINDS, SECONDS, SMILING, Look, Looker, Session, read_session, render_sessions
from train.synthesis.assets import assets_folder, load_head
from train.synthesis.picture import Renderer
from train.synthesis.shards import SPLIT_SEEDS

Float32 = NDArray[np.float32]
People = dict[int, dict[str, Session]]

FIRST_PERSON = 200  # of the test split: no other command renders these
LEARNT_S = 120.0  # the frames after this time are evaluated, the same for every row
WINDOWS_S = (5, 30, 120)  # how long a baseline was learnt before
_SHOWN = 0.01  # AUs that are present in a smaller share of the frames are left out
_DRAWS = 500  # of persons, for intervals
_ONE_PERSON = (
    "grid_", "crema_1001_DFA_NEU", "intel_asl", "intel_headpose_male", "pexels_langer", "pyfeat_single_face.mp4",
)  # fmt: skip


class Row(NamedTuple):
    """One way to read intensities, over the evaluated frames of all people."""

    name: str
    f1: Float32  # (A,) NaN where an AU is left out
    icc: Float32
    drawn: Float32  # (_DRAWS,) mean F1 of random draws of the people


def report(folder: Path, persons: int, progress: Callable[[str], None] = lambda line: None) -> str:
    """All figures as Markdown. Clips are rendered into `folder` where they are missing."""
    started = time.process_time()
    numbers = range(FIRST_PERSON, FIRST_PERSON + persons)
    render_sessions(folder, Renderer(load_head(assets_folder())), SPLIT_SEEDS["test"], numbers, progress)
    looker = Looker()
    people: People = {}
    for number in numbers:
        people[number] = {kind: read_session(folder, looker, number, kind) for kind in KINDS}
        progress(f"person {number} read")
    lines = [
        f"Measured {datetime.date.today().isoformat()} by `python -m train calibration-study --write "
        f"docs/calibration.md` on {os.cpu_count()} cores of an {platform.machine()} CPU, weights rtau-au "
        f"{looker.aus.card.sha256[:8]}, rtau-identity {looker.identities.card.sha256[:8]}.",
        "",
        f"### Baseline: {persons} rendered people with marked resting faces, no training saw them",
        "",
        f"Sessions of {SECONDS:.0f} s at {FPS:g} pictures a second of their time, in a light of their own each; all "
        f"rows are read from the same frames after {LEARNT_S:.0f} s. F1 (presence from 1) and ICC(3,1) of the "
        f"intensity are means over the AUs that at least {_SHOWN:.0%} of the frames show; in brackets the range of "
        "95 % of random draws of the people. The running median is that of all frames so far, subtracted, as OpenFace "
        "does; it goes on learning in the evaluated frames, ours does not.",
    ]
    for kind, title in (("normal", "half of the time at rest"), ("smiling", f"{SMILING:.0%} of the time smiling")):
        rows = baseline_rows(people, kind)
        lines += ["", f"#### {title.capitalize()}", "", *_table(rows), "", _by_au(rows, looker.aus.card.aus)]
    (smiling, neutral), seen = london(looker), talkers(looker)
    sections = {
        "Identity": [*photographs(smiling, neutral), *clips(looker, seen), *rendered(people)],
        "Recognition": [
            *recognition(people, looker.identity.accept),
            *strangers(smiling, neutral, seen, looker.identity.accept),
        ],
        "Cost": cost(looker),
    }
    for title, figures in sections.items():
        lines += ["", f"### {title}", "", "| what | measured | target | reached |", "|---|---|---|---|"]
        for figure in figures:
            mark = {True: "yes", False: "**no**", None: ""}[figure.reached]
            lines.append(f"| {figure.what} | {figure.value} | {figure.target} | {mark} |")
    progress(f"{(time.process_time() - started) / 60:.1f} minutes of one core")
    return "\n".join(lines) + "\n"


def baseline_rows(people: People, kind: str) -> list[Row]:
    """Raw, running median, ours after some time, ours by enrolment."""
    read: dict[str, list[Float32]] = {}
    truth = []
    for sessions in people.values():
        shown = sessions[kind]
        late = shown.time_s >= LEARNT_S
        truth.append(np.fmax(shown.truth[late, 0], shown.truth[late, 1]))
        for name, values in _readings(shown, sessions["enrolment"], late).items():
            read.setdefault(name, []).append(values)
    return [_row(name, truth, estimates) for name, estimates in read.items()]


def _readings(shown: Session, enrolment: Session, late: NDArray[np.bool_]) -> dict[str, Float32]:
    """(T, A) intensities of the evaluated frames in every way."""
    stronger = shown.sides.max(axis=1)
    medians = np.stack([np.nanmedian(stronger[: t + 1], axis=0) for t in range(len(stronger))])
    read = {"raw": stronger[late], "running median": np.clip(stronger - medians, 0, 5)[late]}
    for seconds in WINDOWS_S:
        learnt = shown.good & (shown.time_s < LEARNT_S) & (shown.time_s >= LEARNT_S - seconds)
        read[f"ours after {seconds} s"] = _calibrated(shown.sides[late], shown.sides[learnt], CALM)
    read["ours by enrolment"] = _calibrated(shown.sides[late], enrolment.sides[enrolment.good], CALM_ENROLLED)
    return read


def _calibrated(sides: Float32, looks: Float32, share: float) -> Float32:
    values = sides if len(looks) == 0 else calibrated(sides, estimate(looks, share).rest)
    return np.asarray(values.max(axis=1), dtype=np.float32)


def _row(name: str, truth: Sequence[Float32], estimates: Sequence[Float32]) -> Row:
    t, e = np.concatenate(truth), np.concatenate(estimates)
    shown = np.nanmean(t >= 1, axis=0) >= _SHOWN
    scores = [_scores(t[:, a], e[:, a]) if shown[a] else (np.nan, np.nan) for a in range(t.shape[1])]
    f1, icc = (np.array(column, np.float32) for column in zip(*scores, strict=True))
    # counts of each person are enough to draw people anew
    counts = np.stack([_counts(a, b) for a, b in zip(truth, estimates, strict=True)])  # (P, 3, A) hits, alarms, misses
    rng = np.random.default_rng(0)
    drawn = counts[rng.integers(len(counts), size=(_DRAWS, len(counts)))].sum(axis=1)[:, :, shown]
    hits, alarms, misses = drawn.transpose(1, 0, 2)
    return Row(name, f1, icc, (2 * hits / np.maximum(2 * hits + alarms + misses, 1)).mean(axis=1).astype(np.float32))


def _scores(truth: Float32, estimate: Float32) -> tuple[float, float]:
    known = np.isfinite(truth) & np.isfinite(estimate)
    t, e = truth[known], estimate[known]
    return float(f1_score(t >= 1, e >= 1, zero_division=0.0)), icc31(t, e)


def _counts(truth: Float32, estimate: Float32) -> NDArray[np.int64]:
    known = np.isfinite(truth) & np.isfinite(estimate)
    t, e = truth >= 1, estimate >= 1
    return np.stack([(known & t & e).sum(axis=0), (known & ~t & e).sum(axis=0), (known & t & ~e).sum(axis=0)])


def _table(rows: list[Row]) -> list[str]:
    lines = ["| | F1 | ICC | F1 over raw | target |", "|---|---|---|---|---|"]
    raw, median = (100 * float(np.nanmean(row.f1)) for row in rows[:2])
    for row in rows:
        f1 = 100 * float(np.nanmean(row.f1))
        low, high = 100 * np.quantile(row.drawn - rows[0].drawn, [0.025, 0.975])
        gain = "" if row is rows[0] else f"{f1 - raw:+.1f} ({low:+.1f} to {high:+.1f})"
        reached = "yes" if f1 - raw >= 5 and f1 > median else "**no**"
        target = f">= +5, and over the running median: {reached}" if row.name.startswith("ours") else ""
        lines.append(f"| {row.name} | {f1:.1f} | {np.nanmean(row.icc):.3f} | {gain} | {target} |")
    return lines


def _by_au(rows: list[Row], aus: tuple[str, ...]) -> str:
    best = {row.name: row for row in rows}
    parts = []
    for a, name in enumerate(aus):
        values = [100 * float(best[way].f1[a]) for way in ("raw", "running median", "ours after 30 s")]
        if np.isfinite(values[0]):
            parts.append(f"{name[2:]} " + "/".join(f"{value:.0f}" for value in values))
    return f"F1 by AU, raw/running median/ours after 30 s: {', '.join(parts)}."


def photographs(smiling: dict[str, Float32], neutral: dict[str, Float32]) -> list[Figure]:
    """London: smiling photos against neutral ones."""
    names = sorted(set(smiling) & set(neutral))
    cosines = np.stack([smiling[name] for name in names]) @ np.stack([neutral[name] for name in names]).T
    rank1, eer = _rank1(cosines), _eer(cosines, np.eye(len(names), dtype=bool))
    what = f"London, {len(names)} smiling photos against as many neutral ones"
    return [Figure(what, f"rank-1 {rank1:.1%}, EER {eer:.1%}")]


def london(looker: Looker) -> tuple[dict[str, Float32], dict[str, Float32]]:
    """Embeddings of smiling and of neutral photos by subject."""
    wanted = {photo.name: photo.attributes for photo in load_photos("evaluation") if photo.name.startswith("london_")}
    groups: tuple[dict[str, Float32], dict[str, Float32]] = {}, {}
    for name, data in photo_files():
        if name in wanted:
            looks = looker.photo(data, Path(name).suffix)
            if looks:
                groups[wanted[name]["posed"] != "smile"][wanted[name]["subject"]] = looks[0].embedding
    return groups


def talkers(looker: Looker) -> dict[str, list[Look]]:
    """The looks at the only person of each clip, by file name."""
    paths = [path for path in sorted((material() / "media").iterdir()) if path.name.startswith(_ONE_PERSON)]
    seen = {path.name: [look for *_, look in looker.look(path) if look is not None] for path in paths}
    return {name: looks for name, looks in seen.items() if len(looks) >= 2}


def clips(looker: Looker, seen: dict[str, list[Look]]) -> list[Figure]:
    """Talkers: the first half of a clip against the second ones of all; the actor across emotions."""
    first = np.stack([_mean(looks[: len(looks) // 2]) for looks in seen.values()])
    second = np.stack([_mean(looks[len(looks) // 2 :]) for looks in seen.values()])
    cosines = first @ second.T
    unseen = sum(part_of_clip(name) != "train" for name in seen)
    actor = [
        _mean([look for *_, look in looker.look(path) if look is not None])
        for path in sorted((material() / "media").glob("crema_*"))
    ]
    between = [float(a @ b) for a, b in itertools.combinations(actor, 2)]
    return [
        Figure(
            f"talkers of {len(seen)} clips, first half against second ({unseen} clips no training saw)",
            f"rank-1 {_rank1(cosines):.1%}, EER {_eer(cosines, np.eye(len(cosines), dtype=bool)):.1%}",
        ),
        Figure(
            f"one actor in {len(actor)} emotions, cosine between clips",
            f"median {np.median(between):.2f}, least {min(between):.2f}; {looker.identity.accept:.2f} is accepted",
        ),
    ]


def rendered(people: People) -> list[Figure]:
    """Rendered people: whole sessions in another light, and single pictures in any pose, light and expression."""
    means = {kind: np.stack([_session_mean(p[kind]) for p in people.values()]) for kind in KINDS}
    same = np.eye(len(people), dtype=bool)
    cosines = np.concatenate([means[kind] @ means["enrolment"].T for kind in ("normal", "smiling")])
    owner = np.repeat(np.arange(len(people)), [len(p["poses"].looks) for p in people.values()])
    singles = np.concatenate([p["poses"].looks for p in people.values()]) @ means["enrolment"].T
    return [
        Figure(
            f"{len(people)} rendered people, sessions against enrolment clips in another light",
            f"rank-1 {_rank1(cosines, np.tile(np.arange(len(people)), 2)):.1%}, "
            f"EER {_eer(cosines, np.concatenate([same, same])):.1%}",
        ),
        Figure(
            f"the same, {len(owner)} single pictures in any pose, light and expression",
            f"rank-1 {_rank1(singles, owner):.1%}, EER {_eer(singles, owner[:, None] == np.arange(len(people))):.1%}",
        ),
    ]


def recognition(people: People, accept: float) -> list[Figure]:
    """The rule that runs: looks of a session one after the other, the person in the gallery or not."""
    enrolled = {n: _profile(str(n), _session_mean(p["enrolment"])) for n, p in people.items()}
    found = wrong = false = sessions = 0
    needed: list[int] = []
    for number, kind in itertools.product(people, ("normal", "smiling")):
        looks = [
            Look(e, float(w)) for e, w in zip(people[number][kind].looks, people[number][kind].weights, strict=True)
        ]
        names = _follow(list(enrolled.values()), accept, looks)
        right = [i for i, name in enumerate(names) if name == str(number)]
        needed += [right[0] + 1] if right else []
        found += bool(right)
        wrong += any(name not in (None, str(number)) for name in names)
        others = [profile for n, profile in enrolled.items() if n != number]
        false += any(name is not None for name in _follow(others, accept, looks))
        sessions += 1
    return [
        Figure(
            f"rendered people in the gallery of {len(people)}, named in a session of {SECONDS:.0f} s in another light",
            f"{found} of {sessions}, after {np.median(needed) if needed else float('nan'):.0f} looks at the median",
        ),
        Figure("the same, given another person's name at any time", f"{wrong} of {sessions}"),
        Figure(
            "strangers to that gallery, given a name at any time",
            f"{false} of {sessions}", "<= 1 %", false / sessions <= 0.01,
        ),
    ]  # fmt: skip


def strangers(
    smiling: dict[str, Float32], neutral: dict[str, Float32], seen: dict[str, list[Look]], accept: float
) -> list[Figure]:
    """Galleries of 20 neutral photos against the smiling photos of everybody else, and against whole clips."""
    names, rng = sorted(set(smiling) & set(neutral)), np.random.default_rng(0)
    photos: list[bool] = []
    videos: list[bool] = []
    for _ in range(20):
        inside = set(rng.choice(names, min(20, len(names) // 2), replace=False).tolist())
        gallery = [_profile(name, neutral[name]) for name in sorted(inside)]
        photos += [
            _follow(gallery, accept, [Look(smiling[name], 1.0)])[-1] is not None for name in names if name not in inside
        ]
        videos += [any(name is not None for name in _follow(gallery, accept, looks)) for looks in seen.values()]
    return [
        Figure(what, f"{np.mean(false):.2%} of {len(false)}", "<= 1 %", bool(np.mean(false) <= 0.01))
        for what, false in (
            ("London, strangers to galleries of 20, given a name from one photo", photos),
            ("people of the clips, strangers to the same galleries, given a name at any time of a clip", videos),
        )
    ]


def _follow(persons: list[Profile], accept: float, looks: Sequence[Look]) -> list[str | None]:
    """The name after each look at one track."""
    who: Recogniser[int] = Recogniser(Index(persons), accept)
    names = []
    for i, look in enumerate(looks):
        if look.weight > 0:
            who.look(0, float(i), look.embedding, look.weight)
        person = who.person(0)
        names.append(None if person is None else person.name)
    return names


def cost(looker: Looker) -> list[Figure]:
    """Of the identity network beside a frame's time, and of the search."""
    aligned = np.zeros((3, looker.identities.card.input_size, looker.identities.card.input_size), np.float32)
    one = _milliseconds(lambda: looker.identities(aligned))
    unknown, known = one / (1000 * EVERY_S), one / (1000 * KNOWN_S)  # of all time
    rng = np.random.default_rng(0)
    size = len(looker.identities(aligned))
    directions = rng.normal(size=(10_000, size)).astype(np.float32)
    index = Index([_profile(str(i), direction) for i, direction in enumerate(directions)])
    asked = directions[0] / np.linalg.norm(directions[0])
    search = _milliseconds(lambda: index.cosines(asked))
    return [
        Figure(
            "identity, share of the frames' time (of one core), a face that is not known yet",
            f"{unknown:.1%} ({one:.1f} ms a look)", "<= 5 %", unknown <= 0.05,
        ),
        Figure("the same, a person that is known", f"{known:.2%}"),
        Figure("exact search among 10,000 persons", f"{search:.2f} ms", "<= 1 ms", search <= 1),
    ]  # fmt: skip


def _milliseconds(work: Callable[[], object], times: int = 50) -> float:
    """The median, after a warm-up."""
    work()
    taken = []
    for _ in range(times):
        begun = time.perf_counter()
        work()
        taken.append(time.perf_counter() - begun)
    return 1000 * float(np.median(taken))


def _profile(name: str, embedding: Float32) -> Profile:
    return Profile(name=name, embeddings=(to_bytes(embedding),), enrolled=("",))


def _session_mean(session: Session) -> Float32:
    return _mean([Look(e, float(w)) for e, w in zip(session.looks, session.weights, strict=True)])


def _mean(looks: Sequence[Look]) -> Float32:
    total = np.sum([look.weight * look.embedding for look in looks], axis=0)
    return np.asarray(total / np.linalg.norm(total), dtype=np.float32)


def _rank1(cosines: Float32, own: NDArray[np.integer] | None = None) -> float:
    owner = np.arange(len(cosines)) if own is None else own
    return float((cosines.argmax(axis=1) == owner).mean())


def _eer(cosines: Float32, same: NDArray[np.bool_]) -> float:
    """Where false accepts and false rejects are equally frequent."""
    accepted, recalled, _ = roc_curve(same.ravel(), cosines.ravel())
    crossing = int(np.abs(1 - recalled - accepted).argmin())
    return float((accepted[crossing] + 1 - recalled[crossing]) / 2)
