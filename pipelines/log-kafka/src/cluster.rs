//! Questions to the cluster and the making of topics: what is there, where partitions begin and end. Topics that were
//! seen are remembered, as their number of partitions is fixed; one that turns out to be gone is forgotten.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use marquee_stream::{LogError, TopicSpec};
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, ConfigResource, ConfigSource, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::metadata::MetadataTopic;

use crate::error::{Patience, from_code, from_kafka, is_transient, is_unknown_topic, refused, unavailable};
use crate::options::{KafkaOptions, max_message_bytes};
use crate::readers::Readers;
use crate::seal::SEALED_MAX_MESSAGE_BYTES;

/// One question to a broker; after that it is asked again, maybe another broker.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// A question that is the last one gets at least so long.
const LAST_REQUEST_TIMEOUT: Duration = Duration::from_secs(1);

/// How often readers that nobody uses are looked for.
const HOUSE_EVERY: Duration = Duration::from_secs(10);

/// A broker that serves is behind the controller by less than this.
const BROKER_BEHIND: Duration = Duration::from_millis(250);

/// How a topic is cleaned up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CleanUp {
    /// Records go after so many milliseconds.
    Retention(i64),
    /// The last record of each key stays for ever.
    Compact,
}

/// A topic that was seen.
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) partitions: Vec<Partition>,
    /// It has turned out to have ended.
    pub(crate) is_sealed: AtomicBool,
}

/// A partition of a topic that was seen.
pub(crate) struct Partition {
    pub(crate) readers: Readers,
    /// The highest end that this process has heard of, from its own appends, its reads or its questions.
    known_end: AtomicU64,
}

impl Topic {
    fn new(name: &str, partitions: u32) -> Self {
        let partition = |_| Partition { readers: Readers::default(), known_end: AtomicU64::new(0) };
        let partitions = (0..partitions).map(partition).collect();
        Self { name: name.to_owned(), partitions, is_sealed: AtomicBool::new(false) }
    }

    pub(crate) fn partition(&self, partition: u32) -> Result<&Partition, LogError> {
        self.partitions.get(partition as usize).ok_or_else(|| {
            let there = self.partitions.len();
            LogError::UnknownTopic(format!("{}/{partition} (it has {there} partitions)", self.name))
        })
    }
}

impl Partition {
    pub(crate) fn known_end(&self) -> u64 {
        self.known_end.load(Ordering::Acquire)
    }

    pub(crate) fn heard_of_end(&self, end: u64) {
        self.known_end.fetch_max(end, Ordering::AcqRel);
    }
}

/// The cluster as this process knows it.
pub(crate) struct Cluster {
    pub(crate) options: KafkaOptions,
    asking: BaseConsumer,
    topics: RwLock<HashMap<String, Arc<Topic>>>,
    /// Held while a topic is made.
    making: Mutex<()>,
    house_kept: Mutex<Instant>,
}

impl Cluster {
    pub(crate) fn new(options: KafkaOptions) -> Result<Self, LogError> {
        let asking = options.asking().create().map_err(|error| from_kafka("opening the log", &error))?;
        let house_kept = Mutex::new(Instant::now());
        Ok(Self { options, asking, topics: RwLock::default(), making: Mutex::default(), house_kept })
    }

    pub(crate) fn id(&self) -> Result<String, LogError> {
        let id = self.asking.client().fetch_cluster_id(self.options.patience);
        id.ok_or_else(|| unavailable("asking for the cluster's id", "no broker has answered"))
    }

    /// A topic that is there.
    pub(crate) fn topic(&self, name: &str) -> Result<Arc<Topic>, LogError> {
        if let Some(topic) = self.seen_topic(name) {
            return Ok(topic);
        }
        let partitions =
            self.find_surely(name, self.options.patience)?.ok_or_else(|| LogError::UnknownTopic(name.to_owned()))?;
        Ok(self.see(name, partitions))
    }

    /// A topic that was seen before.
    pub(crate) fn seen_topic(&self, name: &str) -> Option<Arc<Topic>> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn see(&self, name: &str, partitions: u32) -> Arc<Topic> {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(topics.entry(name.to_owned()).or_insert_with(|| Arc::new(Topic::new(name, partitions))))
    }

    /// Forgets the topic if it is gone or another one, and says so.
    pub(crate) fn check_topic(&self, topic: &Topic) -> Result<(), LogError> {
        self.check_topic_within(topic, self.options.patience)
    }

    /// The same, within so much time.
    pub(crate) fn check_topic_within(&self, topic: &Topic, patience: Duration) -> Result<(), LogError> {
        let asked = topic.partitions.len() as u32;
        let error = match self.find_surely(&topic.name, patience)? {
            Some(found) if found == asked => return Ok(()),
            Some(found) => LogError::Mismatch { topic: topic.name.clone(), asked, found },
            None => LogError::UnknownTopic(topic.name.clone()),
        };
        self.topics.write().unwrap_or_else(PoisonError::into_inner).remove(&topic.name);
        Err(error)
    }

    /// As [`find`](Self::find), but a topic that was just made and that the asked broker may not know yet is found.
    fn find_surely(&self, name: &str, patience: Duration) -> Result<Option<u32>, LogError> {
        let operation = "looking for a topic";
        if let Some(partitions) = self.find(name, operation, patience)? {
            return Ok(Some(partitions));
        }
        std::thread::sleep(BROKER_BEHIND);
        self.find(name, operation, patience)
    }

    /// First kept offset and end of a partition, asked from its leader.
    pub(crate) fn bounds(&self, topic: &Topic, partition: u32) -> Result<Range<u64>, LogError> {
        let known = topic.partition(partition)?;
        let operation = "asking for the bounds of a partition";
        self.keep_house();
        let mut patience = Patience::new(self.options.patience);
        loop {
            match self.asking.fetch_watermarks(&topic.name, partition as i32, timeout(&patience)) {
                Ok((start, end)) => {
                    let bounds = start.max(0) as u64..end.max(0) as u64;
                    known.heard_of_end(bounds.end);
                    return Ok(bounds);
                }
                Err(error) => self.after(operation, topic, &error, &mut patience)?,
            }
        }
    }

    /// Once in a while: closes readers that nobody uses, and empties the queue of what librdkafka has to say.
    fn keep_house(&self) {
        let mut kept = self.house_kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.elapsed() < HOUSE_EVERY {
            return;
        }
        *kept = Instant::now();
        drop(kept);
        self.refusal();
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        let topics: Vec<Arc<Topic>> = topics.values().cloned().collect();
        for partition in topics.iter().flat_map(|topic| &topic.partitions) {
            partition.readers.close_idle();
        }
    }

    /// Waits before the next attempt, unless the error will not pass.
    fn after(
        &self,
        operation: &'static str,
        topic: &Topic,
        error: &KafkaError,
        patience: &mut Patience,
    ) -> Result<(), LogError> {
        let code = error.rdkafka_error_code();
        if code.is_some_and(is_unknown_topic) {
            // A broker may be behind; the others know.
            self.check_topic(topic)?;
        } else if !code.is_some_and(is_transient) {
            return Err(from_kafka(operation, error));
        }
        if patience.pause() { Ok(()) } else { Err(from_kafka(operation, error)) }
    }

    /// The number of partitions of a topic; `None` when there is none.
    fn find(&self, name: &str, operation: &'static str, patience: Duration) -> Result<Option<u32>, LogError> {
        let mut patience = Patience::new(patience);
        // What is in the queue is from before.
        self.refusal();
        loop {
            let code = match self.asking.fetch_metadata(Some(name), timeout(&patience)) {
                Ok(metadata) => {
                    let topic = metadata.topics().iter().find(|topic| topic.name() == name);
                    let code = topic.and_then(MetadataTopic::error).map(Code::from);
                    let partitions = topic.map_or(0, |topic| topic.partitions().len()) as u32;
                    match code {
                        None if partitions > 0 => return Ok(Some(partitions)),
                        Some(code) if is_unknown_topic(code) => return Ok(None),
                        None => Code::LeaderNotAvailable,
                        Some(code) => code,
                    }
                }
                Err(error) => error.rdkafka_error_code().ok_or_else(|| from_kafka(operation, &error))?,
            };
            if let Some(refusal) = self.refusal() {
                return Err(from_code(operation, refusal));
            }
            if !is_transient(code) || !patience.pause() {
                return Err(from_code(operation, code));
            }
        }
    }

    /// What a connection was refused for since the last call; to a question it is only one that nobody answered.
    fn refusal(&self) -> Option<Code> {
        let mut refusal = None;
        // Without any time, the first line of librdkafka's log would look like the end of the queue.
        while let Some(event) = self.asking.poll(Duration::from_millis(1)) {
            let code = event.err().and_then(|error| error.rdkafka_error_code());
            refusal = refusal.or(code.filter(|code| matches!(from_code("", *code), LogError::Refused { .. })));
        }
        refusal
    }

    /// Makes a topic unless it is there, and waits until each partition has a leader.
    pub(crate) fn ensure_topic(&self, name: &str, partitions: u32, clean_up: CleanUp) -> Result<Arc<Topic>, LogError> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let admin = self.options.making().create().map_err(|error| from_kafka("creating a topic", &error))?;
        let mut patience = Patience::new(self.options.patience);
        loop {
            match self.find(name, "creating a topic", self.options.patience)? {
                Some(found) if found == partitions => break,
                Some(found) => {
                    return Err(LogError::Mismatch { topic: name.to_owned(), asked: partitions, found });
                }
                None => match self.make(&admin, name, partitions, clean_up)? {
                    Ok(()) | Err(Code::TopicAlreadyExists) => {}
                    Err(code) if is_transient(code) && patience.pause() => continue,
                    Err(code) => return Err(from_code("creating a topic", code)),
                },
            }
            if !patience.pause() {
                return Err(unavailable("creating a topic", format!("topic `{name}` was made and does not show")));
            }
        }
        if let CleanUp::Retention(retention_ms) = clean_up {
            self.check_settings(&admin, &TopicSpec { name: name.to_owned(), partitions, retention_ms })?;
        }
        let topic = self.see(name, partitions);
        for partition in 0..partitions {
            self.bounds(&topic, partition)?;
        }
        Ok(topic)
    }

    fn make(
        &self,
        admin: &AdminClient<DefaultClientContext>,
        name: &str,
        partitions: u32,
        clean_up: CleanUp,
    ) -> Result<Result<(), Code>, LogError> {
        let min_insync_replicas = self.options.min_insync_replicas.to_string();
        let max_message_bytes = max_message_bytes().to_string();
        let (policy, retention_ms) = match clean_up {
            CleanUp::Retention(retention_ms) => ("delete", retention_of(retention_ms)),
            CleanUp::Compact => ("compact", retention_of(i64::MAX)),
        };
        let replication = TopicReplication::Fixed(self.options.replication_factor as i32);
        let topic = NewTopic::new(name, partitions as i32, replication)
            .set("min.insync.replicas", &min_insync_replicas)
            .set("unclean.leader.election.enable", "false")
            .set("message.timestamp.type", "LogAppendTime")
            .set("max.message.bytes", &max_message_bytes)
            .set("cleanup.policy", policy)
            .set("retention.ms", &retention_ms);
        let options = AdminOptions::new().operation_timeout(Some(REQUEST_TIMEOUT));
        let made = block_on(admin.create_topics([&topic], &options));
        match made {
            Ok(results) => Ok(results.into_iter().next().map_or(Ok(()), |result| result.map(|_| ()).map_err(|e| e.1))),
            Err(error) => error.rdkafka_error_code().map(Err).ok_or_else(|| from_kafka("creating a topic", &error)),
        }
    }

    /// A topic that was there may be compacted, which loses records, or keep them for less time than asked. More time
    /// is left as it is: who raised it may have had to.
    fn check_settings(&self, admin: &AdminClient<DefaultClientContext>, spec: &TopicSpec) -> Result<(), LogError> {
        let operation = "reading a topic's settings";
        let name = &spec.name;
        let settings = self.settings(admin, name)?;
        let value = |name: &str| settings.get(name).and_then(|entry| entry.value.as_deref());
        if value("cleanup.policy").is_some_and(|policy| policy != "delete") {
            return Err(refused(
                operation,
                format!("topic `{name}` has a cleanup.policy that drops records by key: set it to delete"),
            ));
        }
        let min_insync_replicas = value("min.insync.replicas").and_then(|value| value.parse::<u32>().ok());
        if min_insync_replicas.is_some_and(|there| there < self.options.min_insync_replicas) {
            let asked = self.options.min_insync_replicas;
            tracing::warn!(topic = %name, there = min_insync_replicas, asked, "fewer replicas confirm a record than asked");
        }
        let kept_ms = value("retention.ms").and_then(|value| value.parse::<i64>().ok());
        let asked = retention_of(spec.retention_ms);
        match kept_ms {
            Some(kept_ms) if kept_ms != -1 && (asked == "-1" || kept_ms < spec.retention_ms) => {}
            Some(kept_ms) if kept_ms.to_string() != asked => {
                tracing::info!(topic = %name, kept_ms, asked, "the topic keeps its records longer than asked");
                return Ok(());
            }
            _ => return Ok(()),
        }
        self.change(admin, "raising a topic's retention", name, &settings, ("retention.ms", &asked))
    }

    fn settings(&self, admin: &AdminClient<DefaultClientContext>, name: &str) -> Result<ConfigResource, LogError> {
        let operation = "reading a topic's settings";
        let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
        let mut patience = Patience::new(self.options.patience);
        loop {
            let described = block_on(admin.describe_configs([&ResourceSpecifier::Topic(name)], &options));
            let described = described.map(|results| results.into_iter().next());
            let code = match described {
                Ok(Some(Ok(settings))) => return Ok(settings),
                Ok(Some(Err(code))) => code,
                Ok(None) => return Err(unavailable(operation, "the broker left the topic out")),
                Err(error) => error.rdkafka_error_code().ok_or_else(|| from_kafka(operation, &error))?,
            };
            // A broker that does not know a new topic yet will.
            if !(is_transient(code) || is_unknown_topic(code)) || !patience.pause() {
                return Err(from_code(operation, code));
            }
        }
    }

    /// Changes one setting of a topic whose settings are these.
    fn change(
        &self,
        admin: &AdminClient<DefaultClientContext>,
        operation: &'static str,
        topic: &str,
        settings: &ConfigResource,
        (name, value): (&str, &str),
    ) -> Result<(), LogError> {
        let options = AdminOptions::new().request_timeout(Some(REQUEST_TIMEOUT));
        // The call replaces all of a topic's own settings, so those that are there go along.
        let own = settings.entries.iter().filter(|entry| entry.source == ConfigSource::DynamicTopic);
        let resource = ResourceSpecifier::Topic(topic);
        let mut change = AlterConfig::new(resource).set(name, value);
        for entry in own.filter(|entry| entry.name != name) {
            if let Some(value) = &entry.value {
                change = change.set(&entry.name, value);
            }
        }
        let mut patience = Patience::new(self.options.patience);
        loop {
            let code = match block_on(admin.alter_configs([&change], &options)) {
                Ok(results) => match results.into_iter().next() {
                    None | Some(Ok(_)) => return Ok(()),
                    Some(Err((_, code))) => code,
                },
                Err(error) => error.rdkafka_error_code().ok_or_else(|| from_kafka(operation, &error))?,
            };
            if !is_transient(code) || !patience.pause() {
                return Err(from_code(operation, code));
            }
        }
    }

    /// Changes one setting of a topic.
    pub(crate) fn change_setting(
        &self,
        operation: &'static str,
        topic: &str,
        name: &str,
        value: &str,
    ) -> Result<(), LogError> {
        let admin = self.options.making().create().map_err(|error| from_kafka(operation, &error))?;
        let settings = self.settings(&admin, topic)?;
        if settings.get(name).and_then(|entry| entry.value.as_deref()) == Some(value) {
            return Ok(());
        }
        self.change(&admin, operation, topic, &settings, (name, value))
    }

    /// After brokers have refused a record that is not too large for a topic as we make it.
    pub(crate) fn why_too_large(&self, operation: &'static str, topic: &Topic) -> LogError {
        let look = || {
            let admin = self.options.making().create().map_err(|error| from_kafka(operation, &error))?;
            let settings = self.settings(&admin, &topic.name)?;
            let most = settings.get("max.message.bytes").and_then(|entry| entry.value.as_ref()?.parse::<usize>().ok());
            Ok(most.is_some_and(|most| most <= SEALED_MAX_MESSAGE_BYTES))
        };
        match look() {
            Ok(true) => {
                topic.is_sealed.store(true, Ordering::Release);
                LogError::Sealed(topic.name.clone())
            }
            Ok(false) => from_code(operation, Code::MessageSizeTooLarge),
            Err(error) => error,
        }
    }
}

fn timeout(patience: &Patience) -> Duration {
    REQUEST_TIMEOUT.min(patience.left()).max(LAST_REQUEST_TIMEOUT)
}

/// Kafka's value: -1 keeps for ever.
fn retention_of(retention_ms: i64) -> String {
    if retention_ms == i64::MAX { "-1".to_owned() } else { retention_ms.to_string() }
}

/// rdkafka's admin calls are futures that another thread finishes; the caller may be anywhere, so a thread waits.
pub(crate) fn block_on<T: Send>(future: impl Future<Output = T> + Send) -> T {
    let run = || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without drivers");
        runtime.block_on(future)
    };
    std::thread::scope(|scope| scope.spawn(run).join().expect("an admin call does not panic"))
}
