//! Every table of the lake. Adding one: a `TableSpec` here or in a file below, a line in [`all`], and whoever writes it.

mod features;
mod interactions;

use crate::table::{Column, ColumnKind, TableSpec};

use ColumnKind::{Bool, Bytes, DateText, Float, Int, Int32, IntList, Text, Timestamp};

pub use features::{CO_WATCH, LIST_SEPARATOR, PROFILE_FEATURES, TITLE_FEATURES};
pub use interactions::{IMPRESSIONS, INTERACTION_EVENTS, INTERACTIONS};

/// Every table, in the order in which an epoch commits them: `epochs` is last, so that a reader who pins by it sees all
/// the rows of the epochs it lists.
pub fn all() -> [&'static TableSpec; 13] {
    [
        &EVENTS,
        &DEAD_LETTERS,
        &SESSION_REVISIONS,
        &LATE_EVENTS,
        &RECOMPUTED_EVENTS,
        &QOE_MINUTES,
        &INTERACTION_EVENTS,
        &INTERACTIONS,
        &IMPRESSIONS,
        &PROFILE_FEATURES,
        &TITLE_FEATURES,
        &CO_WATCH,
        &EPOCHS,
    ]
}

/// The table with this name.
pub fn by_name(name: &str) -> Option<&'static TableSpec> {
    all().into_iter().find(|table| table.name == name)
}

const fn required(name: &'static str, kind: ColumnKind, doc: &'static str) -> Column {
    Column { name, kind, nullable: false, doc }
}

const fn optional(name: &'static str, kind: ColumnKind, doc: &'static str) -> Column {
    Column { name, kind, nullable: true, doc }
}

/// Bronze: what players sent. Files have bounds for the first 32 columns only (Delta's default): what is filtered by
/// stands among them.
pub static EVENTS: TableSpec = TableSpec {
    name: "events",
    doc: "every decoded event of every record exactly once, duplicates included, as the players sent it",
    layer: "bronze",
    columns: &[
        required("ingest_date", DateText, "UTC date of received_at"),
        required("topic", Text, "topic of the log"),
        required("partition", Int32, "partition of the topic"),
        required("offset", Int, "offset of the record"),
        required("index", Int32, "position of the event in its record"),
        required("session_id", Text, "the player's session"),
        required("player_instance", Text, "one instance of a player; empty when not sent"),
        required("sequence", Int, "position in (session_id, player_instance), from 0"),
        optional("event_id", Text, "chosen by the client"),
        required("type", Text, "kind of the payload"),
        required("event_time", Timestamp, "player's clock, corrected by clock_shift_ms"),
        required("raw_event_time_ms", Int, "player's clock as sent, ms since the epoch"),
        required("clock_shift_ms", Int, "what was added to the raw time, ms"),
        required("received_at", Timestamp, "collector's clock"),
        optional("sent_at_ms", Int, "player's clock at sending, ms since the epoch"),
        required("is_late", Bool, "came past the horizon: in a session only if `recomputed_events` lists it"),
        optional("media_time_ms", Int, "playhead, ms"),
        optional("representation_id", Text, "rendition: its representation"),
        optional("bitrate_bps", Int, "rendition, heartbeat, player state: bit/s"),
        optional("width_px", Int32, "rendition: px; viewport: device pixels"),
        optional("height_px", Int32, "as width_px"),
        optional("rendition_codec", Text, "rendition: codec"),
        optional("rendition_cdn", Text, "rendition: CDN it comes from"),
        optional("buffer_ms", Int, "heartbeat, player state: media buffered ahead, ms"),
        optional("throughput_bps", Int, "heartbeat: bit/s"),
        optional("dropped_frames", Int, "heartbeat: frames dropped since the last one"),
        optional("detail", Text, "error code, end reason or ad id; player state: its code"),
        optional("fatal", Bool, "error: it ended playback"),
        optional("business", Bool, "error: a business error, not a technical one"),
        optional("profile_id", Text, "who watches"),
        optional("title_id", Text, "what is watched"),
        optional("device_type", Text, "kind of device"),
        optional("os", Text, "operating system"),
        optional("player", Text, "player software"),
        optional("player_version", Text, "its version"),
        optional("app_version", Text, "version of the app"),
        optional("country", Text, "ISO 3166-1 alpha-2"),
        optional("region", Text, "region of the country"),
        optional("isp", Text, "internet provider"),
        optional("cdn", Text, "content delivery network"),
        optional("protocol", Text, "hls, dash, …"),
        optional("asset_id", Text, "the encoded asset"),
        optional("series_id", Text, "the series that the title belongs to"),
        optional("city", Text, "city"),
        optional("asn", Text, "number of the autonomous system"),
        optional("edge", Text, "server or site of the CDN"),
        optional("codec", Text, "codec, as the player was set up"),
        optional("drm", Text, "DRM system"),
        optional("plan", Text, "the viewer's subscription"),
        optional("experiment_arm", Text, "experiment and arm"),
        optional("stream_type", Text, "vod, live, low_latency_live"),
        optional("autoplay", Bool, "play request: the title started by itself"),
        optional("rate_per_mille", Int32, "playback rate: 1000 is normal speed"),
        optional("player_state", Text, "player state: which"),
    ],
    partition_by: Some("ingest_date"),
    keys: &["topic", "partition", "offset", "index"],
    bloom: &["session_id"],
    retention_days: None,
    written_by: "playback",
};

/// Bronze: what could not be used, with the reason.
pub static DEAD_LETTERS: TableSpec = TableSpec {
    name: "dead_letters",
    doc: "records that cannot be decoded and events or interactions that break a rule, with the reason and the bytes",
    layer: "bronze",
    columns: &[
        required("ingest_date", DateText, "UTC date of received_at"),
        required("topic", Text, "topic of the log"),
        required("partition", Int32, "partition of the topic"),
        required("offset", Int, "offset of the record"),
        required("index", Int32, "position of the event in its record; -1 for the whole record"),
        required("event_count", Int, "how many events are lost with it"),
        required("reason", Text, "undecodable, future_time, unknown_payload, …"),
        required("detail", Text, "what exactly is wrong"),
        required("received_at", Timestamp, "collector's clock"),
        required("content_type", Text, "format of the bytes"),
        required(
            "bytes",
            Bytes,
            "the whole record as received; with the first letter of a record, empty with its others",
        ),
    ],
    partition_by: Some("ingest_date"),
    keys: &["topic", "partition", "offset", "index"],
    bloom: &[],
    retention_days: None,
    written_by: "playback, features",
};

/// Silver: sessions, every revision.
pub static SESSION_REVISIONS: TableSpec = TableSpec {
    name: "session_revisions",
    doc: "a session as known at an epoch; the view `sessions` shows the latest revision of each",
    layer: "silver",
    columns: &[
        required("start_date", DateText, "UTC date of started_at"),
        required("session_id", Text, "the player's session"),
        required("player_instance", Text, "one instance of a player"),
        required("revision", Int, "counts from 1"),
        required("is_final", Bool, "closed: no more events are waited for"),
        optional("close_reason", Text, "ended, gap, end_of_input; NULL while open"),
        required("topic", Text, "topic of the log"),
        required("partition", Int32, "partition of the topic"),
        required("epoch", Int, "epoch that wrote the row"),
        optional("profile_id", Text, "who watches"),
        optional("title_id", Text, "what is watched"),
        optional("device_type", Text, "kind of device"),
        optional("os", Text, "operating system"),
        optional("player", Text, "player software"),
        optional("player_version", Text, "its version"),
        optional("app_version", Text, "version of the app"),
        optional("country", Text, "ISO 3166-1 alpha-2"),
        optional("region", Text, "region of the country"),
        optional("isp", Text, "internet provider"),
        optional("cdn", Text, "content delivery network"),
        optional("protocol", Text, "hls, dash, …"),
        optional("asset_id", Text, "the encoded asset"),
        required("started_at", Timestamp, "event time of the first event"),
        required("ended_at", Timestamp, "latest event time"),
        optional("startup_ms", Int, "uninterrupted startup, ms; NULL when there was none"),
        optional("first_picture_ms", Int, "the same until the first frame of an ad or of the content, ms"),
        optional("exit_after_ms", Int, "play request to the end of a session that never started, ms"),
        required("autoplay", Bool, "the title started by itself"),
        required("startup_waiting_ms", Int, "time between play request and first frame, ms"),
        required("playing_ms", Int, "ms"),
        required("rebuffer_ms", Int, "ms"),
        required("seek_waiting_ms", Int, "ms"),
        required("paused_ms", Int, "ms"),
        required("ad_ms", Int, "in ads, not rebuffering, ms"),
        required("ad_rebuffer_ms", Int, "rebuffering inside ads, ms"),
        required("background_ms", Int, "in the background, whatever the state, ms"),
        required("background_startup_waiting_ms", Int, "of it between play request and first frame, ms"),
        required("background_playing_ms", Int, "of it playing, ms"),
        required("background_rebuffer_ms", Int, "of it rebuffering, ms"),
        required("background_seek_waiting_ms", Int, "of it waiting after a seek, ms"),
        required("silent_ms", Int, "silences longer than the session gap, ms"),
        required("media_ms", Int, "media time played, ms"),
        required("rebuffer_count", Int, "stalls in the foreground"),
        required("background_rebuffer_count", Int, "stalls in the background"),
        required("ad_rebuffer_count", Int, "stalls inside ads"),
        required("seek_count", Int, "seeks"),
        required("pause_count", Int, "pauses"),
        required("ad_count", Int, "ads"),
        required("rendition_switch_count", Int, "changes of the representation"),
        required("error_count", Int, "errors that were not fatal"),
        required("inferred_count", Int, "times that two heartbeats showed playing where an event is missing"),
        optional("avg_bitrate_kbps", Float, "Σ bitrate × media time ÷ Σ media time, kbit/s"),
        required("bitrate_media_ms", Int, "media time played at a known bitrate, ms"),
        required("bitrate_bit_ms", Int, "bitrate × media time, bit/s · ms"),
        optional("avg_height_px", Float, "Σ height × media time ÷ Σ media time, px"),
        required("height_media_ms", Int, "media time played at a known height, ms"),
        required("height_px_ms", Int, "height × media time, px · ms"),
        required("upscale_media_ms", Int, "media time played at a known picture size in a known viewport, ms"),
        required("upscale_per_mille_ms", Int, "upscale × media time, ‰ · ms"),
        required("max_upscale_per_mille", Int, "the largest upscale in which media was played, ‰"),
        required("dropped_frames", Int, "frames, as the heartbeats say"),
        required("event_count", Int, "distinct events folded"),
        required("lost_events", Int, "sequence numbers that never came"),
        required("duplicates", Int, "events that came again"),
        required("conflicts", Int, "events that came again with another id"),
        required("late_events", Int, "events that came after the session had closed or their place had passed"),
        required("outcome", Text, "played, start_failure, exit_before_start, playback_failure, pending, unknown"),
        optional("error_code", Text, "first fatal error, else first error"),
        optional("error_fatal", Bool, "the error ended playback"),
        optional("error_business", Bool, "a business error, not a technical one"),
        optional("end_reason", Text, "reason of the end event"),
        optional("series_id", Text, "the series that the title belongs to"),
        optional("city", Text, "city"),
        optional("asn", Text, "number of the autonomous system"),
        optional("edge", Text, "server or site of the CDN"),
        optional("codec", Text, "codec, as the player was set up"),
        optional("drm", Text, "DRM system"),
        optional("plan", Text, "the viewer's subscription"),
        optional("experiment_arm", Text, "experiment and arm"),
        optional("stream_type", Text, "vod, live, low_latency_live"),
        required("bronze_epochs", IntList, "epochs that hold the session's rows of `events`"),
    ],
    partition_by: Some("start_date"),
    keys: &["session_id", "player_instance", "revision"],
    bloom: &["session_id"],
    retention_days: None,
    written_by: "playback",
};

/// Silver: events past the horizon.
pub static LATE_EVENTS: TableSpec = TableSpec {
    name: "late_events",
    doc: "events that came later than the horizon: in no session, but for those that `recomputed_events` lists, too",
    layer: "silver",
    columns: &[
        required("ingest_date", DateText, "UTC date of received_at"),
        required("topic", Text, "topic of the log"),
        required("partition", Int32, "partition of the topic"),
        required("offset", Int, "offset of the record"),
        required("index", Int32, "position of the event in its record"),
        required("session_id", Text, "the player's session"),
        required("player_instance", Text, "one instance of a player"),
        required("sequence", Int, "position in (session_id, player_instance)"),
        required("event_time", Timestamp, "corrected event time"),
        required("watermark", Timestamp, "the shard's watermark when it came"),
    ],
    partition_by: Some("ingest_date"),
    keys: &["topic", "partition", "offset", "index"],
    bloom: &[],
    retention_days: None,
    written_by: "playback",
};

/// Silver: events past the horizon that are in a session after all.
pub static RECOMPUTED_EVENTS: TableSpec = TableSpec {
    name: "recomputed_events",
    doc: "the events of `late_events` that `marquee lake recompute` has folded into their sessions, each once",
    layer: "silver",
    columns: &[
        required("event_date", DateText, "UTC date of event_time"),
        required("topic", Text, "topic of the log"),
        required("partition", Int32, "partition of the topic"),
        required("offset", Int, "offset of the record"),
        required("index", Int32, "position of the event in its record"),
        required("session_id", Text, "the player's session"),
        required("player_instance", Text, "one instance of a player"),
        required("sequence", Int, "position in (session_id, player_instance)"),
        required("event_time", Timestamp, "corrected event time"),
        required("epoch", Int, "epoch that folded it"),
    ],
    partition_by: Some("event_date"),
    keys: &["topic", "partition", "offset", "index"],
    bloom: &["session_id"],
    retention_days: None,
    written_by: "playback, as `marquee lake recompute`",
};

/// Gold: signed minute deltas.
pub static QOE_MINUTES: TableSpec = TableSpec {
    name: "qoe_minutes",
    doc: "signed deltas of quality of experience by minute; SUM them by whatever you group by",
    layer: "gold",
    columns: &[
        required("date", DateText, "UTC date of the minute"),
        required("topic", Text, "topic of the log"),
        required("partition", Int32, "partition of the topic"),
        required("epoch", Int, "epoch that wrote the row"),
        required("minute", Timestamp, "start of the minute"),
        required("cube_name", Text, "which dimensions are filled: audience, title, network, …"),
        optional("country", Text, "dimension; `other` past its bound"),
        optional("region", Text, "dimension; `other` past its bound"),
        optional("city", Text, "dimension; `other` past its bound"),
        optional("isp", Text, "dimension; `other` past its bound"),
        optional("asn", Text, "dimension; `other` past its bound"),
        optional("cdn", Text, "dimension; `other` past its bound"),
        optional("edge", Text, "dimension; `other` past its bound"),
        optional("protocol", Text, "dimension; `other` past its bound"),
        optional("stream_type", Text, "dimension; `other` past its bound"),
        optional("codec", Text, "dimension; `other` past its bound"),
        optional("drm", Text, "dimension; `other` past its bound"),
        optional("device_type", Text, "dimension; `other` past its bound"),
        optional("os", Text, "dimension; `other` past its bound"),
        optional("player", Text, "dimension; `other` past its bound"),
        optional("player_version", Text, "dimension; `other` past its bound"),
        optional("app_version", Text, "dimension; `other` past its bound"),
        optional("plan", Text, "dimension; `other` past its bound"),
        optional("experiment_arm", Text, "dimension; `other` past its bound"),
        optional("series_id", Text, "dimension; `other` past its bound"),
        optional("title_id", Text, "dimension; `other` past its bound"),
        required("attempts", Int, "play requests, in the minute of the request"),
        required(
            "resolved_autoplays",
            Int,
            "attempts of titles that started by themselves, once their outcome is known",
        ),
        required("startups", Int, "uninterrupted startups, in the minute of the request"),
        required("startup_ms", Int, "sum of their startup times, ms"),
        required(
            "first_pictures",
            Int,
            "uninterrupted startups until a first frame of ad or content, in the minute of the request",
        ),
        required("first_picture_ms", Int, "sum of their times, ms"),
        required("starts", Int, "sessions with play request and first frame, in the minute of the request"),
        required("start_failures", Int, "technical, in the minute of the request"),
        required("start_failures_business", Int, "business, in the minute of the request"),
        required("exits_before_start", Int, "in the minute of the request"),
        required("quick_exits", Int, "of these, known to have ended within 1 s"),
        required("ended_plays", Int, "closed sessions with a first frame, in the minute of the request"),
        required("playback_failures", Int, "technical, in the minute of the error"),
        required("playback_failures_business", Int, "business, in the minute of the error"),
        required("startup_waiting_ms", Int, "ms"),
        required("playing_ms", Int, "ms"),
        required("rebuffer_ms", Int, "ms"),
        required("seek_waiting_ms", Int, "ms"),
        required("paused_ms", Int, "ms"),
        required("ad_ms", Int, "ms"),
        required("ad_rebuffer_ms", Int, "rebuffering inside ads, ms"),
        required("background_ms", Int, "in the background, whatever the state, ms"),
        required("background_startup_waiting_ms", Int, "of it between play request and first frame, ms"),
        required("background_playing_ms", Int, "of it playing, ms"),
        required("background_rebuffer_ms", Int, "of it rebuffering, ms"),
        required("background_seek_waiting_ms", Int, "of it waiting after a seek, ms"),
        required("rebuffer_count", Int, "stalls in the foreground, in the minute of their start"),
        required("background_rebuffer_count", Int, "stalls in the background, in the minute of their start"),
        required("ad_rebuffer_count", Int, "stalls inside ads, in the minute of their start"),
        required("seek_count", Int, "seeks"),
        required("rendition_switch_count", Int, "changes of the representation"),
        required("error_count", Int, "errors that were not fatal"),
        required("media_ms", Int, "media time played, ms"),
        required("bitrate_media_ms", Int, "media time played at a known bitrate, ms"),
        required("bitrate_bit_ms", Int, "bitrate × media time, bit/s · ms"),
        required("height_media_ms", Int, "media time played at a known height, ms"),
        required("height_px_ms", Int, "height × media time, px · ms"),
        required("upscale_media_ms", Int, "media time played at a known picture size in a known viewport, ms"),
        required("upscale_per_mille_ms", Int, "upscale × media time, ‰ · ms"),
        required("concurrent_00", Int, "viewers at :00 of the minute"),
        required("concurrent_05", Int, "viewers at :05"),
        required("concurrent_10", Int, "viewers at :10"),
        required("concurrent_15", Int, "viewers at :15"),
        required("concurrent_20", Int, "viewers at :20"),
        required("concurrent_25", Int, "viewers at :25"),
        required("concurrent_30", Int, "viewers at :30"),
        required("concurrent_35", Int, "viewers at :35"),
        required("concurrent_40", Int, "viewers at :40"),
        required("concurrent_45", Int, "viewers at :45"),
        required("concurrent_50", Int, "viewers at :50"),
        required("concurrent_55", Int, "viewers at :55"),
        required("startup_buckets", IntList, "startup histogram: bucket, count, bucket, count, …; γ = 1 %"),
    ],
    partition_by: Some("date"),
    keys: &[
        "topic",
        "partition",
        "epoch",
        "minute",
        "cube_name",
        "country",
        "region",
        "city",
        "isp",
        "asn",
        "cdn",
        "edge",
        "protocol",
        "stream_type",
        "codec",
        "drm",
        "device_type",
        "os",
        "player",
        "player_version",
        "app_version",
        "plan",
        "experiment_arm",
        "series_id",
        "title_id",
    ],
    bloom: &[],
    retention_days: None,
    written_by: "playback",
};

/// Control: which epochs are in the lake.
pub static EPOCHS: TableSpec = TableSpec {
    name: "epochs",
    doc: "one row an epoch of a shard, committed after the rows of the other tables: pin by it for a consistent cut",
    layer: "control",
    columns: &[
        required("topic", Text, "topic of the log"),
        required("partition", Int32, "partition of the topic"),
        required("epoch", Int, "counts from 1"),
        required("next_offset", Int, "first offset that is not in it"),
        optional("watermark", Timestamp, "event time that has passed; NULL before the first event"),
        required("records", Int, "records read"),
        required("events", Int, "rows added to `events` or `interaction_events`"),
        required("dead_letters", Int, "events lost to `dead_letters`"),
        required("frozen_at", Timestamp, "when its contents were fixed"),
    ],
    partition_by: None,
    keys: &["topic", "partition", "epoch"],
    bloom: &[],
    retention_days: None,
    written_by: "playback, features",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_partitions_and_filters_are_columns() {
        for table in all() {
            for column in table.keys.iter().chain(table.bloom).chain(&table.partition_by) {
                table.index_of(column);
            }
            assert_eq!(table.columns.first().map(|c| c.name), table.partition_by.or(Some("topic")), "{}", table.name);
            let mut names: Vec<&str> = table.columns.iter().map(|c| c.name).collect();
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), table.columns.len(), "{}", table.name);
        }
    }
}
