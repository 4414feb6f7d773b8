//! The partition log over Apache Kafka: [`KafkaLog`] appends with an idempotent producer, answers when all in-sync replicas
//! have the records, and reads each partition through consumers that are assigned to explicit offsets. No transactions.
//!
//! Offsets have no gaps, as the port promises: nothing but Marquee may write to its topics, they are not compacted, and
//! an idempotent producer leaves none. A gap is reported as damage, never skipped. `ledger` says what
//! [`append_once`](PartitionLog::append_once) holds against. [`KafkaMembership`] shares partitions among processes.

mod cluster;
mod error;
mod header;
mod ledger;
mod membership;
mod options;
mod producer;
mod read;
mod readers;
mod seal;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use marquee_stream::{
    LogError, NewRecord, PartitionLog, Position, Record, Route, TopicSpec, TraceParent, partition_of,
};
use tokio::runtime::Handle;

use crate::cluster::{CleanUp, Cluster, Topic};
use crate::error::unavailable;
use crate::header::Extra;
use crate::ledger::{Ledger, Once};
pub use crate::membership::{KafkaMembership, MembershipOptions};
pub use crate::options::{DEFAULT_MAX_WAITING_BYTES, KafkaOptions, MAX_RECORD_BYTES, Sasl, SecurityProtocol};
use crate::producer::{Outgoing, Producer};

/// A [`PartitionLog`] in an Apache Kafka cluster. Dropping it waits for what was appended.
pub struct KafkaLog {
    shared: Arc<Shared>,
}

/// What calls that outlive their caller's patience go on with.
struct Shared {
    cluster: Cluster,
    producer: Producer,
    /// Its records fail before a ledger's lease is over.
    once_producer: Producer,
    ledgers: Mutex<HashMap<String, Arc<Ledger>>>,
}

impl KafkaLog {
    /// Opens the log. Nothing is asked of the cluster yet.
    ///
    /// # Errors
    /// [`LogError::Refused`] when the options contradict each other or need another build.
    pub fn open(options: KafkaOptions) -> Result<Self, LogError> {
        options.check()?;
        let producer = Producer::new(&options, options.patience)?;
        let once_producer = Producer::new(&options, options.ledger_lease / 2)?;
        let cluster = Cluster::new(options)?;
        Ok(Self { shared: Arc::new(Shared { cluster, producer, once_producer, ledgers: Mutex::default() }) })
    }
}

impl KafkaLog {
    /// What tells the cluster from all others.
    ///
    /// # Errors
    /// [`LogError::Unavailable`] when no broker says so.
    pub fn cluster_id(&self) -> Result<String, LogError> {
        self.shared.cluster.id()
    }

    async fn append_with(
        &self,
        topic: &str,
        records: Vec<NewRecord>,
        extra: Extra<'_>,
    ) -> Result<Vec<Position>, LogError> {
        let operation = "appending records";
        let name = self.in_cluster(topic);
        let topic = if let Some(topic) = self.shared.cluster.seen_topic(&name) {
            topic
        } else {
            let (shared, topic) = (Arc::clone(&self.shared), name);
            blocking(operation, move || shared.cluster.topic(&topic)).await?
        };
        if topic.is_sealed.load(Ordering::Acquire) {
            return Err(LogError::Sealed(topic.name.clone()));
        }
        let sent = {
            let outgoing = records.iter().map(|record| outgoing(&topic, record, extra)).collect::<Result<_, _>>()?;
            self.shared.producer.send(&topic.name, outgoing).await
        };
        match sent {
            Ok(positions) => {
                heard_of(&topic, &positions);
                Ok(positions)
            }
            Err(error @ (LogError::Full { .. } | LogError::Refused { .. })) => Err(error),
            Err(LogError::Sealed(_)) => {
                let shared = Arc::clone(&self.shared);
                blocking(operation, move || Err(shared.cluster.why_too_large(operation, &topic))).await
            }
            Err(error) => {
                let shared = Arc::clone(&self.shared);
                blocking(operation, move || Err(shared.explain(&topic, error))).await
            }
        }
    }

    fn in_cluster(&self, topic: &str) -> String {
        self.shared.cluster.options.in_cluster(topic)
    }
}

impl Shared {
    /// A topic's ledger; without `make`, `None` where there is none.
    fn ledger(&self, topic: &str, make: bool) -> Result<Option<Arc<Ledger>>, LogError> {
        let mut ledgers = self.ledgers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ledger) = ledgers.get(topic) {
            return Ok(Some(Arc::clone(ledger)));
        }
        let opened =
            if make { Some(Ledger::ensure(&self.cluster, topic)?) } else { Ledger::open(&self.cluster, topic)? };
        let ledger = opened.map(Arc::new);
        if let Some(ledger) = &ledger {
            ledgers.insert(topic.to_owned(), Arc::clone(ledger));
        }
        Ok(ledger)
    }

    /// What a failed append is to say: a topic that is gone explains everything else.
    fn explain(&self, topic: &Topic, error: LogError) -> LogError {
        match self.cluster.check_topic_within(topic, Duration::ZERO) {
            Err(gone @ (LogError::UnknownTopic(_) | LogError::Mismatch { .. })) => gone,
            _ => error,
        }
    }

    fn append_once(
        &self,
        handle: &Handle,
        topic: &str,
        key: &str,
        records: &[NewRecord],
    ) -> Result<Option<Vec<Position>>, LogError> {
        let topic = self.cluster.topic(topic)?;
        if topic.is_sealed.load(Ordering::Acquire) {
            return Err(LogError::Sealed(topic.name.clone()));
        }
        // Before a claim says that these are going to be appended.
        records.iter().try_for_each(|record| outgoing(&topic, record, Extra::default()).map(drop))?;
        let ledger = self.ledger(&topic.name, true)?.expect("it was made");
        let producer = &self.once_producer;
        let once = Once { cluster: &self.cluster, producer, ledger: &ledger, topic: &topic, key, handle };
        once.append(records).map_err(|error| match error {
            error @ LogError::Full { .. } => error,
            LogError::Sealed(_) => self.cluster.why_too_large("appending records once", &topic),
            error => self.explain(&topic, self.forget_ledger(&topic.name, error)),
        })
    }

    /// A ledger that is gone is not remembered.
    fn forget_ledger(&self, topic: &str, error: LogError) -> LogError {
        if let LogError::UnknownTopic(_) = error {
            self.ledgers.lock().unwrap_or_else(PoisonError::into_inner).remove(topic);
        }
        error
    }
}

/// A record as it is sent to its partition.
fn outgoing<'a>(topic: &Topic, record: &'a NewRecord, extra: Extra<'_>) -> Result<Outgoing<'a>, LogError> {
    let (partition, key) = match &record.route {
        Route::Key(key) => (partition_of(key, topic.partitions.len() as u32), Some(key.as_ref())),
        Route::Partition(partition) => (*partition, None),
    };
    topic.partition(partition)?;
    let headers = header::encode(&record.header, extra);
    Ok(Outgoing { partition, key, headers, payload: record.payload.clone() })
}

fn heard_of(topic: &Topic, positions: &[Position]) {
    for position in positions {
        if let Ok(partition) = topic.partition(position.partition) {
            partition.heard_of_end(position.offset + 1);
        }
    }
}

/// Runs something that blocks, from an async task.
async fn blocking<T: Send + 'static>(
    operation: &'static str,
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(unavailable(operation, error)))
}

#[async_trait]
impl PartitionLog for KafkaLog {
    fn ensure_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        let clean_up = CleanUp::Retention(spec.retention_ms);
        self.shared.cluster.ensure_topic(&self.in_cluster(&spec.name), spec.partitions, clean_up).map(drop)
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        Ok(self.shared.cluster.topic(&self.in_cluster(topic))?.partitions.len() as u32)
    }

    fn seal(&self, topic: &str) -> Result<(), LogError> {
        let topic = self.shared.cluster.topic(&self.in_cluster(topic))?;
        seal::seal(&self.shared.cluster, &self.shared.producer, &topic)
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        self.append_with(topic, records, Extra::default()).await
    }

    async fn append_traced(
        &self,
        topic: &str,
        records: Vec<NewRecord>,
        trace_parent: TraceParent,
    ) -> Result<Vec<Position>, LogError> {
        self.append_with(topic, records, Extra { trace_parent: Some(trace_parent), ..Extra::default() }).await
    }

    async fn append_once(
        &self,
        topic: &str,
        ledger_key: &str,
        records: Vec<NewRecord>,
    ) -> Result<Option<Vec<Position>>, LogError> {
        let (shared, handle) = (Arc::clone(&self.shared), Handle::current());
        let (topic, key) = (self.in_cluster(topic), ledger_key.to_owned());
        // It goes on when nobody waits for it any more, so that a second attempt finds it done.
        blocking("appending records once", move || {
            let positions = shared.append_once(&handle, &topic, &key, &records)?;
            if let (Some(positions), Some(topic)) = (&positions, shared.cluster.seen_topic(&topic)) {
                heard_of(&topic, positions);
            }
            Ok(positions)
        })
        .await
    }

    fn ledger_contains(&self, topic: &str, ledger_key: &str) -> Result<bool, LogError> {
        let (shared, topic) = (&self.shared, &self.in_cluster(topic));
        shared.cluster.topic(topic)?;
        match shared.ledger(topic, false)? {
            Some(ledger) => {
                let contains = ledger.contains(&shared.cluster, ledger_key);
                contains.map_err(|error| shared.forget_ledger(topic, error))
            }
            None => Ok(false),
        }
    }

    fn read(&self, topic: &str, partition: u32, from: u64, max_bytes: usize) -> Result<Vec<Record>, LogError> {
        read::read(&self.shared.cluster, &self.in_cluster(topic), partition, from, max_bytes)
    }

    fn bounds(&self, topic: &str, partition: u32) -> Result<Range<u64>, LogError> {
        let topic = self.shared.cluster.topic(&self.in_cluster(topic))?;
        self.shared.cluster.bounds(&topic, partition)
    }

    fn wait(&self, topic: &str, partition: u32, offset: u64, timeout: Duration) -> Result<bool, LogError> {
        read::wait(&self.shared.cluster, &self.in_cluster(topic), partition, offset, timeout)
    }

    /// Does nothing: brokers drop what has expired by themselves, by the time of the append.
    fn enforce_retention(&self, _now_ms: i64) -> Result<u64, LogError> {
        Ok(0)
    }
}
