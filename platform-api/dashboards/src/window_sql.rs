//! The figures of a window as SQL over the lake. Outcomes and startups come from view `sessions` (silver), and so does
//! the playing and rebuffering time of every session that lies within the window; only what silver does not tell is
//! folded from `events`: when a play request or a fatal error came, what part of a session that the window cuts lies in
//! it, and who was watching at the start of a 5 s slot. The rules are those of `docs/qoe.md`, and nothing of the code of
//! `pipelines/qoe` is used.

use arrow::array::AsArray as _;
use arrow::datatypes::Int64Type;
use arrow::record_batch::RecordBatch;
use marquee_events::ErrorKind;
use marquee_jobs::PLAYBACK_TOPIC;

use crate::figures::Sums;
use crate::{PartError, Window, quote};

/// An event is received after it happened, give or take the clock error that is let pass; a day is plenty (ms).
const RECEIVED_BEFORE_MS: i64 = 24 * 60 * 60 * 1000;

/// Sessions that one window may touch: the events of more of them are more than a laptop should fold for a browser.
const MAX_SESSIONS: i64 = 200_000;

/// What there is to fold: one row (`sessions`, `open_sessions`, `first_ms`).
pub(crate) fn scope(window: Window) -> String {
    format!(
        "SELECT count(*) AS sessions, count(*) FILTER (WHERE NOT is_final) AS open_sessions, \
         CAST(min(started_at) AS BIGINT) / 1000 AS first_ms \
         FROM sessions WHERE {}",
        touches(window)
    )
}

/// The answer to [`scope`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scope {
    pub(crate) sessions: i64,
    pub(crate) open_sessions: i64,
    first_ms: i64,
}

impl Scope {
    pub(crate) fn read(rows: &[RecordBatch]) -> Result<Self, PartError> {
        let value = |column: usize| {
            let batch = rows.iter().find(|batch| batch.num_rows() == 1)?;
            batch.column(column).as_primitive_opt::<Int64Type>()?.iter().next()
        };
        let (Some(Some(sessions)), Some(Some(open_sessions)), Some(first_ms)) = (value(0), value(1), value(2)) else {
            return Err(unexpected());
        };
        if sessions > MAX_SESSIONS {
            let problem = format!("the window touches {sessions} sessions, more than {MAX_SESSIONS}: ask for less");
            return Err(PartError::new(ErrorKind::Invalid, problem));
        }
        Ok(Self { sessions, open_sessions, first_ms: first_ms.unwrap_or_default() })
    }
}

/// The figures' sums as rows (`measure`, `at`, `value`): `at` is a startup time or the start of a slot, in ms, else 0.
pub(crate) fn sums(window: Window, scope: &Scope) -> String {
    let (from, to, topic) = (window.from_ms(), window.to_ms(), quote::text(PLAYBACK_TOPIC));
    let (touches, inside) = (touches(window), inside(window));
    let ingested = quote::date(scope.first_ms.saturating_sub(RECEIVED_BEFORE_MS));
    format!(
        "WITH touched AS (
  SELECT session_id, player_instance, outcome, startup_ms, error_business, playing_ms, rebuffer_ms, {inside} AS is_whole
  FROM sessions
  WHERE {touches}
),
-- One row a sequence number: the least event id wins, then the one that came first. What silver tells of the session
-- rides along: each further join would read silver and bronze once more.
folded AS (
  SELECT *,
    -- Nothing changes a session after its end.
    CASE WHEN coalesce(sum(ends) OVER earlier, 0) = 0 THEN deed END AS effect
  FROM (
    SELECT *, CASE WHEN deed IN ('session_end', 'fatal_error', 'player_ended', 'player_quit', 'player_failed')
      THEN 1 ELSE 0 END AS ends
    FROM (
      SELECT t.session_id, t.player_instance, t.outcome, t.startup_ms, t.error_business, t.is_whole,
        e.sequence, e.media_time_ms, CAST(e.event_time AS BIGINT) / 1000 AS time_ms,
        CASE
          WHEN e.type = 'player_state' THEN 'player_' || coalesce(e.player_state, '')
          WHEN e.type = 'error' AND e.fatal THEN 'fatal_error'
          ELSE e.type
        END AS deed,
        row_number() OVER (PARTITION BY e.session_id, e.player_instance, e.sequence
          ORDER BY coalesce(e.event_id, ''), e.\"offset\", e.\"index\") AS place
      FROM events e JOIN touched t ON e.session_id = t.session_id AND e.player_instance = t.player_instance
        -- What came past the horizon counts once a recompute has folded it.
        LEFT JOIN recomputed_events r ON e.is_late AND e.topic = r.topic AND e.\"partition\" = r.\"partition\"
          AND e.\"offset\" = r.\"offset\" AND e.\"index\" = r.\"index\"
      WHERE e.topic = {topic} AND (NOT e.is_late OR r.\"offset\" IS NOT NULL) AND e.ingest_date >= {ingested}
    ) WHERE place = 1
  )
  WINDOW earlier AS (PARTITION BY session_id, player_instance ORDER BY sequence
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
),
-- The flags that depend on nothing but events. `asked_to_pause` is the pause as the events have it: a playhead that
-- advances can show that it was over.
given AS (
  SELECT *, ad OR ad_break AS in_ad
  FROM (
    SELECT *,
      CASE WHEN effect IN ('pause', 'player_paused') THEN true
        WHEN effect IN ('resume', 'player_playing', 'player_rebuffering') THEN false END AS pauses,
      coalesce(last_value(CASE effect WHEN 'background' THEN true WHEN 'foreground' THEN false END)
        IGNORE NULLS OVER so_far, false) AS background,
      coalesce(last_value(CASE effect WHEN 'ad_break_start' THEN true WHEN 'ad_break_end' THEN false END)
        IGNORE NULLS OVER so_far, false) AS ad_break,
      coalesce(last_value(CASE WHEN effect = 'ad_start' THEN true WHEN effect IN ('ad_end', 'ad_break_end') THEN false
        END) IGNORE NULLS OVER so_far, false) AS ad,
      coalesce(last_value(CASE WHEN effect IN ('pause', 'player_paused') THEN true
        WHEN effect IN ('resume', 'player_playing', 'player_rebuffering') THEN false END)
        IGNORE NULLS OVER so_far, false) AS asked_to_pause,
      lead(effect) OVER in_order AS next_effect,
      lead(time_ms) OVER in_order - time_ms AS length_ms,
      lead(media_time_ms) OVER in_order - media_time_ms AS media_ms
    FROM folded
    WINDOW in_order AS (PARTITION BY session_id, player_instance ORDER BY sequence),
      so_far AS (PARTITION BY session_id, player_instance ORDER BY sequence
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
  )
),
-- Two heartbeats in a row whose playhead advanced as only playing lets it: what kept the session from playing was over
-- at the first. In a pause they may be half an hour apart, until the first such pair has ended it.
shown AS (
  SELECT *, is_advance = 1 AND (length_ms <= 300000 OR (asked_to_pause AND advances - coalesce(last_value(
      CASE WHEN pauses IS NOT NULL THEN advances END) IGNORE NULLS OVER so_far, 0) = 1)) AS shows_playing
  FROM (
    SELECT *, sum(is_advance) OVER so_far AS advances
    FROM (
      SELECT *, CASE WHEN effect = 'heartbeat' AND next_effect = 'heartbeat' AND NOT in_ad
          AND length_ms BETWEEN 1000 AND 1800000 AND 2 * media_ms >= length_ms AND media_ms <= 4 * length_ms
        THEN 1 ELSE 0 END AS is_advance
      FROM given
    )
    WINDOW so_far AS (PARTITION BY session_id, player_instance ORDER BY sequence
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
  )
  WINDOW so_far AS (PARTITION BY session_id, player_instance ORDER BY sequence
    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
),
flags AS (
  SELECT *, asks = 1 AND sum(asks) OVER so_far = 1 AS is_request,
    coalesce(last_value(CASE WHEN shows_playing THEN false ELSE pauses END) IGNORE NULLS OVER so_far, false) AS paused,
    coalesce(last_value(CASE WHEN effect IN ('seek_start', 'player_seeking') THEN true
      WHEN shows_playing OR effect IN ('seek_end', 'player_playing', 'player_paused') THEN false END)
      IGNORE NULLS OVER so_far, false) AS seeking,
    coalesce(max(CASE WHEN shows_playing OR effect = 'first_frame' OR (effect = 'player_playing' AND NOT in_ad)
      THEN 1 END) OVER so_far, 0) = 1 AS started
  FROM (
    SELECT *,
      effect IS NULL OR ends = 1 AS ended,
      effect IN ('fatal_error', 'player_failed') AS is_failure,
      -- After a failure that nobody had asked for, too: then the session is a start failure by its request.
      CASE WHEN (deed IN ('play_requested', 'player_starting') AND (effect IS NOT NULL OR outcome = 'start_failure'))
          OR (effect = 'player_playing' AND NOT in_ad)
        THEN 1 ELSE 0 END AS asks,
      coalesce(lag(ad) OVER in_order, false) AS had_ad,
      coalesce(lag(in_ad) OVER in_order, false) AS was_in_ad
    FROM shown
    WINDOW in_order AS (PARTITION BY session_id, player_instance ORDER BY sequence)
  )
  WINDOW so_far AS (PARTITION BY session_id, player_instance ORDER BY sequence
    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
),
-- Only the states in which somebody may watch matter here, in the background too: a stall may have begun there.
states AS (
  SELECT *,
    CASE
      WHEN ended OR paused OR NOT started OR seeking OR in_ad THEN NULL
      WHEN rebuffering THEN 'rebuffer_ms'
      ELSE 'playing_ms'
    END AS state
  FROM (
    SELECT *, coalesce(last_value(CASE
        WHEN effect IN ('rebuffer_start', 'player_rebuffering') AND (started OR in_ad) AND NOT seeking THEN true
        WHEN effect IN ('rebuffer_end', 'seek_start', 'player_seeking', 'player_playing', 'player_paused')
          OR (effect IN ('ad_start', 'ad_break_start') AND NOT was_in_ad)
          OR (effect = 'ad_end' AND had_ad AND NOT ad_break)
          OR (effect = 'ad_break_end' AND was_in_ad)
          OR shows_playing THEN false
      END) IGNORE NULLS OVER so_far, false) AS rebuffering
    FROM flags
    WINDOW so_far AS (PARTITION BY session_id, player_instance ORDER BY sequence
      ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
  )
),
-- A stall begins with the first event of its episode that leaves the session rebuffering.
stalls AS (
  SELECT *, first_value(CASE WHEN state = 'rebuffer_ms' THEN time_ms END) IGNORE NULLS OVER (
      PARTITION BY session_id, player_instance, episode ORDER BY sequence
      ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING) AS stall_ms
  FROM (
    SELECT *, sum(opens) OVER (PARTITION BY session_id, player_instance ORDER BY sequence
        ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) AS episode
    FROM (
      SELECT *, CASE WHEN rebuffering AND NOT coalesce(lag(rebuffering) OVER (
          PARTITION BY session_id, player_instance ORDER BY sequence), false) THEN 1 ELSE 0 END AS opens
      FROM states
    )
  )
),
-- Each event, the time since the one before it and the state in sight that it left. A clock that stepped back counts
-- nothing, and what comes after it counts from its new time.
intervals AS (
  SELECT *,
    state IS NOT NULL AND to_ms > from_ms AND to_ms <= from_ms + 300000 AND to_ms > {from} AND from_ms < {to} AS counts,
    to_ms >= {from} AND to_ms < {to} AS happened,
    CASE state WHEN 'playing_ms' THEN least(to_ms, from_ms + 30000)
      ELSE least(to_ms, from_ms + 30000, stall_ms + 300000) END AS watching_until_ms
  FROM (
    SELECT outcome, startup_ms, error_business, is_whole, is_request, is_failure, time_ms AS to_ms,
      lag(time_ms) OVER in_order AS from_ms,
      lag(CASE WHEN NOT background THEN state END) OVER in_order AS state,
      lag(stall_ms) OVER in_order AS stall_ms
    FROM stalls
    WINDOW in_order AS (PARTITION BY session_id, player_instance ORDER BY sequence)
  )
),
-- Everything that one event tells, each as a step of its own: the attempt, its start, its startup, how it ended; -1 is
-- the time of sessions that the window cuts, clipped; the others are slots that begin in the interval.
told AS (
  SELECT
    CASE step
      WHEN -5 THEN CASE WHEN is_request AND outcome <> 'unknown' THEN 'attempts' END
      WHEN -4 THEN CASE WHEN is_request AND outcome IN ('played', 'playback_failure') THEN 'starts' END
      WHEN -3 THEN CASE WHEN is_request AND startup_ms IS NOT NULL THEN 'startup' END
      WHEN -2 THEN CASE
        WHEN (is_request AND outcome IN ('start_failure', 'exit_before_start'))
          OR (is_failure AND outcome = 'playback_failure')
        THEN outcome || CASE WHEN error_business THEN '_business' ELSE '' END END
      WHEN -1 THEN CASE WHEN counts AND NOT is_whole THEN state END
      ELSE CASE WHEN counts AND slot_ms < watching_until_ms AND slot_ms >= {from} AND slot_ms < {to} THEN 'viewers' END
    END AS measure,
    CASE WHEN step = -3 THEN startup_ms WHEN step >= 0 THEN slot_ms ELSE 0 END AS at,
    CASE WHEN step = -1 THEN least(to_ms, {to}) - greatest(from_ms, {from}) ELSE 1 END AS value
  FROM (
    SELECT *, (from_ms + 4999) / 5000 * 5000 + step * 5000 AS slot_ms
    FROM intervals CROSS JOIN (VALUES (-5), (-4), (-3), (-2), (-1), (0), (1), (2), (3), (4), (5), (6)) AS steps(step)
    WHERE (step < -1 AND happened) OR (step >= -1 AND counts)
  )
)
SELECT measure, CAST(at AS BIGINT) AS at, CAST(sum(value) AS BIGINT) AS value
  FROM told WHERE measure IS NOT NULL GROUP BY measure, at
UNION ALL SELECT measure, CAST(0 AS BIGINT), CAST(sum(value) AS BIGINT)
  FROM (
    SELECT CASE part WHEN 0 THEN 'playing_ms' ELSE 'rebuffer_ms' END AS measure,
      CASE part WHEN 0 THEN playing_ms ELSE rebuffer_ms END AS value
    FROM touched CROSS JOIN (VALUES (0), (1)) AS parts(part)
    WHERE is_whole
  )
  GROUP BY measure"
    )
}

/// Reads the rows of [`sums`].
pub(crate) fn read(rows: &[RecordBatch]) -> Result<Sums, PartError> {
    let mut sums = Sums::default();
    for batch in rows {
        let (Some(measures), Some(ats), Some(values)) = (
            batch.column(0).as_string_opt::<i32>(),
            batch.column(1).as_primitive_opt::<Int64Type>(),
            batch.column(2).as_primitive_opt::<Int64Type>(),
        ) else {
            return Err(unexpected());
        };
        for ((measure, at), value) in measures.iter().zip(ats.values()).zip(values.values()) {
            let sum = match measure.unwrap_or_default() {
                "attempts" => &mut sums.attempts,
                "starts" => &mut sums.starts,
                "start_failure" => &mut sums.start_failures,
                "start_failure_business" => &mut sums.start_failures_business,
                // A business error that playback survived is no reason why the viewer left.
                "exit_before_start" | "exit_before_start_business" => &mut sums.exits_before_start,
                "playback_failure" => &mut sums.playback_failures,
                "playback_failure_business" => &mut sums.playback_failures_business,
                "playing_ms" => &mut sums.playing_ms,
                "rebuffer_ms" => &mut sums.rebuffer_ms,
                "startup" => {
                    sums.add_startups(*at, *value);
                    continue;
                }
                "viewers" => {
                    sums.add_viewers(*at, *value);
                    continue;
                }
                _ => return Err(unexpected()),
            };
            *sum += value;
        }
    }
    Ok(sums)
}

fn touches(window: Window) -> String {
    format!(
        "topic = {} AND started_at < {} AND ended_at >= {}",
        quote::text(PLAYBACK_TOPIC),
        quote::instant(window.to_ms()),
        quote::instant(window.from_ms())
    )
}

fn inside(window: Window) -> String {
    format!("started_at >= {} AND ended_at < {}", quote::instant(window.from_ms()), quote::instant(window.to_ms()))
}

fn unexpected() -> PartError {
    PartError::new(ErrorKind::Internal, "the lake answered with other columns than were asked for")
}
