import csv
import os
from pathlib import Path

import numpy as np
import pytest

from rtau.messages import AUFrame, RunInfo
from rtau.sinks.openface import MESH_OF_68
from rtau.sinks.table import open_table
from tests.rtau.sinks.samples import STILL, face, frame, mesh, run_info

SHARED = Path(os.environ.get("RTAU_SHARED", Path(__file__).parents[4] / "shared"))


def table(folder: Path, frames: list[AUFrame], info: RunInfo | None = None) -> list[dict[str, str]]:
    with open_table(folder / "of.csv", "openface", info or run_info(), source="clip.mp4", command="rtau") as writer:
        for each in frames:
            writer.write(each)
        writer.finish()
    with (folder / "of.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_names_and_order_of_a_sequence_file(tmp_path: Path) -> None:
    (row,) = table(tmp_path, [frame(0)])
    names = ",".join(row)
    assert names.startswith("frame,face_id,timestamp,confidence,success,pose_Rx,pose_Ry,pose_Rz,x_0,x_1,")
    assert ",x_67,y_0," in names
    assert names.endswith(
        "y_67,AU01_r,AU02_r,AU04_r,AU05_r,AU06_r,AU07_r,AU09_r,AU10_r,AU12_r,AU14_r,AU15_r,AU17_r,AU20_r,AU23_r,"
        "AU25_r,AU26_r,AU45_r,AU01_c,AU02_c,AU04_c,AU05_c,AU06_c,AU07_c,AU09_c,AU10_c,AU12_c,AU14_c,AU15_c,AU17_c,"
        "AU20_c,AU23_c,AU25_c,AU26_c,AU28_c,AU45_c"
    )


def test_digits_and_meaning(tmp_path: Path) -> None:
    aus = {"AU12L": 2.5, "AU12R": 0.2, "AU43": 3.0, "AU28": 1.5}
    points = mesh()
    (row,) = table(tmp_path, [frame(4, face(2, landmarks=points, intensity=aus), time_s=0.1668333)])
    assert [row[name] for name in ("frame", "face_id", "timestamp", "confidence", "success")] == (
        ["5", "1", "0.167", "0.99", "1"]
    )
    assert [row[name] for name in ("AU12_r", "AU12_c", "AU45_r", "AU45_c", "AU28_c", "AU01_r", "AU01_c")] == (
        ["2.50", "1.0", "3.00", "1.0", "1.0", "0.00", "0.0"]
    )
    assert (row["x_0"], row["y_0"]) == (f"{points[127][0]:.1f}", f"{points[127][1]:.1f}")
    assert (row["x_45"], row["y_45"]) == (f"{points[263][0]:.1f}", f"{points[263][1]:.1f}")
    assert row["pose_Ry"].startswith("-0.3")  # yaw -20 degrees


def test_a_frame_without_a_face_is_a_row_of_zeros(tmp_path: Path) -> None:
    rows = table(tmp_path, [frame(0), frame(1, reason="decode_error")])
    assert [(row["frame"], row["timestamp"], row["success"]) for row in rows] == [
        ("1", "0.000", "0"),
        ("2", "0.040", "0"),
    ]
    assert {float(cell) for row in rows for name, cell in row.items() if name not in ("frame", "timestamp")} == {0.0}


def test_presence_does_not_contradict_intensity_at_two_digits(tmp_path: Path) -> None:
    values = np.linspace(0.98, 1.02, 81)
    frames = [frame(i, face(landmarks=mesh(), intensity={"AU04": float(v)})) for i, v in enumerate(values)]
    for row, value in zip(table(tmp_path, frames), values, strict=True):
        assert (float(row["AU04_r"]) >= 1) == (row["AU04_c"] == "1.0") == (value >= 1)


def test_only_estimated_aus_have_columns(tmp_path: Path) -> None:
    (row,) = table(tmp_path, [frame(0)], run_info(["AU12", "AU24", "AU28", "AU43"]))
    assert [name for name in row if name.startswith("AU")] == ["AU12_r", "AU45_r", "AU12_c", "AU28_c", "AU45_c"]


def test_a_still_picture_has_the_short_frame_block(tmp_path: Path) -> None:
    faces = [face(1, landmarks=mesh()), face(2, landmarks=mesh())]
    rows = table(tmp_path, [frame(0, *faces)], run_info(source=STILL))
    assert list(rows[0])[:3] == ["face", "confidence", "pose_Rx"]
    assert [row["face"] for row in rows] == ["0", "1"]


def test_a_face_without_landmarks_is_a_mistake_of_the_caller(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs landmarks"):
        table(tmp_path, [frame(0, face())])
    assert list(tmp_path.iterdir()) == []


def test_the_68_points_mirror_each_other() -> None:
    """Each pair of mirrored points in the 68-point scheme is a mirrored pair of the mesh, which has known ones."""
    assert len(set(MESH_OF_68)) == 68
    of = dict(enumerate(MESH_OF_68))
    assert (of[36], of[39], of[42], of[45]) == (33, 133, 362, 263)  # corners of the eyes, from image left
    assert (of[48], of[54], of[8], of[33]) == (61, 291, 152, 2)  # corners of the mouth, chin, base of the nose


@pytest.mark.skipif(not (SHARED / "assets").is_dir(), reason="needs the ICT face model beside the repository")
def test_the_68_points_lie_where_ibug_has_them() -> None:
    """On the neutral ICT face, within 5 % of the distance of the outer eye corners (8.9 cm) on marked features."""
    folder = SHARED / "assets" / "ict_face"
    with np.load(folder / "ict_face.npz") as model, np.load(folder / "landmark_maps.npz") as maps:
        vertices = model["neutral"].astype(float)
        points = (vertices[maps["mp478_tri"]] * maps["mp478_bary"][..., None]).sum(axis=1)
        ibug, tier = vertices[maps["ibug68_vertex"]], maps["mp478_tier"]
        mirror = maps["mp468_mirror"]
    distance = np.linalg.norm(points[list(MESH_OF_68)] - ibug, axis=1)
    assert distance[tier[list(MESH_OF_68)] == 0].max() < 0.05 * 8.9
    assert distance[17:].max() < 0.05 * 8.9
    assert distance[:17].max() < 0.25 * 8.9  # the outline has no marked points
    pairs = [*zip(range(8), range(16, 8, -1), strict=True), (17, 26), (21, 22), (36, 45), (37, 44), (41, 46), (49, 53)]
    pairs += [(31, 35), (59, 55), (58, 56), (61, 63), (67, 65)]
    for right, left in pairs:
        assert mirror[MESH_OF_68[right]] == MESH_OF_68[left]
