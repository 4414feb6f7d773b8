//! How a [`KafkaLog`](crate::KafkaLog) reaches its cluster, and the settings of librdkafka that follow from it.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use marquee_stream::LogError;
use rdkafka::ClientConfig;

use crate::error::refused;

/// Bytes that may wait to become durable, as in the embedded log.
pub const DEFAULT_MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// The largest payload. The collector takes 4 MiB at most, and what jobs send stays far below it; brokers must be able
/// to hold a few of them in memory.
pub const MAX_RECORD_BYTES: usize = 16 * 1024 * 1024;

/// What a record's key and headers, and what a batch, add to a payload at most (bytes).
const MAX_OVERHEAD_BYTES: usize = 64 * 1024;

/// What a consumer fetches ahead of its reader (KiB): some reads of a shard.
const PREFETCH_KIB: u32 = 8 * 1024;

/// A fetch at the end of a partition waits so long for a record (ms); a reader that moves elsewhere waits for it.
const FETCH_WAIT_MS: u32 = 100;

/// Ours are never in transactions. Waiting for those of others would hide what was acknowledged, for as long as they like.
const ISOLATION: &str = "read_uncommitted";

/// A record waits so long for others to be sent with (ms).
const LINGER_MS: u32 = 2;

/// How clients prove who they are and what others on the way can read. The variants with TLS need the crate's feature
/// `tls`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SecurityProtocol {
    /// Nothing.
    #[default]
    Plaintext,
    /// TLS.
    Ssl,
    /// SASL alone.
    SaslPlaintext,
    /// SASL over TLS.
    SaslSsl,
}

impl SecurityProtocol {
    /// As Kafka writes it.
    pub fn name(self) -> &'static str {
        match self {
            SecurityProtocol::Plaintext => "PLAINTEXT",
            SecurityProtocol::Ssl => "SSL",
            SecurityProtocol::SaslPlaintext => "SASL_PLAINTEXT",
            SecurityProtocol::SaslSsl => "SASL_SSL",
        }
    }
}

/// A user of the cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct Sasl {
    /// `PLAIN`; with the feature `tls` also `SCRAM-SHA-256` and `SCRAM-SHA-512`.
    pub mechanism: String,
    /// The user's name.
    pub username: String,
    /// Never shown.
    pub password: String,
}

impl fmt::Debug for Sasl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mechanism, username, password: _ } = self;
        f.debug_struct("Sasl").field("mechanism", mechanism).field("username", username).finish_non_exhaustive()
    }
}

/// How a [`KafkaLog`](crate::KafkaLog) is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaOptions {
    /// `host:port`, several with commas: any of them tells of the others.
    pub bootstrap_servers: String,
    /// How brokers call this process in their logs and quotas. Groups of its consumers begin with it.
    pub client_id: String,
    /// Stands before the names of all topics in the cluster: several Marquees may share one. Whoever uses the log knows the
    /// names without it.
    pub topic_prefix: String,
    /// How it connects.
    pub security_protocol: SecurityProtocol,
    /// As whom; `None` without SASL.
    pub sasl: Option<Sasl>,
    /// Certificates of those who may sign a broker's (PEM); `None`: those of the system.
    pub ca_file: Option<PathBuf>,
    /// Replicas of each partition of the topics that are created here. Below 3 one lost disk can lose records.
    pub replication_factor: u32,
    /// Replicas that have a record before it is acknowledged. Records are not fsynced, so below 2 one power cut can lose
    /// acknowledged records.
    pub min_insync_replicas: u32,
    /// How long something is tried again that can pass by itself: a leader that moves, a broker that starts.
    pub patience: Duration,
    /// How long one process may work on a ledger key before another takes it for dead, see
    /// [`append_once`](marquee_stream::PartitionLog::append_once).
    pub ledger_lease: Duration,
    /// An append that would make more bytes than this wait to become durable is refused with
    /// [`Full`](marquee_stream::LogError::Full).
    pub max_waiting_bytes: usize,
}

impl KafkaOptions {
    /// Defaults for a cluster of at least three brokers.
    pub fn new(bootstrap_servers: impl Into<String>) -> Self {
        Self {
            bootstrap_servers: bootstrap_servers.into(),
            client_id: "marquee".to_owned(),
            topic_prefix: String::new(),
            security_protocol: SecurityProtocol::default(),
            sasl: None,
            ca_file: None,
            replication_factor: 3,
            min_insync_replicas: 2,
            patience: Duration::from_secs(60),
            ledger_lease: Duration::from_secs(30),
            max_waiting_bytes: DEFAULT_MAX_WAITING_BYTES,
        }
    }

    /// What librdkafka would say less plainly.
    ///
    /// # Errors
    /// [`LogError::Refused`] when a file that is named is not there.
    pub(crate) fn check(&self) -> Result<(), LogError> {
        let Some(file) = &self.ca_file else { return Ok(()) };
        let opened = File::open(file).map(drop);
        opened
            .map_err(|error| refused("opening the log", format!("ca_file {} cannot be read: {error}", file.display())))
    }

    /// A topic's name in the cluster.
    pub(crate) fn in_cluster(&self, topic: &str) -> String {
        format!("{}{topic}", self.topic_prefix)
    }

    fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &self.bootstrap_servers)
            .set("client.id", &self.client_id)
            .set("security.protocol", self.security_protocol.name())
            // A broker may create topics that somebody asks about; ours are made by `ensure_topic` alone.
            .set("allow.auto.create.topics", "false")
            // A broker that is away for a restart is found again soon.
            .set("reconnect.backoff.max.ms", "2000")
            .set("socket.keepalive.enable", "true");
        if let Some(sasl) = &self.sasl {
            config
                .set("sasl.mechanism", &sasl.mechanism)
                .set("sasl.username", &sasl.username)
                .set("sasl.password", &sasl.password);
        }
        match &self.ca_file {
            Some(file) => {
                config.set("ssl.ca.location", file.display().to_string());
            }
            // Our own OpenSSL does not know where this system keeps its certificates.
            None if cfg!(feature = "tls") => {
                config.set("ssl.ca.location", "probe");
            }
            None => {}
        }
        config
    }

    /// Makes topics.
    pub(crate) fn making(&self) -> ClientConfig {
        self.client()
    }

    /// Asks about topics; reads nothing.
    pub(crate) fn asking(&self) -> ClientConfig {
        let mut config = self.client();
        config.set("isolation.level", ISOLATION);
        config
    }

    /// Reads one partition from where it is told. The group is never joined: librdkafka wants a name.
    pub(crate) fn reading(&self) -> ClientConfig {
        let mut config = self.client();
        config
            .set("group.id", format!("{}-readers", self.client_id))
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("isolation.level", ISOLATION)
            .set("enable.partition.eof", "true")
            .set("queued.max.messages.kbytes", PREFETCH_KIB.to_string())
            .set("fetch.wait.max.ms", FETCH_WAIT_MS.to_string())
            // A full queue has room again after the next read.
            .set("fetch.queue.backoff.ms", "10")
            .set("fetch.error.backoff.ms", "100")
            .set("check.crcs", "true");
        config
    }

    /// Writes; an attempt that has lasted for `timeout` has failed.
    pub(crate) fn writing(&self, timeout: Duration) -> ClientConfig {
        let mut config = self.client();
        config
            .set("enable.idempotence", "true")
            .set("compression.codec", "zstd")
            .set("linger.ms", LINGER_MS.to_string())
            .set("message.timeout.ms", timeout.as_millis().to_string())
            .set("message.max.bytes", max_message_bytes().to_string())
            // The limits on what waits are ours: they refuse a whole append before any of it is sent.
            .set("queue.buffering.max.messages", "0")
            .set("queue.buffering.max.kbytes", "2097151")
            // Topics are known to exist before the first record.
            .set("topic.metadata.propagation.max.ms", "5000");
        config
    }

    /// Member of `group`, for membership only.
    pub(crate) fn joining(&self, group: &str, session_timeout: Duration, release_timeout: Duration) -> ClientConfig {
        let mut config = self.client();
        config
            .set("group.id", group)
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            // Nothing is fetched, and no offset of the group is ever used.
            .set("auto.offset.reset", "latest")
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", session_timeout.as_millis().to_string())
            .set("heartbeat.interval.ms", (session_timeout.as_millis() / 6).max(1).to_string())
            // A member that waits for its shards to release partitions is not dead; twice as long it is.
            .set("max.poll.interval.ms", (2 * release_timeout).max(session_timeout).as_millis().to_string());
        config
    }
}

/// What brokers are told to take, and producers to send.
pub(crate) fn max_message_bytes() -> usize {
    MAX_RECORD_BYTES + MAX_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        let sasl = Sasl { mechanism: "PLAIN".into(), username: "marquee".into(), password: "s3cret".into() };
        let options = KafkaOptions { sasl: Some(sasl), ..KafkaOptions::new("localhost:9092") };
        let shown = format!("{options:?} {options:#?}");
        assert!(shown.contains("PLAIN") && !shown.contains("s3cret"), "{shown}");
    }
}
