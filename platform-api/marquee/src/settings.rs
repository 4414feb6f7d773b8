//! Layered settings: built-in defaults → `marquee.toml` → environment (`MARQUEE_…`, a double underscore between levels)
//! → flags. An unknown key is an error: a misspelt setting that is silently ignored costs somebody an evening.

mod kafka;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

use figment::Figment;
use figment::providers::{Env, Format as _, Serialized, Toml};
use figment::value::{Dict, Value};
use marquee_collector::LocationSettings;
use marquee_lake_s3::{Bucket, S3Options};
use serde::{Deserialize, Serialize};

use crate::cli::Cli;
use crate::failure::Failure;
pub(crate) use kafka::KafkaSection;

/// Everything that can be set.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    /// Folder of all data.
    pub(crate) home: PathBuf,
    pub(crate) collector: CollectorSection,
    pub(crate) log: LogSection,
    pub(crate) jobs: JobsSection,
    pub(crate) lake: LakeSection,
    pub(crate) rows: RowsSection,
    pub(crate) dashboards: DashboardsSection,
}

/// The HTTP entry of events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CollectorSection {
    /// Address to listen on.
    pub(crate) listen: SocketAddr,
    /// Origins of web players that may post from a browser.
    pub(crate) allowed_origins: Vec<String>,
    /// Largest body of a request, after decompression (bytes).
    pub(crate) max_body_bytes: usize,
    /// MMDB files that tell where clients are, and the proxies before the collector.
    pub(crate) location: LocationSettings,
}

/// Which log, and how it is cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LogSection {
    pub(crate) adapter: LogAdapter,
    /// Partitions of each topic, fixed when it is made.
    pub(crate) partitions: u32,
    /// Records are kept this long (hours).
    pub(crate) retention_hours: u32,
    /// With adapter `kafka`.
    pub(crate) kafka: KafkaSection,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum LogAdapter {
    /// In this process, on the local disk.
    Embedded,
    /// Topics of an Apache Kafka cluster.
    Kafka,
}

/// How jobs run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JobsSection {
    /// Length of an epoch (ms).
    pub(crate) epoch_interval_ms: u32,
    /// Live numbers are published this often (ms).
    pub(crate) live_interval_ms: u32,
    /// Threads that write Parquet.
    pub(crate) write_threads: usize,
}

/// The lake.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LakeSection {
    /// Memory of all queries of a process together (bytes).
    pub(crate) query_memory_bytes: usize,
    /// Where lake and state of the jobs are, `s3://bucket/prefix` [default: the home].
    pub(crate) url: Option<String>,
    /// With a `url`.
    pub(crate) s3: S3Section,
}

/// How a bucket is reached. Credentials come from the environment, as every client of S3 takes them, and are no settings.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct S3Section {
    /// `https://host:port` of a store that is not Amazon's.
    pub(crate) endpoint: Option<String>,
    /// [default: `AWS_REGION`]
    pub(crate) region: Option<String>,
    /// Speak to an endpoint without TLS that is not on this machine.
    pub(crate) allow_http: bool,
}

impl LakeSection {
    /// The bucket with lake and state, if they are in one.
    pub(crate) fn bucket(&self) -> Result<Option<Bucket>, Failure> {
        let Some(url) = &self.url else { return Ok(None) };
        let S3Section { endpoint, region, allow_http } = self.s3.clone();
        let options = S3Options { url: url.clone(), endpoint, region, allow_http };
        Ok(Some(Bucket::open(&options, |name| std::env::var(name).ok())?))
    }

    /// Refuses what works with a lake on the local disk only.
    pub(crate) fn must_be_local(&self, what: &str, why: &str) -> Result<(), Failure> {
        match &self.url {
            None => Ok(()),
            Some(url) => Err(Failure::settings(format!(
                "`marquee {what}` does not work with the lake in {url}: {why}; unset lake.url to use the home"
            ))),
        }
    }
}

/// Pages over gRPC.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RowsSection {
    /// Address to listen on.
    pub(crate) listen: SocketAddr,
    /// Origins of web pages that may ask from a browser (grpc-web).
    pub(crate) allowed_origins: Vec<String>,
}

/// Live figures, sessions and the viewer in a browser.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DashboardsSection {
    /// Address to listen on.
    pub(crate) listen: SocketAddr,
    /// Names under which browsers may ask, besides those of this machine.
    pub(crate) allowed_hosts: Vec<String>,
    /// The folder with the viewer's clip [default: `media` in the home].
    pub(crate) media_folder: Option<PathBuf>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            home: PathBuf::from("marquee-data"),
            collector: CollectorSection {
                listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
                allowed_origins: Vec::new(),
                max_body_bytes: 4 << 20,
                location: LocationSettings::default(),
            },
            log: LogSection {
                adapter: LogAdapter::Embedded,
                partitions: 4,
                retention_hours: 7 * 24,
                kafka: KafkaSection::default(),
            },
            jobs: JobsSection { epoch_interval_ms: 30_000, live_interval_ms: 1_000, write_threads: 2 },
            lake: LakeSection { query_memory_bytes: 1 << 30, url: None, s3: S3Section::default() },
            rows: RowsSection { listen: SocketAddr::from(([127, 0, 0, 1], 8082)), allowed_origins: Vec::new() },
            dashboards: DashboardsSection {
                listen: SocketAddr::from(([127, 0, 0, 1], 8081)),
                allowed_hosts: Vec::new(),
                media_folder: None,
            },
        }
    }
}

/// The settings in force and where each comes from.
pub(crate) struct Loaded {
    pub(crate) settings: Settings,
    /// Dotted key → (value as TOML, origin).
    pub(crate) origins: BTreeMap<String, (String, String)>,
}

/// Loads the layers.
pub(crate) fn load(cli: &Cli) -> Result<Loaded, Failure> {
    let mut figment = Figment::from(Serialized::defaults(Settings::default()));
    let file = cli.config.clone().unwrap_or_else(|| PathBuf::from("marquee.toml"));
    if cli.config.is_some() && !file.is_file() {
        return Err(Failure::settings(format!("settings file {} is not there", file.display())));
    }
    figment = figment.merge(Toml::file(&file));
    // MARQUEE_DATA belongs to the tests.
    figment = figment.merge(Env::prefixed("MARQUEE_").ignore(&["data"]).split("__"));
    if let Some(home) = &cli.home {
        figment = figment.merge(Serialized::default("home", home));
    }
    let settings: Settings = figment.extract().map_err(|e| explain(e, &file.display().to_string()))?;
    check(&settings)?;
    let mut origins = BTreeMap::new();
    let all: Dict = figment.extract().unwrap_or_default();
    collect(&figment, "", &all, cli.home.is_some(), &mut origins);
    Ok(Loaded { settings, origins })
}

fn check(settings: &Settings) -> Result<(), Failure> {
    let wrong = |key: &str, problem: &str| Err(Failure::settings(format!("setting {key} {problem}")));
    match () {
        () if !(1..=1024).contains(&settings.log.partitions) => wrong("log.partitions", "must be from 1 to 1024"),
        () if settings.log.retention_hours == 0 => wrong("log.retention_hours", "must be at least 1"),
        () if settings.jobs.epoch_interval_ms < 100 => wrong("jobs.epoch_interval_ms", "must be at least 100"),
        () if settings.jobs.live_interval_ms < 100 => wrong("jobs.live_interval_ms", "must be at least 100"),
        () if settings.lake.url.is_none() && settings.lake.s3 != S3Section::default() => {
            wrong("lake.s3", "says how a bucket is reached: lake.url must name one")
        }
        () if !(1..=256).contains(&settings.jobs.write_threads) => wrong("jobs.write_threads", "must be from 1 to 256"),
        () => Ok(()),
    }
}

fn explain(error: figment::Error, file: &str) -> Failure {
    let Some(first) = error.into_iter().next() else { return Failure::settings("the settings cannot be read") };
    let key = first.path.join(".");
    let origin = first.metadata.as_ref().map(|m| origin_name(m, file)).unwrap_or_default();
    let place = match (key.is_empty(), origin.is_empty()) {
        (true, true) => String::new(),
        (true, false) => format!(" ({origin})"),
        (false, true) => format!(" at `{key}`"),
        (false, false) => format!(" at `{key}` ({origin})"),
    };
    Failure::settings(format!("settings{place}: {}; `marquee config` shows every key", first.kind))
}

fn origin_name(metadata: &figment::Metadata, file: &str) -> String {
    match &metadata.source {
        Some(figment::Source::File(path)) => path.display().to_string(),
        _ if metadata.name.contains("environment") => "environment".to_owned(),
        _ if metadata.name.contains("TOML") => file.to_owned(),
        _ => String::new(),
    }
}

fn collect(
    figment: &Figment,
    prefix: &str,
    values: &Dict,
    home_is_flag: bool,
    into: &mut BTreeMap<String, (String, String)>,
) {
    for (name, value) in values {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        if let Value::Dict(_, inner) = value {
            collect(figment, &key, inner, home_is_flag, into);
            continue;
        }
        let metadata = figment.find_metadata(&key);
        let mut origin = metadata.map(|m| origin_name(m, "marquee.toml")).unwrap_or_default();
        if origin.is_empty() {
            origin = if key == "home" && home_is_flag { "flag".to_owned() } else { "default".to_owned() };
        }
        let shown = match value {
            Value::String(..) if key.ends_with("password") => format!("\"{}\"", kafka::HIDDEN),
            value => serde_json::to_string(value).unwrap_or_default(),
        };
        into.insert(key, (shown, origin));
    }
}
