"""The published subject lists: who is trained on and who is tested, corpus by corpus."""

from typing import NamedTuple


class Protocol(NamedTuple):
    """Parts of subjects; fold k trains on all parts but `tested[k - 1]` (counted from 0)."""

    corpora: tuple[str, ...]  # names of the corpora it was published for
    parts: tuple[tuple[str, ...], ...]
    tested: tuple[int, ...]


def _ids(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# JAA-Net, MEGraph, AUNCE and others share these lists. Fold 1 trains on parts 1 and 2 and tests part 3 (MEGraph's and
# AUNCE's list files), although AUNCE's README calls the parts themselves folds.
PROTOCOLS: dict[str, Protocol] = {
    "bp4d-3fold": Protocol(
        ("BP4D",),
        (
            _ids("F001 F002 F008 F009 F010 F016 F018 F023 M001 M004 M007 M008 M012 M014"),
            _ids("F003 F005 F011 F013 F020 F022 M002 M005 M010 M011 M013 M016 M017 M018"),
            _ids("F004 F006 F007 F012 F014 F015 F017 F019 F021 M003 M006 M009 M015"),
        ),
        (2, 1, 0),
    ),
    "disfa-3fold": Protocol(
        ("DISFA", "DISFA+"),
        (
            _ids("SN001 SN002 SN009 SN010 SN016 SN026 SN027 SN030 SN032"),
            _ids("SN006 SN011 SN012 SN013 SN018 SN021 SN024 SN028 SN031"),
            _ids("SN003 SN004 SN005 SN007 SN008 SN017 SN023 SN025 SN029"),
        ),
        (2, 1, 0),
    ),
    # Published with FMAE-IAT (GitHub forever208/FMAE-IAT), which numbers the parts; here fold k tests part k.
    "bp4dplus-4fold": Protocol(
        ("BP4D+",),
        (
            _ids(
                "F004 F013 F014 F019 F020 F026 F033 F038 F039 F044 F046 F047 F053 F057 F061 F066 F071 F072 F076 F079 "
                "M003 M004 M015 M017 M020 M025 M026 M029 M033 M036 M040 M042 M048 M050 M051"
            ),
            _ids(
                "F012 F016 F022 F024 F028 F030 F031 F032 F034 F056 F060 F065 F074 F075 F077 M001 M005 M009 M011 M016 "
                "M018 M019 M022 M023 M028 M034 M037 M038 M043 M044 M045 M046 M047 M052 M055"
            ),
            _ids(
                "F001 F002 F008 F009 F017 F021 F027 F029 F035 F040 F042 F043 F045 F050 F052 F054 F058 F062 F063 F064 "
                "F068 F069 F078 F080 M008 M010 M024 M027 M030 M031 M035 M041 M054 M056 M057"
            ),
            _ids(
                "F003 F005 F006 F007 F010 F011 F015 F018 F023 F025 F036 F037 F041 F048 F049 F051 F055 F059 F067 F070 "
                "F073 F081 F082 M002 M006 M007 M012 M013 M014 M021 M032 M039 M049 M053 M058"
            ),
        ),
        (0, 1, 2, 3),
    ),
}
