//! JSON with the names of `marquee.interactions.v1`, read strictly (unknown keys and payloads are refused by name) and
//! written for clients in Rust.

use std::fmt;

use serde::de::{Deserializer, Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::proto::interaction::Payload;
use super::{InteractionBatch, proto, protobuf};
use crate::object::Object;
use crate::{DecodeError, MAX_EVENTS_PER_BATCH};

pub(super) fn decode(bytes: &[u8]) -> Result<InteractionBatch, DecodeError> {
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let Object(batch) =
        serde_path_to_error::deserialize::<_, Object<BatchJson>>(&mut deserializer).map_err(|error| {
            // `?` is a place inside an object whose key was not read yet, `.` the whole.
            let path = error.path().to_string();
            let path = path.trim_end_matches('?').trim_end_matches('.');
            DecodeError::new(if path.is_empty() { "batch" } else { path }, error.inner().to_string())
        })?;
    deserializer.end().map_err(|_| DecodeError::new("batch", "has something after its end"))?;
    Ok(InteractionBatch {
        context: proto::Context {
            profile_id: batch.context.profile_id,
            device_type: batch.context.device_type,
            app_version: batch.context.app_version,
        },
        sent_at_ms: batch.sent_at_ms,
        interactions: batch.interactions.0.into_iter().map(|interaction| interaction.0).collect(),
    })
}

/// Writes a batch as JSON that [`decode_interactions`](crate::decode_interactions) reads back.
pub fn to_json(batch: &proto::InteractionBatch) -> String {
    let context = batch.context.clone().unwrap_or_default();
    let batch = BatchJson {
        context: ContextJson {
            profile_id: context.profile_id,
            device_type: context.device_type,
            app_version: context.app_version,
        },
        sent_at_ms: batch.sent_at_ms,
        interactions: InteractionsJson(batch.interactions.iter().cloned().map(Checked).collect()),
    };
    serde_json::to_string(&batch).expect("plain data can be written")
}

fn object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|object| object.0)
}

fn optional_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Ok(Option::<Object<T>>::deserialize(deserializer)?.map(|object| object.0))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BatchJson {
    #[serde(deserialize_with = "object")]
    context: ContextJson,
    #[serde(default)]
    sent_at_ms: i64,
    interactions: InteractionsJson,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ContextJson {
    profile_id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    device_type: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    app_version: String,
}

#[derive(Serialize)]
struct InteractionsJson(Vec<Checked>);

impl<'de> Deserialize<'de> for InteractionsJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = InteractionsJson;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of interactions")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut interactions = Vec::new();
                while let Some(Object(interaction)) = seq.next_element()? {
                    if interactions.len() == MAX_EVENTS_PER_BATCH {
                        return Err(A::Error::custom(protobuf::too_many().problem));
                    }
                    interactions.push(interaction);
                }
                Ok(InteractionsJson(interactions))
            }
        }
        deserializer.deserialize_seq(Items)
    }
}

/// An interaction with one payload.
#[derive(Clone, Serialize, Deserialize)]
#[serde(try_from = "InteractionJson", into = "InteractionJson")]
struct Checked(proto::Interaction);

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InteractionJson {
    #[serde(default, skip_serializing_if = "String::is_empty")]
    interaction_id: String,
    event_time_ms: i64,
    #[serde(default, deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    impression: Option<ImpressionJson>,
    #[serde(default, deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    click: Option<ClickJson>,
    #[serde(default, deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    view_started: Option<ViewStartedJson>,
    #[serde(default, deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    view_progress: Option<WatchedJson>,
    #[serde(default, deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    view_finished: Option<WatchedJson>,
    #[serde(default, deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    list_add: Option<TitleJson>,
    #[serde(default, deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    list_remove: Option<TitleJson>,
    #[serde(default, deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    rating: Option<RatingJson>,
    #[serde(default, deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    search: Option<SearchJson>,
    #[serde(default, deserialize_with = "optional_object", skip_serializing_if = "Option::is_none")]
    not_interested: Option<TitleJson>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ImpressionJson {
    tracking_token: String,
    title_id: String,
    row_id: String,
    position: u32,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ClickJson {
    tracking_token: String,
    title_id: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ViewStartedJson {
    title_id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    session_id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    tracking_token: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WatchedJson {
    title_id: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    session_id: String,
    watched_fraction: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TitleJson {
    title_id: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RatingJson {
    title_id: String,
    value: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SearchJson {
    query: String,
}

impl TryFrom<InteractionJson> for Checked {
    type Error = String;

    fn try_from(json: InteractionJson) -> Result<Self, String> {
        let payloads = [
            json.impression.map(|p| {
                Payload::Impression(proto::Impression {
                    tracking_token: p.tracking_token,
                    title_id: p.title_id,
                    row_id: p.row_id,
                    position: p.position,
                })
            }),
            json.click.map(|p| Payload::Click(proto::Click { tracking_token: p.tracking_token, title_id: p.title_id })),
            json.view_started.map(|p| {
                Payload::ViewStarted(proto::ViewStarted {
                    title_id: p.title_id,
                    session_id: p.session_id,
                    tracking_token: p.tracking_token,
                })
            }),
            json.view_progress.map(|p| {
                Payload::ViewProgress(proto::ViewProgress {
                    title_id: p.title_id,
                    session_id: p.session_id,
                    watched_fraction: p.watched_fraction,
                })
            }),
            json.view_finished.map(|p| {
                Payload::ViewFinished(proto::ViewFinished {
                    title_id: p.title_id,
                    session_id: p.session_id,
                    watched_fraction: p.watched_fraction,
                })
            }),
            json.list_add.map(|p| Payload::ListAdd(proto::ListAdd { title_id: p.title_id })),
            json.list_remove.map(|p| Payload::ListRemove(proto::ListRemove { title_id: p.title_id })),
            json.rating.map(|p| Payload::Rating(proto::Rating { title_id: p.title_id, value: p.value })),
            json.search.map(|p| Payload::Search(proto::Search { query: p.query })),
            json.not_interested.map(|p| Payload::NotInterested(proto::NotInterested { title_id: p.title_id })),
        ];
        let mut sent = payloads.into_iter().flatten();
        let payload = sent.next().ok_or("has no payload such as `view_started`")?;
        if let Some(second) = sent.next() {
            return Err(format!("has two payloads, `{}` and `{}`", payload.name(), second.name()));
        }
        Ok(Self(proto::Interaction {
            interaction_id: json.interaction_id,
            event_time_ms: json.event_time_ms,
            payload: Some(payload),
        }))
    }
}

impl From<Checked> for InteractionJson {
    fn from(Checked(interaction): Checked) -> Self {
        let mut json = InteractionJson {
            interaction_id: interaction.interaction_id,
            event_time_ms: interaction.event_time_ms,
            ..InteractionJson::default()
        };
        let title = |title_id| Some(TitleJson { title_id });
        match interaction.payload {
            None => {}
            Some(Payload::Impression(proto::Impression { tracking_token, title_id, row_id, position })) => {
                json.impression = Some(ImpressionJson { tracking_token, title_id, row_id, position });
            }
            Some(Payload::Click(proto::Click { tracking_token, title_id })) => {
                json.click = Some(ClickJson { tracking_token, title_id });
            }
            Some(Payload::ViewStarted(proto::ViewStarted { title_id, session_id, tracking_token })) => {
                json.view_started = Some(ViewStartedJson { title_id, session_id, tracking_token });
            }
            Some(Payload::ViewProgress(proto::ViewProgress { title_id, session_id, watched_fraction })) => {
                json.view_progress = Some(WatchedJson { title_id, session_id, watched_fraction });
            }
            Some(Payload::ViewFinished(proto::ViewFinished { title_id, session_id, watched_fraction })) => {
                json.view_finished = Some(WatchedJson { title_id, session_id, watched_fraction });
            }
            Some(Payload::ListAdd(p)) => json.list_add = title(p.title_id),
            Some(Payload::ListRemove(p)) => json.list_remove = title(p.title_id),
            Some(Payload::Rating(proto::Rating { title_id, value })) => {
                json.rating = Some(RatingJson { title_id, value });
            }
            Some(Payload::Search(p)) => json.search = Some(SearchJson { query: p.query }),
            Some(Payload::NotInterested(p)) => json.not_interested = title(p.title_id),
        }
        json
    }
}
