//! Appends: an idempotent producer whose queue is bounded by what a whole call needs, so that a call is refused before any
//! of its records is sent. A call is answered when the last of its records is acknowledged or has failed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use marquee_stream::{LogError, Position};
use rdkafka::ClientContext;
use rdkafka::Message as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::message::OwnedHeaders;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer as _, ProducerContext, ThreadedProducer};
use tokio::sync::oneshot;

use crate::error::{from_code, from_kafka, is_unknown_topic, refused};
use crate::options::{KafkaOptions, MAX_RECORD_BYTES};

/// What a record costs beside its payload while it waits (bytes): headers, librdkafka's own. So many empty records are
/// bounded, too.
const RECORD_COST_BYTES: usize = 512;

/// How long records that wait when the log is closed get.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// A record on its way.
pub(crate) struct Outgoing<'a> {
    pub(crate) partition: u32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) headers: OwnedHeaders,
    pub(crate) payload: Bytes,
}

/// Sends records and counts what waits.
pub(crate) struct Producer {
    options: KafkaOptions,
    timeout: Duration,
    /// Replaced when librdkafka has given it up.
    current: RwLock<Arc<Sender>>,
    waiting_bytes: Arc<AtomicUsize>,
}

type Sender = ThreadedProducer<Deliveries>;

impl Producer {
    /// A record that is not acknowledged after `timeout` has failed.
    pub(crate) fn new(options: &KafkaOptions, timeout: Duration) -> Result<Self, LogError> {
        let current = RwLock::new(Arc::new(sender(options, timeout)?));
        Ok(Self { options: options.clone(), timeout, current, waiting_bytes: Arc::default() })
    }

    /// Sends records and waits until all are acknowledged. Without the wait they are sent all the same. With
    /// [`LogError::Sealed`], the topic takes no records of this size.
    pub(crate) async fn send(&self, topic: &str, records: Vec<Outgoing<'_>>) -> Result<Vec<Position>, LogError> {
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let operation = "appending records";
        if let Some(record) = records.iter().find(|record| record.payload.len() > MAX_RECORD_BYTES) {
            let bytes = record.payload.len();
            return Err(refused(
                operation,
                format!("a record has {bytes} bytes, at most {MAX_RECORD_BYTES} are taken"),
            ));
        }
        let sender = self.sender()?;
        let bytes: usize = records.iter().map(|record| record.payload.len() + RECORD_COST_BYTES).sum();
        self.reserve(bytes)?;

        let (answer, answered) = oneshot::channel();
        let call = Arc::new(Call {
            state: Mutex::new(CallState {
                positions: vec![None; records.len()],
                outstanding: records.len(),
                failure: None,
                answer: Some(answer),
            }),
            waiting_bytes: Arc::clone(&self.waiting_bytes),
        });
        for (index, record) in records.into_iter().enumerate() {
            let delivery =
                Box::new(Delivery { call: Arc::clone(&call), index, bytes: record.payload.len() + RECORD_COST_BYTES });
            let mut message = BaseRecord::<[u8], [u8], _>::with_opaque_to(topic, delivery)
                .partition(record.partition as i32)
                .payload(&record.payload)
                .headers(record.headers);
            message.key = record.key;
            // What the limits above let through is only refused by a producer that has been given up.
            if let Err((error, record)) = sender.send(message) {
                let delivery = record.delivery_opaque;
                delivery.finish(Err(error.rdkafka_error_code().unwrap_or(Code::Fail)));
            }
        }
        let outcome = answered.await.unwrap_or(Err(Code::PurgeQueue));
        outcome.map_err(|code| match code {
            code if is_unknown_topic(code) => LogError::UnknownTopic(topic.to_owned()),
            // What is too large for every topic of ours was refused above.
            Code::MessageSizeTooLarge => LogError::Sealed(topic.to_owned()),
            code => from_code(operation, code),
        })
    }

    fn reserve(&self, bytes: usize) -> Result<(), LogError> {
        let most = self.options.max_waiting_bytes;
        let add = |waiting: usize| Some(waiting + bytes).filter(|sum| *sum <= most);
        let reserved = self.waiting_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, add);
        reserved.map(drop).map_err(|waiting_bytes| LogError::Full { waiting_bytes })
    }

    /// One that works: librdkafka gives a producer up when it can no longer tell whether records are in order.
    fn sender(&self) -> Result<Arc<Sender>, LogError> {
        let current = Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner));
        let Some((code, why)) = current.client().fatal_error() else { return Ok(current) };
        let mut slot = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if Arc::ptr_eq(&slot, &current) {
            tracing::warn!(%code, why, "the producer was given up; a new one is started");
            *slot = Arc::new(sender(&self.options, self.timeout)?);
        }
        Ok(Arc::clone(&slot))
    }
}

impl Drop for Producer {
    /// Waits for what was sent.
    fn drop(&mut self) {
        let sender = self.current.get_mut().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = sender.flush(CLOSE_TIMEOUT) {
            tracing::warn!(%error, "records that were not acknowledged yet are given up");
        }
    }
}

fn sender(options: &KafkaOptions, timeout: Duration) -> Result<Sender, LogError> {
    let created = options.writing(timeout).create_with_context(Deliveries);
    created.map_err(|error: KafkaError| from_kafka("opening the log", &error))
}

/// One append, until its last record is acknowledged or has failed.
struct Call {
    state: Mutex<CallState>,
    waiting_bytes: Arc<AtomicUsize>,
}

struct CallState {
    positions: Vec<Option<Position>>,
    outstanding: usize,
    failure: Option<Code>,
    answer: Option<oneshot::Sender<Result<Vec<Position>, Code>>>,
}

/// A record of a call; librdkafka carries it.
struct Delivery {
    call: Arc<Call>,
    index: usize,
    bytes: usize,
}

impl Delivery {
    fn finish(&self, outcome: Result<Position, Code>) {
        self.call.waiting_bytes.fetch_sub(self.bytes, Ordering::AcqRel);
        let mut state = self.call.state.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Ok(position) => state.positions[self.index] = Some(position),
            Err(code) => state.failure = state.failure.or(Some(code)),
        }
        state.outstanding -= 1;
        if state.outstanding > 0 {
            return;
        }
        let answer = match state.failure {
            Some(code) => Err(code),
            None => Ok(std::mem::take(&mut state.positions).into_iter().flatten().collect()),
        };
        if let Some(waiting) = state.answer.take() {
            // Who asked may have gone away.
            let _ = waiting.send(answer);
        }
    }
}

struct Deliveries;

impl ClientContext for Deliveries {}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<Delivery>;

    fn delivery(&self, result: &DeliveryResult<'_>, delivery: Box<Delivery>) {
        delivery.finish(match result {
            Ok(message) => {
                Ok(Position { partition: message.partition() as u32, offset: message.offset().max(0) as u64 })
            }
            Err((error, _)) => Err(error.rdkafka_error_code().unwrap_or(Code::Fail)),
        });
    }
}
