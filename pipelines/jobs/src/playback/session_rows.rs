//! Sessions as rows of table `session_revisions`.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array};
use arrow::record_batch::RecordBatch;
use marquee_events::CONTEXT_FIELDS;
use marquee_lake::{Column, tables};
use marquee_qoe::State;

use super::columns::{TextColumn, batch_of, constant_text, numbered_texts};
use super::contexts::Contexts;
use super::cubes::int_lists;
use super::session::{CloseReason, Session};
use super::{DAY_MS, date_of, timestamps};

/// The rows of these sessions.
pub(crate) fn session_rows(
    sessions: &[&Session],
    contexts: &Contexts,
    topic: &str,
    partition: u32,
    epoch: u64,
) -> RecordBatch {
    let column = |column: &Column| match column.name {
        "topic" => constant_text(sessions.len(), topic),
        "partition" => Arc::new(Int32Array::from_value(partition as i32, sessions.len())),
        "epoch" => Arc::new(Int64Array::from_value(epoch as i64, sessions.len())),
        name => session_column(name, sessions, contexts),
    };
    batch_of(&tables::SESSION_REVISIONS, tables::SESSION_REVISIONS.columns.iter().map(column).collect())
}

fn session_column(name: &str, sessions: &[&Session], contexts: &Contexts) -> ArrayRef {
    let int = |value: &dyn Fn(&Session) -> i64| -> ArrayRef {
        Arc::new(Int64Array::from_iter_values(sessions.iter().map(|s| value(s))))
    };
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
    let context = |index: usize, is_required: bool| -> ArrayRef {
        let mut column = TextColumn::default();
        let texts = sessions.iter().map(|session| contexts.text(session.context, index));
        texts.for_each(|text| column.push(Some(text).filter(|text| is_required || !text.is_empty())));
        column.finish()
    };
    let time = |value: &dyn Fn(&Session) -> i64| timestamps(sessions.iter().map(|s| Some(value(s))));
    let state = |state: State| int(&|s| s.fold.duration_ms(state));
    let background = |state: State| int(&|s| s.fold.background_duration_ms(state));
    match name {
        "start_date" => {
            let days = sessions.iter().map(|session| session.fold.started_at_ms.div_euclid(DAY_MS));
            numbered_texts(days, |day| date_of(day * DAY_MS))
        }
        "session_id" => context(0, true),
        "player_instance" => context(1, true),
        "revision" => int(&|s| s.revision as i64),
        "is_final" => optional_flag(&|s| Some(s.closed.is_some())),
        "close_reason" => text(&|s| s.closed.map(CloseReason::name)),
        "started_at" => time(&|s| s.fold.started_at_ms),
        "ended_at" => time(&|s| s.fold.last_time_ms),
        "startup_ms" => optional_int(&|s| s.fold.startup_ms),
        "first_picture_ms" => optional_int(&|s| s.fold.first_picture_ms),
        "exit_after_ms" => optional_int(&|s| s.fold.exit_after_ms),
        "autoplay" => optional_flag(&|s| Some(s.fold.autoplay)),
        "startup_waiting_ms" => state(State::Startup),
        "playing_ms" => state(State::Playing),
        "rebuffer_ms" => state(State::Rebuffering),
        "seek_waiting_ms" => state(State::SeekWaiting),
        "paused_ms" => state(State::Paused),
        "ad_ms" => state(State::Ad),
        "ad_rebuffer_ms" => state(State::AdRebuffering),
        "background_ms" => int(&|s| s.fold.background_total_ms()),
        "background_startup_waiting_ms" => background(State::Startup),
        "background_playing_ms" => background(State::Playing),
        "background_rebuffer_ms" => background(State::Rebuffering),
        "background_seek_waiting_ms" => background(State::SeekWaiting),
        "silent_ms" => int(&|s| s.fold.silent_ms),
        "media_ms" => int(&|s| s.fold.media_ms),
        "rebuffer_count" => int(&|s| i64::from(s.fold.rebuffer_count)),
        "background_rebuffer_count" => int(&|s| i64::from(s.fold.background_rebuffer_count)),
        "ad_rebuffer_count" => int(&|s| i64::from(s.fold.ad_rebuffer_count)),
        "pause_count" => int(&|s| i64::from(s.fold.pause_count)),
        "ad_count" => int(&|s| i64::from(s.fold.ad_count)),
        "error_count" => int(&|s| i64::from(s.fold.error_count)),
        "inferred_count" => int(&|s| i64::from(s.fold.inferred_count)),
        "seek_count" => int(&|s| i64::from(s.fold.seek_count)),
        "rendition_switch_count" => int(&|s| i64::from(s.fold.rendition_switch_count)),
        "avg_bitrate_kbps" => optional_float(&|s| s.fold.avg_bitrate_kbps()),
        "bitrate_media_ms" => int(&|s| s.fold.bitrate_media_ms),
        "bitrate_bit_ms" => int(&|s| s.fold.bitrate_bit_ms),
        "avg_height_px" => optional_float(&|s| s.fold.avg_height_px()),
        "height_media_ms" => int(&|s| s.fold.height_media_ms),
        "height_px_ms" => int(&|s| s.fold.height_px_ms),
        "upscale_media_ms" => int(&|s| s.fold.upscale_media_ms),
        "upscale_per_mille_ms" => int(&|s| s.fold.upscale_per_mille_ms),
        "max_upscale_per_mille" => int(&|s| i64::from(s.fold.max_upscale_per_mille)),
        "dropped_frames" => int(&|s| s.fold.dropped_frames as i64),
        "event_count" => int(&|s| s.fold.event_count as i64),
        "lost_events" => int(&|s| s.lost_events() as i64),
        "duplicates" => int(&|s| s.duplicates as i64),
        "conflicts" => int(&|s| s.conflicts as i64),
        "late_events" => int(&|s| s.late_events as i64),
        "outcome" => text(&|s| Some(s.fold.outcome(s.closed.is_some()).name())),
        "error_code" => text(&|s| s.fold.error.as_ref().map(|e| e.code.as_str())),
        "error_fatal" => optional_flag(&|s| s.fold.error.as_ref().map(|e| e.fatal)),
        "error_business" => optional_flag(&|s| s.fold.error.as_ref().map(|e| e.business)),
        "end_reason" => text(&|s| s.fold.end_reason.as_deref()),
        "bronze_epochs" => int_lists(sessions.iter().map(|s| s.bronze_epochs.iter().map(|e| e as i64))),
        field => {
            let index = CONTEXT_FIELDS.iter().position(|name| *name == field);
            context(index.expect("what is no measure is a field of the context"), false)
        }
    }
}
