//! What the numbers must be once everything is processed. It is counted while sessions are made and requests are
//! accepted, never derived from events, so that it can contradict the engine.
//!
//! The interval between two consecutive events of a session belongs to the state after the first of them; nothing is
//! counted after a session's last event. Events in dead letters do not take part.

use serde::Serialize;

/// Sessions of a run whose truth is kept one by one; sums are always complete. An endless demo must not fill the memory.
const MAX_KEPT_SESSIONS: usize = 100_000;

/// How a session went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// A first frame and no fatal error.
    Played,
    /// A fatal error before the first frame.
    StartFailure,
    /// Play was requested; neither a first frame nor a fatal error came.
    ExitBeforeStart,
    /// A fatal error after the first frame.
    PlaybackFailure,
}

/// How many sessions went which way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the variants of `Outcome`")]
pub struct Outcomes {
    pub played: u64,
    pub start_failure: u64,
    pub exit_before_start: u64,
    pub playback_failure: u64,
}

/// Accepted events that end in dead letters, by reason.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct DeadLetters {
    /// Dated too far ahead of the collector's clock.
    pub future_time: u64,
    /// Without a payload.
    pub unknown_payload: u64,
}

impl DeadLetters {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.future_time + self.unknown_payload
    }
}

/// What is measured of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct SessionCounts {
    /// How it went.
    pub outcome: Outcome,
    /// From play requested to first frame (ms); `None` when it never started or was interrupted.
    pub startup_ms: Option<i64>,
    /// Time in state startup (ms), whether a first frame came or not.
    pub startup_state_ms: i64,
    /// Time playing (ms).
    pub playing_ms: i64,
    /// Time stalled after the first frame (ms).
    pub rebuffer_ms: i64,
    /// Stalls after the first frame.
    pub rebuffer_count: u64,
    /// Time waiting after seeks (ms).
    pub seek_waiting_ms: i64,
    /// Time paused (ms).
    pub paused_ms: i64,
    /// Time in ad breaks (ms).
    pub ad_ms: i64,
    /// Time in the background (ms).
    pub background_ms: i64,
    /// Changes of the representation, the first one not counted.
    pub rendition_switch_count: u64,
}

impl Default for SessionCounts {
    fn default() -> Self {
        Self {
            outcome: Outcome::ExitBeforeStart,
            startup_ms: None,
            startup_state_ms: 0,
            playing_ms: 0,
            rebuffer_ms: 0,
            rebuffer_count: 0,
            seek_waiting_ms: 0,
            paused_ms: 0,
            ad_ms: 0,
            background_ms: 0,
            rendition_switch_count: 0,
        }
    }
}

/// The truth of one session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SessionTruth {
    /// Its id.
    pub session_id: String,
    /// The instance of the player; a session id may have two.
    pub player_instance: String,
    /// What is measured of it.
    #[serde(flatten)]
    pub counts: SessionCounts,
}

/// The truth of a run. `events_sent = distinct_events + duplicates + dead_letters`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Truth {
    /// Events in accepted requests, duplicates and doomed ones included.
    pub events_sent: u64,
    /// Distinct (session, player instance, sequence) that were accepted and are not doomed.
    pub distinct_events: u64,
    /// Events in requests that repeat an accepted one.
    pub duplicates: u64,
    /// Accepted events that end in dead letters.
    pub dead_letters: DeadLetters,
    /// Events that were never sent: holes in the sequence, all of them heartbeats.
    pub lost_events: u64,
    /// Attempts that failed without saying whether they were accepted, and were made again. Each may have been accepted too, so that the counts of
    /// events above (but not `distinct_events`) are exact only when this is 0.
    pub unsure_attempts: u64,
    /// Distinct (session, player instance).
    pub sessions: u64,
    /// How they went.
    pub outcomes: Outcomes,
    /// Sum of the known startup times (ms).
    pub startup_ms: i64,
    /// Sessions with a known startup time.
    pub startup_count: u64,
    /// Time playing (ms).
    pub playing_ms: i64,
    /// Time stalled after the first frame (ms).
    pub rebuffer_ms: i64,
    /// Stalls after the first frame.
    pub rebuffer_count: u64,
    /// Time waiting after seeks (ms).
    pub seek_waiting_ms: i64,
    /// Time paused (ms).
    pub paused_ms: i64,
    /// Time in ad breaks (ms).
    pub ad_ms: i64,
    /// Time in the background (ms).
    pub background_ms: i64,
    /// Every session by its own, ordered by id and instance; the first 100,000 of a run that is longer.
    pub per_session: Vec<SessionTruth>,
}

impl Truth {
    /// Adds a session that is over.
    pub(crate) fn add_session(&mut self, session: SessionTruth) {
        let counts = &session.counts;
        self.sessions += 1;
        match counts.outcome {
            Outcome::Played => self.outcomes.played += 1,
            Outcome::StartFailure => self.outcomes.start_failure += 1,
            Outcome::ExitBeforeStart => self.outcomes.exit_before_start += 1,
            Outcome::PlaybackFailure => self.outcomes.playback_failure += 1,
        }
        if let Some(startup_ms) = counts.startup_ms {
            self.startup_ms += startup_ms;
            self.startup_count += 1;
        }
        self.playing_ms += counts.playing_ms;
        self.rebuffer_ms += counts.rebuffer_ms;
        self.rebuffer_count += counts.rebuffer_count;
        self.seek_waiting_ms += counts.seek_waiting_ms;
        self.paused_ms += counts.paused_ms;
        self.ad_ms += counts.ad_ms;
        self.background_ms += counts.background_ms;
        if self.per_session.len() < MAX_KEPT_SESSIONS {
            self.per_session.push(session);
        }
    }

    /// Puts the sessions in the order of their names: the order in which they ended is an accident.
    pub(crate) fn sort_sessions(&mut self) {
        self.per_session.sort_by(|a, b| (&a.session_id, &a.player_instance).cmp(&(&b.session_id, &b.player_instance)));
    }
}
