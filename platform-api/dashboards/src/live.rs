//! The live figures as the dashboards need them: minutes over the whole audience, without dimensions.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use marquee_jobs::{CellDimensions, Cube, LiveCell, LiveRecord, LiveView, PLAYBACK_TOPIC};
use marquee_qoe::Measures;
use serde::Serialize;

use crate::LiveSource;

/// How far back Live looks, and one hour more (minutes). Every second sums what is kept; two hours of 5 s epochs of four
/// shards take about a millisecond.
const KEPT_MINUTES: i64 = 2 * 60;

/// What a live source knows of a span of minutes.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LiveMinutes {
    /// Everything that was published before this instant is in it (ms since the epoch); `None` before the first record.
    pub as_of_ms: Option<i64>,
    /// Minutes before this one (minutes since the epoch) may be incomplete: the source has not seen all of them.
    pub complete_from_minute: i64,
    /// The newest epoch of each shard that is in it.
    pub epochs: Vec<EpochMark>,
    /// The minutes in which something happened, in order.
    pub minutes: Vec<LiveMinute>,
}

/// How far a shard has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EpochMark {
    /// The shard's topic.
    pub topic: String,
    /// The shard's partition.
    pub partition: u32,
    /// Its newest epoch; the last one may still grow.
    pub epoch: u64,
}

/// A minute over the whole audience.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LiveMinute {
    /// Minutes since the Unix epoch.
    pub minute: i64,
    /// Its sums.
    pub measures: Measures,
}

/// Live figures from the records of topic `qoe-live`: whoever reads the topic hands them in, the dashboards read.
#[derive(Debug, Default)]
pub struct LiveFollower {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    view: LiveView,
    epochs: BTreeMap<(String, u32), u64>,
    as_of_ms: Option<i64>,
    complete_from_minute: i64,
}

impl LiveFollower {
    /// A follower that will be handed every record since `complete_from_minute` (minutes since the epoch): the minute
    /// after the one in which the first record of the topic that is still there was published.
    pub fn new(complete_from_minute: i64) -> Self {
        Self { state: Mutex::new(State { complete_from_minute, ..State::default() }) }
    }

    /// Takes in records in the order of the topic; `as_of_ms` is when the topic was read to its end (ms since the
    /// epoch), so an empty list says that nothing new has happened until then.
    pub fn take_in(&self, records: impl IntoIterator<Item = LiveRecord>, as_of_ms: i64) {
        let mut state = self.lock();
        for record in records {
            if record.topic == PLAYBACK_TOPIC {
                state.epochs.insert((record.topic.clone(), record.partition), record.epoch);
                state.view.apply(whole_audience(record));
            }
        }
        state.as_of_ms = state.as_of_ms.max(Some(as_of_ms));
        let oldest = as_of_ms.div_euclid(60_000) - KEPT_MINUTES;
        if oldest > state.complete_from_minute {
            state.complete_from_minute = oldest;
            state.view.forget_before(oldest);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // A panic in between leaves whole records only.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LiveSource for LiveFollower {
    fn minutes(&self, from_minute: i64, to_minute: i64) -> LiveMinutes {
        let state = self.lock();
        let sums = state.view.sum(|_, _| u64::MAX, |cell| (from_minute..to_minute).contains(&cell.minute));
        let minutes = sums.into_iter().map(|((_, minute), measures)| LiveMinute { minute, measures }).collect();
        let mark = |((topic, partition), epoch): (&(String, u32), &u64)| EpochMark {
            topic: topic.clone(),
            partition: *partition,
            epoch: *epoch,
        };
        LiveMinutes {
            as_of_ms: state.as_of_ms,
            complete_from_minute: state.complete_from_minute,
            epochs: state.epochs.iter().map(mark).collect(),
            minutes,
        }
    }
}

/// The same record with one cell a minute: cube `audience` without its dimensions, which make a thousand cells of it.
fn whole_audience(record: LiveRecord) -> LiveRecord {
    let mut minutes: BTreeMap<i64, Measures> = BTreeMap::new();
    for cell in record.cells.iter().filter(|cell| cell.dimensions.cube == Cube::Audience) {
        minutes.entry(cell.minute).or_default().merge(&cell.measures);
    }
    let dimensions = CellDimensions { cube: Cube::Audience, values: Vec::new() };
    let cell = |(minute, measures)| LiveCell { dimensions: dimensions.clone(), minute, measures };
    LiveRecord { cells: minutes.into_iter().map(cell).collect(), ..record }
}

#[cfg(test)]
mod tests {
    use marquee_qoe::Measure;

    use super::*;

    fn record(epoch: u64, attempts: &[(i64, &str, i64)]) -> LiveRecord {
        let cell = |(minute, country, attempts): &(i64, &str, i64)| {
            let mut measures = Measures::default();
            measures.add(Measure::Attempts as usize, *attempts);
            let values = vec![(*country).to_owned()];
            LiveCell { dimensions: CellDimensions { cube: Cube::Audience, values }, minute: *minute, measures }
        };
        let cells = attempts.iter().map(cell).collect();
        LiveRecord { topic: PLAYBACK_TOPIC.to_owned(), partition: 0, epoch, is_final: false, cells }
    }

    fn attempts(follower: &LiveFollower) -> Vec<(i64, i64)> {
        let found = follower.minutes(0, i64::MAX).minutes;
        found.iter().map(|minute| (minute.minute, minute.measures.values[Measure::Attempts as usize])).collect()
    }

    #[test]
    fn a_later_record_of_an_epoch_replaces_and_countries_add_up() {
        let follower = LiveFollower::new(0);
        follower.take_in([record(1, &[(1, "DE", 1), (1, "FR", 2)])], 1_000);
        follower.take_in([record(1, &[(1, "DE", 2), (1, "FR", 2), (2, "DE", 5)])], 2_000);
        follower.take_in([record(2, &[(2, "DE", -1)])], 3_000);
        assert_eq!(attempts(&follower), [(1, 4), (2, 4)]);
        let now = follower.minutes(2, 3);
        assert_eq!((now.as_of_ms, now.epochs[0].epoch, now.minutes.len()), (Some(3_000), 2, 1));
    }

    #[test]
    fn an_epoch_told_again_makes_later_ones_void() {
        let follower = LiveFollower::new(0);
        follower.take_in([record(1, &[(1, "DE", 1)]), record(2, &[(1, "DE", 10)])], 1_000);
        follower.take_in([record(1, &[(1, "DE", 2)])], 2_000);
        assert_eq!(attempts(&follower), [(1, 2)]);
        assert_eq!(follower.minutes(0, 1).epochs[0].epoch, 1);
    }

    #[test]
    fn imports_and_old_minutes_are_left_out() {
        let follower = LiveFollower::new(0);
        let import = LiveRecord { topic: "playback-import".to_owned(), ..record(1, &[(1, "DE", 1)]) };
        follower.take_in([import, record(1, &[(1, "DE", 7)])], 60_000);
        assert_eq!(attempts(&follower), [(1, 7)]);
        follower.take_in([], (KEPT_MINUTES + 2) * 60_000);
        assert_eq!(attempts(&follower), []);
        assert_eq!(follower.minutes(0, 1).complete_from_minute, 2);
    }
}
