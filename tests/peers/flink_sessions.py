"""Apache Flink's part: the sessions of a folder of events by SQL session windows, in a process of its own.

usage: flink_sessions.py INPUT_FOLDER WARM_UP_FOLDER OUTPUT_FOLDER [--checkpoint-s N]

Reads the files of INPUT_FOLDER (one JSON record of one event a line, roughly in time order; as many files as there are
source subtasks, so that both decode) and writes OUTPUT_FOLDER/sessions (JSON) and OUTPUT_FOLDER/report.json. The same
job runs over WARM_UP_FOLDER before, so that the measured one meets compiled code. JobManager and TaskManager are those
of Flink's local cluster, in one JVM; Python only submits.

The measured time is from the moment at which a source has opened its file (seen in /proc every 20 ms) until the job has
ended, with its last checkpoint complete and its files committed. CPU seconds are those of the whole process tree.
"""

import argparse
import json
import os
import sys
import threading
import time
from pathlib import Path

import process_tree

PARALLELISM = 2

# Enough that the heap is no limit: state and buffers take a fraction of it, and Flink's default for a TaskManager is
# less. The parallel collector takes less CPU time here than G1, the JVM's default.
JVM_ARGUMENTS = "-Xms2g -Xmx2g -XX:+UseParallelGC"

# Events are up to ten seconds behind others; Marquee's watermark waits for as long.
WATERMARK_DELAY_S = 30
GAP_MIN = 5

CONFIGURATION = {
    "execution.runtime-mode": "STREAMING",
    "parallelism.default": str(PARALLELISM),
    # State as objects on the heap: nothing is encoded until a checkpoint.
    "state.backend.type": "hashmap",
    # What Flink's documentation says for throughput: records are handed on as they are, buffers leave when they are
    # full. Mini-batches, which it recommends for aggregates, do not exist for session windows; managed memory holds no
    # heap state.
    "pipeline.object-reuse": "true",
    "execution.buffer-timeout.enabled": "false",
    "table.local-time-zone": "UTC",
}

POLL_S = 0.02


def checkpoints(folder: Path, interval_s: int) -> dict[str, str]:
    if interval_s == 0:
        return {}
    return {
        "execution.checkpointing.interval": f"{interval_s}s",
        "execution.checkpointing.mode": "EXACTLY_ONCE",
        "execution.checkpointing.storage": "filesystem",
        "execution.checkpointing.dir": folder.as_uri(),
    }


def events_table(name: str, folder: Path) -> str:
    """A record is decoded as far as the columns are declared: Flink skips the rest."""
    return f"""
        CREATE TABLE {name} (
            context ROW<session_id STRING>,
            events ARRAY<ROW<
                event_time_ms BIGINT,
                play_requested ROW<autoplay BOOLEAN>,
                first_frame ROW<nothing STRING>,
                rebuffer_start ROW<nothing STRING>,
                heartbeat ROW<dropped_frames BIGINT>
            >>,
            event_time AS TO_TIMESTAMP_LTZ(events[1].event_time_ms, 3),
            WATERMARK FOR event_time AS event_time - INTERVAL '{WATERMARK_DELAY_S}' SECOND
        ) WITH ('connector' = 'filesystem', 'path' = '{folder.as_uri()}', 'format' = 'json')
    """


def sessions_table(name: str, folder: Path) -> str:
    return f"""
        CREATE TABLE {name} (
            session_id STRING,
            event_count BIGINT,
            started_at_ms BIGINT,
            ended_at_ms BIGINT,
            startup_ms BIGINT,
            rebuffer_count BIGINT,
            dropped_frames BIGINT
        ) WITH ('connector' = 'filesystem', 'path' = '{folder.as_uri()}', 'format' = 'json')
    """


def measures_view(name: str, events: str) -> str:
    """The numbers of each event that its session adds up."""
    return f"""
        CREATE VIEW {name} AS
        SELECT
            context.session_id AS session_id,
            event_time,
            events[1].event_time_ms AS event_time_ms,
            CASE WHEN events[1].play_requested IS NOT NULL THEN events[1].event_time_ms END AS play_requested_ms,
            CASE WHEN events[1].first_frame IS NOT NULL THEN events[1].event_time_ms END AS first_frame_ms,
            CASE WHEN events[1].rebuffer_start IS NOT NULL THEN 1 END AS rebuffer_start,
            events[1].heartbeat.dropped_frames AS dropped_frames
        FROM {events}
    """


def insert(sessions: str, measures: str) -> str:
    return f"""
        INSERT INTO {sessions}
        SELECT
            session_id,
            count(*),
            min(event_time_ms),
            max(event_time_ms),
            min(first_frame_ms) - min(play_requested_ms),
            count(rebuffer_start),
            coalesce(sum(dropped_frames), 0)
        FROM SESSION(
            TABLE {measures} PARTITION BY session_id, DESCRIPTOR(event_time), INTERVAL '{GAP_MIN}' MINUTES
        )
        GROUP BY session_id, window_start, window_end
    """


class FirstRead(threading.Thread):
    """Waits until the job has opened its input; when that was and what the tree had used by then."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self.folder = folder
        self.at: float | None = None
        self.cpu_s = 0.0

    def run(self) -> None:
        while not process_tree.has_open(os.getpid(), self.folder):
            time.sleep(POLL_S)
        self.cpu_s = process_tree.cpu_s(os.getpid())
        self.at = time.monotonic()


def run(input_folder: Path, warm_up_folder: Path, output_folder: Path, checkpoint_s: int) -> dict[str, float]:
    # The JVM is started by the first call, with what the environment says by then.
    os.environ["JVM_ARGS"] = JVM_ARGUMENTS
    os.environ["FLINK_LOG_DIR"] = str(output_folder)
    # No server for functions written in Python, as there are none: it would need Apache Beam and forty packages more.
    os.environ["_python_worker_execution_mode"] = "process"
    from pyflink.common import Configuration
    from pyflink.table import EnvironmentSettings, TableEnvironment

    configuration = Configuration()
    for key, value in {**CONFIGURATION, **checkpoints(output_folder / "checkpoints", checkpoint_s)}.items():
        configuration.set_string(key, value)
    tables = TableEnvironment.create(EnvironmentSettings.new_instance().with_configuration(configuration).build())

    def job(name: str, events_folder: Path, sessions_folder: Path) -> str:
        """Declares the tables of a job; the statement that runs it."""
        tables.execute_sql(events_table(f"{name}_events", events_folder))
        tables.execute_sql(measures_view(f"{name}_measures", f"{name}_events"))
        tables.execute_sql(sessions_table(f"{name}_sessions", sessions_folder))
        return insert(f"{name}_sessions", f"{name}_measures")

    tables.execute_sql(job("warm_up", warm_up_folder, output_folder / "warm-up")).wait()
    statement = job("measured", input_folder, output_folder / "sessions")
    first_read = FirstRead(input_folder)
    first_read.start()
    tables.execute_sql(statement).wait()
    ended, ended_cpu_s = time.monotonic(), process_tree.cpu_s(os.getpid())
    if first_read.at is None:
        raise RuntimeError("nobody has seen Flink open its input, so there is no time to tell")
    return {
        "wall_s": ended - first_read.at,
        "cpu_s": ended_cpu_s - first_read.cpu_s,
        "peak_memory_bytes": process_tree.peak_memory_bytes(os.getpid()),
        "process_cpu_s": process_tree.cpu_s(os.getpid()),
    }


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Sessions by Apache Flink")
    parser.add_argument("input_folder", type=Path)
    parser.add_argument("warm_up_folder", type=Path)
    parser.add_argument("output_folder", type=Path)
    parser.add_argument("--checkpoint-s", type=int, default=10, help="between two checkpoints; 0: none")
    options = parser.parse_args(arguments)
    folders = [options.input_folder.resolve(), options.warm_up_folder.resolve(), options.output_folder.resolve()]
    report = run(*folders, options.checkpoint_s)
    (folders[2] / "report.json").write_text(json.dumps(report), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
