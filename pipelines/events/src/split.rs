//! The fast way into a record: its events at once, its context as bytes. Records of one session begin with the same
//! context, so whoever reads many of them decodes each context once and finds it again by its bytes.
//!
//! Only the canonical form is read here: what our own writers, browsers and prost write. Everything else (blanks,
//! escapes, keys in another order, anything that is wrong) is for [`decode`](crate::decode), which also knows why.

mod json;

use crate::decode::check_context;
use crate::{ContentType, ContextView, EventView, protobuf};

/// A record taken apart.
///
/// When [`Split::decode_context`] succeeds, [`decode`](crate::decode) of the same record returns this context and these
/// events; two records of one content type with equal `context` and `location` have equal contexts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Split<'a> {
    /// The format of its parts.
    pub content_type: ContentType,
    /// The encoded context.
    pub context: &'a [u8],
    /// The encoded location, which replaces a part of the context.
    pub location: Option<&'a [u8]>,
    /// The player's clock when the request was sent, ms since the epoch; 0 when the player did not say.
    pub sent_at_ms: i64,
}

/// Takes a record apart and puts its events into `events`, replacing what is there. `None` when it is not in the canonical
/// form; `events` then holds anything.
pub fn split<'a>(content_type: ContentType, bytes: &'a [u8], events: &mut Vec<EventView<'a>>) -> Option<Split<'a>> {
    events.clear();
    let split = match content_type {
        ContentType::Json => json::split(bytes, events),
        ContentType::Protobuf => protobuf::split(bytes, events),
        ContentType::Cmcd => None,
    };
    split.filter(|_| !events.is_empty())
}

impl<'a> Split<'a> {
    pub(crate) fn new(
        content_type: ContentType,
        context: &'a [u8],
        location: Option<&'a [u8]>,
        sent_at_ms: i64,
    ) -> Self {
        Self { content_type, context, location, sent_at_ms }
    }

    /// Decodes the context; `None` when [`decode`](crate::decode) has to say what is wrong with it.
    pub fn decode_context(&self) -> Option<ContextView<'a>> {
        let context = match self.content_type {
            ContentType::Json => crate::json::decode_context(self.context, self.location)?,
            ContentType::Protobuf => protobuf::decode_located_context(self.context, self.location)?,
            ContentType::Cmcd => return None,
        };
        check_context(&context).ok()?;
        Some(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode;

    fn check(content_type: ContentType, bytes: &[u8]) -> bool {
        let mut events = Vec::new();
        let Some(split) = split(content_type, bytes, &mut events) else { return false };
        let Some(context) = split.decode_context() else { return false };
        let batch = decode(content_type, bytes).expect("what can be split can be decoded");
        assert_eq!((batch.context, batch.sent_at_ms, batch.events), (context, split.sent_at_ms, events));
        true
    }

    #[test]
    fn the_canonical_form_is_read_and_nothing_else() {
        let json = |text: &str| check(ContentType::Json, text.as_bytes());
        let context = r#"{"context":{"session_id":"s","country":"DE"},"#;
        let event = r#"{"event_id":"a","sequence":1,"event_time_ms":5,"media_time_ms":-3,"first_frame":{}}"#;
        assert!(json(&format!(r#"{context}"sent_at_ms":7,"events":[{event}]}}"#)));
        assert!(json(&format!(r#"{context}"events":[{event},{event}],"location":{{"country":"FR"}}}}"#)));
        assert!(json(&format!(r#"{context}"events":[{{}}]}}"#)), "an event of nothing is one of an unknown kind");
        let states = r#"{"player_state":{"state":"stalled","code":"x","bitrate_bps":1,"buffer_ms":2}}"#;
        assert!(json(&format!(r#"{context}"events":[{states}]}}"#)));
        for refused in [
            format!(r#"{context}"events":[]}}"#),
            format!(r#"{context}"events":[{event}]}} "#),
            format!(r#"{context}"events": [{event}]}}"#),
            format!(r#"{context}"events":[{event}],"events":[{event}]}}"#),
            format!(r#"{context}"events":[{event}],"context":{{"session_id":"t"}}}}"#),
            format!(r#"{context}"events":[{{"sequence":01}}]}}"#),
            format!(r#"{context}"events":[{{"sequence":-1}}]}}"#),
            format!(r#"{context}"events":[{{"sequence":18446744073709551616}}]}}"#),
            format!(r#"{context}"events":[{{"media_time_ms":-0}}]}}"#),
            format!(r#"{context}"events":[{{"media_time_ms":null}}]}}"#),
            format!(r#"{context}"events":[{{"sequence":1.0}}]}}"#),
            format!(r#"{context}"events":[{{"event_id":"\u0061"}}]}}"#),
            format!("{context}\"events\":[{{\"event_id\":\"\n\"}}]}}"),
            format!(r#"{context}"events":[{{"sequence":1,"sequence":1}}]}}"#),
            format!(r#"{context}"events":[{{"pause":{{}},"resume":{{}}}}]}}"#),
            format!(r#"{context}"events":[{{"pause":{{"width":1}}}}]}}"#),
            format!(r#"{context}"events":[{{"viewport":{{"width":1,"width":1}}}}]}}"#),
            format!(r#"{context}"events":[{{"viewport":{{"width":4294967296}}}}]}}"#),
            format!(r#"{context}"events":[{{"viewport":{{"width":1,}}}}]}}"#),
            format!(r#"{context}"events":[{event},]}}"#),
            format!(r#"{context}"other":1,"events":[{event}]}}"#),
            format!(r#"{{"events":[{event}],"context":{{"session_id":"s"}}}}"#),
            format!(r#"{{"context":{{"session_id":"a}}b"}},"events":[{event}]}}"#),
            format!(r#"{{"context":{{}},"events":[{event}]}}"#),
        ] {
            assert!(!json(&refused), "{refused}");
        }
    }

    #[test]
    fn what_is_not_utf_8_is_refused() {
        for (from, to) in [(b"DE".as_slice(), b"D\xff".as_slice()), (b"\"a\"", b"\"\xff\"")] {
            let text = br#"{"context":{"session_id":"s","country":"DE"},"events":[{"event_id":"a"}]}"#;
            let at = text.windows(from.len()).position(|window| window == from).unwrap();
            let mut broken = text.to_vec();
            broken[at..at + to.len()].copy_from_slice(to);
            assert!(check(ContentType::Json, text) && !check(ContentType::Json, &broken));
        }
    }
}
