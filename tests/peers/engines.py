"""The engines: how each is run in a process of its own, and where it leaves its sessions."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import outputs
import process_tree
from input_file import Input
from report import Run

HERE = Path(__file__).resolve().parent

# How often Marquee ends an epoch, unless told otherwise, and so how often Flink makes a checkpoint.
EPOCH_S = 10

LOG_LINES_SHOWN = 30


class EngineFailed(Exception):
    """An engine did not do its work; the end of what it has said."""


@dataclass(frozen=True)
class Engine:
    title: str
    # Runs over the input in a new folder and leaves its sessions in the file.
    run: Callable[[Input, Path, Path], Run]


@dataclass(frozen=True)
class _Ended:
    """A process that has ended well."""

    stdout: str
    wall_s: float
    cpu_s: float
    others_cpu_s: float


def _start_and_wait(name: str, command: list[str | Path], folder: Path) -> _Ended:
    cpus = os.sched_getaffinity(0)
    stdout, log = folder / "stdout", folder / "log"
    with stdout.open("wb") as out, log.open("wb") as err:
        busy_before_s, started = process_tree.busy_s(cpus), time.monotonic()
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        _, status, usage = os.wait4(process.pid, 0)
        wall_s, busy_s = time.monotonic() - started, process_tree.busy_s(cpus) - busy_before_s
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        said = "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LOG_LINES_SHOWN:])
        raise EngineFailed(f"{name} ended with exit code {process.returncode}:\n{said}")
    cpu_s = usage.ru_utime + usage.ru_stime
    return _Ended(stdout.read_text(encoding="utf-8"), wall_s, cpu_s, max(0.0, busy_s - cpu_s))


def _run_of(ended: _Ended, told: dict[str, float]) -> Run:
    process_cpu_s = told.get("process_cpu_s", ended.cpu_s)
    return Run(
        wall_s=told["wall_s"],
        cpu_s=told["cpu_s"],
        peak_memory_bytes=int(told["peak_memory_bytes"]),
        process_wall_s=ended.wall_s,
        process_cpu_s=process_cpu_s,
        others_cpu_s=max(0.0, ended.others_cpu_s - (process_cpu_s - ended.cpu_s)),
    )


def marquee(binary: Path) -> Engine:
    """Its time is its own: from the start of its jobs to the last commit, before it counts what it has written."""

    def run(given: Input, folder: Path, to: Path) -> Run:
        command = [binary, "bench", "stream", "--input", given.file, "--dir", folder, "--keep", "--json"]
        ended = _start_and_wait("Marquee", [*command, "--epoch-ms", str(1000 * EPOCH_S)], folder)
        told = json.loads(ended.stdout)
        # The data of a run are in a folder of their own, whose name the binary makes up.
        lake_dir = next(folder.glob("*/lake"), folder / "lake")
        outputs.of_marquee(lake_dir, to)
        return _run_of(ended, {**told, "peak_memory_bytes": told["peak_rss_bytes"]})

    said = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.split()
    return Engine(f"Marquee {said[-1]}", run)


def flink(checkpoint_s: int) -> Engine:
    """Its time is from the first file opened to the end of the job: flink_sessions.py."""

    def run(given: Input, folder: Path, to: Path) -> Run:
        command = [sys.executable, HERE / "flink_sessions.py", given.parts, given.warm_up, folder]
        ended = _start_and_wait("Flink", [*command, "--checkpoint-s", str(checkpoint_s)], folder)
        told = json.loads((folder / "report.json").read_text(encoding="utf-8"))
        outputs.of_flink(folder / "sessions", to)
        return _run_of(ended, told)

    how = f"checkpoints every {checkpoint_s} s" if checkpoint_s else "no checkpoints"
    return Engine(f"Flink {version('apache-flink')}, {how}", run)


def duckdb() -> Engine:
    """Its time is that of the query: duckdb_sessions.py."""

    def run(given: Input, folder: Path, to: Path) -> Run:
        ended = _start_and_wait("DuckDB", [sys.executable, HERE / "duckdb_sessions.py", given.file, to], folder)
        return _run_of(ended, json.loads(ended.stdout))

    return Engine(f"DuckDB {version('duckdb')}, batch", run)
