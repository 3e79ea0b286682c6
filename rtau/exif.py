"""What EXIF data (2.32, tag 0x0112) say of how a photo is displayed. FFmpeg tells the turn, not the mirror."""

import re
import struct

_TIFF = re.compile(rb"(?:Exif\0\0|eXIf)(II\*\0|MM\0\*)")  # in JPEG, in PNG
_ORIENTATION = 0x0112
_MIRRORED = (2, 4, 5, 7)


def mirrored(photo: bytes) -> bool:
    """Whether the photo in this file is displayed as in a mirror; False where nothing readable says so."""
    found = _TIFF.search(photo)
    if found is None:
        return False
    start, order = found.start(1), "<" if found[1].startswith(b"I") else ">"
    try:
        (directory,) = struct.unpack_from(f"{order}I", photo, start + 4)
        (entries,) = struct.unpack_from(f"{order}H", photo, start + directory)
        for i in range(entries):
            tag, _, _, value = struct.unpack_from(f"{order}HHIH", photo, start + directory + 2 + 12 * i)
            if tag == _ORIENTATION:
                return value in _MIRRORED
    except struct.error:  # cut off, or not what it says that it is
        pass
    return False
