//! A payload as three texts and three numbers: what bronze rows, buffered events and re-folds share.

use marquee_events::{PayloadKind, PayloadView, Text};

/// Texts: representation id, ad id, error code or end reason; codec; CDN. Numbers: bitrate, width, height; or buffer,
/// throughput, dropped frames; or fatal, business.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Flat<'a> {
    pub(crate) kind: PayloadKind,
    pub(crate) texts: [&'a str; 3],
    pub(crate) numbers: [u64; 3],
}

impl<'a> Flat<'a> {
    pub(crate) fn of(payload: &'a PayloadView<'_>) -> Self {
        let (texts, numbers): ([&str; 3], [u64; 3]) = match payload {
            PayloadView::Rendition { representation_id, bitrate_bps, width, height, codec, cdn } => {
                ([representation_id, codec, cdn], [*bitrate_bps, u64::from(*width), u64::from(*height)])
            }
            PayloadView::AdStart { ad_id } => ([ad_id, "", ""], [0; 3]),
            PayloadView::Error { code, fatal, business } => {
                ([code, "", ""], [u64::from(*fatal), u64::from(*business), 0])
            }
            PayloadView::Heartbeat { buffer_ms, throughput_bps, dropped_frames } => {
                ([""; 3], [u64::from(*buffer_ms), *throughput_bps, u64::from(*dropped_frames)])
            }
            PayloadView::SessionEnd { reason } => ([reason, "", ""], [0; 3]),
            _ => ([""; 3], [0; 3]),
        };
        Self { kind: payload.kind(), texts, numbers }
    }

    pub(crate) fn payload(&self) -> PayloadView<'a> {
        let text = |index: usize| -> Text<'a> { self.texts[index].into() };
        let [first, second, third] = self.numbers;
        match self.kind {
            PayloadKind::PlayRequested => PayloadView::PlayRequested,
            PayloadKind::FirstFrame => PayloadView::FirstFrame,
            PayloadKind::RebufferStart => PayloadView::RebufferStart,
            PayloadKind::RebufferEnd => PayloadView::RebufferEnd,
            PayloadKind::Pause => PayloadView::Pause,
            PayloadKind::Resume => PayloadView::Resume,
            PayloadKind::SeekStart => PayloadView::SeekStart,
            PayloadKind::SeekEnd => PayloadView::SeekEnd,
            PayloadKind::Rendition => PayloadView::Rendition {
                representation_id: text(0),
                bitrate_bps: first,
                width: second as u32,
                height: third as u32,
                codec: text(1),
                cdn: text(2),
            },
            PayloadKind::AdStart => PayloadView::AdStart { ad_id: text(0) },
            PayloadKind::AdEnd => PayloadView::AdEnd,
            PayloadKind::Error => PayloadView::Error { code: text(0), fatal: first != 0, business: second != 0 },
            PayloadKind::Heartbeat => {
                PayloadView::Heartbeat { buffer_ms: first as u32, throughput_bps: second, dropped_frames: third as u32 }
            }
            PayloadKind::Background => PayloadView::Background,
            PayloadKind::Foreground => PayloadView::Foreground,
            PayloadKind::SessionEnd => PayloadView::SessionEnd { reason: text(0) },
        }
    }
}
