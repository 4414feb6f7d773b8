//! `marquee lake recompute`: folds events that came past the horizon into their sessions. Each batch is an epoch of its
//! shard, decided like any other (`marquee_stream::ShardRepair`), so it works beside running services: what this file
//! adds is which sessions, in which order, and what people are told.

mod history;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Days, NaiveDate, NaiveTime};
use indicatif::{ProgressBar, ProgressStyle};
use marquee_events::{Clock, SystemClock};
use marquee_jobs::playback::{EpochOffsets, HORIZON_MS, LateBatch, LateSession, Left};
use marquee_jobs::{PLAYBACK_TOPIC, Playback, PlaybackMode};
use marquee_lake::tables;
use marquee_stream::{Decision, Job as _, Newest, Parent, RepairEnv, ShardId, ShardRepair, StreamError};
use serde::Serialize;

use self::history::{LateTables, Place};
use super::lake::open;
use crate::cli::{RecomputeOptions, SessionPart};
use crate::failure::Failure;
use crate::home::Home;
use crate::services::{state, writer_id};
use crate::settings::Settings;
use crate::tables_output::print_json;

/// Sessions that are looked up at once: their ids stand in a query.
const PAGE_SESSIONS: usize = 1_000;

/// Rows of `events` that are folded in one epoch, about 2 kB each; a session that has more comes alone.
const BATCH_ROWS: u64 = 50_000;

/// How often an epoch may be lost to others before the command gives up. A loss costs a snapshot and a fold.
const LARGEST_LOSSES: u32 = 50;

/// Who has decided an epoch within so many epoch intervals is at work.
const OWNER_INTERVALS: i64 = 3;

/// Begins the names of these commands in manifests.
const WRITER_PREFIX: &str = "recompute-";

/// What was done.
#[derive(Debug, Default, Serialize)]
struct Report {
    from: String,
    to: String,
    shard: String,
    /// Sessions with a new revision.
    sessions: u64,
    /// Late events that they have now.
    late_events: u64,
    /// Epochs that were decided for it.
    epochs: u64,
    /// Epochs that somebody else decided in between: folded again.
    lost_epochs: u64,
    /// Sessions that were left alone, by reason.
    left: Left,
}

pub(crate) fn run(
    runtime: &tokio::runtime::Runtime,
    settings: &Settings,
    options: &RecomputeOptions,
) -> Result<(), Failure> {
    let days = DayRange::new(options.from, options.to)?;
    let home = Home::new(&settings.home)?;
    let lake = Arc::new(open(runtime, settings)?);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
    let (store, state_root) = state(&home, settings)?;
    let env = RepairEnv {
        lake: lake.clone(),
        store,
        state_root,
        clock: clock.clone(),
        handle: runtime.handle().clone(),
        writer_id: format!("{WRITER_PREFIX}{}", writer_id(clock.as_ref())),
    };
    let job = Playback::new(PlaybackMode::Live);
    let late = LateTables { lake: &lake, runtime, topic: PLAYBACK_TOPIC, days };
    let mut shards = open_shards(&env, &job, &late)?;
    refuse_open_days(&mut shards, options.to, days)?;
    let bar = progress_bar();
    let mut report = Report {
        from: options.from.to_string(),
        to: options.to.to_string(),
        shard: options.shard.to_string(),
        ..Report::default()
    };
    for (repair, _) in &shards {
        bar.inc_length(late.count(&partitions_of(repair))?);
    }
    let epoch_interval = Duration::from_millis(u64::from(settings.jobs.epoch_interval_ms));
    let mut shards: VecDeque<Shard<'_>> = shards
        .into_iter()
        .map(|(repair, id)| Shard {
            partitions: partitions_of(&repair),
            keys: None,
            repair,
            id,
            job: &job,
            late: &late,
            part: options.shard,
            epoch_interval,
            clock: clock.clone(),
            epochs: EpochOffsets::default(),
            as_of: None,
            after: None,
            batches: VecDeque::new(),
            owner_waits_for: None,
        })
        .collect();
    // Parts that run side by side begin with different shards, so that they seldom meet. A batch of each in turn: an
    // owner at work goes on while the others' shards are folded.
    shards.rotate_left(options.shard.index as usize % shards.len().max(1));
    while let Some(mut shard) = shards.pop_front() {
        if shard.step(&mut report, &bar)? {
            shards.push_back(shard);
        }
    }
    bar.finish_and_clear();
    if options.json { print_json(&report) } else { print_report(&report) }
}

/// The shards that have not ended. Those that have are part of the shards that go on from them.
fn open_shards(env: &RepairEnv, job: &Playback, late: &LateTables<'_>) -> Result<Vec<(ShardRepair, ShardId)>, Failure> {
    let mut partitions: BTreeSet<u32> = late.all_partitions()?.into_iter().collect();
    let mut shards = Vec::new();
    while let Some(partition) = partitions.pop_first() {
        let id = ShardId { job: job.name(), topic: PLAYBACK_TOPIC.to_owned(), partition };
        let mut repair = ShardRepair::new(env, id.clone(), job);
        match repair.newest()? {
            Some(newest) if newest.manifest.is_last() => partitions.extend(newest.manifest.heirs),
            Some(_) => shards.push((repair, id)),
            None => {
                return Err(Failure::unavailable(format!(
                    "topic {PLAYBACK_TOPIC} has grown, and shard {id} has not begun yet; nothing was changed: start its jobs, \
                     and run the command again"
                )));
            }
        }
    }
    Ok(shards)
}

fn partitions_of(repair: &ShardRepair) -> Vec<u32> {
    repair.partitions().into_iter().map(|(_, partition)| partition).collect()
}

/// Event times from the start of the first day to the end of the last one (ms since the epoch).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct DayRange {
    from_ms: i64,
    to_ms: i64,
}

impl DayRange {
    fn new(from: NaiveDate, to: NaiveDate) -> Result<Self, Failure> {
        let start = |day: NaiveDate| day.and_time(NaiveTime::MIN).and_utc().timestamp_millis();
        let after = to.checked_add_days(Days::new(1)).filter(|_| from <= to);
        let after = after.ok_or_else(|| Failure::settings(format!("--from {from} is after --to {to}")))?;
        Ok(Self { from_ms: start(from), to_ms: start(after) })
    }
}

/// Days are over once every shard with a watermark is past them by the horizon: then what belongs to them and is in no
/// session can only be late.
fn refuse_open_days(shards: &mut [(ShardRepair, ShardId)], last_day: NaiveDate, days: DayRange) -> Result<(), Failure> {
    let mut slowest: Option<(i64, u32)> = None;
    for (repair, id) in shards {
        let watermark_ms = repair.newest()?.and_then(|newest| newest.manifest.watermark_ms);
        let here = watermark_ms.map(|watermark_ms| (watermark_ms, id.partition));
        slowest = slowest.into_iter().chain(here).min();
    }
    let Some((watermark_ms, partition)) = slowest else {
        return Err(Failure::bad_input(format!(
            "no event of topic {PLAYBACK_TOPIC} is in the lake yet, so no day is over; nothing was changed"
        )));
    };
    if days.to_ms <= watermark_ms - HORIZON_MS {
        return Ok(());
    }
    let closed = DateTime::from_timestamp_millis(watermark_ms - HORIZON_MS).unwrap_or_default().date_naive();
    Err(Failure::bad_input(format!(
        "{last_day} is not over: events of partition {partition} have come to {}, and a day is over 24 h after its end; \
         nothing was changed. The last day that is over is {}",
        DateTime::from_timestamp_millis(watermark_ms).unwrap_or_default().format("%Y-%m-%d %H:%M:%S UTC"),
        closed.checked_sub_days(Days::new(1)).unwrap_or(closed)
    )))
}

/// One shard, batch by batch.
struct Shard<'a> {
    repair: ShardRepair,
    id: ShardId,
    /// Those that hold its events: the last one is its own.
    partitions: Vec<u32>,
    /// Which of the sessions of these are its own, if not all.
    keys: Option<Parent>,
    job: &'a Playback,
    late: &'a LateTables<'a>,
    part: SessionPart,
    epoch_interval: Duration,
    clock: Arc<dyn Clock>,
    /// Which offsets its epochs hold, as far as that was asked.
    epochs: EpochOffsets,
    as_of: Option<AsOf>,
    /// The last session that was folded or left alone.
    after: Option<(String, String)>,
    /// What the tables said comes next.
    batches: VecDeque<Vec<LateSession>>,
    /// The epoch that an owner at work has lost to this command: it gets the next one.
    owner_waits_for: Option<u64>,
}

/// The epoch up to which the tables are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct AsOf {
    /// Late events below this offset are folded.
    next_offset: u64,
    /// The last epoch of any recompute: what the tables say of forgotten sessions holds until there is another one.
    last_recompute: Option<u64>,
}

impl AsOf {
    fn new(newest: &Newest) -> Self {
        let last_recompute = newest.manifest.last_epochs().get(tables::RECOMPUTED_EVENTS.name).copied();
        Self { next_offset: newest.manifest.next_offset, last_recompute }
    }
}

impl Shard<'_> {
    /// Folds a batch, or asks for the next ones; false when there is nothing left.
    fn step(&mut self, report: &mut Report, bar: &ProgressBar) -> Result<bool, Failure> {
        let Some(sessions) = self.batches.pop_front() else { return self.ask(bar) };
        let Some(as_of) = self.as_of else { return Ok(false) };
        let (count, last) = (sessions.len() as u64, sessions.last().map(key_of));
        let batch = LateBatch::new(sessions, as_of.next_offset).of_partitions(self.repair.partitions());
        if self.fold(batch, report)? {
            bar.inc(count);
            self.after = last;
        } else {
            self.batches.clear(); // another recompute was here: the tables are asked again
        }
        Ok(true)
    }

    fn newest(&mut self) -> Result<Option<Newest>, Failure> {
        match self.repair.newest()? {
            Some(newest) if newest.manifest.is_last() => Err(Failure::unavailable(format!(
                "shard {} has ended: its topic has grown meanwhile; run the command again to go on",
                self.id
            ))),
            newest => Ok(newest),
        }
    }

    /// Asks for the next sessions; whether there are any.
    fn ask(&mut self, bar: &ProgressBar) -> Result<bool, Failure> {
        let Some(newest) = self.newest()? else { return Ok(false) };
        self.as_of = Some(AsOf::new(&newest));
        self.keys = newest.manifest.parent;
        self.learn_epochs(newest.manifest.epoch)?;
        let page = self.late.page(&self.partitions, self.after.as_ref(), PAGE_SESSIONS)?;
        let Some(last) = page.last().map(|(session, _)| key_of(session)) else { return Ok(false) };
        let (mine, others): (Vec<_>, Vec<_>) = page.into_iter().partition(|(session, _)| {
            is_of(session, self.part) && self.keys.is_none_or(|keys| keys.leaves(session.session_id.as_bytes()))
        });
        bar.inc(others.len() as u64);
        if mine.is_empty() {
            self.after = Some(last);
        }
        self.batches = cut(mine).into();
        Ok(true)
    }

    /// Decides an epoch that folds a batch; false when the tables have to be asked again first.
    fn fold(&mut self, mut batch: LateBatch, report: &mut Report) -> Result<bool, Failure> {
        if let Some(epoch) = self.owner_waits_for.take() {
            self.repair.give_way(epoch, self.epoch_interval)?;
        }
        for _ in 0..LARGEST_LOSSES {
            let Some(newest) = self.newest()? else { return Ok(true) };
            let last_recompute = AsOf::new(&newest).last_recompute;
            if self.as_of.is_some_and(|as_of| as_of.last_recompute != last_recompute) {
                return Ok(false);
            }
            self.learn_epochs(newest.manifest.epoch)?;
            let mut history = Place { tables: self.late, repair: &self.repair, partitions: &self.partitions };
            let io = self.repair.io();
            let done = match self.job.recompute(&self.id, &newest, &mut batch, &self.epochs, &mut history, &io) {
                Err(StreamError::Fenced { .. }) => {
                    report.lost_epochs += 1;
                    continue;
                }
                done => done?,
            };
            let won = match done.frozen {
                Some(frozen) => self.repair.decide(&newest.manifest, frozen)? == Decision::Won,
                None => true,
            };
            if !won {
                report.lost_epochs += 1;
                continue;
            }
            report.sessions += done.sessions;
            report.late_events += done.events;
            report.left += done.left;
            if done.sessions > 0 {
                let epoch = newest.manifest.epoch + 1;
                report.epochs += 1;
                self.as_of = self.as_of.map(|as_of| AsOf { last_recompute: Some(epoch), ..as_of });
                self.owner_waits_for = self.has_owner(&newest).then_some(epoch);
            }
            return Ok(true);
        }
        Err(Failure::unavailable(format!(
            "shard {} decides epochs faster than a batch can be folded: stop its services for a while, or lengthen \
             jobs.epoch_interval_ms; run the command again to go on",
            self.id
        )))
    }

    /// Whether somebody who is no recompute has decided the epoch that is the newest, a short while ago.
    fn has_owner(&self, newest: &Newest) -> bool {
        let age_ms = self.clock.now_ms() - newest.manifest.frozen_at_ms;
        !newest.manifest.writer_id.starts_with(WRITER_PREFIX)
            && age_ms < OWNER_INTERVALS.saturating_mul(self.epoch_interval.as_millis() as i64)
    }

    /// Asks which offsets the epochs hold that were decided since.
    fn learn_epochs(&mut self, newest_epoch: u64) -> Result<(), Failure> {
        let known = self.epochs.last_epoch();
        if known < newest_epoch {
            self.epochs.extend(self.late.epochs(&self.partitions, known, newest_epoch)?);
        }
        Ok(())
    }
}

fn key_of(session: &LateSession) -> (String, String) {
    (session.session_id.clone(), session.player_instance.clone())
}

fn is_of(session: &LateSession, part: SessionPart) -> bool {
    session.part_of(part.count) == part.index
}

/// Batches of sessions with so many rows together that memory holds them.
fn cut(sessions: Vec<(LateSession, u64)>) -> Vec<Vec<LateSession>> {
    let mut batches: Vec<Vec<LateSession>> = Vec::new();
    let mut rows_left = 0;
    for (session, rows) in sessions {
        match batches.last_mut() {
            Some(batch) if rows <= rows_left => {
                rows_left -= rows;
                batch.push(session);
            }
            _ => {
                rows_left = BATCH_ROWS.saturating_sub(rows);
                batches.push(vec![session]);
            }
        }
    }
    batches
}

fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style).with_message("folding sessions")
}

fn print_report(report: &Report) -> Result<(), Failure> {
    use std::fmt::Write as _;
    let mut text = match report.sessions {
        0 => "Nothing changed: no session could take in late events of these days.\n".to_owned(),
        sessions => format!("{sessions} sessions were folded anew, with {} late events.\n", report.late_events),
    };
    let Left { started_again, crowded_day, rows_out_of_reach } = report.left;
    for (count, why) in [
        (started_again, "were forgotten and have started again under the same key"),
        (crowded_day, "began on a forgotten day with more values of a dimension than are told apart"),
        (rows_out_of_reach, "have rows in epochs whose manifests are gone"),
    ] {
        if count > 0 {
            let _ = writeln!(text, "{count} sessions were left alone: they {why}.");
        }
    }
    crate::tables_output::print_text(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(number: usize) -> LateSession {
        LateSession {
            session_id: format!("s{number}"),
            player_instance: String::new(),
            late_offsets: Vec::new(),
            folded_to: 0,
            written: None,
        }
    }

    #[test]
    fn every_session_is_in_one_part() {
        let mut sizes = [0; 3];
        for number in 0..3_000 {
            let parts = (0..3).filter(|index| is_of(&session(number), SessionPart { index: *index, count: 3 }));
            let parts: Vec<u32> = parts.collect();
            assert_eq!(parts.len(), 1);
            sizes[parts[0] as usize] += 1;
        }
        assert!(sizes.iter().all(|size| (900..1_100).contains(size)), "{sizes:?}");
        let read = |text: &str| text.parse::<SessionPart>().ok().map(|part| part.to_string());
        assert_eq!(["0/1", "3/4"].map(read), [Some("0/1".to_owned()), Some("3/4".to_owned())]);
        assert_eq!(["1/1", "0/0", "-1/2", "1", "a/b", ""].map(read), [const { None }; 6]);
    }

    #[test]
    fn a_batch_has_so_many_rows_or_one_session() {
        let rows = [BATCH_ROWS - 1, 1, 1, 3 * BATCH_ROWS, 2, 3];
        let batches = cut(rows.iter().enumerate().map(|(number, rows)| (session(number), *rows)).collect());
        assert_eq!(batches.iter().map(Vec::len).collect::<Vec<_>>(), [2, 1, 1, 2]);
        assert!(cut(Vec::new()).is_empty());
    }

    #[test]
    fn days_end_with_their_last_one() {
        let day = |text: &str| text.parse::<NaiveDate>().expect("a day");
        let range = DayRange::new(day("1970-01-02"), day("1970-01-03")).expect("in order");
        assert_eq!((range.from_ms, range.to_ms), (86_400_000, 3 * 86_400_000));
        assert!(DayRange::new(day("1970-01-02"), day("1970-01-01")).is_err());
    }
}
