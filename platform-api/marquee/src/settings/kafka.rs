//! The section `log.kafka`, described in docs/kafka.md.

use std::path::PathBuf;
use std::time::Duration;

use marquee_log_kafka::{KafkaOptions, Sasl, SecurityProtocol};
use serde::{Deserialize, Serialize, Serializer};

use crate::failure::Failure;
use crate::services::MAX_WAITING_BYTES;

/// How the cluster is reached.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct KafkaSection {
    /// `host:port`, several with commas; needed with `log.adapter = "kafka"`.
    pub(crate) bootstrap_servers: String,
    /// How brokers call this process.
    pub(crate) client_id: String,
    /// Stands before the names of all topics and of the group.
    pub(crate) topic_prefix: String,
    pub(crate) security_protocol: Protocol,
    /// `PLAIN`, `SCRAM-SHA-256`, `SCRAM-SHA-512`.
    pub(crate) sasl_mechanism: Option<String>,
    pub(crate) sasl_username: Option<String>,
    pub(crate) sasl_password: Option<Secret>,
    /// Certificates that sign the brokers' (PEM) [default: the system's].
    pub(crate) ca_file: Option<PathBuf>,
    /// Of topics that are made here.
    pub(crate) replication_factor: u32,
    /// Of topics that are made here.
    pub(crate) min_insync_replicas: u32,
    /// How long something is tried again that passes by itself (ms).
    pub(crate) patience_ms: u32,
    /// How long an import's chunk belongs to the process that began it (ms).
    pub(crate) ledger_lease_ms: u32,
    /// Records that may wait for their acknowledgement (bytes).
    pub(crate) max_waiting_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Protocol {
    Plaintext,
    Ssl,
    SaslPlaintext,
    SaslSsl,
}

/// A text that is never shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Secret(String);

/// What stands in a secret's place.
pub(super) const HIDDEN: &str = "(hidden)";

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(HIDDEN)
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(HIDDEN)
    }
}

impl Default for KafkaSection {
    fn default() -> Self {
        Self {
            bootstrap_servers: String::new(),
            client_id: "marquee".to_owned(),
            topic_prefix: String::new(),
            security_protocol: Protocol::Plaintext,
            sasl_mechanism: None,
            sasl_username: None,
            sasl_password: None,
            ca_file: None,
            replication_factor: 3,
            min_insync_replicas: 2,
            patience_ms: 60_000,
            ledger_lease_ms: 30_000,
            max_waiting_bytes: MAX_WAITING_BYTES,
        }
    }
}

impl KafkaSection {
    /// As the adapter takes them.
    ///
    /// # Errors
    /// When settings that belong together do not come together.
    pub(crate) fn options(&self) -> Result<KafkaOptions, Failure> {
        if self.bootstrap_servers.trim().is_empty() {
            return Err(Failure::settings(
                "setting log.kafka.bootstrap_servers is missing: with log.adapter = \"kafka\" name at least one broker as host:port",
            ));
        }
        let sasl = match (&self.sasl_mechanism, &self.sasl_username, &self.sasl_password) {
            (None, None, None) => None,
            (Some(mechanism), Some(username), Some(Secret(password))) => {
                Some(Sasl { mechanism: mechanism.clone(), username: username.clone(), password: password.clone() })
            }
            _ => {
                return Err(Failure::settings(
                    "settings log.kafka.sasl_mechanism, sasl_username and sasl_password belong together: set all or none",
                ));
            }
        };
        Ok(KafkaOptions {
            client_id: self.client_id.clone(),
            topic_prefix: self.topic_prefix.clone(),
            security_protocol: match self.security_protocol {
                Protocol::Plaintext => SecurityProtocol::Plaintext,
                Protocol::Ssl => SecurityProtocol::Ssl,
                Protocol::SaslPlaintext => SecurityProtocol::SaslPlaintext,
                Protocol::SaslSsl => SecurityProtocol::SaslSsl,
            },
            sasl,
            ca_file: self.ca_file.clone(),
            replication_factor: self.replication_factor,
            min_insync_replicas: self.min_insync_replicas,
            patience: Duration::from_millis(u64::from(self.patience_ms)),
            ledger_lease: Duration::from_millis(u64::from(self.ledger_lease_ms)),
            max_waiting_bytes: self.max_waiting_bytes,
            ..KafkaOptions::new(self.bootstrap_servers.clone())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_together_comes_together_and_a_password_is_never_shown() {
        let mut section = KafkaSection::default();
        let refused = |section: &KafkaSection| section.options().err().map(|failure| format!("{failure:?}")).unwrap();
        assert!(refused(&section).contains("bootstrap_servers"));
        section.bootstrap_servers = "a:9092".to_owned();
        assert!(section.options().is_ok());
        section.sasl_password = Some(Secret("s3cret".to_owned()));
        assert!(refused(&section).contains("belong together"));
        section.sasl_mechanism = Some("PLAIN".to_owned());
        section.sasl_username = Some("marquee".to_owned());
        assert_eq!(section.options().unwrap().sasl.unwrap().password, "s3cret");
        let shown = format!("{section:?} {}", serde_json::to_string(&section).unwrap());
        assert!(shown.contains(HIDDEN) && !shown.contains("s3cret"), "{shown}");
    }
}
