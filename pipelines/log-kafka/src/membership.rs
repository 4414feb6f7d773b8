//! Which partitions this process works on, as a consumer group decides it. The group is for membership only: its consumer is
//! paused as soon as it is assigned anything and fetches nothing; shards read through consumers of their own.
//!
//! A partition that is to go to another member leaves the [`Assignment`] first; the group waits until it is released, or
//! for as long as it may take, and then the other member gets it. A member that is cut off loses its partitions
//! without being asked: the manifests decide then.

use std::collections::BTreeSet;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use marquee_stream::{Assignment, LogError, Membership};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};

use crate::error::{from_code, from_kafka, is_transient, is_unknown_topic, refused, unavailable};
use crate::options::KafkaOptions;

/// How long one poll of the group lasts; leaving takes as long.
const POLL: Duration = Duration::from_millis(100);

/// How often a group that could not be reached is looked for.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How a process takes part in a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipOptions {
    /// The group's name: all processes that share the topics have the same.
    pub group: String,
    /// What is shared. The topics are there already.
    pub topics: Vec<String>,
    /// A member that was not heard of for so long is taken for dead. Brokers allow 6 s to 30 min, unless told otherwise.
    pub session_timeout: Duration,
    /// How long a partition that is to go waits to be released.
    pub release_timeout: Duration,
}

impl MembershipOptions {
    /// With the timeouts that fit epochs of half a minute.
    pub fn new(group: impl Into<String>, topics: Vec<String>) -> Self {
        let (session_timeout, release_timeout) = (Duration::from_secs(10), Duration::from_secs(60));
        Self { group: group.into(), topics, session_timeout, release_timeout }
    }
}

/// A member of a consumer group. Dropping it leaves the group.
pub struct KafkaMembership {
    shared: Arc<Shared>,
    consumer: Arc<BaseConsumer<Rebalances>>,
    topic_prefix: String,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    assignment: Assignment,
    /// The last generation that the process has come down to.
    released: u64,
    leaving: bool,
    trouble: Option<Trouble>,
}

/// Why there is no assignment.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// For good.
    Left(Code),
    /// Until it is back.
    Unreachable(Duration),
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, change: impl FnOnce(&mut BTreeSet<(String, u32)>)) -> u64 {
        let mut state = self.lock();
        let mut partitions = state.assignment.partitions.clone();
        change(&mut partitions);
        // Nothing may be all that a member gets; then this is what it was told.
        if partitions != state.assignment.partitions || state.assignment.generation == 0 {
            state.assignment = Assignment { generation: state.assignment.generation + 1, partitions };
            self.changed.notify_all();
        }
        state.assignment.generation
    }

    fn set_trouble(&self, trouble: Option<Trouble>) {
        self.lock().trouble = trouble;
        self.changed.notify_all();
    }

    fn wait_for_release(&self, generation: u64, timeout: Duration) {
        let waiting = |state: &mut State| state.released < generation && !state.leaving;
        let waited = self.changed.wait_timeout_while(self.lock(), timeout, waiting);
        let (state, outcome) = waited.unwrap_or_else(PoisonError::into_inner);
        drop(state);
        if outcome.timed_out() {
            tracing::warn!(generation, ?timeout, "partitions go to another member before they were released");
        }
    }
}

impl State {
    fn assignment(&self) -> Result<&Assignment, LogError> {
        let operation = "working with the consumer group";
        match self.trouble {
            None => Ok(&self.assignment),
            Some(Trouble::Left(code)) => match from_code(operation, code) {
                error @ LogError::Refused { .. } => Err(error),
                _ => Err(refused(operation, format!("{code}: this member has left for good, start the process again"))),
            },
            Some(Trouble::Unreachable(since)) => {
                Err(unavailable(operation, format!("no broker was reached for {} s", since.as_secs())))
            }
        }
    }
}

impl KafkaMembership {
    /// Joins the group; the first assignment comes within seconds.
    ///
    /// # Errors
    /// [`LogError::Refused`] when the options contradict each other or need another build.
    pub fn join(options: &KafkaOptions, membership: &MembershipOptions) -> Result<Self, LogError> {
        let operation = "joining the consumer group";
        let MembershipOptions { group, topics, session_timeout, release_timeout } = membership;
        let shared = Arc::<Shared>::default();
        let topic_prefix = options.topic_prefix.clone();
        let context = Rebalances {
            shared: Arc::clone(&shared),
            topic_prefix: topic_prefix.clone(),
            release_timeout: *release_timeout,
        };
        let config = options.joining(group, *session_timeout, *release_timeout);
        let consumer = config.create_with_context(context).map_err(|error| from_kafka(operation, &error))?;
        let consumer: Arc<BaseConsumer<Rebalances>> = Arc::new(consumer);
        let names: Vec<String> = topics.iter().map(|topic| options.in_cluster(topic)).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        consumer.subscribe(&names).map_err(|error| from_kafka(operation, &error))?;
        let member =
            Member { shared: Arc::clone(&shared), consumer: Arc::clone(&consumer), patience: options.patience };
        let thread = std::thread::Builder::new().name("kafka-membership".to_owned()).spawn(move || member.run());
        let thread = Some(thread.map_err(|error| unavailable(operation, error))?);
        Ok(Self { shared, consumer, topic_prefix, thread })
    }

    /// Tells the cluster how far the tables have come (topic, partition, next offset), so that its tools show the lag.
    /// Nothing ever reads it back.
    ///
    /// # Errors
    /// When it could not be sent. That it arrives is not waited for.
    pub fn report_progress(&self, progress: &[(String, u32, u64)]) -> Result<(), LogError> {
        let failed = |error| from_kafka("reporting progress to the consumer group", &error);
        let mut offsets = TopicPartitionList::with_capacity(progress.len());
        for (topic, partition, next) in progress {
            let next = Offset::Offset(*next as i64);
            let topic = format!("{}{topic}", self.topic_prefix);
            offsets.add_partition_offset(&topic, *partition as i32, next).map_err(failed)?;
        }
        self.consumer.commit(&offsets, CommitMode::Async).map_err(failed)
    }
}

impl Membership for KafkaMembership {
    fn assignment(&self) -> Result<Assignment, LogError> {
        self.shared.lock().assignment().cloned()
    }

    fn wait(&self, generation: u64, timeout: Duration) -> Result<bool, LogError> {
        let waiting = |state: &mut State| state.trouble.is_none() && state.assignment.generation == generation;
        let changed = self.shared.changed.wait_timeout_while(self.shared.lock(), timeout, waiting);
        let (state, _) = changed.unwrap_or_else(PoisonError::into_inner);
        Ok(state.assignment()?.generation != generation)
    }

    fn released(&self, generation: u64) {
        let mut state = self.shared.lock();
        state.released = state.released.max(generation);
        self.shared.changed.notify_all();
    }
}

impl Drop for KafkaMembership {
    fn drop(&mut self) {
        self.shared.lock().leaving = true;
        self.shared.changed.notify_all();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of the consumer group has panicked");
        }
    }
}

/// The thread that keeps the membership.
struct Member {
    shared: Arc<Shared>,
    consumer: Arc<BaseConsumer<Rebalances>>,
    patience: Duration,
}

impl Member {
    fn run(self) {
        let mut unreachable_since: Option<Instant> = None;
        let mut looked = Instant::now();
        while !self.shared.lock().leaving {
            match self.consumer.poll(POLL) {
                // Paused: a message would be one that was under way.
                None | Some(Ok(_)) => {}
                Some(Err(KafkaError::MessageConsumptionFatal(code))) => {
                    self.shared.set_trouble(Some(Trouble::Left(code)));
                    return;
                }
                Some(Err(error)) => match error.rdkafka_error_code() {
                    Some(Code::AllBrokersDown) => unreachable_since = unreachable_since.or(Some(Instant::now())),
                    Some(code) if is_transient(code) || is_unknown_topic(code) => {
                        tracing::debug!(%error, "the consumer group goes on");
                    }
                    Some(code) if matches!(from_code("", code), LogError::Refused { .. }) => {
                        self.shared.set_trouble(Some(Trouble::Left(code)));
                        return;
                    }
                    _ => tracing::warn!(%error, "the consumer group goes on"),
                },
            }
            if let Some(since) = unreachable_since.filter(|_| looked.elapsed() >= LOOK_AGAIN) {
                looked = Instant::now();
                if self.consumer.fetch_metadata(None, LOOK_AGAIN).is_ok() {
                    unreachable_since = None;
                    self.shared.set_trouble(None);
                } else if since.elapsed() >= self.patience {
                    self.shared.set_trouble(Some(Trouble::Unreachable(since.elapsed())));
                }
            }
        }
    }
}

struct Rebalances {
    shared: Arc<Shared>,
    topic_prefix: String,
    release_timeout: Duration,
}

impl ClientContext for Rebalances {}

impl ConsumerContext for Rebalances {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, change: RDKafkaRespErr, partitions: &mut TopicPartitionList) {
        let outcome = match change {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => self.assign(consumer, partitions),
            _ => self.revoke(consumer, partitions),
        };
        if let Err(error) = outcome {
            tracing::error!(%error, "the consumer group's assignment was not taken");
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, _offsets: &TopicPartitionList) {
        if let Err(error) = result {
            tracing::debug!(%error, "the cluster was not told how far the tables are");
        }
    }
}

impl Rebalances {
    fn assign(&self, consumer: &BaseConsumer<Self>, partitions: &mut TopicPartitionList) -> KafkaResult<()> {
        // An offset of our own, or the group's would be looked up.
        partitions.set_all_offsets(Offset::End)?;
        consumer.incremental_assign(partitions)?;
        consumer.pause(partitions)?;
        let new = self.named(partitions);
        tracing::info!(?new, "partitions were assigned");
        self.shared.publish(|assigned| assigned.extend(new));
        Ok(())
    }

    fn revoke(&self, consumer: &BaseConsumer<Self>, partitions: &TopicPartitionList) -> KafkaResult<()> {
        let gone = self.named(partitions);
        let lost = consumer.assignment_lost();
        tracing::info!(?gone, lost, "partitions go");
        let generation = self.shared.publish(|assigned| assigned.retain(|partition| !gone.contains(partition)));
        // Lost ones belong to somebody else already.
        if !lost && !gone.is_empty() {
            self.shared.wait_for_release(generation, self.release_timeout);
        }
        consumer.incremental_unassign(partitions)
    }

    /// Without the prefix.
    fn named(&self, partitions: &TopicPartitionList) -> BTreeSet<(String, u32)> {
        let name = |topic: &str| topic.strip_prefix(&self.topic_prefix).unwrap_or(topic).to_owned();
        partitions.elements().iter().map(|element| (name(element.topic()), element.partition() as u32)).collect()
    }
}
