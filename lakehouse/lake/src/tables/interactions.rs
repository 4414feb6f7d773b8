//! The tables of interactions: bronze as sent, silver without duplicates. All are partitioned by the day of arrival:
//! an import holds decades of event times, and a file for each of its days would be thousands of files.

use super::{Bool, DateText, Float, Int, Int32, Text, Timestamp, optional, required};
use crate::table::TableSpec;

/// Bronze: what clients sent.
pub static INTERACTION_EVENTS: TableSpec = TableSpec {
    name: "interaction_events",
    doc: "every decoded interaction of every record exactly once, duplicates included, as the clients sent it",
    layer: "bronze",
    columns: &[
        required("ingest_date", DateText, "UTC date of received_at"),
        required("topic", Text, "topic of the log"),
        required("partition", Int32, "partition of the topic"),
        required("offset", Int, "offset of the record"),
        required("index", Int32, "position of the interaction in its record"),
        required("profile_id", Text, "who"),
        optional("interaction_id", Text, "chosen by the client"),
        required("type", Text, "kind of the payload"),
        required("event_time", Timestamp, "client's clock, corrected by clock_shift_ms"),
        required("raw_event_time_ms", Int, "client's clock as sent, ms since the epoch"),
        required("clock_shift_ms", Int, "what was added to the raw time, ms"),
        required("received_at", Timestamp, "collector's clock"),
        optional("sent_at_ms", Int, "client's clock at sending, ms since the epoch"),
        required("is_duplicate", Bool, "came again: in no other table"),
        optional("title_id", Text, "with what; NULL for a search"),
        optional("session_id", Text, "views: the playback session"),
        optional("tracking_token", Text, "impression, click, view_started: the item's token"),
        optional("row_id", Text, "impression: the row"),
        optional("position", Int, "impression: in the row, from 0"),
        optional("watched_fraction", Float, "view_progress, view_finished: share of the running time, 0 to 1"),
        optional("rating_value", Float, "rating: stars, 0.5 to 5"),
        optional("query", Text, "search: what was searched for"),
        optional("device_type", Text, "kind of device"),
        optional("app_version", Text, "version of the app"),
    ],
    partition_by: Some("ingest_date"),
    keys: &["topic", "partition", "offset", "index"],
    bloom: &["profile_id"],
    retention_days: None,
    written_by: "features",
};

/// Silver: interactions, each once; impressions have a table of their own.
pub static INTERACTIONS: TableSpec = TableSpec {
    name: "interactions",
    doc: "what viewers did, each interaction once; ORDER BY event_time, sequence is the order in which a profile did it",
    layer: "silver",
    columns: &[
        required("ingest_date", DateText, "UTC date of the collector's clock at arrival"),
        required("topic", Text, "topic of the log"),
        required("partition", Int32, "partition of the topic"),
        required("sequence", Int, "order of arrival within (topic, partition): ties in time keep it"),
        required("profile_id", Text, "who"),
        optional("interaction_id", Text, "chosen by the client; unique among a profile's last 1024 of a day"),
        required("type", Text, "kind of the payload"),
        optional("title_id", Text, "with what; NULL for a search"),
        required("event_time", Timestamp, "when it happened, corrected"),
        required("available_at", Timestamp, "from when on it was known: the collector's clock; for imports event_time"),
        required("is_imported", Bool, "from an import, not from a client"),
        optional("session_id", Text, "views: the playback session"),
        optional("tracking_token", Text, "click, view_started: the item that led to it"),
        optional("watched_fraction", Float, "view_progress, view_finished: share of the running time, 0 to 1"),
        optional("rating_value", Float, "rating: stars, 0.5 to 5"),
        optional("query", Text, "search: what was searched for"),
        optional("device_type", Text, "kind of device"),
        optional("app_version", Text, "version of the app"),
    ],
    partition_by: Some("ingest_date"),
    keys: &["topic", "partition", "sequence"],
    bloom: &["profile_id"],
    retention_days: None,
    written_by: "features",
};

/// Silver: impressions, each once.
pub static IMPRESSIONS: TableSpec = TableSpec {
    name: "impressions",
    doc: "items that came into sight, each impression once",
    layer: "silver",
    columns: &[
        required("ingest_date", DateText, "UTC date of the collector's clock at arrival"),
        required("topic", Text, "topic of the log"),
        required("partition", Int32, "partition of the topic"),
        required("sequence", Int, "order of arrival within (topic, partition)"),
        required("profile_id", Text, "who"),
        optional("interaction_id", Text, "chosen by the client; unique among a profile's last 1024 of a day"),
        required("tracking_token", Text, "the item's token: request, row, position, model, propensity"),
        required("title_id", Text, "what was shown"),
        required("row_id", Text, "in which row"),
        required("position", Int, "in the row, from 0"),
        required("event_time", Timestamp, "when it happened, corrected"),
        required("available_at", Timestamp, "from when on it was known: the collector's clock; for imports event_time"),
        required("is_imported", Bool, "from an import, not from a client"),
        optional("device_type", Text, "kind of device"),
        optional("app_version", Text, "version of the app"),
    ],
    partition_by: Some("ingest_date"),
    keys: &["topic", "partition", "sequence"],
    bloom: &["profile_id"],
    retention_days: None,
    written_by: "features",
};
