//! A payload as three texts and four numbers: what decoders fill, rows store and buffers keep. The two matches here are
//! the only ones that know which field of which payload is where.

use crate::{PayloadKind, PayloadView, PlayerState, Text};

/// A payload taken apart; borrowed, so that taking apart and putting together allocates nothing.
///
/// | kind | texts | numbers |
/// |---|---|---|
/// | play requested | | autoplay (0 or 1) |
/// | rendition | representation id, codec, CDN | bitrate (bit/s), width, height (pixels) |
/// | ad start | ad id | |
/// | error | code | fatal, business (0 or 1) |
/// | heartbeat | | buffer (ms), throughput (bit/s), dropped frames, bitrate (bit/s) |
/// | session end | reason | |
/// | playback rate | | per mille |
/// | viewport | | 0, width, height (device pixels) |
/// | player state | code | bitrate (bit/s), buffer (ms), number of the state |
///
/// Every other place is empty or 0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlatPayload<'a> {
    /// What happened.
    pub kind: PayloadKind,
    /// Its texts, by the table above.
    pub texts: [&'a str; 3],
    /// Its numbers, by the table above.
    pub numbers: [u64; 4],
}

impl<'a> FlatPayload<'a> {
    /// Takes a payload apart.
    #[inline]
    pub fn of(payload: &'a PayloadView<'_>) -> Self {
        let (texts, numbers): ([&str; 3], [u64; 4]) = match payload {
            PayloadView::PlayRequested { autoplay } => ([""; 3], [u64::from(*autoplay), 0, 0, 0]),
            PayloadView::Rendition { representation_id, bitrate_bps, width, height, codec, cdn } => {
                ([representation_id, codec, cdn], [*bitrate_bps, u64::from(*width), u64::from(*height), 0])
            }
            PayloadView::AdStart { ad_id } => ([ad_id, "", ""], [0; 4]),
            PayloadView::Error { code, fatal, business } => {
                ([code, "", ""], [u64::from(*fatal), u64::from(*business), 0, 0])
            }
            PayloadView::Heartbeat { buffer_ms, throughput_bps, dropped_frames, bitrate_bps } => {
                ([""; 3], [u64::from(*buffer_ms), *throughput_bps, u64::from(*dropped_frames), *bitrate_bps])
            }
            PayloadView::PlaybackRate { rate_per_mille } => ([""; 3], [u64::from(*rate_per_mille), 0, 0, 0]),
            PayloadView::Viewport { width, height } => ([""; 3], [0, u64::from(*width), u64::from(*height), 0]),
            PayloadView::PlayerState { state, code, bitrate_bps, buffer_ms } => {
                let state = state.map_or(0, |state| state as u64);
                ([code, "", ""], [*bitrate_bps, u64::from(*buffer_ms), state, 0])
            }
            PayloadView::SessionEnd { reason } => ([reason, "", ""], [0; 4]),
            _ => ([""; 3], [0; 4]),
        };
        Self { kind: payload.kind(), texts, numbers }
    }

    /// Puts it together again. Places that the kind does not have are ignored, numbers are cut to their field's width.
    #[inline]
    pub fn view(&self) -> PayloadView<'a> {
        put_together(self.kind, self.texts.map(Text::Borrowed), self.numbers)
    }
}

/// As [`FlatPayload::view`], for texts that a decoder may have had to unescape.
#[inline]
pub(crate) fn put_together(kind: PayloadKind, texts: [Text<'_>; 3], numbers: [u64; 4]) -> PayloadView<'_> {
    let ([text, second_text, third_text], [first, second, third, fourth]) = (texts, numbers);
    match kind {
        PayloadKind::PlayRequested => PayloadView::PlayRequested { autoplay: first != 0 },
        PayloadKind::FirstFrame => PayloadView::FirstFrame,
        PayloadKind::RebufferStart => PayloadView::RebufferStart,
        PayloadKind::RebufferEnd => PayloadView::RebufferEnd,
        PayloadKind::Pause => PayloadView::Pause,
        PayloadKind::Resume => PayloadView::Resume,
        PayloadKind::SeekStart => PayloadView::SeekStart,
        PayloadKind::SeekEnd => PayloadView::SeekEnd,
        PayloadKind::Rendition => PayloadView::Rendition {
            representation_id: text,
            bitrate_bps: first,
            width: second as u32,
            height: third as u32,
            codec: second_text,
            cdn: third_text,
        },
        PayloadKind::AdStart => PayloadView::AdStart { ad_id: text },
        PayloadKind::AdEnd => PayloadView::AdEnd,
        PayloadKind::Error => PayloadView::Error { code: text, fatal: first != 0, business: second != 0 },
        PayloadKind::Heartbeat => PayloadView::Heartbeat {
            buffer_ms: first as u32,
            throughput_bps: second,
            dropped_frames: third as u32,
            bitrate_bps: fourth,
        },
        PayloadKind::Background => PayloadView::Background,
        PayloadKind::Foreground => PayloadView::Foreground,
        PayloadKind::SessionEnd => PayloadView::SessionEnd { reason: text },
        PayloadKind::AdBreakStart => PayloadView::AdBreakStart,
        PayloadKind::AdBreakEnd => PayloadView::AdBreakEnd,
        PayloadKind::PlaybackRate => PayloadView::PlaybackRate { rate_per_mille: first as u32 },
        PayloadKind::Viewport => PayloadView::Viewport { width: second as u32, height: third as u32 },
        PayloadKind::PlayerState => PayloadView::PlayerState {
            state: PlayerState::from_number(third),
            code: text,
            bitrate_bps: first,
            buffer_ms: second as u32,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_payload_survives_being_taken_apart() {
        for kind in PayloadKind::ALL {
            let payload = FlatPayload { kind, texts: ["a", "b", "c"], numbers: [1, 0, 3, 4] }.view();
            assert_eq!(payload.kind(), kind);
            assert_eq!(FlatPayload::of(&payload).view(), payload);
        }
        let rendition = FlatPayload { kind: PayloadKind::Rendition, texts: ["a", "b", "c"], numbers: [1, 2, 3, 0] };
        assert_eq!(FlatPayload::of(&rendition.view()), rendition);
    }
}
