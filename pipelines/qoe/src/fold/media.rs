//! What is played: media time, and the integrals of bitrate, height and upscale over it.

use serde::{Deserialize, Serialize};

use super::{MINUTE_MS, SessionFold};
use crate::minutes::{Measure, MinuteSink};

/// Players offer at most 4 × playback; a faster playhead is a jump that no seek announced.
pub(super) const MAX_JUMP_RATE: i64 = 4;

/// The rate of normal speed (‰).
const NORMAL_RATE: i64 = 1000;

/// What plays, and how. Zero means unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(super) struct Rendition {
    /// FNV-1a of the representation id; 0 before the first one.
    representation: u64,
    bitrate_bps: u64,
    width: u32,
    height: u32,
    viewport: (u32, u32),
    /// `None` until the player says; a player may say 0.
    rate_per_mille: Option<u32>,
}

impl Rendition {
    /// Upscale in ‰: the picture is fitted into the viewport, so the smaller ratio scales it. `None` when a size is
    /// unknown.
    fn upscale_per_mille(&self) -> Option<u32> {
        let (width, height) = self.viewport;
        if self.width == 0 || self.height == 0 || width == 0 || height == 0 {
            return None;
        }
        let scale = |viewport: u32, picture: u32| u64::from(viewport) * 1000 / u64::from(picture);
        let scale = scale(width, self.width).min(scale(height, self.height));
        Some(u32::try_from(scale.saturating_sub(1000)).unwrap_or(u32::MAX))
    }

    fn rate(&self) -> i64 {
        self.rate_per_mille.map_or(NORMAL_RATE, i64::from)
    }
}

impl SessionFold {
    /// Σ bitrate × media time ÷ Σ media time (kbit/s); `None` when nothing was played at a known bitrate.
    pub fn avg_bitrate_kbps(&self) -> Option<f64> {
        (self.bitrate_media_ms > 0).then(|| self.bitrate_bit_ms as f64 / self.bitrate_media_ms as f64 / 1000.0)
    }

    /// Σ height × media time ÷ Σ media time (px); `None` when nothing was played at a known height.
    pub fn avg_height_px(&self) -> Option<f64> {
        (self.height_media_ms > 0).then(|| self.height_px_ms as f64 / self.height_media_ms as f64)
    }

    /// Whether it is another representation than the one before.
    pub(super) fn set_rendition(&mut self, id: &str, bitrate_bps: u64, width: u32, height: u32) -> bool {
        let (representation, before) = (fnv1a(id), self.rendition.representation);
        self.rendition = Rendition { representation, bitrate_bps, width, height, ..self.rendition };
        before != 0 && before != representation
    }

    /// A bitrate without its rendition. Of another one than the last the size is not known.
    pub(super) fn set_bitrate(&mut self, bitrate_bps: u64) {
        if bitrate_bps != 0 && bitrate_bps != self.rendition.bitrate_bps {
            self.rendition = Rendition { bitrate_bps, width: 0, height: 0, ..self.rendition };
        }
    }

    pub(super) fn set_viewport(&mut self, width: u32, height: u32) {
        self.rendition.viewport = (width, height);
    }

    pub(super) fn set_rate(&mut self, rate_per_mille: u32) {
        self.rendition.rate_per_mille = Some(rate_per_mille);
    }

    /// Media time is counted in the minute in which its interval began: it cannot be split exactly.
    pub(super) fn advance_media(
        &mut self,
        from_ms: i64,
        length_ms: i64,
        media_time_ms: Option<i64>,
        minutes: &mut impl MinuteSink,
    ) {
        let rate = self.rendition.rate();
        let advance_ms = match (self.last_media_ms, media_time_ms) {
            (Some(last), Some(now)) => {
                let limit_ms = length_ms * rate.max(MAX_JUMP_RATE * NORMAL_RATE) / NORMAL_RATE;
                now.saturating_sub(last).clamp(0, limit_ms)
            }
            _ => length_ms * rate / NORMAL_RATE,
        };
        if advance_ms == 0 {
            return;
        }
        let minute = from_ms.div_euclid(MINUTE_MS);
        self.media_ms += advance_ms;
        minutes.add(minute, Measure::MediaMs as usize, advance_ms);
        if self.rendition.bitrate_bps > 0 {
            let bit_ms = self.rendition.bitrate_bps as i64 * advance_ms;
            self.bitrate_media_ms += advance_ms;
            self.bitrate_bit_ms += bit_ms;
            minutes.add(minute, Measure::BitrateMediaMs as usize, advance_ms);
            minutes.add(minute, Measure::BitrateBitMs as usize, bit_ms);
        }
        if self.rendition.height > 0 {
            let px_ms = i64::from(self.rendition.height) * advance_ms;
            self.height_media_ms += advance_ms;
            self.height_px_ms += px_ms;
            minutes.add(minute, Measure::HeightMediaMs as usize, advance_ms);
            minutes.add(minute, Measure::HeightPxMs as usize, px_ms);
        }
        if let Some(upscale) = self.rendition.upscale_per_mille() {
            let per_mille_ms = i64::from(upscale) * advance_ms;
            self.upscale_media_ms += advance_ms;
            self.upscale_per_mille_ms += per_mille_ms;
            self.max_upscale_per_mille = self.max_upscale_per_mille.max(upscale);
            minutes.add(minute, Measure::UpscaleMediaMs as usize, advance_ms);
            minutes.add(minute, Measure::UpscalePerMilleMs as usize, per_mille_ms);
        }
    }
}

/// FNV-1a, 64 bits (public domain, Fowler/Noll/Vo); never 0.
fn fnv1a(text: &str) -> u64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    hash.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published test vectors of FNV-1a (RFC 9923, appendix).
    #[test]
    fn representations_are_told_apart_by_fnv_1a() {
        assert_eq!(
            [fnv1a(""), fnv1a("a"), fnv1a("foobar")].map(|hash| format!("{hash:x}")),
            ["cbf29ce484222325", "af63dc4c8601ec8c", "85944171f73967e8"]
        );
    }

    #[test]
    fn nothing_played_has_no_average() {
        let fold = SessionFold::default();
        assert_eq!((fold.avg_bitrate_kbps(), fold.avg_height_px()), (None, None));
    }
}
