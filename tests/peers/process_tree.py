"""What a process and all that it has started have used, read from /proc."""

import os
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def members(pid: int) -> list[int]:
    """The process and its descendants that live."""
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in _text(children).split():
            found += members(int(child))
    return found


def cpu_s(pid: int) -> float:
    """CPU seconds of the tree so far, with descendants that have ended and were waited for, in ticks of 10 ms."""
    ticks = 0
    for member in members(pid):
        # The name in brackets may hold anything; utime, stime, cutime and cstime are fields 14 to 17.
        fields = _text(Path(f"/proc/{member}/stat")).rpartition(")")[2].split()
        ticks += sum(map(int, fields[11:15]))
    return ticks / _TICKS_PER_S


def peak_memory_bytes(pid: int) -> int:
    """The most memory that was resident, added up over the tree's processes that live."""
    lines = (line for member in members(pid) for line in _text(Path(f"/proc/{member}/status")).splitlines())
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def has_open(pid: int, folder: Path) -> bool:
    """Whether a process of the tree has a file of this folder open."""
    for member in members(pid):
        for link in Path(f"/proc/{member}/fd").glob("*"):
            try:
                if Path(os.readlink(link)).parent == folder:
                    return True
            except OSError:
                continue  # closed meanwhile
    return False


def busy_s(cpus: set[int]) -> float:
    """Seconds that these CPUs have worked for anybody since the machine started."""
    wanted = {f"cpu{cpu}" for cpu in cpus}
    ticks = 0
    for line in _text(Path("/proc/stat")).splitlines():
        name, *fields = line.split()
        if name in wanted:
            user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen = map(int, fields[:8])
            ticks += user + nice + system + interrupts + soft_interrupts + stolen
    return ticks / _TICKS_PER_S


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # the process has ended
