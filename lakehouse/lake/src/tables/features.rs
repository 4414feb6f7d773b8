//! The tables of features: the offline side of what the online store serves. Lists of texts are one text, joined by
//! [`LIST_SEPARATOR`]; ids hold no control characters, so no element has it.

use super::{Bool, DateText, Float, Int, Int32, IntList, Text, Timestamp, optional, required};
use crate::table::TableSpec;

/// U+001F, "unit separator": between the elements of a list in a text column. An empty list is NULL.
pub const LIST_SEPARATOR: char = '\u{1f}';

/// Features: a profile after each signal.
pub static PROFILE_FEATURES: TableSpec = TableSpec {
    name: "profile_features",
    doc: "a profile's features after each signal but progress and clicks; for a label take the last row strictly before \
          it by (available_at, sequence): that row knows nothing of the label. A row is of one topic: what is imported \
          and what clients send are parts of a profile that a reader puts together",
    layer: "features",
    columns: &[
        required("ingest_date", DateText, "UTC date of the collector's clock at arrival"),
        required("topic", Text, "topic of the log"),
        required("partition", Int32, "partition of the topic"),
        required("sequence", Int, "order of arrival within (topic, partition): that of the signal in `interactions`"),
        required("profile_id", Text, "who"),
        required("type", Text, "the signal: kind of the interaction"),
        required("title_id", Text, "the signal: with what"),
        required("event_time", Timestamp, "the signal: when it happened, corrected"),
        required("available_at", Timestamp, "from when on the signal and this row were known"),
        required("is_imported", Bool, "from an import, not from a client"),
        optional("watched_fraction", Float, "the signal, of view_finished: share of the running time, 0 to 1"),
        optional("rating_value", Float, "the signal, of rating: stars, 0.5 to 5"),
        optional("genres", Text, "every genre with an affinity, strongest first; a list, see LIST_SEPARATOR"),
        required("genre_affinities_millionths", IntList, "their affinity × 10⁶, decayed to available_at"),
        optional("recent_titles", Text, "the last twenty titles watched, oldest first; a list, see LIST_SEPARATOR"),
        required("recent_titles_at_ms", IntList, "when each was watched last, ms since the epoch"),
        optional("session_titles", Text, "titles of the session at available_at, oldest first; a list"),
        optional("touched_titles", Text, "the last twenty titles touched, oldest first: a later session; a list"),
        required("touched_first_at_ms", IntList, "first touch of each that no half an hour of silence has parted"),
        required("touched_last_at_ms", IntList, "last touch of each, ms since the epoch"),
        required("seen_titles", Int, "how many titles count as seen"),
        required("listed_titles", Int, "how many titles are on the viewer's list"),
    ],
    partition_by: Some("ingest_date"),
    keys: &["topic", "partition", "sequence"],
    bloom: &["profile_id"],
    retention_days: None,
    written_by: "features",
};

/// Features: titles as of each epoch that changed them.
pub static TITLE_FEATURES: TableSpec = TableSpec {
    name: "title_features",
    doc: "what a shard knows of a title at the end of each epoch that changed it; the latest rows of all shards add up",
    layer: "features",
    columns: &[
        required("as_of_date", DateText, "UTC date of as_of"),
        required("topic", Text, "topic of the log"),
        required("partition", Int32, "partition of the topic"),
        required("epoch", Int, "epoch that wrote the row"),
        required("title_id", Text, "the title"),
        required("as_of", Timestamp, "the instant of the values: the latest available_at that the shard has seen"),
        required("available_at", Timestamp, "from when on the title's last signal was known"),
        required("views", Float, "views started, ever"),
        required("views_decayed", Float, "views, each halved for every 7 days of age at as_of"),
        required("views_1h", Float, "in the hour before as_of"),
        required("views_24h", Float, "in the 24 hours before as_of"),
        required("views_7d", Float, "in the 7 days before as_of"),
        required("watched_sum", Float, "sum of the watched fractions of finished views"),
        required("watched_count", Int, "finished views: watched_sum ÷ watched_count is the completion"),
    ],
    partition_by: Some("as_of_date"),
    keys: &["topic", "partition", "epoch", "title_id"],
    bloom: &["title_id"],
    retention_days: None,
    written_by: "features",
};

/// Features: what is watched together, as of each epoch that changed it.
pub static CO_WATCH: TableSpec = TableSpec {
    name: "co_watch",
    doc: "a title's strongest neighbours in a shard at the end of each epoch that changed it; a title's rows of one \
          epoch replace its earlier ones, shards add up",
    layer: "features",
    columns: &[
        required("as_of_date", DateText, "UTC date of as_of"),
        required("topic", Text, "topic of the log"),
        required("partition", Int32, "partition of the topic"),
        required("epoch", Int, "epoch that wrote the row"),
        required("title_id", Text, "the title"),
        required("neighbour_id", Text, "a title watched by the same profiles soon before or after"),
        required("rank", Int32, "from 0, the strongest"),
        required("as_of", Timestamp, "the instant of the values: the latest available_at that the shard has seen"),
        required("count_decayed", Float, "how often, each time halved for every 30 days of age at as_of"),
    ],
    partition_by: Some("as_of_date"),
    keys: &["topic", "partition", "epoch", "title_id", "neighbour_id"],
    bloom: &["title_id"],
    retention_days: None,
    written_by: "features",
};
