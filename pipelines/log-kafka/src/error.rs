//! From librdkafka's errors to the port's: what passes by itself, what has to be changed, and what to do.

use std::fmt;
use std::time::{Duration, Instant};

use marquee_stream::LogError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// The first pause before something is tried again; each next one is twice as long, up to [`MAX_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest pause before something is tried again.
const MAX_PAUSE: Duration = Duration::from_secs(1);

/// A cause in our own words.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Cause(String);

/// The port's error for something that may work later.
pub(crate) fn unavailable(operation: &'static str, why: impl fmt::Display) -> LogError {
    LogError::Storage { operation, source: Box::new(Cause(why.to_string())) }
}

/// The port's error for something that will not work however often it is tried.
pub(crate) fn refused(operation: &'static str, why: impl fmt::Display) -> LogError {
    LogError::Refused { operation, source: Box::new(Cause(why.to_string())) }
}

/// The port's error for a failure of librdkafka's while `operation` was going on.
pub(crate) fn from_kafka(operation: &'static str, error: &KafkaError) -> LogError {
    if let KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) = error {
        return refused(operation, format!("{error}; {}", advice_for_settings()));
    }
    match error.rdkafka_error_code() {
        Some(code) => from_code(operation, code),
        None => unavailable(operation, error),
    }
}

/// librdkafka does not take its settings.
fn advice_for_settings() -> &'static str {
    if cfg!(feature = "tls") {
        "check the settings of TLS and SASL"
    } else {
        "TLS and SCRAM need a build with the feature `kafka-tls` (of this crate: `tls`)"
    }
}

/// The same for a bare code.
pub(crate) fn from_code(operation: &'static str, code: Code) -> LogError {
    let advice = match code {
        Code::TopicAuthorizationFailed => "give the user READ, WRITE, CREATE and DESCRIBE on Marquee's topics",
        Code::GroupAuthorizationFailed => "give the user READ on groups that begin with the client id",
        Code::ClusterAuthorizationFailed => "give the user CREATE, DESCRIBE and IDEMPOTENT_WRITE on the cluster",
        Code::SaslAuthenticationFailed | Code::Authentication => "check the SASL mechanism, the user and the password",
        Code::SSL => "check the CA file and that the brokers' certificates name their hosts",
        Code::MessageSizeTooLarge => "raise max.message.bytes of the topic",
        Code::InvalidReplicationFactor => "start more brokers, or ask for fewer replicas",
        Code::PolicyViolation => "the cluster has a policy against such a topic",
        Code::UnsupportedVersion => "the brokers are too old for it",
        Code::InvalidTopic => "a topic's name has letters, digits, dots, dashes and underscores, 249 at most",
        Code::NotEnoughReplicas | Code::NotEnoughReplicasAfterAppend => {
            return unavailable(
                operation,
                format!("{code}: fewer replicas are in sync than min.insync.replicas asks for"),
            );
        }
        Code::MessageTimedOut => return unavailable(operation, "no broker has acknowledged it in time"),
        Code::AllBrokersDown | Code::BrokerTransportFailure | Code::OperationTimedOut => {
            return unavailable(operation, format!("{code}: check that the brokers run and can be reached"));
        }
        _ => return unavailable(operation, code),
    };
    refused(operation, format!("{code}: {advice}"))
}

/// Whether it can pass by itself: a leader that moves, a broker that starts, a request that took too long.
pub(crate) fn is_transient(code: Code) -> bool {
    matches!(
        code,
        Code::AllBrokersDown
            | Code::BrokerTransportFailure
            | Code::BrokerNotAvailable
            | Code::CoordinatorLoadInProgress
            | Code::CoordinatorNotAvailable
            | Code::DestroyBroker
            | Code::FencedLeaderEpoch
            | Code::InvalidReplicationFactor
            | Code::KafkaStorageError
            | Code::LeaderNotAvailable
            | Code::MessageTimedOut
            | Code::NetworkException
            | Code::NotController
            | Code::NotCoordinator
            | Code::NotLeaderForPartition
            | Code::OffsetNotAvailable
            | Code::OperationTimedOut
            | Code::OutOfOrderSequenceNumber
            | Code::PreferredLeaderNotAvailable
            | Code::ReplicaNotAvailable
            | Code::RequestTimedOut
            | Code::Resolve
            | Code::TimedOutQueue
            | Code::UnknownLeaderEpoch
            | Code::WaitingForCoordinator
    )
}

/// Whether it says that the topic or the partition is not there.
pub(crate) fn is_unknown_topic(code: Code) -> bool {
    matches!(code, Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition | Code::UnknownTopicId)
}

/// Tries again what can pass by itself, with growing pauses, for as long as it may take.
pub(crate) struct Patience {
    until: Instant,
    pause: Duration,
}

impl Patience {
    pub(crate) fn new(patience: Duration) -> Self {
        Self { until: Instant::now() + patience, pause: FIRST_PAUSE }
    }

    /// Time that is left.
    pub(crate) fn left(&self) -> Duration {
        self.until.saturating_duration_since(Instant::now())
    }

    /// Sleeps before the next attempt; `false`, at once, when there is no time for one.
    pub(crate) fn pause(&mut self) -> bool {
        if self.left().is_zero() {
            return false;
        }
        std::thread::sleep(self.pause.min(self.left()));
        self.pause = (2 * self.pause).min(MAX_PAUSE);
        true
    }
}

#[cfg(test)]
mod tests {
    use marquee_events::ErrorKind;

    use super::*;

    #[test]
    fn errors_have_their_kinds_and_say_what_to_do() {
        let check = |code, kind, words: &str| {
            let error = from_code("appending records", code);
            assert_eq!(error.kind(), kind, "{code:?}");
            let source = std::error::Error::source(&error).unwrap().to_string();
            assert!(source.contains(words), "{source}");
        };
        check(Code::TopicAuthorizationFailed, ErrorKind::Invalid, "give the user");
        check(Code::SaslAuthenticationFailed, ErrorKind::Invalid, "password");
        check(Code::NotEnoughReplicas, ErrorKind::Unavailable, "min.insync.replicas");
        check(Code::AllBrokersDown, ErrorKind::Unavailable, "brokers run");
    }

    #[test]
    fn patience_ends() {
        let started = Instant::now();
        let mut patience = Patience::new(Duration::from_millis(200));
        let mut attempts = 0;
        while patience.pause() {
            attempts += 1;
        }
        assert!((2..=4).contains(&attempts), "{attempts}");
        assert!(started.elapsed() >= Duration::from_millis(200));
    }
}
