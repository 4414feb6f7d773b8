//! JSON without blanks and escapes, context first, as `JSON.stringify` and our own writer make it.

use memchr::memchr;

use crate::{
    ContentType, EventView, FlatPayload, MAX_EVENTS_PER_BATCH, PayloadKind, PlayerState, Split, Text,
    view::LOCATION_FIELDS,
};

const START: &[u8] = b"{\"context\":";

/// `None` for everything but the canonical form. The context ends at its first brace; where that lies inside a text, its
/// bytes are no object and [`Split::decode_context`] says so.
pub(super) fn split<'a>(bytes: &'a [u8], events: &mut Vec<EventView<'a>>) -> Option<Split<'a>> {
    let context = bytes.strip_prefix(START)?;
    let end = memchr(b'}', context)? + 1;
    let (context, rest) = context.split_at(end);
    let mut scanner = Scanner { text: std::str::from_utf8(rest).ok()?, at: 0 };
    let (mut sent_at_ms, mut location, mut has_events) = (None, None, false);
    while scanner.take(b',') {
        match scanner.key()? {
            "sent_at_ms" if sent_at_ms.is_none() => sent_at_ms = Some(scanner.signed()?),
            "events" if !has_events => {
                has_events = true;
                scanner.events(events)?;
            }
            "location" if location.is_none() => location = Some(scanner.location()?),
            _ => return None,
        }
    }
    let is_over = scanner.take(b'}') && scanner.at == scanner.text.len();
    is_over.then(|| Split::new(ContentType::Json, context, location, sent_at_ms.unwrap_or_default()))
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Goes past `byte` if it is next; whether it was.
    #[inline]
    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    #[inline]
    fn string(&mut self) -> Option<&'a str> {
        if !self.take(b'"') {
            return None;
        }
        let start = self.at;
        let rest = &self.text.as_bytes()[start..];
        let length = end_of_text(rest)?;
        self.at += length + 1;
        (rest[length] == b'"').then(|| &self.text[start..start + length])
    }

    #[inline]
    fn key(&mut self) -> Option<&'a str> {
        let key = self.string()?;
        self.take(b':').then_some(key)
    }

    #[inline]
    fn unsigned(&mut self) -> Option<u64> {
        /// So many fit whatever they are.
        const SURE_DIGITS: usize = 18;
        let digits = &self.text.as_bytes()[self.at..];
        let (mut value, mut length) = (0_u64, 0);
        while let Some(digit) = digits.get(length).map(|byte| byte.wrapping_sub(b'0')).filter(|digit| *digit < 10) {
            let digit = u64::from(digit);
            value = match length {
                0..SURE_DIGITS => value * 10 + digit,
                _ => value.checked_mul(10)?.checked_add(digit)?,
            };
            length += 1;
        }
        self.at += length;
        (length == 1 || length > 1 && digits[0] != b'0').then_some(value)
    }

    fn small(&mut self) -> Option<u64> {
        self.unsigned().filter(|value| u32::try_from(*value).is_ok())
    }

    fn signed(&mut self) -> Option<i64> {
        let is_negative = self.take(b'-');
        let value = i64::try_from(self.unsigned()?).ok()?;
        if is_negative { (value != 0).then_some(-value) } else { Some(value) }
    }

    fn flag(&mut self) -> Option<u64> {
        let rest = &self.text[self.at..];
        let (length, value) = if rest.starts_with("true") {
            (4, 1)
        } else if rest.starts_with("false") {
            (5, 0)
        } else {
            return None;
        };
        self.at += length;
        Some(value)
    }

    /// The members of an object, each handed to `member` with its key.
    #[inline]
    fn object(&mut self, mut member: impl FnMut(&mut Self, &'a str) -> Option<()>) -> Option<()> {
        if !self.take(b'{') {
            return None;
        }
        if self.take(b'}') {
            return Some(());
        }
        loop {
            let key = self.key()?;
            member(self, key)?;
            if !self.take(b',') {
                return self.take(b'}').then_some(());
            }
        }
    }

    fn location(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        self.object(|scanner, key| {
            scanner.string()?;
            LOCATION_FIELDS.contains(&key).then_some(())
        })?;
        Some(&self.text.as_bytes()[start..self.at])
    }

    fn events(&mut self, events: &mut Vec<EventView<'a>>) -> Option<()> {
        if !self.take(b'[') {
            return None;
        }
        loop {
            if events.len() == MAX_EVENTS_PER_BATCH {
                return None;
            }
            let event = self.event()?;
            events.push(event);
            if !self.take(b',') {
                return self.take(b']').then_some(());
            }
        }
    }

    fn event(&mut self) -> Option<EventView<'a>> {
        let mut event = EventView::default();
        let (mut has_id, mut has_sequence, mut has_time) = (false, false, false);
        self.object(|scanner, key| {
            match key {
                "event_id" if !std::mem::replace(&mut has_id, true) => {
                    event.event_id = Text::Borrowed(scanner.string()?);
                }
                "sequence" if !std::mem::replace(&mut has_sequence, true) => event.sequence = scanner.unsigned()?,
                "event_time_ms" if !std::mem::replace(&mut has_time, true) => event.event_time_ms = scanner.signed()?,
                "media_time_ms" if event.media_time_ms.is_none() => event.media_time_ms = Some(scanner.signed()?),
                _ if event.payload.is_none() => {
                    event.payload = Some(scanner.payload(PayloadKind::from_name(key)?)?.view());
                }
                _ => return None,
            }
            Some(())
        })?;
        Some(event)
    }

    #[expect(clippy::match_same_arms, reason = "a line a field, in the order of the places")]
    fn payload(&mut self, kind: PayloadKind) -> Option<FlatPayload<'a>> {
        use PayloadKind::{
            AdStart, Error, Heartbeat, PlayRequested, PlaybackRate, PlayerState as State, Rendition, SessionEnd,
            Viewport,
        };
        let mut payload = FlatPayload { kind, texts: [""; 3], numbers: [0; 4] };
        // A bit for each place that has its value: no key may come twice.
        let mut filled = 0_u8;
        self.object(|scanner, key| {
            const FIRST_NUMBER: usize = 3;
            let (place, number) = match (kind, key) {
                (Rendition, "representation_id")
                | (AdStart, "ad_id")
                | (Error | State, "code")
                | (SessionEnd, "reason") => (0, None),
                (Rendition, "codec") => (1, None),
                (Rendition, "cdn") => (2, None),
                (Rendition | State, "bitrate_bps") => (FIRST_NUMBER, Some(scanner.unsigned()?)),
                (Rendition | Viewport, "width") => (FIRST_NUMBER + 1, Some(scanner.small()?)),
                (Rendition | Viewport, "height") => (FIRST_NUMBER + 2, Some(scanner.small()?)),
                (Error, "fatal") | (PlayRequested, "autoplay") => (FIRST_NUMBER, Some(scanner.flag()?)),
                (Error, "business") => (FIRST_NUMBER + 1, Some(scanner.flag()?)),
                (Heartbeat, "buffer_ms") | (PlaybackRate, "rate_per_mille") => (FIRST_NUMBER, Some(scanner.small()?)),
                (Heartbeat, "throughput_bps") => (FIRST_NUMBER + 1, Some(scanner.unsigned()?)),
                (Heartbeat, "dropped_frames") => (FIRST_NUMBER + 2, Some(scanner.small()?)),
                (Heartbeat, "bitrate_bps") => (FIRST_NUMBER + 3, Some(scanner.unsigned()?)),
                (State, "buffer_ms") => (FIRST_NUMBER + 1, Some(scanner.small()?)),
                (State, "state") => {
                    let state = PlayerState::from_name(scanner.string()?);
                    (FIRST_NUMBER + 2, Some(state.map_or(0, |state| state as u64)))
                }
                _ => return None,
            };
            match number {
                Some(number) => payload.numbers[place - FIRST_NUMBER] = number,
                None => payload.texts[place] = scanner.string()?,
            }
            let bit = 1 << place;
            let is_first = filled & bit == 0;
            filled |= bit;
            is_first.then_some(())
        })?;
        Some(payload)
    }
}

/// Where the first quote, backslash or control character is: eight bytes at a time, each compared without a branch. A byte
/// behind the first can be taken for one of them by the borrow, the first cannot.
#[inline]
fn end_of_text(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH_BITS: u64 = ONES << 7;
    let below = |word: u64, bound: u8| word.wrapping_sub(ONES * u64::from(bound)) & !word;
    let mut at = 0;
    while let Some(chunk) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*chunk);
        let quotes = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslashes = below(word ^ (ONES * u64::from(b'\\')), 1);
        let ends = (quotes | backslashes | below(word, 0x20)) & HIGH_BITS;
        if ends != 0 {
            return Some(at + ends.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let rest = bytes[at..].iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20))?;
    Some(at + rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::end_of_text;

    proptest! {
        #[test]
        fn texts_end_where_they_end(bytes: Vec<u8>, plain in "[a-zé~\u{7f}]{0,30}") {
            for bytes in [[plain.as_bytes(), &bytes].concat(), bytes] {
                let expected = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
                prop_assert_eq!(end_of_text(&bytes), expected);
            }
        }
    }
}
