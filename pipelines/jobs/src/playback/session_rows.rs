//! Sessions as rows of table `session_revisions`.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array};
use arrow::record_batch::RecordBatch;
use marquee_events::CONTEXT_FIELDS;
use marquee_lake::{Column, tables};
use marquee_qoe::State;

use super::columns::{TextColumn, batch_of, constant_text, numbered_texts, texts_of_runs};
use super::contexts::{Contexts, Fields};
use super::cubes::int_lists;
use super::session::{CloseReason, Session};
use super::{DAY_MS, date_of, timestamps};

/// The columns of whole numbers that are never NULL.
type Int = (&'static str, fn(&Session) -> i64);
const INTS: [Int; 37] = [
    ("revision", |s| s.revision as i64),
    ("startup_waiting_ms", |s| s.fold.duration_ms(State::Startup)),
    ("playing_ms", |s| s.fold.duration_ms(State::Playing)),
    ("rebuffer_ms", |s| s.fold.duration_ms(State::Rebuffering)),
    ("seek_waiting_ms", |s| s.fold.duration_ms(State::SeekWaiting)),
    ("paused_ms", |s| s.fold.duration_ms(State::Paused)),
    ("ad_ms", |s| s.fold.duration_ms(State::Ad)),
    ("ad_rebuffer_ms", |s| s.fold.duration_ms(State::AdRebuffering)),
    ("background_ms", |s| s.fold.background_total_ms()),
    ("background_startup_waiting_ms", |s| s.fold.background_duration_ms(State::Startup)),
    ("background_playing_ms", |s| s.fold.background_duration_ms(State::Playing)),
    ("background_rebuffer_ms", |s| s.fold.background_duration_ms(State::Rebuffering)),
    ("background_seek_waiting_ms", |s| s.fold.background_duration_ms(State::SeekWaiting)),
    ("silent_ms", |s| s.fold.silent_ms),
    ("media_ms", |s| s.fold.media_ms),
    ("rebuffer_count", |s| i64::from(s.fold.rebuffer_count)),
    ("background_rebuffer_count", |s| i64::from(s.fold.background_rebuffer_count)),
    ("ad_rebuffer_count", |s| i64::from(s.fold.ad_rebuffer_count)),
    ("pause_count", |s| i64::from(s.fold.pause_count)),
    ("ad_count", |s| i64::from(s.fold.ad_count)),
    ("error_count", |s| i64::from(s.fold.error_count)),
    ("inferred_count", |s| i64::from(s.fold.inferred_count)),
    ("seek_count", |s| i64::from(s.fold.seek_count)),
    ("rendition_switch_count", |s| i64::from(s.fold.rendition_switch_count)),
    ("bitrate_media_ms", |s| s.fold.bitrate_media_ms),
    ("bitrate_bit_ms", |s| s.fold.bitrate_bit_ms),
    ("height_media_ms", |s| s.fold.height_media_ms),
    ("height_px_ms", |s| s.fold.height_px_ms),
    ("upscale_media_ms", |s| s.fold.upscale_media_ms),
    ("upscale_per_mille_ms", |s| s.fold.upscale_per_mille_ms),
    ("max_upscale_per_mille", |s| i64::from(s.fold.max_upscale_per_mille)),
    ("dropped_frames", |s| s.fold.dropped_frames as i64),
    ("event_count", |s| s.fold.event_count as i64),
    ("lost_events", |s| s.lost_events() as i64),
    ("duplicates", |s| s.duplicates as i64),
    ("conflicts", |s| s.conflicts as i64),
    ("late_events", |s| s.late_events as i64),
];

/// The rows of these sessions.
pub(crate) fn session_rows(
    sessions: &[&Session],
    contexts: &Contexts,
    topic: &str,
    partition: u32,
    epoch: u64,
) -> RecordBatch {
    let fields: Vec<&Fields> = sessions.iter().map(|session| contexts.fields(session.context)).collect();
    let (mut ints, mut scratch) = (int_columns(sessions), Vec::new());
    let column = |column: &Column| match column.name {
        "topic" => constant_text(sessions.len(), topic),
        "partition" => Arc::new(Int32Array::from_value(partition as i32, sessions.len())),
        "epoch" => Arc::new(Int64Array::from_value(epoch as i64, sessions.len())),
        name => match INTS.iter().position(|(int, _)| *int == name) {
            Some(index) => Arc::new(Int64Array::from(std::mem::take(&mut ints[index]))),
            None => match CONTEXT_FIELDS.iter().position(|field| *field == name) {
                Some(index) => {
                    let texts = fields.iter().map(|fields| (fields[index], 1));
                    texts_of_runs(contexts.symbols(), texts, sessions.len(), !column.nullable, &mut scratch)
                }
                None => session_column(name, sessions),
            },
        },
    };
    batch_of(&tables::SESSION_REVISIONS, tables::SESSION_REVISIONS.columns.iter().map(column).collect())
}

/// In one pass over the sessions: a pass for each column would fetch every session from memory so many times.
fn int_columns(sessions: &[&Session]) -> [Vec<i64>; INTS.len()] {
    let mut columns = INTS.map(|_| Vec::with_capacity(sessions.len()));
    for session in sessions {
        for (column, (_, value)) in columns.iter_mut().zip(&INTS) {
            column.push(value(session));
        }
    }
    columns
}

fn session_column(name: &str, sessions: &[&Session]) -> ArrayRef {
    let optional_int = |value: &dyn Fn(&Session) -> Option<i64>| -> ArrayRef {
        Arc::new(sessions.iter().map(|s| value(s)).collect::<Int64Array>())
    };
    let optional_float = |value: &dyn Fn(&Session) -> Option<f64>| -> ArrayRef {
        Arc::new(sessions.iter().map(|s| value(s)).collect::<Float64Array>())
    };
    let optional_flag = |value: &dyn Fn(&Session) -> Option<bool>| -> ArrayRef {
        Arc::new(sessions.iter().map(|s| value(s)).collect::<BooleanArray>())
    };
    let text = |value: &dyn for<'a> Fn(&'a Session) -> Option<&'a str>| -> ArrayRef {
        let mut column = TextColumn::default();
        for session in sessions {
            column.push(value(session));
        }
        column.finish()
    };
    let time = |value: &dyn Fn(&Session) -> i64| timestamps(sessions.iter().map(|s| Some(value(s))));
    match name {
        "start_date" => {
            let days = sessions.iter().map(|session| session.fold.started_at_ms.div_euclid(DAY_MS));
            numbered_texts(days, |day| date_of(day * DAY_MS))
        }
        "is_final" => optional_flag(&|s| Some(s.closed.is_some())),
        "close_reason" => text(&|s| s.closed.map(CloseReason::name)),
        "started_at" => time(&|s| s.fold.started_at_ms),
        "ended_at" => time(&|s| s.fold.last_time_ms),
        "startup_ms" => optional_int(&|s| s.fold.startup_ms),
        "first_picture_ms" => optional_int(&|s| s.fold.first_picture_ms),
        "exit_after_ms" => optional_int(&|s| s.fold.exit_after_ms),
        "autoplay" => optional_flag(&|s| Some(s.fold.autoplay)),
        "avg_bitrate_kbps" => optional_float(&|s| s.fold.avg_bitrate_kbps()),
        "avg_height_px" => optional_float(&|s| s.fold.avg_height_px()),
        "outcome" => text(&|s| Some(s.fold.outcome(s.closed.is_some()).name())),
        "error_code" => text(&|s| s.fold.error.as_ref().map(|e| e.code.as_str())),
        "error_fatal" => optional_flag(&|s| s.fold.error.as_ref().map(|e| e.fatal)),
        "error_business" => optional_flag(&|s| s.fold.error.as_ref().map(|e| e.business)),
        "end_reason" => text(&|s| s.fold.end_reason.as_deref()),
        "bronze_epochs" => int_lists(sessions.iter().map(|s| s.bronze_epochs.iter().map(|e| e as i64))),
        other => unreachable!("no session has a {other}"),
    }
}
