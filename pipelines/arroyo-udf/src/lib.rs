//! `session_row`, an aggregate function of Arroyo: the rows of one session window to one row of table
//! `session_revisions`, as JSON, by the same fold as everywhere. This file is posted to Arroyo as it is, so all of the
//! function is in it.
//!
//! **Columns** have the names of table `events`; the order of the parameters is the contract with
//! `pipelines/arroyo/*.sql`. The plugin crate passes numbers only: a text comes as the words of `text_word`
//! (`text-word/src/lib.rs`), a flag as 0 or 1. `Vec<Option<_>>` because `Vec<_>` would drop the NULLs of each column by
//! itself and leave the rest in the wrong rows.
//!
//! **Rows** come in any order and more than once. They fold by sequence, of each sequence the one with the least event
//! id. A row that breaks a rule of the playback job (`pipelines/jobs/src/playback/rules.rs`) is left out and counted in
//! `refused_events`, with the first reason.
//!
//! **Answer**: the row, or `{"error": …}`. It never panics: that would end Arroyo's worker.

/*
[dependencies]
marquee-events = { path = "{{ MARQUEE_CHECKOUT }}/pipelines/events" }
marquee-qoe = { path = "{{ MARQUEE_CHECKOUT }}/pipelines/qoe" }
serde = { version = "1", features = ["derive"] }
serde_json = "1"
*/

use arroyo_udf_plugin::udf;
use marquee_events::{FlatPayload, PayloadKind, PlayerState};
use marquee_qoe::{NoMinutes, SessionFold, State};
use serde::Serialize;

#[udf]
#[expect(clippy::too_many_arguments, reason = "each is a column of the SQL call")]
fn session_row(
    sequence: Vec<Option<i64>>,
    event_id_0: Vec<Option<i64>>,
    event_id_1: Vec<Option<i64>>,
    event_id_2: Vec<Option<i64>>,
    event_id_3: Vec<Option<i64>>,
    event_id_4: Vec<Option<i64>>,
    type_0: Vec<Option<i64>>,
    type_1: Vec<Option<i64>>,
    event_time_ms: Vec<Option<i64>>,
    media_time_ms: Vec<Option<i64>>,
    representation_id_0: Vec<Option<i64>>,
    representation_id_1: Vec<Option<i64>>,
    representation_id_2: Vec<Option<i64>>,
    representation_id_3: Vec<Option<i64>>,
    representation_id_4: Vec<Option<i64>>,
    bitrate_bps: Vec<Option<i64>>,
    width_px: Vec<Option<i64>>,
    height_px: Vec<Option<i64>>,
    dropped_frames: Vec<Option<i64>>,
    detail_0: Vec<Option<i64>>,
    detail_1: Vec<Option<i64>>,
    detail_2: Vec<Option<i64>>,
    detail_3: Vec<Option<i64>>,
    detail_4: Vec<Option<i64>>,
    fatal: Vec<Option<i64>>,
    business: Vec<Option<i64>>,
    player_state_0: Vec<Option<i64>>,
    player_state_1: Vec<Option<i64>>,
    rate_per_mille: Vec<Option<i64>>,
    autoplay: Vec<Option<i64>>,
) -> String {
    let columns = Columns {
        sequence,
        event_id: [event_id_0, event_id_1, event_id_2, event_id_3, event_id_4],
        kind: [type_0, type_1],
        event_time_ms,
        media_time_ms,
        representation_id: [
            representation_id_0,
            representation_id_1,
            representation_id_2,
            representation_id_3,
            representation_id_4,
        ],
        bitrate_bps,
        width_px,
        height_px,
        dropped_frames,
        detail: [detail_0, detail_1, detail_2, detail_3, detail_4],
        fatal,
        business,
        player_state: [player_state_0, player_state_1],
        rate_per_mille,
        autoplay,
    };
    let row = std::panic::catch_unwind(|| {
        let row = fold(&columns)?;
        serde_json::to_string(&row).map_err(|error| error.to_string())
    });
    let problem = match row {
        Ok(Ok(row)) => return row,
        Ok(Err(problem)) => problem,
        Err(_) => "the fold panicked; the worker's log says where".to_owned(),
    };
    serde_json::json!({ "error": problem }).to_string()
}

type Column = Vec<Option<i64>>;

/// A text as words, see `text_word`.
type Words<const N: usize> = [Column; N];

const EMPTY: &str = "";

/// Words of a text of any length.
const TEXT_WORDS: usize = 5;

/// The first byte of a last word that is a hash.
const HASHED: u8 = 0xff;

/// From here on sequences are not the player's (see `docs/decisions/0007-metric-contract.md`).
const UNCOUNTED_SEQUENCE: u64 = 1 << 32;

/// The end of the year 9999, ms since the epoch: what RFC 3339 can say.
const LAST_TIME_MS: i64 = 253_402_300_799_999;

// The limits of the playback job (`pipelines/jobs/src/playback/rules.rs`), which has their reasons.
const MAX_BITRATE_BPS: i64 = 10_000_000_000;
const MAX_MEDIA_TIME_MS: i64 = 100_000_000_000_000;
const MAX_PICTURE_PX: i64 = 65_535;
const MAX_RATE_PER_MILLE: i64 = 100_000;

/// Frames are counted in 32 bits.
const MAX_DROPPED_FRAMES: i64 = 0xffff_ffff;

struct Columns {
    sequence: Column,
    event_id: Words<TEXT_WORDS>,
    kind: Words<2>,
    event_time_ms: Column,
    media_time_ms: Column,
    representation_id: Words<TEXT_WORDS>,
    bitrate_bps: Column,
    width_px: Column,
    height_px: Column,
    dropped_frames: Column,
    detail: Words<TEXT_WORDS>,
    fatal: Column,
    business: Column,
    player_state: Words<2>,
    rate_per_mille: Column,
    autoplay: Column,
}

struct Event {
    sequence: u64,
    event_id: [u64; TEXT_WORDS],
    time_ms: i64,
    media_time_ms: Option<i64>,
    kind: PayloadKind,
    text: String,
    numbers: [u64; 4],
}

/// The columns of `session_revisions` that events alone decide, and what became of the rows.
#[derive(Serialize)]
struct SessionRow {
    start_date: String,
    is_final: bool,
    close_reason: &'static str,
    started_at: String,
    ended_at: String,
    startup_ms: Option<i64>,
    first_picture_ms: Option<i64>,
    exit_after_ms: Option<i64>,
    startup_waiting_ms: i64,
    playing_ms: i64,
    rebuffer_ms: i64,
    seek_waiting_ms: i64,
    paused_ms: i64,
    ad_ms: i64,
    ad_rebuffer_ms: i64,
    background_ms: i64,
    background_startup_waiting_ms: i64,
    background_playing_ms: i64,
    background_rebuffer_ms: i64,
    background_seek_waiting_ms: i64,
    silent_ms: i64,
    media_ms: i64,
    rebuffer_count: u32,
    background_rebuffer_count: u32,
    ad_rebuffer_count: u32,
    seek_count: u32,
    pause_count: u32,
    ad_count: u32,
    rendition_switch_count: u32,
    error_count: u32,
    inferred_count: u32,
    avg_bitrate_kbps: Option<f64>,
    bitrate_media_ms: i64,
    bitrate_bit_ms: i64,
    avg_height_px: Option<f64>,
    height_media_ms: i64,
    height_px_ms: i64,
    upscale_media_ms: i64,
    upscale_per_mille_ms: i64,
    max_upscale_per_mille: u32,
    autoplay: bool,
    dropped_frames: u64,
    event_count: u64,
    lost_events: u64,
    duplicates: u64,
    conflicts: u64,
    outcome: &'static str,
    error_code: Option<String>,
    error_fatal: Option<bool>,
    error_business: Option<bool>,
    end_reason: Option<String>,
    refused_events: u64,
    refused_reason: Option<&'static str>,
}

fn fold(columns: &Columns) -> Result<SessionRow, String> {
    let mut events = Vec::with_capacity(columns.sequence.len());
    let (mut refused_events, mut refused_reason) = (0, None);
    for row in 0..columns.row_count()? {
        match columns.event(row) {
            Ok(event) => events.push(event),
            Err(reason) => {
                refused_events += 1;
                refused_reason.get_or_insert(reason);
            }
        }
    }
    if events.is_empty() {
        let reason = refused_reason.unwrap_or("there are none");
        return Err(format!("none of {refused_events} events can be folded: {reason}"));
    }
    events.sort_by_key(|event| (event.sequence, event.event_id));

    let mut fold = SessionFold::default();
    let (mut duplicates, mut conflicts) = (0, 0);
    let (mut counted, mut next_sequence) = (0, 0);
    for same in events.chunk_by(|a, b| a.sequence == b.sequence) {
        let event = &same[0];
        let payload = FlatPayload { kind: event.kind, texts: [&event.text, EMPTY, EMPTY], numbers: event.numbers };
        fold.apply(event.time_ms, event.media_time_ms, &payload.view(), &mut NoMinutes);
        let again = same[1..].iter().filter(|other| other.event_id == event.event_id).count() as u64;
        duplicates += again;
        conflicts += same.len() as u64 - 1 - again;
        if event.sequence < UNCOUNTED_SEQUENCE {
            counted += 1;
            next_sequence = event.sequence + 1;
        }
    }
    fold.close(&mut NoMinutes);
    Ok(SessionRow {
        lost_events: next_sequence - counted,
        duplicates,
        conflicts,
        refused_events,
        refused_reason,
        ..SessionRow::of(&fold)
    })
}

impl SessionRow {
    /// The row of a closed session: Arroyo's window is over.
    fn of(fold: &SessionFold) -> Self {
        let error = fold.error.as_ref();
        Self {
            start_date: date(fold.started_at_ms),
            is_final: true,
            close_reason: if fold.has_ended() { "ended" } else { "gap" },
            started_at: timestamp(fold.started_at_ms),
            ended_at: timestamp(fold.last_time_ms),
            startup_ms: fold.startup_ms,
            first_picture_ms: fold.first_picture_ms,
            exit_after_ms: fold.exit_after_ms,
            startup_waiting_ms: fold.duration_ms(State::Startup),
            playing_ms: fold.duration_ms(State::Playing),
            rebuffer_ms: fold.duration_ms(State::Rebuffering),
            seek_waiting_ms: fold.duration_ms(State::SeekWaiting),
            paused_ms: fold.duration_ms(State::Paused),
            ad_ms: fold.duration_ms(State::Ad),
            ad_rebuffer_ms: fold.duration_ms(State::AdRebuffering),
            background_ms: fold.background_total_ms(),
            background_startup_waiting_ms: fold.background_duration_ms(State::Startup),
            background_playing_ms: fold.background_duration_ms(State::Playing),
            background_rebuffer_ms: fold.background_duration_ms(State::Rebuffering),
            background_seek_waiting_ms: fold.background_duration_ms(State::SeekWaiting),
            silent_ms: fold.silent_ms,
            media_ms: fold.media_ms,
            rebuffer_count: fold.rebuffer_count,
            background_rebuffer_count: fold.background_rebuffer_count,
            ad_rebuffer_count: fold.ad_rebuffer_count,
            seek_count: fold.seek_count,
            pause_count: fold.pause_count,
            ad_count: fold.ad_count,
            rendition_switch_count: fold.rendition_switch_count,
            error_count: fold.error_count,
            inferred_count: fold.inferred_count,
            avg_bitrate_kbps: fold.avg_bitrate_kbps(),
            bitrate_media_ms: fold.bitrate_media_ms,
            bitrate_bit_ms: fold.bitrate_bit_ms,
            avg_height_px: fold.avg_height_px(),
            height_media_ms: fold.height_media_ms,
            height_px_ms: fold.height_px_ms,
            upscale_media_ms: fold.upscale_media_ms,
            upscale_per_mille_ms: fold.upscale_per_mille_ms,
            max_upscale_per_mille: fold.max_upscale_per_mille,
            autoplay: fold.autoplay,
            dropped_frames: fold.dropped_frames,
            event_count: fold.event_count,
            lost_events: 0,
            duplicates: 0,
            conflicts: 0,
            outcome: fold.outcome(true).name(),
            error_code: error.map(|error| error.code.to_string()),
            error_fatal: error.map(|error| error.fatal),
            error_business: error.map(|error| error.business),
            end_reason: fold.end_reason.as_ref().map(ToString::to_string),
            refused_events: 0,
            refused_reason: None,
        }
    }
}

impl Columns {
    fn row_count(&self) -> Result<usize, String> {
        let numbers = [
            &self.event_time_ms,
            &self.media_time_ms,
            &self.bitrate_bps,
            &self.width_px,
            &self.height_px,
            &self.dropped_frames,
            &self.fatal,
            &self.business,
            &self.rate_per_mille,
            &self.autoplay,
        ];
        let texts = [&self.event_id, &self.representation_id, &self.detail].into_iter().flatten();
        let names = [&self.kind, &self.player_state].into_iter().flatten();
        let rows = self.sequence.len();
        match numbers.into_iter().chain(texts).chain(names).find(|column| column.len() != rows) {
            Some(column) => Err(format!("a column has {} rows and `sequence` has {rows}", column.len())),
            None => Ok(rows),
        }
    }

    /// The event of a row, or the rule that it breaks, by its name in table `dead_letters`.
    fn event(&self, row: usize) -> Result<Event, &'static str> {
        let kind = PayloadKind::from_name(&text(words(&self.kind, row))).ok_or("unknown_payload")?;
        let time_ms = self.event_time_ms[row].filter(|ms| (1..=LAST_TIME_MS).contains(ms)).ok_or("bad_time")?;
        let sequence = self.sequence[row].and_then(|sequence| u64::try_from(sequence).ok());
        let media_time_ms = self.media_time_ms[row];
        if media_time_ms.is_some_and(|ms| !(-MAX_MEDIA_TIME_MS..=MAX_MEDIA_TIME_MS).contains(&ms)) {
            return Err("media_time_out_of_range");
        }
        let detail = if kind == PayloadKind::Rendition { &self.representation_id } else { &self.detail };
        Ok(Event {
            sequence: sequence.ok_or("sequence_out_of_range")?,
            event_id: words(&self.event_id, row),
            time_ms,
            media_time_ms,
            kind,
            text: text(words(detail, row)),
            numbers: self.numbers(kind, row)?,
        })
    }

    /// In the places of [`FlatPayload`]; what the fold does not read is 0.
    fn numbers(&self, kind: PayloadKind, row: usize) -> Result<[u64; 4], &'static str> {
        let flag = |column: &Column| u64::from(column[row].is_some_and(|value| value != 0));
        let bitrate_bps = || number(&self.bitrate_bps, row, MAX_BITRATE_BPS, "bitrate_out_of_range");
        let width_px = || number(&self.width_px, row, MAX_PICTURE_PX, "picture_out_of_range");
        let height_px = || number(&self.height_px, row, MAX_PICTURE_PX, "picture_out_of_range");
        Ok(match kind {
            PayloadKind::PlayRequested => [flag(&self.autoplay), 0, 0, 0],
            PayloadKind::Rendition => [bitrate_bps()?, width_px()?, height_px()?, 0],
            PayloadKind::Error => [flag(&self.fatal), flag(&self.business), 0, 0],
            PayloadKind::Heartbeat => {
                let dropped_frames =
                    number(&self.dropped_frames, row, MAX_DROPPED_FRAMES, "dropped_frames_out_of_range")?;
                [0, 0, dropped_frames, bitrate_bps()?]
            }
            PayloadKind::PlaybackRate => {
                [number(&self.rate_per_mille, row, MAX_RATE_PER_MILLE, "rate_out_of_range")?, 0, 0, 0]
            }
            PayloadKind::Viewport => [0, width_px()?, height_px()?, 0],
            PayloadKind::PlayerState => {
                let state = PlayerState::from_name(&text(words(&self.player_state, row))).ok_or("unknown_state")?;
                [bitrate_bps()?, 0, state as u64, 0]
            }
            _ => [0; 4],
        })
    }
}

fn number(column: &Column, row: usize, max: i64, rule: &'static str) -> Result<u64, &'static str> {
    let value = column[row].unwrap_or(0);
    if (0..=max).contains(&value) { Ok(value.unsigned_abs()) } else { Err(rule) }
}

/// The words of a row; NULL is the empty text. They compare as the texts do.
fn words<const N: usize>(columns: &Words<N>, row: usize) -> [u64; N] {
    columns.each_ref().map(|column| column[row].unwrap_or(0).cast_unsigned())
}

/// The text that `text_word` took apart; of a long one the beginning, `…` and the hash.
fn text<const N: usize>(words: [u64; N]) -> String {
    let bytes: Vec<u8> = words.into_iter().flat_map(u64::to_be_bytes).collect();
    let (kept, last) = bytes.split_at(bytes.len() - size_of::<u64>());
    if let (Some(&HASHED), Some(hash)) = (last.first(), words.last()) {
        return format!("{}…{:014x}", String::from_utf8_lossy(kept), hash & (u64::MAX >> 8));
    }
    let length = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    String::from_utf8_lossy(&bytes[..length]).into_owned()
}

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// RFC 3339, UTC.
fn timestamp(time_ms: i64) -> String {
    let ms = time_ms.rem_euclid(DAY_MS);
    let (hours, minutes, seconds) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60);
    format!("{}T{hours:02}:{minutes:02}:{seconds:02}.{:03}Z", date(time_ms), ms % 1000)
}

/// The Gregorian date of an instant, UTC (Howard Hinnant, "chrono-compatible low-level date algorithms").
fn date(time_ms: i64) -> String {
    // Years begin in March, so that the day that comes every four years is the last; eras have 400 years.
    let days = time_ms.div_euclid(DAY_MS) + 719_468;
    let (era, day_of_era) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{day:02}")
}
