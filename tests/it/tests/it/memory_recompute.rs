//! What a recompute asks of a lake in memory: for tests that drive it batch by batch.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use arrow::array::{AsArray as _, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{Int32Type, Int64Type};
use marquee_jobs::playback::{EpochOffsets, History, LateBatch, LateSession, Recomputed, WrittenSession};
use marquee_jobs::{Playback, dimension_bounds};
use marquee_lake::{TableSpec, tables};
use marquee_stream::{Newest, RepairEnv, RuntimeEnv, ShardId, ShardRepair, StreamError};

use crate::memory_lake::{MemoryLake, text_rows};

/// What the repairs of these shards stand on.
pub(crate) fn repair_env(env: &RuntimeEnv, writer_id: String) -> RepairEnv {
    RepairEnv {
        lake: env.lake.clone(),
        store: env.store.clone(),
        state_root: env.state_root.clone(),
        clock: env.clock.clone(),
        handle: env.handle.clone(),
        writer_id,
    }
}

/// Folds a batch on `newest`; the epoch has yet to be decided.
pub(crate) fn fold(
    job: &Playback,
    id: &ShardId,
    lake: &MemoryLake,
    repair: &ShardRepair,
    newest: &Newest,
    batch: &mut LateBatch,
) -> Result<Recomputed, StreamError> {
    let mut epochs: Vec<(u64, u64)> = rows_of(lake, &tables::EPOCHS, id.partition, &["epoch", "next_offset"])
        .iter()
        .map(|row| (number(&row[0]), number(&row[1])))
        .filter(|(epoch, _)| *epoch <= newest.manifest.epoch)
        .collect();
    epochs.sort_unstable();
    let mut offsets = EpochOffsets::default();
    offsets.extend(epochs);
    let mut place = Place { lake, repair, partition: id.partition };
    job.recompute(id, newest, batch, &offsets, &mut place, &repair.io())
}

/// What the command's queries say.
pub(crate) fn late_sessions(lake: &MemoryLake, partition: u32) -> Vec<LateSession> {
    let key = ["session_id", "player_instance", "offset", "index"];
    let folded: BTreeSet<_> = rows_of(lake, &tables::RECOMPUTED_EVENTS, partition, &key).into_iter().collect();
    let mut sessions: BTreeMap<Vec<String>, (LateSession, bool)> = BTreeMap::new();
    for row in rows_of(lake, &tables::LATE_EVENTS, partition, &key) {
        let (session, is_wanted) = sessions.entry(row[..2].to_vec()).or_insert_with(|| {
            let (session_id, player_instance) = (row[0].clone(), row[1].clone());
            (LateSession { session_id, player_instance, late_offsets: vec![], folded_to: 0, written: None }, false)
        });
        let offset = number(&row[2]);
        session.late_offsets.push(offset);
        if folded.contains(&row) {
            session.folded_to = session.folded_to.max(offset + 1);
        } else {
            *is_wanted = true;
        }
    }
    let columns = ["session_id", "player_instance", "epoch", "revision", "is_final", "late_events", "bronze_epochs"];
    let mut written = rows_of(lake, &tables::SESSION_REVISIONS, partition, &columns);
    written.sort_by_key(|row| (number(&row[2]), number(&row[3])));
    let mut revisions: BTreeSet<Vec<String>> = BTreeSet::new();
    for row in written {
        let Some((session, _)) = sessions.get_mut(&row[..2]) else { continue };
        let epochs: Vec<u64> = row[6].trim_matches(['[', ']']).split(", ").map(number).collect();
        let former = session.written.take();
        session.written = Some(WrittenSession {
            is_one_life: revisions.insert(vec![row[0].clone(), row[1].clone(), row[3].clone()])
                && former.as_ref().is_none_or(|former| former.is_one_life),
            first_epoch: former.map_or(epochs[0], |former| former.first_epoch.min(epochs[0])),
            revision: number(&row[3]),
            is_final: row[4] == "true",
            late_events: number(&row[5]),
            bronze_epochs: epochs,
        });
    }
    sessions.into_values().filter(|(_, is_wanted)| *is_wanted).map(|(session, _)| session).collect()
}

/// A shard's rows in a lake in memory.
struct Place<'a> {
    lake: &'a MemoryLake,
    repair: &'a ShardRepair,
    partition: u32,
}

impl History for Place<'_> {
    fn rows(&mut self, session_ids: &[&str], offsets: &[Range<u64>]) -> Result<Vec<RecordBatch>, StreamError> {
        let rows = self.lake.rows(&tables::EVENTS).into_iter().map(|batch| {
            let column = |name| batch.column(tables::EVENTS.index_of(name));
            let ids = column("session_id").as_string::<i32>();
            let partitions = column("partition").as_primitive::<Int32Type>();
            let of_offset = column("offset").as_primitive::<Int64Type>();
            let wanted = |row: usize| {
                partitions.value(row) == self.partition as i32
                    && session_ids.contains(&ids.value(row))
                    && offsets.iter().any(|range| range.contains(&(of_offset.value(row) as u64)))
            };
            let mask: BooleanArray = (0..batch.num_rows()).map(|row| Some(wanted(row))).collect();
            filter_record_batch(&batch, &mask).expect("a mask of its rows")
        });
        Ok(rows.collect())
    }

    fn is_crowded(&mut self, date: &str) -> Result<bool, StreamError> {
        let bounds = dimension_bounds();
        let columns = [&["start_date"], &bounds.map(|(name, _)| name)[..]].concat();
        let mut rows = rows_of(self.lake, &tables::SESSION_REVISIONS, self.partition, &columns);
        rows.retain(|row| row[0] == date);
        let values = |at: usize| rows.iter().map(move |row| &row[at + 1]).filter(|value| !value.is_empty());
        Ok((0..bounds.len()).any(|at| values(at).collect::<BTreeSet<_>>().len() >= bounds[at].1))
    }

    fn keeps_manifest(&mut self, epoch: u64) -> Result<bool, StreamError> {
        self.repair.keeps_manifest(epoch)
    }
}

pub(crate) fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("{text} is no number"))
}

/// Rows of a table that are of this partition, without it.
pub(crate) fn rows_of(lake: &MemoryLake, table: &TableSpec, partition: u32, columns: &[&str]) -> Vec<Vec<String>> {
    let rows = text_rows(&lake.rows(table), &[&["partition"], columns].concat());
    rows.into_iter().filter(|row| row[0] == partition.to_string()).map(|row| row[1..].to_vec()).collect()
}
