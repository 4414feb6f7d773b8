"""Marquee beside Apache Flink and DuckDB: the same file, the same CPUs, the same sessions.

usage: peers.py --binary MARQUEE [--events N] [--sessions N] [--input FILE.jsonl] [--runs N] [--without-checkpoints]
                [--cpus A,B] [--dir FOLDER] [--json]

Each engine reads one JSON record of one event a line and works out of every session what outputs.COLUMNS names. Marquee
does so with all else that it does (every state of the fold, bronze of every event, minutes, Delta commits in which each
event counts once); the peers do this alone. After every run the output is compared with that of the first, row by row;
no time is told before all agree.

The runs are interleaved; of each engine the quietest one (least wall time) is told, with all of them listed. Exit code
0: figures; 1: the outputs differ; 2: something is missing, or an engine failed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import engines
import outputs
import report
from input_file import Input, UnusableInput, prepare

# With fewer, what Flink does once in a job is a large part of its time.
DEFAULT_EVENTS = 2_000_000
DEFAULT_RUNS = 3
CPUS = 2


class OutputsDiffer(Exception):
    """What two engines say of the sessions is not the same."""


def say(line: str) -> None:
    print(f"        {line}", file=sys.stderr, flush=True)


def cpus_to_use(wanted: str | None) -> set[int]:
    """The CPUs that every engine runs on: those given, or the first that this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    chosen = [int(cpu) for cpu in wanted.split(",")] if wanted else allowed[:CPUS]
    if len(chosen) != CPUS or not set(chosen) <= set(allowed):
        raise UnusableInput(f"the comparison is of {CPUS} CPUs, and this process may use {allowed}")
    return set(chosen)


def written_input(binary: Path, file: Path, events: int, sessions: int | None) -> Path:
    """Has Marquee write the events of its benchmark."""
    command = [binary, "bench", "stream", "--format", "json", "--events", str(events), "--write-input", file]
    if sessions:
        command += ["--sessions", str(sessions)]
    if subprocess.run(command, stdout=sys.stderr, check=False).returncode != 0:
        raise UnusableInput(f"{binary} cannot write the input")
    return file


def run_all(chosen: dict[str, engines.Engine], given: Input, runs: int, folder: Path) -> dict[str, list[report.Run]]:
    """Runs of each engine by its name. Fails as soon as an output is not that of the first run."""
    first: tuple[str, Path] | None = None
    done: dict[str, list[report.Run]] = {name: [] for name in chosen}
    for number in range(1, runs + 1):
        for name, engine in chosen.items():
            run_folder, output = folder / "run", folder / f"{name}-{number}.parquet"
            run_folder.mkdir()
            say(f"run {number}/{runs}: {engine.title}")
            done[name].append(engine.run(given, run_folder, output))
            shutil.rmtree(run_folder)
            check(engine.title, output, first, given.events)
            if first is None:
                first = engine.title, output
            else:
                output.unlink()
    return done


def check(title: str, output: Path, first: tuple[str, Path] | None, events: int) -> None:
    found = outputs.problems(title, output, events)
    if first:
        found += outputs.differences(title, output, *first)
    if found:
        raise OutputsDiffer("\n  ".join(["the outputs are not the same, no time is worth telling:", *found]))


def compare(options: argparse.Namespace, folder: Path) -> tuple[dict[str, object], int]:
    """The report, and how many CPUs it is of."""
    cpus = cpus_to_use(options.cpus)
    os.sched_setaffinity(0, cpus)  # inherited by every process that is started
    binary = options.binary.resolve()
    chosen = {"marquee": engines.marquee(binary), "flink": engines.flink(engines.EPOCH_S)}
    if options.without_checkpoints:
        chosen["flink_without_checkpoints"] = engines.flink(0)
    chosen["duckdb"] = engines.duckdb()
    file = options.input or written_input(binary, folder / "events.jsonl", options.events, options.sessions)
    given = prepare(file.resolve(), folder)
    runs = run_all(chosen, given, options.runs, folder)
    sessions = outputs.sessions(folder / "marquee-1.parquet")
    facts = {"sessions": sessions, "input_bytes": given.bytes, "cpus": len(cpus), "columns": outputs.COLUMNS}
    titles = {name: engine.title for name, engine in chosen.items()}
    return report.of_all(facts, titles, given.events, runs), len(cpus)


def arguments_of(arguments: list[str]) -> argparse.Namespace:
    def count(text: str) -> int:
        if int(text) < 1:
            raise argparse.ArgumentTypeError("at least 1")
        return int(text)

    parser = argparse.ArgumentParser(prog="peers", description="Marquee beside Apache Flink and DuckDB")
    parser.add_argument("--binary", type=Path, required=True, help="Marquee's")
    parser.add_argument("--events", type=count, default=DEFAULT_EVENTS, help=f"to generate [{DEFAULT_EVENTS:,}]")
    parser.add_argument("--sessions", type=count, help="to spread them over [one for every 20 events]")
    parser.add_argument("--input", type=Path, metavar="FILE.jsonl", help="records to read instead of generating any")
    parser.add_argument("--runs", type=count, default=DEFAULT_RUNS, help=f"of each engine [{DEFAULT_RUNS}]")
    parser.add_argument("--without-checkpoints", action="store_true", help="Flink once more, with none")
    parser.add_argument("--cpus", metavar="A,B", help="CPUs to run on [the first two]")
    parser.add_argument("--dir", type=Path, metavar="DIR", help="for the data: 2 kB an event [the temporary folder]")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    options = arguments_of(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="marquee-peers-", dir=options.dir) as folder:
            found, cpus = compare(options, Path(folder).resolve())
    except OutputsDiffer as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 1
    except (
        UnusableInput,
        engines.EngineFailed,
        outputs.UnreadableOutput,
        OSError,
        subprocess.SubprocessError,
    ) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    if options.json:
        print(json.dumps(found))
        return 0
    size = f"{found['input_bytes'] / 1e9:.2f} GB of JSON, {cpus} CPUs"
    print(f"{found['events']:,} events of {found['sessions']:,} sessions, {size}, {options.runs} runs of each;")
    print(f"after each run the same {found['sessions']:,} rows: {', '.join(found['columns'])}\n")
    print(report.as_text(found, cpus))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
