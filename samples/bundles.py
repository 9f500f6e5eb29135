"""Sounds, archives and a database."""

import gzip
import io
import math
import sqlite3
import tarfile
import wave
import zipfile
from array import array
from collections.abc import Mapping


def horn_wav(seed: int, seconds: float = 6.0, rate: int = 22_050) -> bytes:
    """Fog signals: two tones that swell and fade."""
    low, high = 180 + seed % 60, 270 + seed % 90
    samples = array("h")
    for number in range(int(seconds * rate)):
        moment = number / rate
        loud = max(0.0, math.sin(moment * math.pi / 3)) * 11_000
        samples.append(int(loud * (math.sin(moment * low * 6.2832) + 0.6 * math.sin(moment * high * 6.2832))))
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(samples.tobytes())
    return buffer.getvalue()


def zip_of(members: Mapping[str, bytes]) -> bytes:
    """A zip archive; names may be anything Unicode."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (2026, 10, 30, 8, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def tar_gz_of(members: Mapping[str, bytes]) -> bytes:
    """A compressed tar archive."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def tide_database(rows: list[list[str]]) -> bytes:
    """Readings as a SQLite file."""
    with sqlite3.connect(":memory:") as database:
        database.execute("CREATE TABLE readings (gauge TEXT, high REAL, low REAL)")
        database.executemany("INSERT INTO readings VALUES (?, ?, ?)", rows)
        database.commit()
        data = database.serialize()
    database.close()
    return data
