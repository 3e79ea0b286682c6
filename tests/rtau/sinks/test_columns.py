import csv
import io
import time
from pathlib import Path

import numpy as np
import pytest

from rtau.facs import AU_COLUMNS
from rtau.messages import AUFrame, RunInfo
from rtau.sinks.columns import Layout, RtauLayout
from rtau.sinks.table import open_table
from tests.rtau.sinks.samples import face, frame, run_info


def cells(frame: AUFrame, layout: Layout) -> dict[str, object]:
    """The only row of a frame, by column name."""
    (row,) = layout.rows(frame)
    return dict(zip((column.name for column in layout.columns), row, strict=True))


def test_columns_stand_in_the_promised_order() -> None:
    names = [column.name for column in RtauLayout(run_info()).columns]
    header = ",".join(names)
    assert header.startswith(
        "frame,pts_s,track_id,person_id,face_score,x0,y0,x1,y1,pitch_deg,yaw_deg,roll_deg,"
        "AU01_p,AU01_r,AU01_c,AU02_p,AU02_r,AU02_c,AU04_p,"
    )
    assert "AU15_p,AU15_r,AU15_c,AU17_p,AU17_r,AU17_c,AU18_p," in header
    assert ",AU43_p,AU43_r,AU43_c,AU01L_r,AU01R_r,AU02L_r,AU02R_r," in header
    assert "AU20L_r,AU20R_r,AU43L_r,AU43R_r,baseline,baseline_confidence,AU01_n,AU02_n,AU04_n," in header
    assert ",AU28_n,AU43_n,AU01L_n,AU01R_n,AU02L_n,AU02R_n," in header
    assert header.endswith("AU20L_n,AU20R_n,AU43L_n,AU43R_n,reason")
    assert [name[:4] for name in names if name.endswith("_p")] == list(AU_COLUMNS)
    assert len(names) == len(set(names))


def test_sides_and_values_stand_under_their_names() -> None:
    row = cells(frame(3, face(7, intensity={"AU12L": 2.5, "AU12R": 0.5, "AU26": 4.0})), RtauLayout(run_info()))
    assert (row["frame"], row["pts_s"], row["track_id"], row["person_id"]) == (3, 0.12, 7, None)
    assert (row["AU12_r"], row["AU12L_r"], row["AU12R_r"], row["AU12_c"]) == (2.5, 2.5, 0.5, 1)
    assert (row["AU26_r"], row["AU26_c"], row["AU25_r"], row["AU25_c"]) == (4.0, 1, 0.0, 0)
    assert (row["x0"], row["y0"], row["x1"], row["y1"]) == (10.0, 20.12, 110.0, 140.0)
    assert (row["pitch_deg"], row["yaw_deg"], row["roll_deg"]) == (3.0, -20.0, 5.0)
    assert row["reason"] == ""


def test_presence_follows_the_calibrated_intensity_where_there_is_one() -> None:
    known = face(
        intensity={"AU12L": 2.5, "AU12R": 0.5, "AU04": 0.5},
        person_id="ada",
        baseline="ready",
        baseline_confidence=0.87654,
        occurrence=[0.4 if au == "AU12" else 0.7 if au == "AU04" else 0.1 for au in AU_COLUMNS],
        calibrated=[0.9 if au == "AU12" else 1.2 if au == "AU04" else 0.0 for au in AU_COLUMNS],
        calibrated_left=[0.9 if au == "AU12" else 0.2 if au == "AU04" else 0.0 for au in AU_COLUMNS],
        calibrated_right=[0.3 if au == "AU12" else 1.2 if au == "AU04" else 0.0 for au in AU_COLUMNS],
    )
    row = cells(frame(0, known), RtauLayout(run_info()))
    assert (row["person_id"], row["baseline"], row["baseline_confidence"]) == ("ada", "ready", 0.877)
    assert (row["AU12_r"], row["AU12_n"], row["AU12L_n"], row["AU12R_n"], row["AU12_c"]) == (2.5, 0.9, 0.9, 0.3, 0)
    assert (row["AU04_r"], row["AU04_n"], row["AU04R_n"], row["AU04_c"], row["AU04_p"]) == (0.5, 1.2, 1.2, 1, 0.7)


def test_nothing_is_calibrated_while_the_baseline_warms_up() -> None:
    row = cells(frame(0, face(baseline="warming", baseline_confidence=0.5)), RtauLayout(run_info()))
    assert (row["baseline"], row["baseline_confidence"], row["AU12_n"], row["AU12L_n"]) == ("warming", 0.5, None, None)
    (nobody,) = RtauLayout(run_info()).rows(frame(1))
    assert set(nobody[2:-1]) == {None}


def test_aus_in_another_order_or_missing_keep_their_columns() -> None:
    aus = ("AU26", "AU12", "AU01")
    layout = RtauLayout(run_info(aus))
    row = cells(frame(0, face(aus=aus, intensity={"AU26": 3.0, "AU12L": 1.5, "AU01R": 2.0})), layout)
    assert (row["AU26_r"], row["AU12L_r"], row["AU12R_r"], row["AU01R_r"]) == (3.0, 1.5, 0.0, 2.0)
    assert [row[f"AU04{part}"] for part in ("_p", "_r", "_c", "L_r", "R_r")] == [None] * 5


def test_written_presence_never_contradicts_written_intensity_or_probability() -> None:
    near = np.float32(1) + np.float32(2e-3) * np.random.default_rng(0).uniform(-1, 1, 2000).astype(np.float32)
    edge = [np.nextafter(np.float32(1), np.float32(0)), np.float32(1), np.nextafter(np.float32(1), np.float32(2))]
    layout = RtauLayout(run_info(["AU12"]))
    for value in [*near, *edge, np.float32(0), np.float32(5)]:
        row = cells(frame(0, face(aus=["AU12"], intensity={"AU12L": float(value)})), layout)
        present = value >= 1
        assert row["AU12_c"] == int(present)
        assert (float(f"{row['AU12_r']:.3f}") >= 1) == present
        assert (float(f"{row['AU12_p']:.4f}") >= 0.5) == present
        assert row["AU12L_r"] == row["AU12_r"]
        assert abs(row["AU12_r"] - value) <= 1e-3


def test_frames_without_a_face_keep_frame_and_time() -> None:
    layout = RtauLayout(run_info())
    for reason in ("no_face", "decode_error"):
        row = cells(frame(2, time_s=1.5000004, reason=reason), layout)
        filled = {name: cell for name, cell in row.items() if cell is not None}
        assert filled == {"frame": 2, "pts_s": 1.5, "reason": reason}


def test_low_quality_rows_keep_their_values() -> None:
    row = cells(frame(0, face(low_quality=True, intensity={"AU04": 2.0})), RtauLayout(run_info()))
    assert (row["reason"], row["AU04_r"]) == ("low_quality", 2.0)


def test_several_faces_give_several_rows_of_one_frame() -> None:
    rows = list(RtauLayout(run_info()).rows(frame(5, face(1), face(3))))
    assert [(row[0], row[2]) for row in rows] == [(5, 1), (5, 3)]


def test_writing_a_row_costs_little_beside_decoding_a_frame(tmp_path: Path) -> None:
    many = [frame(i, face(intensity={"AU12": 1.2345, "AU04": 0.777})) for i in range(1000)]
    best = min(seconds_a_row(many, run_info(), tmp_path / f"{attempt}.csv") for attempt in range(3))
    assert best < 5e-4  # 0.1 ms on an idle core


def seconds_a_row(frames: list[AUFrame], info: RunInfo, out: Path) -> float:
    table = open_table(out, "rtau", info, source="clip.mp4", command="rtau")
    started = time.process_time()
    for each in frames:
        table.write(each)
    table.finish()
    return (time.process_time() - started) / len(frames)


def test_numbers_have_fixed_digits_and_no_negative_zero(tmp_path: Path) -> None:
    table = open_table(tmp_path / "aus.csv", "rtau", run_info(), source="clip.mp4", command="rtau")
    table.write(frame(0, face(pose=(-0.001, 0.0, 12.3456), score=1.0, person_id='Ann, "A"')))
    table.finish()
    row = next(csv.DictReader(io.StringIO((tmp_path / "aus.csv").read_text(encoding="utf-8"))))
    assert (row["pts_s"], row["face_score"], row["x0"], row["AU01_r"]) == ("0.000000", "1.0000", "10.00", "0.000")
    assert (row["pitch_deg"], row["roll_deg"]) == ("0.00", "12.35")
    assert row["person_id"] == 'Ann, "A"'


@pytest.mark.parametrize("name", ["AU01_p", "AU12L_r"])
def test_headers_carry_no_blanks(tmp_path: Path, name: str) -> None:
    table = open_table(tmp_path / "aus.csv", "rtau", run_info(), source="clip.mp4", command="rtau")
    table.finish()
    assert name in (tmp_path / "aus.csv").read_text(encoding="utf-8").splitlines()[0].split(",")
