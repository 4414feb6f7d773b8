//! The command line. Operators and tests rely on it: a change needs a decision record.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use chrono::NaiveDate;
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Stream-processing analytics and recommendations for video streaming.
///
/// Player events come in over HTTP, go through a durable log into streaming jobs, and end as quality-of-experience
/// numbers and recommendation features in a Delta lake, each event counted exactly once. Models are trained on the
/// lake and serve personalised rows over gRPC.
#[derive(Debug, Parser)]
#[command(name = "marquee", version, max_term_width = 100)]
pub(crate) struct Cli {
    /// Folder of all data: log, state and lake [default: ./marquee-data]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) home: Option<PathBuf>,

    /// Settings file [default: ./marquee.toml, if it is there]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// More logs on stderr (-v: what happens, -vv: everything)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Simulated viewers against a real collector: watch the loop turn on an empty machine
    Demo(DemoOptions),
    /// Every service in one process, until Ctrl-C or SIGTERM
    Up,
    /// Only the streaming jobs, sharing a log in Kafka with other such processes on the same home
    Jobs {
        /// Which: only `playback` can be shared so far [default: playback]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
    },
    /// Only the HTTP entry of events, before a log in Kafka
    Collector,
    /// Real data through the collector; returns when it is in the lake
    Import {
        #[command(subcommand)]
        source: ImportCommand,
    },
    /// Fit models on the lake, measure them, and put the result into the registry
    Train(TrainOptions),
    /// Measure models on a file of interactions, without a lake
    Evaluate(EvaluateOptions),
    /// Every model in the registry, with its figures; the one in service is marked
    Models {
        /// One JSON document on stdout
        #[arg(long)]
        json: bool,
    },
    /// Put a model in service: user side, index and neighbour lists at once
    Publish {
        /// As `marquee models` lists it
        version: String,
        /// Although it has not shown that it is good enough
        #[arg(long)]
        force: bool,
    },
    /// Put the model that was in service before back
    Rollback,
    /// Look into the lake
    Lake {
        #[command(subcommand)]
        command: LakeCommand,
    },
    /// Change the log
    Log {
        #[command(subcommand)]
        command: LogCommand,
    },
    /// Measure this build on this machine
    Bench {
        #[command(subcommand)]
        command: BenchCommand,
    },
    /// The settings in force, each with where it comes from
    Config {
        /// One JSON document on stdout
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct DemoOptions {
    /// Stop after one full round, compare the lake with what the viewers did, print a summary
    #[arg(long)]
    pub(crate) once: bool,

    /// One JSON document on stdout
    #[arg(long, requires = "once")]
    pub(crate) json: bool,

    /// Seed of the simulated viewers; the same seed makes the same sessions [default: the time of day]
    #[arg(long)]
    pub(crate) seed: Option<u64>,

    /// Real input instead of simulated viewers: a folder with waterloo-sqoe4/ and ml-latest-small/
    #[arg(long, requires = "once", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,

    /// Sessions of a --once round
    #[arg(long, default_value_t = 240, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) sessions: u64,

    /// Time runs this many times as fast as in life
    #[arg(long, default_value_t = 1.0)]
    pub(crate) speed: f64,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImportCommand {
    /// Waterloo Streaming QoE Database IV: measured adaptive-streaming sessions
    Waterloo {
        /// Folder with sessions.csv and `streaming_logs`/
        dir: PathBuf,
        /// One JSON document on stdout
        #[arg(long)]
        json: bool,
    },
    /// `MovieLens`: films into the catalogue, ratings as interactions, users as profiles
    Movielens {
        /// Folder with movies.csv and ratings.csv, or with movies.dat and ratings.dat
        dir: PathBuf,
        /// One JSON document on stdout
        #[arg(long)]
        json: bool,
    },
    /// CMCD from the access logs of a CDN: one event for each request that has `CMCD=…` in its address
    ///
    /// Logs are text or gzip, in any format with one request a line. The time of a line is the first of these in it:
    /// `[10/Oct/2000:13:55:36 -0700]` (Common Log Format); a date and a time of day with a tab or a blank between them, as
    /// CloudFront has (2000-10-10 20:55:36, UTC); ISO 8601 (2000-10-10T20:55:36.123Z, or with another offset).
    /// Lines without CMCD are counted, lines that cannot be read are reported.
    CdnLog {
        /// Access logs; a session whose requests lie in several files needs them in one import
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// One JSON document on stdout
        #[arg(long)]
        json: bool,
    },
    /// Who watched what and when
    Interactions {
        /// CSV with `profile_id,title_id,timestamp_ms[,watched_fraction]`
        file: PathBuf,
        /// One JSON document on stdout
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct TrainOptions {
    /// The embedding model; its lists of neighbours and popular titles come with it
    #[arg(default_value = "two-tower")]
    pub(crate) model: String,

    /// Decides what is random in training
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,

    /// Put it in service when it is good enough
    #[arg(long)]
    pub(crate) publish: bool,

    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct EvaluateOptions {
    /// CSV with `profile_id,title_id,timestamp_ms[,watched_fraction]`, or MovieLens's ratings.csv
    #[arg(long, value_name = "FILE")]
    pub(crate) interactions: PathBuf,

    /// What is held out
    #[arg(long, value_enum, default_value_t = EvaluationProtocol::LeaveOneOut)]
    pub(crate) protocol: EvaluationProtocol,

    /// Names of models, joined by commas [default: all]
    #[arg(long, value_delimiter = ',')]
    pub(crate) models: Vec<String>,

    /// Decides what is random in training
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,

    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum EvaluationProtocol {
    /// Each profile's last title, ranked among all
    LeaveOneOut,
    /// Everything after 90 % of the time
    TimeSplit,
}

#[derive(Debug, Subcommand)]
pub(crate) enum LakeCommand {
    /// Every table with its rows and files
    Tables {
        /// One JSON document on stdout
        #[arg(long)]
        json: bool,
    },
    /// Run a query (read-only)
    Sql {
        /// For example: SELECT outcome, count(*) FROM sessions GROUP BY outcome
        query: String,
        /// How to print the rows
        #[arg(long, value_enum, default_value_t = Format::Table)]
        format: Format,
    },
    /// Fold events that came too late into their sessions, for days that are over
    ///
    /// An event that comes more than 24 h behind its partition's watermark (the largest event time there, less 30 s) is
    /// kept in tables `events` and `late_events`, and is in no session and in no figure. This command takes the sessions
    /// that have such events in the days from --from to --to, folds each anew from all its events, and writes a new
    /// revision of it and the difference to `qoe_minutes`. Table `recomputed_events` lists what was folded: asking again
    /// changes nothing, and later arrivals are folded by the next call.
    ///
    /// A day is accepted once it is over by more than 24 h of event time in every partition; else nothing is changed and
    /// the exit code is 3. It works beside running services, and may be stopped at any time: what was decided stays.
    Recompute(RecomputeOptions),
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Let a topic go on in more partitions: `playback` or `playback-import`
    ///
    /// A topic never gets partitions. This command ends it, so that it takes no more records, and makes a new generation of
    /// it: `playback.2` in the log, part of topic `playback` everywhere else, where its partitions are numbered on. Each of
    /// them goes on with the sessions of one old partition, open ones, too; nothing is counted twice. Collectors find the
    /// new generation by themselves; until it is there, for a second or so, they refuse events and players send them again.
    ///
    /// With the embedded log, stop `marquee up` first. With the log in Kafka, start every `marquee jobs` again afterwards,
    /// one after the other: a process reads the partitions that were there when it was started.
    ///
    /// May be interrupted and run again at any point; a topic that has so many partitions is left as it is. Run it once at
    /// a time. A topic never shrinks.
    Grow(GrowOptions),
}

#[derive(Debug, Args)]
pub(crate) struct GrowOptions {
    /// The topic: `playback` or `playback-import`
    pub(crate) topic: String,

    /// Partitions of the new generation: a multiple of what the topic has now
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) partitions: u32,

    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct RecomputeOptions {
    /// First day of the late events' times, in UTC
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    pub(crate) from: NaiveDate,

    /// Last day, itself included
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    pub(crate) to: NaiveDate,

    /// One of n parts of the sessions, counted from 0: the parts may run side by side, on several machines, too
    #[arg(long, value_name = "I/N", default_value = "0/1")]
    pub(crate) shard: SessionPart,

    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

fn day(text: &str) -> Result<NaiveDate, String> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| "a day is written like 2026-01-31".to_owned())
}

/// Part `index` of `count` parts of all sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SessionPart {
    pub(crate) index: u32,
    pub(crate) count: u32,
}

impl FromStr for SessionPart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = text.split_once('/').and_then(|(index, count)| {
            let part = Self { index: index.parse().ok()?, count: count.parse().ok()? };
            (part.index < part.count).then_some(part)
        });
        part.ok_or_else(|| "a part is written like 0/4, 1/4, 2/4, 3/4".to_owned())
    }
}

impl fmt::Display for SessionPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Csv,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum BenchCommand {
    /// Log → sessions, bronze and minutes → Delta, in a temporary folder
    Stream(BenchStreamOptions),
    /// Pages over gRPC at a fixed rate, and how soon an event changes one, in a temporary folder
    Rows(BenchRowsOptions),
}

#[derive(Debug, Args)]
pub(crate) struct BenchStreamOptions {
    /// Format of the records: JSON has one event a record, protobuf twenty
    #[arg(long, value_enum, default_value_t = BenchFormat::Protobuf)]
    pub(crate) format: BenchFormat,

    /// Records to read instead of generating any: JSON, one event a line
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["events", "sessions", "concurrent_sessions", "format"])]
    pub(crate) input: Option<PathBuf>,

    /// Write what would be generated as a file for --input, and stop
    #[arg(long, value_name = "FILE.jsonl", conflicts_with = "input")]
    pub(crate) write_input: Option<PathBuf>,

    /// Events to generate
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    pub(crate) events: u64,

    /// Sessions to spread them over [default: one for every 20 events]
    #[arg(long)]
    pub(crate) sessions: Option<u64>,

    /// The most sessions that are open at a time; more follow in waves
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) concurrent_sessions: u64,

    /// Partitions of the topic
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) partitions: u32,

    /// Length of an epoch
    #[arg(long, default_value_t = 10_000, value_name = "MS")]
    pub(crate) epoch_ms: i64,

    /// Rate of the freshness run [default: half of what the first run reached]
    #[arg(long, value_name = "EVENTS/S")]
    pub(crate) freshness_rate: Option<u64>,

    /// Length of the freshness run; 0 leaves it out
    #[arg(long, default_value_t = 10, value_name = "SECONDS")]
    pub(crate) freshness_seconds: u64,

    /// Folder for the data of the run [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// Leave the data, in a new folder within DIR
    #[arg(long, requires = "dir")]
    pub(crate) keep: bool,

    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,

    /// Fill the log in this folder, and stop: a run starts itself with it, so that its memory holds nothing of this
    #[arg(long, hide = true, value_name = "DIR")]
    pub(crate) generate_into: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BenchRowsOptions {
    /// Pages asked for, whether or not earlier ones have come
    #[arg(long, default_value_t = 200, value_name = "PAGES/S", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) rate: u32,

    /// How long pages are timed
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3_600))]
    pub(crate) seconds: u32,

    /// Titles of the catalogue; with fewer a child's page could not be full
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1_000..=50_000))]
    pub(crate) titles: u32,

    /// Profiles, each with a history
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(100..=1_000_000))]
    pub(crate) profiles: u32,

    /// Events whose way to a changed page is timed, each of another profile; at most half of the profiles
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub(crate) events: u32,

    /// Folder for the data of the run [default: the system's temporary folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,

    /// One JSON document on stdout
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum BenchFormat {
    Json,
    Protobuf,
}
