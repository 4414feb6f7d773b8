//! The features job: rows of small examples, and that what is served equals a replay of the log, however the log is cut
//! into epochs, repeated and broken off.

#[path = "../../../../tests/it/tests/it/memory_lake.rs"]
pub(crate) mod memory_lake;
mod parity;
mod rows;
mod runtime;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use marquee_definitions::{
    Changed, FeatureFold, OnlineBatch, OnlineError, OnlineStore, ProfileState, Signal, TitleState, signal_kinds,
};
use marquee_events::interactions::proto::interaction::Payload;
use marquee_events::interactions::proto::{Context, Interaction, InteractionBatch};
use marquee_events::{ContentType, decode_interactions};
use marquee_stream::{Record, RecordHeader, RecordType, ShardId};
use prost::Message as _;

use super::shard::FeaturesShard;
use super::{FeaturesMode, TitleGenres};

pub(crate) const NOW_MS: i64 = 1_700_000_000_000;

/// Genres that follow from the title.
pub(crate) struct FixedGenres;

impl TitleGenres for FixedGenres {
    fn genres(&self, title_id: &str) -> Arc<[String]> {
        Arc::new([format!("genre {}", title_id.len() % 3), "any".to_owned()])
    }
}

/// An online store in memory that can be closed. Keeps the parts of shards apart.
#[derive(Default)]
pub(crate) struct MemoryStore {
    profiles: Mutex<BTreeMap<(String, String), ProfileState>>,
    titles: Mutex<BTreeMap<(String, String), TitleState>>,
    version: AtomicU64,
    closed: AtomicBool,
}

impl MemoryStore {
    fn close(&self, closed: bool) {
        self.closed.store(closed, Ordering::Relaxed);
    }

    /// What a shard has written.
    fn part(&self, shard: &str) -> FeatureFold {
        let (profiles, titles) = (self.profiles.lock().unwrap(), self.titles.lock().unwrap());
        let of_shard = |of: &str| of == shard;
        FeatureFold {
            profiles: profiles
                .iter()
                .filter(|((_, of), _)| of_shard(of))
                .map(|((id, _), s)| (id.clone(), s.clone()))
                .collect(),
            titles: titles
                .iter()
                .filter(|((_, of), _)| of_shard(of))
                .map(|((id, _), s)| (id.clone(), s.clone()))
                .collect(),
        }
    }
}

impl OnlineStore for MemoryStore {
    fn write(&self, batch: &OnlineBatch) -> Result<(), OnlineError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(OnlineError::Storage { operation: "writing", source: "closed".into() });
        }
        let (mut profiles, mut titles) = (self.profiles.lock().unwrap(), self.titles.lock().unwrap());
        profiles.extend(batch.profiles.iter().map(|(id, state)| ((id.clone(), batch.shard.clone()), state.clone())));
        titles.extend(batch.titles.iter().map(|(id, state)| ((id.clone(), batch.shard.clone()), state.clone())));
        self.version.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn profile(&self, profile_id: &str) -> Result<Option<ProfileState>, OnlineError> {
        let profiles = self.profiles.lock().unwrap();
        let mut merged: Option<ProfileState> = None;
        for (_, state) in profiles.iter().filter(|((id, _), _)| id == profile_id) {
            merged.get_or_insert_default().merge(state);
        }
        Ok(merged)
    }

    fn titles(&self) -> Result<Vec<(String, TitleState)>, OnlineError> {
        let mut merged: BTreeMap<String, TitleState> = BTreeMap::new();
        for ((id, _), state) in self.titles.lock().unwrap().iter() {
            merged.entry(id.clone()).or_default().merge(state);
        }
        Ok(merged.into_iter().collect())
    }

    fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }
}

fn shard_id(mode: FeaturesMode) -> ShardId {
    let topic = match mode {
        FeaturesMode::Live => crate::INTERACTIONS_TOPIC,
        FeaturesMode::Import => crate::INTERACTIONS_IMPORT_TOPIC,
    };
    ShardId { job: "features", topic: topic.to_owned(), partition: 0 }
}

fn start(mode: FeaturesMode, store: &Arc<MemoryStore>, snapshot: Option<&[u8]>) -> FeaturesShard {
    let started = FeaturesShard::start(mode, &shard_id(mode), snapshot, store.clone(), Arc::new(FixedGenres));
    started.expect("our own snapshot")
}

fn interaction(interaction_id: &str, event_time_ms: i64, payload: Payload) -> Interaction {
    Interaction { interaction_id: interaction_id.to_owned(), event_time_ms, payload: Some(payload) }
}

fn batch(profile_id: &str, sent_at_ms: i64, interactions: Vec<Interaction>) -> InteractionBatch {
    let context =
        Context { profile_id: profile_id.to_owned(), device_type: "tv".to_owned(), app_version: String::new() };
    InteractionBatch { context: Some(context), sent_at_ms, interactions }
}

fn record(offset: u64, received_at_ms: i64, batch: &InteractionBatch) -> Record {
    let record_type = RecordType::Interactions(ContentType::Protobuf);
    let event_count = batch.interactions.len() as u32;
    let header = RecordHeader { record_type, received_at_ms, event_count };
    Record { offset, header, payload: batch.encode_to_vec().into() }
}

/// The states that the records give, by the definitions alone: no shard, no epochs, no snapshots. Clocks are right.
fn replay(mode: FeaturesMode, records: &[Record]) -> FeatureFold {
    let mut fold = FeatureFold::default();
    let mut seen = std::collections::HashSet::new();
    for record in records {
        let RecordType::Interactions(content_type) = record.header.record_type else { continue };
        let batch = decode_interactions(content_type, &record.payload).expect("tests send what can be decoded");
        let profile_id = &batch.context.profile_id;
        for interaction in &batch.interactions {
            let id = &interaction.interaction_id;
            let Some(payload) = &interaction.payload else { continue };
            if !id.is_empty() && !seen.insert((profile_id.clone(), id.clone())) {
                continue;
            }
            let Some(title_id) = payload.title_id() else { continue };
            let available_ms = match mode {
                FeaturesMode::Live => record.header.received_at_ms,
                FeaturesMode::Import => interaction.event_time_ms,
            };
            let event_time_ms = interaction.event_time_ms;
            let genres = &FixedGenres.genres(title_id);
            for kind in signal_kinds(payload).into_iter().flatten() {
                let signal = Signal { profile_id, title_id, genres, kind, event_time_ms, available_ms };
                fold.apply(&signal, &mut Changed::default());
            }
        }
    }
    fold
}
