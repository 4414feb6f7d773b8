//! `GET /api/live/stream?minutes=30`: Live as server-sent events (`event: live`). The first message holds every minute of
//! the range (`reset`), later ones those that have changed; a browser that reconnects simply begins anew.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Sse;
use axum::response::sse::Event;
use futures::Stream;
use futures::stream;
use marquee_qoe::{Measures, SLOTS_PER_MINUTE};
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::figures::{Figures, Sums, slots};
use crate::refusal::Refusal;
use crate::{Dashboards, EpochMark, LiveMinutes};

/// The longest range (minutes); what the live topic holds.
const MAX_MINUTES: i64 = 60;

/// The tiles are about the last five minutes, the one in progress included.
const RECENT_MINUTES: i64 = 5;

const MINUTE_MS: i64 = 60_000;
const SLOT_MS: i64 = MINUTE_MS / SLOTS_PER_MINUTE as i64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    minutes: Option<i64>,
}

#[derive(Serialize)]
struct Message {
    /// Forget what came before.
    reset: bool,
    now_ms: i64,
    /// Everything published before this instant is in the figures; `null` when nothing was ever published.
    as_of_ms: Option<i64>,
    /// Minutes before this instant may be incomplete.
    complete_from_ms: i64,
    epochs: Vec<EpochMark>,
    /// At the newest 5 s slot that is whole.
    viewers: Viewers,
    recent: Recent,
    /// New or changed.
    minutes: Vec<Minute>,
}

#[derive(Serialize)]
struct Viewers {
    at_ms: i64,
    count: i64,
}

#[derive(Serialize)]
struct Recent {
    from_ms: i64,
    to_ms: i64,
    figures: Figures,
}

#[derive(Clone, PartialEq, Serialize)]
struct Minute {
    from_ms: i64,
    figures: Figures,
    /// At the start of each 5 s slot.
    viewers: [i64; SLOTS_PER_MINUTE],
}

pub(super) async fn get_stream(
    State(dashboards): State<Arc<Dashboards>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Refusal> {
    let Query(asked) = asked?;
    let minutes = asked.minutes.unwrap_or(30);
    if !(1..=MAX_MINUTES).contains(&minutes) {
        return Err(Refusal::field("minutes", format!("must be from 1 to {MAX_MINUTES}")));
    }
    let slot = Arc::clone(&dashboards.streams).try_acquire_owned();
    let slot = slot.map_err(|_| Refusal::busy("too many browsers follow Live already"))?;
    let mut ticks = interval(Duration::from_millis(dashboards.settings.live_interval_ms));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let stopped = dashboards.stopping.subscribe();
    let follower = Follower { dashboards, minutes, ticks, stopped, sent: None, _slot: slot };
    Ok(Sse::new(stream::unfold(follower, Follower::next)))
}

/// One browser.
struct Follower {
    dashboards: Arc<Dashboards>,
    minutes: i64,
    ticks: Interval,
    stopped: watch::Receiver<bool>,
    /// What it has, by minute.
    sent: Option<BTreeMap<i64, Minute>>,
    _slot: OwnedSemaphorePermit,
}

impl Follower {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        tokio::select! {
            () = stop(&mut self.stopped) => return None,
            _ = self.ticks.tick() => {}
        }
        let message = self.message();
        let event = Event::default().event("live").json_data(message).unwrap_or_else(|error| {
            tracing::error!(%error, "a live message cannot be written");
            Event::default().comment("no message")
        });
        Some((Ok(event), self))
    }

    fn message(&mut self) -> Message {
        let now_ms = self.dashboards.parts.clock.now_ms();
        let this_minute = now_ms.div_euclid(MINUTE_MS);
        let from_minute = this_minute + 1 - self.minutes.max(RECENT_MINUTES);
        let live = self.dashboards.parts.live.minutes(from_minute, this_minute + 1);
        let first_minute = this_minute + 1 - self.minutes;
        let (reset, mut known) = (self.sent.is_none(), self.sent.take().unwrap_or_default());
        let mut found = by_minute(&live, first_minute);
        // What a retraction has emptied is missing now, and the browser has to forget it.
        known.retain(|minute, _| *minute >= first_minute);
        for minute in known.keys() {
            found.entry(*minute).or_insert_with(|| Minute::of(*minute, &Measures::default()));
        }
        let changed = found.iter().filter(|(minute, now)| known.get(minute) != Some(now));
        let minutes = changed.map(|(_, minute)| minute.clone()).collect();
        self.sent = Some(found);
        Message {
            reset,
            now_ms,
            as_of_ms: live.as_of_ms,
            complete_from_ms: live.complete_from_minute * MINUTE_MS,
            viewers: viewers(&live, now_ms - self.dashboards.settings.concurrency_lag_ms),
            recent: recent(&live, this_minute),
            epochs: live.epochs,
            minutes,
        }
    }
}

/// Waits until the server stops.
async fn stop(stopped: &mut watch::Receiver<bool>) {
    let _ = stopped.wait_for(|stop| *stop).await; // an error says that the server is gone
}

/// The minutes from one on in which something happened.
fn by_minute(live: &LiveMinutes, from_minute: i64) -> BTreeMap<i64, Minute> {
    let minutes = live.minutes.iter().filter(|minute| minute.minute >= from_minute);
    minutes.map(|minute| (minute.minute, Minute::of(minute.minute, &minute.measures))).collect()
}

impl Minute {
    /// A minute (minutes since the epoch).
    fn of(minute: i64, measures: &Measures) -> Self {
        let mut sums = Sums::default();
        sums.add_minute(minute, measures);
        Self { from_ms: minute * MINUTE_MS, figures: sums.figures(), viewers: slots(measures) }
    }
}

fn viewers(live: &LiveMinutes, whole_until_ms: i64) -> Viewers {
    let at_ms = whole_until_ms.div_euclid(SLOT_MS) * SLOT_MS;
    let minute = live.minutes.iter().find(|minute| minute.minute == at_ms.div_euclid(MINUTE_MS));
    let index = (at_ms.rem_euclid(MINUTE_MS) / SLOT_MS) as usize;
    Viewers { at_ms, count: minute.map(|minute| slots(&minute.measures)[index]).unwrap_or_default() }
}

fn recent(live: &LiveMinutes, this_minute: i64) -> Recent {
    let from_minute = this_minute + 1 - RECENT_MINUTES;
    let mut sums = Sums::default();
    for minute in live.minutes.iter().filter(|minute| minute.minute >= from_minute) {
        sums.add_minute(minute.minute, &minute.measures);
    }
    Recent { from_ms: from_minute * MINUTE_MS, to_ms: (this_minute + 1) * MINUTE_MS, figures: sums.figures() }
}
