"""Runs to figures: pure, so that what is told can be tested."""

from dataclasses import asdict, dataclass

# Beyond this share of the CPUs, what others have used meanwhile is said beside the figures.
OTHERS_SHARE = 0.05


@dataclass(frozen=True)
class Run:
    """One run of an engine. The first four are of what is measured, from the first record on; the others of the whole
    process tree from its start to its end."""

    wall_s: float
    cpu_s: float
    peak_memory_bytes: int
    process_wall_s: float
    process_cpu_s: float
    # Of everything else on the same CPUs, between start and end of the process.
    others_cpu_s: float


def of_engine(title: str, events: int, runs: list[Run]) -> dict[str, object]:
    """The quietest run, which is the one with the least wall time, and all of them."""
    quietest = min(runs, key=lambda run: run.wall_s)
    return {
        "engine": title,
        "events_per_s": events / quietest.wall_s,
        "events_per_cpu_s": events / quietest.cpu_s,
        **asdict(quietest),
        "runs": [asdict(run) for run in runs],
    }


def of_all(
    facts: dict[str, object], titles: dict[str, str], events: int, runs: dict[str, list[Run]]
) -> dict[str, object]:
    """Figures of each engine by its name, and what Marquee is to the others."""
    engines = {name: of_engine(titles[name], events, of_one) for name, of_one in runs.items()}
    marquee = engines["marquee"]
    ratios = {}
    for name, engine in engines.items():
        if name != "marquee":
            ratios[name] = {key: marquee[key] / engine[key] for key in ("events_per_s", "events_per_cpu_s")}
    return {**facts, "events": events, "engines": engines, "marquee_to": ratios}


HEADERS = "|events/s|wall s|CPU s|events/CPU s|peak MB|whole process: wall s|CPU s|wall s of each run".split("|")


def as_text(report: dict[str, object], cpus: int) -> str:
    """A table for people."""
    engines = report["engines"]
    rows = [HEADERS, *(_row(engine) for engine in engines.values())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADERS))]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    lines.append("")
    for name, ratio in report["marquee_to"].items():
        lines.append(
            f"Marquee / {engines[name]['engine']}: {ratio['events_per_cpu_s']:.2f} by events per CPU second,"
            f" {ratio['events_per_s']:.2f} by events per second"
        )
    for engine in engines.values():
        share = engine["others_cpu_s"] / engine["process_wall_s"] / cpus
        if share > OTHERS_SHARE:
            lines.append(f"not quiet: beside {engine['engine']}, others used {share:.0%} of the CPUs")
    return "\n".join(lines)


def _row(engine: dict[str, object]) -> list[str]:
    return [
        engine["engine"],
        f"{engine['events_per_s'] / 1000:,.0f} k",
        f"{engine['wall_s']:.2f}",
        f"{engine['cpu_s']:.2f}",
        f"{engine['events_per_cpu_s'] / 1000:,.0f} k",
        f"{engine['peak_memory_bytes'] / 1e6:,.0f}",
        f"{engine['process_wall_s']:.2f}",
        f"{engine['process_cpu_s']:.2f}",
        " ".join(f"{run['wall_s']:.2f}" for run in engine["runs"]),
    ]
