//! What a recompute asks of the lake, as SQL. Every query is of one shard: of its partition and of those that it goes on
//! from.

use std::fmt::Write as _;
use std::ops::Range;

use arrow::array::{ArrayRef, AsArray as _, RecordBatch};
use arrow::datatypes::{Int32Type, Int64Type};
use chrono::DateTime;
use marquee_events::FUTURE_LIMIT_MS;
use marquee_jobs::dimension_bounds;
use marquee_jobs::playback::{History, LateSession, WrittenSession};
use marquee_lake::{LakeError, tables};
use marquee_lake_delta::DeltaLake;
use marquee_stream::{ShardRepair, StreamError};
use std::collections::{BTreeSet, HashMap};

use super::DayRange;

/// Ranges of offsets in a query: neighbours are put together until there are no more.
const MAX_RANGES: usize = 50;

/// The tables as they are now, for one topic and some days.
pub(super) struct LateTables<'a> {
    pub(super) lake: &'a DeltaLake,
    pub(super) runtime: &'a tokio::runtime::Runtime,
    pub(super) topic: &'static str,
    pub(super) days: DayRange,
}

impl LateTables<'_> {
    fn ask(&self, query: &str) -> Result<Vec<RecordBatch>, LakeError> {
        Ok(self.runtime.block_on(self.lake.sql(query))?.1)
    }

    /// The partitions that have epochs.
    pub(super) fn all_partitions(&self) -> Result<Vec<u32>, LakeError> {
        let topic = quoted(self.topic);
        let query = format!("SELECT DISTINCT \"partition\" FROM epochs WHERE topic = {topic} ORDER BY 1");
        let partitions = self.ask(&query)?;
        let of_batch = |batch: &RecordBatch| batch.column(0).as_primitive::<Int32Type>().values().to_vec();
        Ok(partitions.iter().flat_map(of_batch).map(|partition| partition as u32).collect())
    }

    /// The epochs after `after` up to `to`, in order, each with its `next_offset`.
    pub(super) fn epochs(&self, partitions: &[u32], after: u64, to: u64) -> Result<Vec<(u64, u64)>, LakeError> {
        let rows = self.ask(&format!(
            "SELECT epoch, next_offset FROM epochs WHERE {} AND epoch > {after} AND epoch <= {to} ORDER BY epoch",
            self.of_shard(partitions)
        ))?;
        let of_batch = |batch: &RecordBatch| {
            let (epochs, offsets) = (ints(batch.column(0)), ints(batch.column(1)));
            epochs.into_iter().zip(offsets).collect::<Vec<_>>()
        };
        Ok(rows.iter().flat_map(of_batch).collect())
    }

    /// How many sessions have late events in these days that are not folded.
    pub(super) fn count(&self, partitions: &[u32]) -> Result<u64, LakeError> {
        let rows = self.ask(&format!("SELECT count(*) FROM ({})", self.unfolded(partitions)))?;
        Ok(rows.iter().filter(|batch| batch.num_rows() > 0).flat_map(|batch| ints(batch.column(0))).sum())
    }

    /// The sessions that have late events in these days that are not folded, in the order of their keys, from the one
    /// after `after` on; each with how many rows it has in `events`, about.
    pub(super) fn page(
        &self,
        partitions: &[u32],
        after: Option<&(String, String)>,
        limit: usize,
    ) -> Result<Vec<(LateSession, u64)>, LakeError> {
        let behind = after.map_or_else(String::new, |(session_id, player_instance)| {
            let (id, player) = (quoted(session_id), quoted(player_instance));
            format!(" WHERE session_id > {id} OR (session_id = {id} AND player_instance > {player})")
        });
        let keys = self.ask(&format!(
            "SELECT * FROM ({}){behind} ORDER BY session_id, player_instance LIMIT {limit}",
            self.unfolded(partitions)
        ))?;
        let mut wanted = BTreeSet::new();
        for batch in &keys {
            let (ids, players) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
            let texts = |at: usize| (ids.value(at).to_owned(), players.value(at).to_owned());
            wanted.extend((0..batch.num_rows()).map(texts));
        }
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        // All their late events, those of other days, too. A key may share its session id with one that is not wanted.
        let of_ids = format!(
            "{} AND session_id IN ({})",
            self.of_shard(partitions),
            list(wanted.iter().map(|(session_id, _)| session_id.as_str()))
        );
        let rows = self.ask(&format!(
            "SELECT l.session_id, l.player_instance, array_agg(DISTINCT l.\"offset\"), \
             coalesce(max(r.\"offset\") + 1, 0), count(*) \
             FROM (SELECT * FROM late_events WHERE {of_ids}) l \
             LEFT JOIN (SELECT * FROM recomputed_events WHERE {of_ids}) r ON {SAME_EVENT} \
             GROUP BY l.session_id, l.player_instance ORDER BY l.session_id, l.player_instance"
        ))?;
        let mut page = Vec::new();
        for batch in &rows {
            let (ids, players) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
            let (folded_to, late_rows) = (ints(batch.column(3)), ints(batch.column(4)));
            for row in 0..batch.num_rows() {
                let session = LateSession {
                    session_id: ids.value(row).to_owned(),
                    player_instance: players.value(row).to_owned(),
                    late_offsets: ints(&batch.column(2).as_list::<i32>().value(row)),
                    folded_to: folded_to[row],
                    written: None,
                };
                if wanted.contains(&(session.session_id.clone(), session.player_instance.clone())) {
                    page.push((session, late_rows[row]));
                }
            }
        }
        self.add_written(partitions, &mut page)?;
        Ok(page)
    }

    /// Adds what `session_revisions` says of these sessions.
    fn add_written(&self, partitions: &[u32], page: &mut [(LateSession, u64)]) -> Result<(), LakeError> {
        if page.is_empty() {
            return Ok(());
        }
        let newest = |column: &str| format!("last_value({column} ORDER BY epoch, revision)");
        let rows = self.ask(&format!(
            "SELECT session_id, player_instance, count(*) = count(DISTINCT revision), min(bronze_epochs[1]), \
             {revision}, {is_final}, {late_events}, {bronze_epochs}, {rows} \
             FROM session_revisions WHERE {shard} AND session_id IN ({ids}) GROUP BY session_id, player_instance",
            revision = newest("revision"),
            is_final = newest("is_final"),
            late_events = newest("late_events"),
            bronze_epochs = newest("bronze_epochs"),
            rows = newest("event_count + duplicates + conflicts"),
            shard = self.of_shard(partitions),
            ids = list(page.iter().map(|(session, _)| session.session_id.as_str())),
        ))?;
        let mut written = HashMap::new();
        for batch in &rows {
            let (ids, players) = (batch.column(0).as_string::<i32>(), batch.column(1).as_string::<i32>());
            let (is_one_life, is_final) = (batch.column(2).as_boolean(), batch.column(5).as_boolean());
            let [first_epoch, revision, late_events, rows] = [3, 4, 6, 8].map(|column| ints(batch.column(column)));
            for row in 0..batch.num_rows() {
                let session = WrittenSession {
                    is_one_life: is_one_life.value(row),
                    first_epoch: first_epoch[row],
                    revision: revision[row],
                    is_final: is_final.value(row),
                    late_events: late_events[row],
                    bronze_epochs: ints(&batch.column(7).as_list::<i32>().value(row)),
                };
                written.insert((ids.value(row).to_owned(), players.value(row).to_owned()), (session, rows[row]));
            }
        }
        for (session, rows) in page {
            let key = (session.session_id.clone(), session.player_instance.clone());
            if let Some((known, timely)) = written.remove(&key) {
                session.written = Some(known);
                *rows += timely;
            }
        }
        Ok(())
    }

    /// The keys of the sessions that have late events in these days that are not folded. An event is received at most
    /// [`FUTURE_LIMIT_MS`] before its time.
    fn unfolded(&self, partitions: &[u32]) -> String {
        let DayRange { from_ms, to_ms } = self.days;
        let date = |ms| DateTime::from_timestamp_millis(ms).unwrap_or_default().format("%Y-%m-%d");
        format!(
            "SELECT DISTINCT l.session_id, l.player_instance \
             FROM (SELECT * FROM late_events WHERE {shard} AND ingest_date >= '{ingested}' \
             AND event_time >= to_timestamp_millis({from_ms}) AND event_time < to_timestamp_millis({to_ms})) l \
             LEFT JOIN (SELECT * FROM recomputed_events WHERE {shard} AND event_date >= '{first}' \
             AND event_date <= '{last}') r ON {SAME_EVENT} WHERE r.\"offset\" IS NULL",
            shard = self.of_shard(partitions),
            ingested = date(from_ms - FUTURE_LIMIT_MS),
            first = date(from_ms),
            last = date(to_ms - 1),
        )
    }

    fn of_shard(&self, partitions: &[u32]) -> String {
        let partitions: Vec<String> = partitions.iter().map(u32::to_string).collect();
        format!("topic = {} AND \"partition\" IN ({})", quoted(self.topic), partitions.join(", "))
    }
}

/// An event of `late_events l` is the one of `recomputed_events r`.
const SAME_EVENT: &str = "l.topic = r.topic AND l.\"partition\" = r.\"partition\" AND l.\"offset\" = r.\"offset\" \
                          AND l.\"index\" = r.\"index\"";

/// A shard's history in the tables and in its manifests.
pub(super) struct Place<'a> {
    pub(super) tables: &'a LateTables<'a>,
    pub(super) repair: &'a ShardRepair,
    pub(super) partitions: &'a [u32],
}

impl Place<'_> {
    fn ask(&self, query: &str) -> Result<Vec<RecordBatch>, StreamError> {
        let partition = self.partitions.last().copied().unwrap_or_default();
        let shard = || format!("playback/{}/{partition}", self.tables.topic);
        self.tables.ask(query).map_err(|source| StreamError::Lake { shard: shard(), source })
    }
}

impl History for Place<'_> {
    /// Statistics leave out files of other partitions and offsets, Bloom filters and page bounds those without the ids.
    fn rows(&mut self, session_ids: &[&str], offsets: &[Range<u64>]) -> Result<Vec<RecordBatch>, StreamError> {
        let columns: Vec<String> = tables::EVENTS.columns.iter().map(|c| format!("\"{}\"", c.name)).collect();
        let ranges: Vec<String> = few(offsets, MAX_RANGES)
            .iter()
            .map(|range| format!("(\"offset\" >= {} AND \"offset\" < {})", range.start, range.end))
            .collect();
        self.ask(&format!(
            "SELECT {} FROM events WHERE {} AND session_id IN ({}) AND ({})",
            columns.join(", "),
            self.tables.of_shard(self.partitions),
            list(session_ids.iter().copied()),
            ranges.join(" OR ")
        ))
    }

    fn is_crowded(&mut self, date: &str) -> Result<bool, StreamError> {
        let full = dimension_bounds().map(|(name, bound)| format!("count(DISTINCT {name}) >= {bound}"));
        let rows = self.ask(&format!(
            "SELECT {} FROM session_revisions WHERE {} AND start_date = {}",
            full.join(" OR "),
            self.tables.of_shard(self.partitions),
            quoted(date)
        ))?;
        Ok(rows.iter().any(|batch| batch.column(0).as_boolean().iter().any(|full| full == Some(true))))
    }

    fn keeps_manifest(&mut self, epoch: u64) -> Result<bool, StreamError> {
        self.repair.keeps_manifest(epoch)
    }
}

/// So many ranges at most that hold these, which are in order: those with the smallest gaps between them become one.
fn few(ranges: &[Range<u64>], most: usize) -> Vec<Range<u64>> {
    let mut gaps: Vec<u64> = ranges.windows(2).map(|pair| pair[1].start - pair[0].end).collect();
    gaps.sort_unstable_by(|a, b| b.cmp(a));
    let smallest_kept = gaps.get(most - 1).map_or(0, |gap| gap + 1);
    let mut few: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match few.last_mut() {
            Some(last) if range.start - last.end < smallest_kept => last.end = range.end,
            _ => few.push(range.clone()),
        }
    }
    few
}

fn list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    let mut list = String::new();
    for text in texts {
        let separator = if list.is_empty() { "" } else { ", " };
        let _ = write!(list, "{separator}{}", quoted(text));
    }
    list
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn ints(column: &ArrayRef) -> Vec<u64> {
    column.as_primitive::<Int64Type>().iter().map(|value| value.unwrap_or_default() as u64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_with_small_gaps_become_one() {
        let ranges = [0..10, 12..20, 100..110, 111..120];
        assert_eq!(few(&ranges, 4), ranges);
        assert_eq!(few(&ranges, 3), [0..10, 12..20, 100..120]);
        assert_eq!(few(&ranges, 2), [0..20, 100..120]);
        assert_eq!(few(&ranges, 1).first(), Some(&(0..120)));
        assert!(few(&[], 3).is_empty());
    }

    #[test]
    fn texts_are_quoted() {
        assert_eq!(list(["a", "it's"].into_iter()), "'a', 'it''s'");
    }
}
