//! The figures of a window as SQL over the lake. Outcomes and startups come from view `sessions` (silver), and so does
//! the playing and rebuffering time of every session that lies within the window; only what silver does not tell is
//! folded from `events`: when a play request or a fatal error came, what part of a session that the window cuts lies in
//! it, and who was watching at the start of a 5 s slot. The rules are those of the table in `pipelines/qoe/src/fold.rs`,
//! and nothing of its code is used.

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
-- One row a sequence number: the least event id wins, then the one that came first.
folded AS (
  SELECT session_id, player_instance, sequence, time_ms, fatal,
    -- Nothing changes a session after its end.
    CASE WHEN coalesce(sum(ends) OVER earlier, 0) = 0 THEN type END AS effect
  FROM (
    SELECT session_id, player_instance, sequence, type, fatal, time_ms,
      CASE WHEN type = 'session_end' OR (type = 'error' AND fatal) THEN 1 ELSE 0 END AS ends
    FROM (
      SELECT e.session_id, e.player_instance, e.sequence, e.type, coalesce(e.fatal, false) AS fatal,
        CAST(e.event_time AS BIGINT) / 1000 AS time_ms,
        row_number() OVER (PARTITION BY e.session_id, e.player_instance, e.sequence
          ORDER BY coalesce(e.event_id, ''), e.\"offset\", e.\"index\") AS place
      FROM events e JOIN touched t ON e.session_id = t.session_id AND e.player_instance = t.player_instance
      WHERE e.topic = {topic} AND NOT e.is_late AND e.ingest_date >= {ingested}
    ) WHERE place = 1
  )
  WINDOW earlier AS (PARTITION BY session_id, player_instance ORDER BY sequence
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)
),
moments AS (
  SELECT session_id, player_instance,
    first_value(time_ms ORDER BY sequence) FILTER (WHERE effect = 'play_requested') AS request_ms,
    first_value(time_ms ORDER BY sequence) FILTER (WHERE effect = 'error' AND fatal) AS failure_ms
  FROM folded
  GROUP BY session_id, player_instance
),
requested AS (
  SELECT t.* FROM touched t JOIN moments m ON t.session_id = m.session_id AND t.player_instance = m.player_instance
  WHERE m.request_ms >= {from} AND m.request_ms < {to}
),
failed AS (
  SELECT t.* FROM touched t JOIN moments m ON t.session_id = m.session_id AND t.player_instance = m.player_instance
  WHERE t.outcome = 'playback_failure' AND m.failure_ms >= {from} AND m.failure_ms < {to}
),
flags AS (
  SELECT session_id, player_instance, sequence, time_ms, effect,
    effect IS NULL OR effect = 'session_end' OR (effect = 'error' AND fatal) AS ended,
    coalesce(last_value(CASE effect WHEN 'background' THEN true WHEN 'foreground' THEN false END)
      IGNORE NULLS OVER so_far, false) AS background,
    coalesce(last_value(CASE effect WHEN 'pause' THEN true WHEN 'resume' THEN false END)
      IGNORE NULLS OVER so_far, false) AS paused,
    coalesce(last_value(CASE effect WHEN 'ad_start' THEN true WHEN 'ad_end' THEN false END)
      IGNORE NULLS OVER so_far, false) AS ad,
    coalesce(last_value(CASE effect WHEN 'seek_start' THEN true WHEN 'seek_end' THEN false END)
      IGNORE NULLS OVER so_far, false) AS seeking,
    coalesce(max(CASE WHEN effect = 'first_frame' THEN 1 END) OVER so_far, 0) = 1 AS started
  FROM folded
  WINDOW so_far AS (PARTITION BY session_id, player_instance ORDER BY sequence
    ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)
),
-- Only the states in which somebody watches matter here.
states AS (
  SELECT session_id, player_instance, sequence, time_ms, paused, rebuffering,
    CASE
      WHEN ended OR background OR paused OR NOT started OR seeking OR ad THEN NULL
      WHEN rebuffering THEN 'rebuffer_ms'
      ELSE 'playing_ms'
    END AS state
  FROM (
    SELECT *, coalesce(last_value(CASE
        WHEN effect = 'rebuffer_start' AND started AND NOT seeking THEN true
        WHEN effect IN ('rebuffer_end', 'seek_start') THEN false
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
-- The time before each event, with the state that the event before it left. Time that steps back moves nothing.
intervals AS (
  SELECT i.*, t.is_whole,
    CASE i.state WHEN 'playing_ms' THEN least(i.to_ms, i.from_ms + 30000)
      ELSE least(i.to_ms, i.from_ms + 30000, i.stall_ms + 300000) END AS watching_until_ms
  FROM (
    SELECT session_id, player_instance, time_ms AS to_ms,
      max(time_ms) OVER (PARTITION BY session_id, player_instance ORDER BY sequence
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS from_ms,
      lag(state) OVER in_order AS state, lag(stall_ms) OVER in_order AS stall_ms, lag(paused) OVER in_order AS paused
    FROM stalls
    WINDOW in_order AS (PARTITION BY session_id, player_instance ORDER BY sequence)
  ) i
  JOIN touched t ON i.session_id = t.session_id AND i.player_instance = t.player_instance
  WHERE i.state IS NOT NULL AND i.to_ms > i.from_ms AND i.to_ms <= i.from_ms + 300000
    AND i.to_ms > {from} AND i.from_ms < {to}
),
-- Step -1 is the time of sessions that the window cuts, clipped; the others are slots that begin in the interval.
parts AS (
  SELECT state, is_whole, step, greatest(from_ms, {from}) AS from_ms, least(to_ms, {to}) AS to_ms, watching_until_ms,
    (from_ms + 4999) / 5000 * 5000 + step * 5000 AS slot_ms
  FROM intervals CROSS JOIN (VALUES (-1), (0), (1), (2), (3), (4), (5), (6)) AS steps(step)
)
SELECT 'attempts' AS measure, CAST(0 AS BIGINT) AS at, CAST(count(*) AS BIGINT) AS value
  FROM requested WHERE outcome <> 'unknown'
UNION ALL SELECT outcome || CASE WHEN error_business THEN '_business' ELSE '' END, 0, count(*)
  FROM requested WHERE outcome IN ('start_failure', 'exit_before_start') GROUP BY 1
UNION ALL SELECT outcome || CASE WHEN error_business THEN '_business' ELSE '' END, 0, count(*) FROM failed GROUP BY 1
UNION ALL SELECT 'startup', startup_ms, count(*) FROM requested WHERE startup_ms IS NOT NULL GROUP BY startup_ms
UNION ALL SELECT 'playing_ms', 0, coalesce(sum(playing_ms), 0) FROM touched WHERE is_whole
UNION ALL SELECT 'rebuffer_ms', 0, coalesce(sum(rebuffer_ms), 0) FROM touched WHERE is_whole
UNION ALL SELECT CASE WHEN step = -1 THEN state ELSE 'viewers' END, CASE WHEN step = -1 THEN 0 ELSE slot_ms END,
    sum(CASE WHEN step = -1 THEN to_ms - from_ms ELSE 1 END)
  FROM parts
  WHERE (step = -1 AND NOT is_whole) OR (step >= 0 AND slot_ms < watching_until_ms AND slot_ms >= {from} AND slot_ms < {to})
  GROUP BY 1, 2"
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
