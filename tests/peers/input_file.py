"""The input that all engines get: a file of JSON records, one event each, and the same lines in two files for Flink."""

from dataclasses import dataclass
from pathlib import Path

# Flink runs over so many of the first events before it is measured. After a third of them the measured job took up to
# a third more CPU time: the JVM was still compiling.
WARM_UP_EVENTS = 1_000_000

# Flink's file source hands a local file to one subtask as a whole: with one file, only one of the two would decode.
PARTS = 2


class UnusableInput(Exception):
    """The input is missing or not what the engines can all read."""


@dataclass(frozen=True)
class Input:
    file: Path
    events: int
    bytes: int
    # Folders with the lines of the file, and with the first of them, dealt in turns to PARTS files.
    parts: Path
    warm_up: Path


def prepare(file: Path, folder: Path) -> Input:
    """Writes the parts of the file into the folder."""
    parts, warm_up = folder / "parts", folder / "warm-up"
    try:
        events = _deal(file, parts, None)
        _deal(file, warm_up, WARM_UP_EVENTS)
        return Input(file, events, file.stat().st_size, parts, warm_up)
    except OSError as problem:
        raise UnusableInput(f"the input cannot be read or dealt: {problem}") from problem


def _deal(file: Path, folder: Path, limit: int | None) -> int:
    """Writes the lines (the first `limit` of them) to the folder's files in turns; how many there were."""
    folder.mkdir()
    parts = [(folder / f"part-{number}.jsonl").open("wb") for number in range(PARTS)]
    dealt = 0
    try:
        with file.open("rb") as lines:
            for line in lines:
                if dealt == limit:
                    break
                # The queries of the peers look at the first event of a record only.
                if line.count(b'"event_time_ms"') != 1:
                    raise UnusableInput(f"{file}, line {dealt + 1}: that is no record of one event")
                parts[dealt % PARTS].write(line)
                dealt += 1
    finally:
        for part in parts:
            part.close()
    if dealt == 0:
        raise UnusableInput(f"{file} holds no event")
    return dealt
