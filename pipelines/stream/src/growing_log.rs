//! A log whose topics can grow: [`GrowingLog`] makes one topic of several generations, each a topic of its own in the log
//! below. Generation 1 of topic `playback` is `playback` there, generation 2 is `playback.2`, and so on. Everybody above
//! sees topic `playback`, whose partitions are numbered on, and in which the offsets of a partition go on where its
//! parent's end: so whatever compares offsets or epochs holds across a growth.
//!
//! What is known of a growth is in the log alone: which topics there are, how many partitions they have, where they end.
//! The ends of an old generation are final, since it was sealed before the next one was made.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;

use crate::{
    Assignment, Generations, LogError, Membership, NewRecord, PartitionLog, Position, Record, Route, TopicSpec,
    TraceParent,
};

/// Who meets a topic that has ended looks for the next generation; others that meet it within this time believe what
/// was found.
const BELIEVED: Duration = Duration::from_millis(200);

/// A log whose topics can grow, over one that knows nothing of it.
pub struct GrowingLog {
    inner: Arc<Inner>,
}

struct Inner {
    log: Arc<dyn PartitionLog>,
    can_grow: Vec<String>,
    known: RwLock<HashMap<String, Arc<Lineage>>>,
    /// Held while somebody looks for a newer generation; when that was last done.
    looked: Mutex<HashMap<String, Instant>>,
}

/// A topic, from its first generation to its newest.
#[derive(Debug, Clone)]
struct Lineage {
    generations: Generations,
    /// The oldest first.
    topics: Vec<Generation>,
}

#[derive(Debug, Clone)]
struct Generation {
    /// Its name in the log below.
    topic: String,
    partitions: Range<u32>,
    /// The offsets that its partitions begin at.
    starts: Vec<u64>,
}

/// Where a partition is in the log below.
struct Place<'a> {
    topic: &'a str,
    partition: u32,
    start: u64,
}

/// What growing a topic has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grown {
    /// The generation that takes records now, from 1.
    pub generation: usize,
    /// Its partitions.
    pub partitions: Range<u32>,
    /// Whether it was made by this call.
    pub is_new: bool,
}

impl Lineage {
    fn new(topics: Vec<Generation>) -> Self {
        let generations = Generations::of(topics.iter().map(|generation| generation.partitions.len() as u32));
        Self { generations, topics }
    }

    fn newest(&self) -> &Generation {
        self.topics.last().expect("a topic has a generation")
    }

    fn place(&self, topic: &str, partition: u32) -> Result<Place<'_>, LogError> {
        let generation = self.topics.iter().find(|generation| generation.partitions.contains(&partition));
        let generation = generation.ok_or_else(|| LogError::UnknownTopic(format!("{topic}/{partition}")))?;
        Ok(generation.place(partition - generation.partitions.start))
    }
}

impl Generation {
    fn place(&self, number: u32) -> Place<'_> {
        Place { topic: &self.topic, partition: number, start: self.starts[number as usize] }
    }

    /// A record's route in the log below.
    fn route(&self, topic: &str, route: Route) -> Result<Route, LogError> {
        match route {
            Route::Partition(partition) if self.partitions.contains(&partition) => {
                Ok(Route::Partition(partition - self.partitions.start))
            }
            Route::Partition(partition) if partition < self.partitions.start => {
                Err(LogError::Sealed(format!("{topic}/{partition}")))
            }
            Route::Partition(partition) => Err(LogError::UnknownTopic(format!("{topic}/{partition}"))),
            key @ Route::Key(_) => Ok(key),
        }
    }

    fn position(&self, position: Position) -> Position {
        let Position { partition, offset } = position;
        let start = self.starts[partition as usize];
        Position { partition: self.partitions.start + partition, offset: start + offset }
    }
}

impl Place<'_> {
    /// An error of the log below, in the numbers of this one.
    fn told(&self, topic: &str, number: u32, error: LogError) -> LogError {
        let topic = topic.to_owned();
        match error {
            LogError::OffsetExpired { offset, start, .. } => LogError::OffsetExpired {
                topic,
                partition: number,
                offset: offset + self.start,
                start: start + self.start,
            },
            LogError::BeyondEnd { offset, end, .. } => {
                LogError::BeyondEnd { topic, partition: number, offset: offset + self.start, end: end + self.start }
            }
            error => error,
        }
    }
}

/// The name of a generation in the log below, counted from 1.
fn topic_of(topic: &str, generation: usize) -> String {
    if generation == 1 { topic.to_owned() } else { format!("{topic}.{generation}") }
}

impl Inner {
    fn can_grow(&self, topic: &str) -> bool {
        self.can_grow.iter().any(|name| name == topic)
    }

    fn seen(&self, topic: &str) -> Option<Arc<Lineage>> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).get(topic).cloned()
    }

    /// What is known of a topic. Blocks when that is nothing yet.
    fn known(&self, topic: &str) -> Result<Arc<Lineage>, LogError> {
        match self.seen(topic) {
            Some(known) => Ok(known),
            None => self.look(topic),
        }
    }

    /// Looks for all generations of a topic, or for those after the ones that are known.
    fn look(&self, topic: &str) -> Result<Arc<Lineage>, LogError> {
        let mut topics = self.seen(topic).map(|known| known.topics.clone()).unwrap_or_default();
        loop {
            let name = topic_of(topic, topics.len() + 1);
            let count = match self.log.partitions(&name) {
                Err(LogError::UnknownTopic(_)) if !topics.is_empty() => break,
                count => count?,
            };
            let (first, starts) = match topics.last() {
                None => (0, vec![0; count as usize]),
                Some(before) => (before.partitions.end, self.starts_after(before, count)?),
            };
            topics.push(Generation { topic: name, partitions: first..first + count, starts });
            if !self.can_grow(topic) {
                break;
            }
        }
        let lineage = Arc::new(Lineage::new(topics));
        self.known.write().unwrap_or_else(PoisonError::into_inner).insert(topic.to_owned(), Arc::clone(&lineage));
        Ok(lineage)
    }

    /// Where the partitions of the generation after this one begin: their parents have ended.
    fn starts_after(&self, before: &Generation, count: u32) -> Result<Vec<u64>, LogError> {
        let old = before.partitions.len() as u32;
        if !count.is_multiple_of(old) {
            return Err(LogError::Damaged(format!(
                "the topic after `{}` has {count} partitions, no multiple of its {old}: `marquee log grow` has not made it",
                before.topic
            )));
        }
        let end = |parent| Ok(before.starts[parent as usize] + self.log.bounds(&before.topic, parent)?.end);
        let ends = (0..old).map(end).collect::<Result<Vec<u64>, LogError>>()?;
        Ok((0..count).map(|number| ends[(number % old) as usize]).collect())
    }

    /// After a topic has turned out to have ended.
    fn look_again(&self, topic: &str) -> Result<Arc<Lineage>, LogError> {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        if looked.get(topic).is_some_and(|at| at.elapsed() < BELIEVED) {
            return self.known(topic);
        }
        let found = self.look(topic);
        looked.insert(topic.to_owned(), Instant::now());
        found
    }
}

impl GrowingLog {
    /// Over `log`; of its topics, those named by `can_grow` have generations.
    pub fn new(log: Arc<dyn PartitionLog>, can_grow: &[&str]) -> Self {
        let can_grow = can_grow.iter().map(|topic| (*topic).to_owned()).collect();
        Self { inner: Arc::new(Inner { log, can_grow, known: RwLock::default(), looked: Mutex::default() }) }
    }

    /// The topics of the log below that make up this one, the oldest first.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`].
    pub fn topics_below(&self, topic: &str) -> Result<Vec<String>, LogError> {
        Ok(self.inner.known(topic)?.topics.iter().map(|generation| generation.topic.clone()).collect())
    }

    /// Lets a topic go on in a generation with so many partitions: the present one is sealed, then the next one is made.
    /// May be called again after it was interrupted, at whatever point, and changes nothing when it is done. Two calls at
    /// the same time are the caller's to prevent.
    ///
    /// # Errors
    /// [`LogError::Refused`] when the topic cannot grow, or not to so many; otherwise the failure: call it again.
    pub fn grow(&self, topic: &str, partitions: u32, retention_ms: i64) -> Result<Grown, LogError> {
        let refused = |why: String| LogError::Refused { operation: "growing a topic", source: why.into() };
        if !self.inner.can_grow(topic) {
            return Err(refused(format!("topic `{topic}` cannot grow")));
        }
        let known = self.inner.look(topic)?;
        let newest = known.newest();
        let there = newest.partitions.len() as u32;
        if there == partitions {
            return Ok(Grown { generation: known.topics.len(), partitions: newest.partitions.clone(), is_new: false });
        }
        if partitions < there || !partitions.is_multiple_of(there) {
            return Err(refused(format!(
                "topic `{topic}` has {there} partitions and grows to a multiple of that ({}, {}, …), not to {partitions}",
                2 * there,
                3 * there
            )));
        }
        self.inner.log.seal(&newest.topic)?;
        fail::fail_point!("grow-sealed");
        let generation = known.topics.len() + 1;
        let spec = TopicSpec { name: topic_of(topic, generation), partitions, retention_ms };
        self.inner.log.ensure_topic(&spec)?;
        fail::fail_point!("grow-made");
        let known = self.inner.look(topic)?;
        Ok(Grown { generation, partitions: known.newest().partitions.clone(), is_new: true })
    }

    /// What is known of a topic, from an async task.
    async fn known(&self, topic: &str) -> Result<Arc<Lineage>, LogError> {
        match self.inner.seen(topic) {
            Some(known) => Ok(known),
            None => self.blocking(topic, Inner::known).await,
        }
    }

    async fn blocking(
        &self,
        topic: &str,
        look: fn(&Inner, &str) -> Result<Arc<Lineage>, LogError>,
    ) -> Result<Arc<Lineage>, LogError> {
        let (inner, topic) = (Arc::clone(&self.inner), topic.to_owned());
        let looked = tokio::task::spawn_blocking(move || look(&inner, &topic)).await;
        looked.unwrap_or_else(|panic| {
            Err(LogError::Storage { operation: "looking for a topic", source: Box::new(panic) })
        })
    }

    /// Appends to the newest generation; looks for it when the one that is known has ended.
    async fn append_with(
        &self,
        topic: &str,
        records: Vec<NewRecord>,
        trace_parent: Option<TraceParent>,
    ) -> Result<Vec<Position>, LogError> {
        let mut known = self.known(topic).await?;
        loop {
            let newest = known.newest();
            let routed = routed(newest, topic, records.clone())?;
            let appended = match trace_parent {
                Some(trace_parent) => self.inner.log.append_traced(&newest.topic, routed, trace_parent).await,
                None => self.inner.log.append(&newest.topic, routed).await,
            };
            match appended {
                Ok(positions) => return Ok(positions.into_iter().map(|at| newest.position(at)).collect()),
                Err(LogError::Sealed(_)) => known = self.newer(topic, &known).await?,
                Err(error) => return Err(error),
            }
        }
    }

    async fn is_in_ledger_of(&self, topics: Vec<String>, ledger_key: &str) -> Result<bool, LogError> {
        let (log, key) = (Arc::clone(&self.inner.log), ledger_key.to_owned());
        let look = move || {
            for topic in topics {
                if log.ledger_contains(&topic, &key)? {
                    return Ok(true);
                }
            }
            Ok(false)
        };
        let looked = tokio::task::spawn_blocking(look).await;
        looked.unwrap_or_else(|panic| Err(LogError::Storage { operation: "reading a ledger", source: Box::new(panic) }))
    }

    /// A topic with generations after those that are known.
    async fn newer(&self, topic: &str, known: &Lineage) -> Result<Arc<Lineage>, LogError> {
        let found = self.blocking(topic, Inner::look_again).await?;
        if found.topics.len() == known.topics.len() {
            return Err(LogError::Sealed(topic.to_owned()));
        }
        Ok(found)
    }
}

fn routed(newest: &Generation, topic: &str, records: Vec<NewRecord>) -> Result<Vec<NewRecord>, LogError> {
    let route = |record: NewRecord| Ok(NewRecord { route: newest.route(topic, record.route)?, ..record });
    records.into_iter().map(route).collect()
}

#[async_trait]
impl PartitionLog for GrowingLog {
    /// The number of partitions is that of the first generation; of a topic that has grown it is not compared any more.
    fn ensure_topic(&self, spec: &TopicSpec) -> Result<(), LogError> {
        let inner = &self.inner;
        if inner.can_grow(&spec.name)
            && let Ok(known) = inner.known(&spec.name)
            && known.topics.len() > 1
        {
            for Generation { topic, partitions, .. } in &known.topics {
                let partitions = partitions.len() as u32;
                inner.log.ensure_topic(&TopicSpec { name: topic.clone(), partitions, ..spec.clone() })?;
            }
            return Ok(());
        }
        inner.log.ensure_topic(spec)
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        Ok(self.inner.known(topic)?.generations.partitions())
    }

    fn generations(&self, topic: &str) -> Result<Generations, LogError> {
        Ok(self.inner.known(topic)?.generations.clone())
    }

    fn seal(&self, topic: &str) -> Result<(), LogError> {
        self.inner.log.seal(&self.inner.known(topic)?.newest().topic)
    }

    async fn append(&self, topic: &str, records: Vec<NewRecord>) -> Result<Vec<Position>, LogError> {
        self.append_with(topic, records, None).await
    }

    async fn append_traced(
        &self,
        topic: &str,
        records: Vec<NewRecord>,
        trace_parent: TraceParent,
    ) -> Result<Vec<Position>, LogError> {
        self.append_with(topic, records, Some(trace_parent)).await
    }

    /// A key that is in the ledger of any generation is there.
    async fn append_once(
        &self,
        topic: &str,
        ledger_key: &str,
        records: Vec<NewRecord>,
    ) -> Result<Option<Vec<Position>>, LogError> {
        let mut known = self.known(topic).await?;
        loop {
            let older: Vec<String> =
                known.topics.iter().rev().skip(1).map(|generation| generation.topic.clone()).collect();
            if !older.is_empty() && self.is_in_ledger_of(older, ledger_key).await? {
                return Ok(None);
            }
            let newest = known.newest();
            let routed = routed(newest, topic, records.clone())?;
            match self.inner.log.append_once(&newest.topic, ledger_key, routed).await {
                Ok(None) => return Ok(None),
                Ok(Some(positions)) => {
                    return Ok(Some(positions.into_iter().map(|at| newest.position(at)).collect()));
                }
                Err(LogError::Sealed(_)) => known = self.newer(topic, &known).await?,
                Err(error) => return Err(error),
            }
        }
    }

    fn ledger_contains(&self, topic: &str, ledger_key: &str) -> Result<bool, LogError> {
        for generation in self.inner.known(topic)?.topics.iter().rev() {
            if self.inner.log.ledger_contains(&generation.topic, ledger_key)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn read(&self, topic: &str, partition: u32, from: u64, max_bytes: usize) -> Result<Vec<Record>, LogError> {
        let known = self.inner.known(topic)?;
        let place = known.place(topic, partition)?;
        let Some(below) = from.checked_sub(place.start) else {
            let start = place.start;
            return Err(LogError::OffsetExpired { topic: topic.to_owned(), partition, offset: from, start });
        };
        let read = self.inner.log.read(place.topic, place.partition, below, max_bytes);
        let mut records = read.map_err(|error| place.told(topic, partition, error))?;
        for record in &mut records {
            record.offset += place.start;
        }
        Ok(records)
    }

    fn bounds(&self, topic: &str, partition: u32) -> Result<Range<u64>, LogError> {
        let known = self.inner.known(topic)?;
        let place = known.place(topic, partition)?;
        let bounds = self.inner.log.bounds(place.topic, place.partition)?;
        Ok(bounds.start + place.start..bounds.end + place.start)
    }

    fn wait(&self, topic: &str, partition: u32, offset: u64, timeout: Duration) -> Result<bool, LogError> {
        let known = self.inner.known(topic)?;
        let place = known.place(topic, partition)?;
        self.inner.log.wait(place.topic, place.partition, offset.saturating_sub(place.start), timeout)
    }

    fn enforce_retention(&self, now_ms: i64) -> Result<u64, LogError> {
        self.inner.log.enforce_retention(now_ms)
    }
}

/// A membership in the topics below, as one in those of a [`GrowingLog`].
pub struct LogicalMembership {
    below: Arc<dyn Membership>,
    /// (name below, name, its first partition).
    names: Vec<(String, String, u32)>,
    log: Arc<GrowingLog>,
}

impl LogicalMembership {
    /// `below` is a membership in all that [`GrowingLog::topics_below`] says of these topics.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`].
    pub fn new(below: Arc<dyn Membership>, log: Arc<GrowingLog>, topics: &[String]) -> Result<Self, LogError> {
        let mut names = Vec::new();
        for topic in topics {
            for generation in &log.inner.known(topic)?.topics {
                names.push((generation.topic.clone(), topic.clone(), generation.partitions.start));
            }
        }
        Ok(Self { below, names, log })
    }

    /// An offset of a partition, as the log below knows it: (topic, partition, offset).
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`].
    pub fn below(&self, topic: &str, partition: u32, offset: u64) -> Result<(String, u32, u64), LogError> {
        let known = self.log.inner.known(topic)?;
        let place = known.place(topic, partition)?;
        Ok((place.topic.to_owned(), place.partition, offset.saturating_sub(place.start)))
    }
}

impl Membership for LogicalMembership {
    fn assignment(&self) -> Result<Assignment, LogError> {
        let Assignment { generation, partitions } = self.below.assignment()?;
        let above = |(topic, number): (String, u32)| {
            let (_, name, first) = self.names.iter().find(|(below, ..)| *below == topic)?;
            Some((name.clone(), first + number))
        };
        Ok(Assignment { generation, partitions: partitions.into_iter().filter_map(above).collect() })
    }

    fn wait(&self, generation: u64, timeout: Duration) -> Result<bool, LogError> {
        self.below.wait(generation, timeout)
    }

    fn released(&self, generation: u64) {
        self.below.released(generation);
    }
}
