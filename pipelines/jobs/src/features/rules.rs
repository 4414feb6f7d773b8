//! The rules that need the collector's clock; all others are checked where an interaction is decoded. They look only at
//! the record, never at the present, so that a replay decides the same.

use marquee_events::FUTURE_LIMIT_MS;
use marquee_events::interactions::proto::Interaction;

/// The rule that an interaction breaks: (reason, detail). `shift_ms` corrects its clock.
pub(crate) fn broken_rule(
    interaction: &Interaction,
    shift_ms: i64,
    received_at_ms: i64,
) -> Option<(&'static str, String)> {
    if interaction.payload.is_none() {
        return Some(("unknown_payload", "the interaction has no payload of a known kind".to_owned()));
    }
    let time_ms = interaction.event_time_ms.saturating_add(shift_ms);
    if time_ms < 0 {
        return Some((
            "bad_time",
            format!("event_time_ms {} lies before 1970 once corrected", interaction.event_time_ms),
        ));
    }
    if time_ms > received_at_ms.saturating_add(FUTURE_LIMIT_MS) {
        let ahead_ms = time_ms - received_at_ms;
        return Some(("future_time", format!("event_time is {ahead_ms} ms ahead of the collector's clock")));
    }
    None
}
