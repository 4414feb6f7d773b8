//! The state of one shard of `features`, and the order of things: a record's interactions become rows and signals, what
//! they changed goes to the online store before the next record is read, rows and snapshot to the lake with the epoch.
//!
//! The online store is a copy of the fold. While it fails, the shard goes on and remembers what it owes.
//!
//! Why a crash leaves it neither behind nor ahead: the log shows only what is fsynced, and the fold is a function of the
//! log up to an offset. A crash finds in the store the fold at any offset from the newest manifest's on (ahead), or less
//! after a power cut or with its folder gone (behind). Recovery overwrites every part that the snapshot holds before
//! anything is read; what the snapshot lacks was first changed behind its offset, so the replay writes it. A write
//! replaces a part and adds nothing, so an interaction that the store had seen counts once. Pages are served only after
//! the replay (`Services::start`), so that nobody sees the step back in between.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::record_batch::RecordBatch;
use marquee_definitions::{Changed, FeatureFold, OnlineBatch, OnlineStore, Signal, signal_kinds};
use marquee_events::{ContentType, InteractionBatch, decode_interactions};
use marquee_lake::{TableSpec, tables};
use marquee_stream::{Frozen, Record, RecordType, ShardId, ShardIo, ShardState, StreamError};
use serde::{Deserialize, Serialize};

use super::arrivals::Arrivals;
use super::interaction_rows::{InteractionRow, InteractionRows, RecordMeta, sequence};
use super::profile_rows::{ProfileRows, RowSignal, has_row};
use super::rules::broken_rule;
use super::title_rows::{AsOf, title_tables};
use super::{FeaturesMode, TitleGenres};
use crate::dead_letters::{Broken, DeadLetters, bad_arrival};
use crate::playback::WATERMARK_DELAY_MS;

/// Profiles or titles in one write to the online store: some MB of states, cloned for it.
const ONLINE_BATCH: usize = 500;

pub(crate) struct FeaturesShard {
    mode: FeaturesMode,
    id: String,
    topic: String,
    partition: u32,
    online: Arc<dyn OnlineStore>,
    genres: Arc<dyn TitleGenres>,
    epoch: u64,
    latest_event_ms: Option<i64>,
    latest_received_ms: i64,
    /// The latest instant from which on something was known (ms since the epoch): what rows of titles are read at.
    latest_available_ms: i64,
    fold: FeatureFold,
    /// By profile.
    arrivals: BTreeMap<String, Arrivals>,
    interactions: InteractionRows,
    profile_rows: ProfileRows,
    dead_letters: DeadLetters,
    /// What has changed since the online store was written to last.
    fresh: Changed,
    /// Titles that the epoch has changed.
    epoch_titles: BTreeSet<String>,
    /// What the online store does not have yet.
    owed: Changed,
    online_fails: bool,
}

#[derive(Serialize)]
struct SnapshotRef<'a> {
    epoch: u64,
    latest_event_ms: Option<i64>,
    latest_received_ms: i64,
    latest_available_ms: i64,
    fold: &'a FeatureFold,
    arrivals: &'a BTreeMap<String, Arrivals>,
}

#[derive(Deserialize)]
struct Snapshot {
    epoch: u64,
    latest_event_ms: Option<i64>,
    latest_received_ms: i64,
    latest_available_ms: i64,
    fold: FeatureFold,
    arrivals: BTreeMap<String, Arrivals>,
}

impl FeaturesShard {
    pub(crate) fn start(
        mode: FeaturesMode,
        id: &ShardId,
        snapshot: Option<&[u8]>,
        online: Arc<dyn OnlineStore>,
        genres: Arc<dyn TitleGenres>,
    ) -> Result<Self, StreamError> {
        let mut shard = Self {
            mode,
            id: id.to_string(),
            topic: id.topic.clone(),
            partition: id.partition,
            online,
            genres,
            epoch: 0,
            latest_event_ms: None,
            latest_received_ms: 0,
            latest_available_ms: 0,
            fold: FeatureFold::default(),
            arrivals: BTreeMap::new(),
            interactions: InteractionRows::default(),
            profile_rows: ProfileRows::default(),
            dead_letters: DeadLetters::default(),
            fresh: Changed::default(),
            epoch_titles: BTreeSet::new(),
            owed: Changed::default(),
            online_fails: false,
        };
        let Some(bytes) = snapshot else { return Ok(shard) };
        let snapshot: Snapshot = postcard::from_bytes(bytes).map_err(|e| StreamError::Damaged {
            path: format!("the snapshot of shard {id}"),
            problem: e.to_string(),
        })?;
        shard.epoch = snapshot.epoch;
        shard.latest_event_ms = snapshot.latest_event_ms;
        shard.latest_received_ms = snapshot.latest_received_ms;
        shard.latest_available_ms = snapshot.latest_available_ms;
        shard.fold = snapshot.fold;
        shard.arrivals = snapshot.arrivals;
        shard.owed.profiles = shard.fold.profiles.keys().cloned().collect();
        shard.owed.titles = shard.fold.titles.keys().cloned().collect();
        shard.write_online();
        Ok(shard)
    }

    fn take_in(&mut self, record: &Record, batch: InteractionBatch, content_type: ContentType) {
        let received_at_ms = record.header.received_at_ms;
        let is_imported = self.mode == FeaturesMode::Import;
        let InteractionBatch { context, sent_at_ms, interactions } = batch;
        let profile_id = context.profile_id.clone();
        let mut arrivals = self.arrivals.remove(&profile_id).unwrap_or_default();
        self.latest_received_ms = self.latest_received_ms.max(received_at_ms);
        // The clock that the end of an epoch forgets by: where epochs end changes nothing then.
        arrivals.start_record(self.latest_received_ms);
        let clock_shift_ms = if is_imported { 0 } else { arrivals.clock_shift_ms(sent_at_ms, received_at_ms) };
        let meta =
            RecordMeta { offset: record.offset, received_at_ms, sent_at_ms, clock_shift_ms, is_imported, context };
        self.interactions.start_record(meta);
        for (index, interaction) in interactions.into_iter().enumerate() {
            let broken = broken_rule(&interaction, clock_shift_ms, received_at_ms);
            let (Some(payload), None) = (interaction.payload, &broken) else {
                let (reason, detail) = broken.expect("an interaction without payload breaks a rule");
                let (index, content_type) = (index as i32, content_type.mime());
                self.dead_letters.push(Broken { index, event_count: 1, reason, detail, content_type, record });
                continue;
            };
            let time_ms = interaction.event_time_ms + clock_shift_ms;
            let row = InteractionRow {
                index,
                time_ms,
                available_ms: if is_imported { time_ms } else { received_at_ms },
                is_duplicate: arrivals.is_duplicate(&interaction.interaction_id),
                interaction_id: interaction.interaction_id,
                payload,
            };
            if !row.is_duplicate {
                self.signal(&profile_id, record, &row);
            }
            self.interactions.push(row);
        }
        if !arrivals.is_empty() {
            self.arrivals.insert(profile_id, arrivals);
        }
    }

    /// What an interaction that did not come before changes.
    fn signal(&mut self, profile_id: &str, record: &Record, row: &InteractionRow) {
        self.latest_event_ms = self.latest_event_ms.max(Some(row.time_ms));
        self.latest_available_ms = self.latest_available_ms.max(row.available_ms);
        let kinds = signal_kinds(&row.payload);
        let (Some(title_id), [Some(_), _]) = (row.payload.title_id(), kinds) else { return };
        let genres = self.genres.genres(title_id);
        for kind in kinds.into_iter().flatten() {
            let signal = Signal {
                profile_id,
                title_id,
                genres: &genres,
                kind,
                event_time_ms: row.time_ms,
                available_ms: row.available_ms,
            };
            self.fold.apply(&signal, &mut self.fresh);
        }
        if has_row(&row.payload) {
            let signal = RowSignal {
                sequence: sequence(record.offset, row.index),
                profile_id,
                title_id,
                payload: &row.payload,
                event_time_ms: row.time_ms,
                received_at_ms: record.header.received_at_ms,
                available_ms: row.available_ms,
                is_imported: self.mode == FeaturesMode::Import,
            };
            self.profile_rows.push(&signal, &self.fold.profiles[profile_id]);
        }
    }

    /// Writes what is owed. A failure is told once, and everything stays owed that was not written.
    fn write_online(&mut self) {
        let fresh = std::mem::take(&mut self.fresh);
        self.epoch_titles.extend(fresh.titles.iter().cloned());
        self.owed.titles.extend(fresh.titles);
        self.owed.profiles.extend(fresh.profiles);
        while !(self.owed.profiles.is_empty() && self.owed.titles.is_empty()) {
            let profiles = first(&self.owed.profiles, &self.fold.profiles);
            let titles = first(&self.owed.titles, &self.fold.titles);
            let batch = OnlineBatch { shard: self.id.clone(), profiles, titles };
            fail::fail_point!("online-before-write");
            if let Err(error) = self.online.write(&batch) {
                if !std::mem::replace(&mut self.online_fails, true) {
                    let cause = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::warn!(shard = self.id, %error, cause, "features wait for the online store");
                }
                return;
            }
            fail::fail_point!("online-after-write");
            drop_through(&mut self.owed.profiles, batch.profiles.last());
            drop_through(&mut self.owed.titles, batch.titles.last());
        }
        if std::mem::take(&mut self.online_fails) {
            tracing::info!(shard = self.id, "the online store has caught up");
        }
    }

    #[cfg(test)]
    pub(crate) fn owed_count(&self) -> usize {
        self.owed.profiles.len() + self.owed.titles.len()
    }

    /// Ends the epoch: everything but the interface.
    pub(crate) fn end_epoch(&mut self, epoch: u64) -> Frozen {
        debug_assert_eq!(epoch, self.epoch + 1, "epochs follow each other");
        self.write_online();
        self.epoch = epoch;
        let latest_received_ms = self.latest_received_ms;
        self.arrivals.retain(|_, arrivals| !arrivals.is_over(latest_received_ms));
        let interactions = std::mem::take(&mut self.interactions);
        let dead_letters = std::mem::take(&mut self.dead_letters);
        let profile_rows = std::mem::take(&mut self.profile_rows);
        let epoch_titles = std::mem::take(&mut self.epoch_titles);
        let titles: Vec<_> = epoch_titles.iter().map(|id| (id.as_str(), &self.fold.titles[id])).collect();
        let (topic, partition, at_ms) = (self.topic.as_str(), self.partition, self.latest_available_ms);
        let mut tables: Vec<(&'static TableSpec, RecordBatch)> = interactions.tables(topic, partition);
        let others = [
            (&tables::DEAD_LETTERS, dead_letters.rows(topic, partition)),
            (&tables::PROFILE_FEATURES, profile_rows.finish(topic, partition)),
        ];
        let others = others.into_iter().map(|(table, rows)| (table as &'static TableSpec, rows));
        let titles = title_tables(&titles, &AsOf { topic, partition, epoch, at_ms });
        tables.extend(others.chain(titles).filter(|(_, rows)| rows.num_rows() > 0));
        Frozen {
            tables,
            snapshot: self.snapshot(),
            watermark_ms: match self.mode {
                FeaturesMode::Live => self.latest_event_ms.map(|latest_ms| latest_ms - WATERMARK_DELAY_MS),
                FeaturesMode::Import => None, // histories lie anywhere in time
            },
            events: interactions.len() as u64,
            dead_letters: dead_letters.events(),
            ..Frozen::default()
        }
    }

    fn snapshot(&self) -> Vec<u8> {
        let snapshot = SnapshotRef {
            epoch: self.epoch,
            latest_event_ms: self.latest_event_ms,
            latest_received_ms: self.latest_received_ms,
            latest_available_ms: self.latest_available_ms,
            fold: &self.fold,
            arrivals: &self.arrivals,
        };
        postcard::to_stdvec(&snapshot).expect("plain data can be encoded")
    }
}

/// The states of the first ids.
fn first<T: Clone>(ids: &BTreeSet<String>, states: &BTreeMap<String, T>) -> Vec<(String, T)> {
    ids.iter().take(ONLINE_BATCH).map(|id| (id.clone(), states[id].clone())).collect()
}

/// Drops the ids up to the last that was written.
fn drop_through<T>(ids: &mut BTreeSet<String>, last: Option<&(String, T)>) {
    if let Some((last, _)) = last {
        *ids = ids.split_off(last);
        ids.remove(last);
    }
}

impl ShardState for FeaturesShard {
    fn process(&mut self, records: &[Record]) -> Result<(), StreamError> {
        for record in records {
            let event_count = record.header.event_count;
            match record.header.record_type {
                RecordType::Interactions(content_type) => {
                    let decoded = match bad_arrival(record.header.received_at_ms) {
                        Some(broken) => Err(broken),
                        None => decode_interactions(content_type, &record.payload)
                            .map_err(|error| ("undecodable", error.to_string())),
                    };
                    match decoded {
                        Ok(batch) => self.take_in(record, batch, content_type),
                        Err((reason, detail)) => self.dead_letters.push(Broken {
                            index: -1,
                            event_count: event_count.max(1),
                            reason,
                            detail,
                            content_type: content_type.mime(),
                            record,
                        }),
                    }
                }
                // Features have no end: an import's last interaction is as good as any.
                RecordType::EndOfInput => {}
                RecordType::ViewEvents(_) | RecordType::LiveDeltas | RecordType::Job | RecordType::Seal => {
                    let detail = format!("a record of type {:?} is none of this topic's", record.header.record_type);
                    let content_type = "application/octet-stream";
                    let reason = "foreign_record";
                    self.dead_letters.push(Broken { index: -1, event_count, reason, detail, content_type, record });
                }
            }
        }
        self.write_online();
        Ok(())
    }

    fn pending_bytes(&self) -> usize {
        self.interactions.pending_bytes() + self.profile_rows.pending_bytes() + self.dead_letters.pending_bytes()
    }

    /// Features have no live view but the online store, which gets what it is owed.
    fn live(&mut self, _epoch: u64) -> Option<Vec<u8>> {
        self.write_online();
        None
    }

    fn freeze(&mut self, epoch: u64, _last: bool, _io: &ShardIo) -> Result<Frozen, StreamError> {
        Ok(self.end_epoch(epoch))
    }
}
