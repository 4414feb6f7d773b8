//! Where a process under test keeps its log: in its home, or in a cluster that all tests share.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use marquee_log_kafka::{KafkaLog, KafkaOptions};
use marquee_test_servers::{KafkaCluster, kafka_is_here};
use tempfile::TempDir;

use crate::child::{self, Up};

/// What is not in the home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Everything is.
    Home,
    /// The log is in Kafka.
    Kafka,
}

/// A home, and settings that lead to what is elsewhere.
pub struct Site {
    folder: TempDir,
    environment: Vec<(&'static str, String)>,
    kafka: Option<KafkaOptions>,
}

impl Site {
    /// An empty one; `None` where tests cannot start its server, and then that is said.
    pub fn new(place: Place, test: &str) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mut site = Self { folder, environment: Vec::new(), kafka: None };
        if place == Place::Kafka {
            site.move_log(cluster(test)?);
        }
        Some(site)
    }

    /// Topics of its own in a cluster of one node.
    fn move_log(&mut self, cluster: &KafkaCluster) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let topic_prefix = format!("site-{}.", NEXT.fetch_add(1, Ordering::Relaxed));
        let options = KafkaOptions { topic_prefix, ..KafkaOptions::new(cluster.bootstrap_servers()) };
        self.environment.extend([
            ("MARQUEE_LOG__ADAPTER", "kafka".to_owned()),
            ("MARQUEE_LOG__KAFKA__BOOTSTRAP_SERVERS", options.bootstrap_servers.clone()),
            ("MARQUEE_LOG__KAFKA__TOPIC_PREFIX", options.topic_prefix.clone()),
            ("MARQUEE_LOG__KAFKA__REPLICATION_FACTOR", "1".to_owned()),
            ("MARQUEE_LOG__KAFKA__MIN_INSYNC_REPLICAS", "1".to_owned()),
        ]);
        self.kafka = Some(options);
    }

    /// The folder of everything that is not elsewhere.
    pub fn home(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// Starts `marquee up` with more environment, as [`Up::start`] does.
    pub fn up(&self, environment: &[(&str, &str)]) -> Result<Up, ExitStatus> {
        let settings = self.environment.iter().map(|(name, value)| (*name, value.as_str()));
        Up::start(&self.home(), &settings.chain(environment.iter().copied()).collect::<Vec<_>>())
    }

    /// A command with this site's settings.
    pub fn marquee<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = child::marquee(&self.home());
        command.args(arguments).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// The number in the only field of the only row.
    pub fn number(&self, query: &str) -> u64 {
        child::number_of(&mut self.marquee(["lake", "sql", query, "--format", "json"]))
    }

    /// Events in a topic, as the records' headers say. Nobody is writing any more.
    pub fn log_events(&self, topic: &str) -> u64 {
        match &self.kafka {
            None => child::log_events(&self.home(), topic),
            Some(options) => child::events_in(&KafkaLog::open(options.clone()).expect("the log opens"), topic),
        }
    }

    /// The folder of the lake.
    pub fn lake(&self) -> PathBuf {
        self.home().join("lake")
    }
}

fn cluster(test: &str) -> Option<&'static KafkaCluster> {
    static CLUSTER: OnceLock<KafkaCluster> = OnceLock::new();
    kafka_is_here(test).then(|| CLUSTER.get_or_init(|| KafkaCluster::start(1)))
}
