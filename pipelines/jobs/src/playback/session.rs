//! The keyed state of one session: the fold, the reorder buffer in front of it, the holes behind it.
//!
//! Events fold in sequence order. One that comes early waits in the buffer; a hole is given up when the watermark
//! passes the event behind it. One that comes behind the fold point is a duplicate when its id is remembered; anything
//! else (a straggler into a hole, another id for a folded sequence, an id too old to be remembered), and a lesser id for
//! a sequence that waits, marks the session to be folded anew from its bronze rows at the end of the epoch, which
//! decides exactly.

use std::cell::Cell;
use std::cmp::Ordering;
use std::collections::VecDeque;
use std::hint::black_box;

use marquee_cmcd::UNCOUNTED_FROM;
use marquee_events::FlatPayload;
use marquee_qoe::{MinuteSink, SessionFold};
use serde::{Deserialize, Serialize};

use super::contexts::Contexts;
use super::cubes::{Cells, Cubes};
use super::epochs::Epochs;
use super::remembered::Remembered;

/// Early events that wait at most; with more, the first hole is given up: a player that lost so many events in a row
/// will hardly send them.
const MAX_BUFFERED: usize = 1024;

/// A context read back from a row: its texts in the order of `CONTEXT_FIELDS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Context(pub(crate) Vec<String>);

impl Context {
    /// Its number among the shard's.
    pub(crate) fn number(&self, contexts: &mut Contexts) -> u32 {
        contexts.number(&std::array::from_fn(|index| self.0.get(index).map_or("", String::as_str)))
    }
}

/// Why a session is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum CloseReason {
    Ended,
    Gap,
    EndOfInput,
}

impl CloseReason {
    pub(crate) fn name(self) -> &'static str {
        match self {
            CloseReason::Ended => "ended",
            CloseReason::Gap => "gap",
            CloseReason::EndOfInput => "end_of_input",
        }
    }
}

/// An event for the fold: what [`Session::offer`] takes and the buffer keeps.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Incoming<'a> {
    pub(crate) sequence: u64,
    pub(crate) event_id: &'a str,
    pub(crate) time_ms: i64,
    pub(crate) media_time_ms: Option<i64>,
    pub(crate) payload: FlatPayload<'a>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Buffered {
    sequence: u64,
    event_id: String,
    time_ms: i64,
    media_time_ms: Option<i64>,
    kind: u8,
    texts: [String; 3],
    numbers: [u64; 4],
    context: u32,
}

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Offer {
    /// Folded, or waiting in the buffer.
    Taken,
    /// Here before, or a greater id for a sequence that waits.
    Again,
    /// Behind the fold point and not remembered, or a lesser id for a sequence that waits: the session has to be folded
    /// anew.
    Behind,
}

/// A session's state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// Number of the context of the first folded event; before that, of any of its events.
    #[serde(skip)]
    pub(crate) context: u32,
    pub(crate) fold: SessionFold,
    /// The fold point: every lower sequence is folded or in a hole.
    pub(crate) next_sequence: u64,
    /// Sequences that were given up, as inclusive ranges.
    pub(crate) holes: Vec<(u64, u64)>,
    buffer: VecDeque<Buffered>,
    remembered: Remembered,
    pub(crate) clock_shift_ms: i64,
    pub(crate) revision: u64,
    /// Changed since its last row.
    pub(crate) changed: bool,
    pub(crate) closed: Option<CloseReason>,
    pub(crate) duplicates: u64,
    pub(crate) conflicts: u64,
    pub(crate) late_events: u64,
    /// Epochs that hold its bronze rows.
    pub(crate) bronze_epochs: Epochs,
    /// Its events past the horizon are part of it, too, at offsets below this one: a recompute has folded them.
    pub(crate) recomputed_to: u64,
    /// Its first bronze row of this epoch that the fold has not seen: it will be folded anew.
    #[serde(skip)]
    pub(crate) refold_from_row: Option<u32>,
    /// The input ended while it waited to be folded anew.
    #[serde(skip)]
    pub(crate) input_ended: bool,
    /// Changed since it was last written to the state's segments.
    #[serde(skip)]
    pub(crate) unsaved: Cell<bool>,
    /// When the shard's timers will look at it again; at or before its deadline.
    #[serde(skip)]
    pub(crate) timer_ms: Option<i64>,
    /// Its cells in this process.
    #[serde(skip)]
    pub(crate) cells: Option<Cells>,
}

impl Session {
    /// Asks memory for what an event needs: a word of each part.
    #[inline]
    pub(crate) fn touch(&self) {
        let fold = &self.fold;
        black_box((fold.started_at_ms, fold.last_time_ms, fold.media_ms, fold.event_count, fold.error.is_some()));
        black_box((self.next_sequence, self.clock_shift_ms, self.timer_ms, self.buffer.len(), self.context));
        black_box(self.cells);
        self.remembered.touch();
    }

    /// Asks memory for all of it.
    #[inline]
    pub(crate) fn touch_all(&self) {
        self.touch();
        self.fold.touch();
        self.remembered.touch_all();
        black_box((self.revision, self.late_events, self.recomputed_to, self.bronze_epochs.first()));
    }

    /// Of the session that has this context.
    pub(crate) fn new(context: u32) -> Self {
        Self {
            context,
            fold: SessionFold::default(),
            next_sequence: 0,
            holes: Vec::new(),
            buffer: VecDeque::new(),
            remembered: Remembered::default(),
            clock_shift_ms: 0,
            revision: 0,
            changed: false,
            closed: None,
            duplicates: 0,
            conflicts: 0,
            late_events: 0,
            bronze_epochs: Epochs::default(),
            recomputed_to: 0,
            refold_from_row: None,
            input_ended: false,
            unsaved: Cell::new(false),
            timer_ms: None,
            cells: None,
        }
    }

    /// The time at which the watermark has to look at it again.
    pub(crate) fn deadline_ms(&self) -> Option<i64> {
        let hole = self.buffer.front().map(|event| event.time_ms);
        let gap =
            (self.closed.is_none() && self.fold.event_count > 0).then(|| self.fold.last_time_ms + self.fold.gap_ms());
        match (hole, gap) {
            (Some(hole), Some(gap)) => Some(hole.min(gap)),
            (hole, gap) => hole.or(gap),
        }
    }

    /// Numbers its cells, if an event that decides them has been folded.
    pub(crate) fn number_cells(&mut self, contexts: &Contexts, cubes: &mut Cubes) {
        let started_at_ms = self.fold.started_at_ms;
        self.cells = (!self.needs_context()).then(|| cubes.cells(started_at_ms, contexts, self.context));
    }

    /// Whether events wait in it, with contexts of their own.
    pub(crate) fn has_waiting(&self) -> bool {
        !self.buffer.is_empty()
    }

    /// The numbers of its contexts.
    pub(crate) fn contexts(&self) -> impl Iterator<Item = u32> {
        std::iter::once(self.context).chain(self.buffer.iter().map(|event| event.context))
    }

    /// The same, to be changed.
    pub(crate) fn contexts_mut(&mut self) -> impl Iterator<Item = &mut u32> {
        std::iter::once(&mut self.context).chain(self.buffer.iter_mut().map(|event| &mut event.context))
    }

    /// Whether folding `context` would be the first: then the session's cells have to be known.
    pub(crate) fn needs_context(&self) -> bool {
        self.fold.event_count == 0
    }

    /// Whether an event with this sequence is folded as soon as it comes. One that the player did not count follows
    /// whatever was folded before, unless events that it did count wait.
    pub(crate) fn is_next(&self, sequence: u64) -> bool {
        let is_uncounted = sequence >= UNCOUNTED_FROM && sequence > self.next_sequence;
        sequence == self.next_sequence || (is_uncounted && self.buffer.is_empty())
    }

    /// Takes an event in; `context` is the number of its own. The caller has set the session's context and cells before
    /// the first one folds.
    pub(crate) fn offer(&mut self, event: &Incoming<'_>, context: u32, minutes: &mut impl MinuteSink) -> Offer {
        if event.sequence < self.next_sequence {
            return self.behind(event);
        }
        if !self.is_next(event.sequence) {
            return self.wait(event, context);
        }
        self.fold_event(event, minutes);
        self.fold_waiting(minutes);
        Offer::Taken
    }

    fn behind(&mut self, event: &Incoming<'_>) -> Offer {
        if !self.remembered.contains(event.sequence, event.event_id) {
            return Offer::Behind;
        }
        self.duplicates += 1;
        self.changed = true;
        Offer::Again
    }

    /// Keeps an early event. An id less than the one that waits for its sequence takes its place, and makes conflicts of
    /// its repetitions: bronze knows how many.
    fn wait(&mut self, event: &Incoming<'_>, context: u32) -> Offer {
        let buffered = || Buffered {
            sequence: event.sequence,
            event_id: event.event_id.to_owned(),
            time_ms: event.time_ms,
            media_time_ms: event.media_time_ms,
            kind: event.payload.kind as u8,
            texts: event.payload.texts.map(str::to_owned),
            numbers: event.payload.numbers,
            context,
        };
        match self.buffer.binary_search_by_key(&event.sequence, |b| b.sequence) {
            Err(at) => {
                self.buffer.insert(at, buffered());
                Offer::Taken
            }
            Ok(at) => {
                let count = match event.event_id.cmp(&self.buffer[at].event_id) {
                    Ordering::Less => return Offer::Behind,
                    Ordering::Equal => &mut self.duplicates,
                    Ordering::Greater => &mut self.conflicts,
                };
                *count += 1;
                self.changed = true;
                Offer::Again
            }
        }
    }

    fn fold_event(&mut self, event: &Incoming<'_>, minutes: &mut impl MinuteSink) {
        if self.closed.take().is_some() {
            self.fold.reopen(minutes);
            self.late_events += 1;
        }
        self.fold.apply(event.time_ms, event.media_time_ms, &event.payload.view(), minutes);
        self.next_sequence = event.sequence + 1;
        self.changed = true;
        self.remembered.push(event.sequence, event.event_id);
        if self.fold.has_ended() {
            self.close(CloseReason::Ended, minutes);
        }
    }

    fn fold_waiting(&mut self, minutes: &mut impl MinuteSink) {
        let is_next = |sequence, next_sequence| sequence == next_sequence || sequence >= UNCOUNTED_FROM;
        while self.buffer.front().is_some_and(|event| is_next(event.sequence, self.next_sequence)) {
            let event = self.buffer.pop_front().expect("there is a front");
            self.fold_event(&event.incoming(), minutes);
        }
    }

    /// Whether the first hole has to be given up before this watermark (`None`: the end of the input).
    pub(crate) fn hole_is_over(&self, watermark_ms: Option<i64>) -> bool {
        let passed = |event: &Buffered| watermark_ms.is_none_or(|watermark_ms| event.time_ms < watermark_ms);
        self.buffer.front().is_some_and(passed) || self.buffer.len() > MAX_BUFFERED
    }

    /// Gives up the first hole. The caller makes sure of `context` and `cells`, see [`first_waiting_context`].
    ///
    /// [`first_waiting_context`]: Self::first_waiting_context
    pub(crate) fn skip_hole(&mut self, minutes: &mut impl MinuteSink) {
        if let Some(front) = self.buffer.front() {
            if front.sequence > self.next_sequence {
                self.holes.push((self.next_sequence, front.sequence - 1));
                self.next_sequence = front.sequence;
            }
            self.fold_waiting(minutes);
        }
    }

    /// Time and context of the first waiting event, when it would be the first to fold.
    pub(crate) fn first_waiting_context(&self) -> Option<(i64, u32)> {
        let front = self.buffer.front().filter(|_| self.needs_context())?;
        Some((front.time_ms, front.context))
    }

    /// No more events are waited for.
    pub(crate) fn close(&mut self, reason: CloseReason, minutes: &mut impl MinuteSink) {
        if self.closed.is_none() {
            self.fold.close(minutes);
            self.closed = Some(reason);
            self.changed = true;
        }
    }

    /// Sequence numbers that never came, up to the fold point.
    pub(crate) fn lost_events(&self) -> u64 {
        self.holes.iter().map(|(first, last)| last - first + 1).sum()
    }
}

impl Buffered {
    fn incoming(&self) -> Incoming<'_> {
        let kind = marquee_events::PayloadKind::from_number(u32::from(self.kind));
        let payload = FlatPayload {
            kind: kind.expect("a kind was stored"),
            texts: [&self.texts[0], &self.texts[1], &self.texts[2]],
            numbers: self.numbers,
        };
        Incoming {
            sequence: self.sequence,
            event_id: &self.event_id,
            time_ms: self.time_ms,
            media_time_ms: self.media_time_ms,
            payload,
        }
    }
}
