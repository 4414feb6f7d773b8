//! The keyed state of a shard on disk, by segments. The segment of an epoch holds the sessions that the epoch changed,
//! and a share of all others, whose turn it is. So an epoch costs what it changes, not what there is; and the segments
//! since everybody last had a turn hold everything: a restart reads these, the newest first, and takes of each session
//! the first state that it meets.
//!
//! The share is at least half of what has changed. Everybody has had a turn after as much has changed twice as there is,
//! which bounds what a restart reads to about three times the state.
//!
//! The one thing to know before changing the shard: whatever changes a session or a closed session has to mark it
//! ([`StateLog::mark`], [`StateLog::touch`]), or a restart finds it as it was.

use std::collections::VecDeque;
use std::ops::Range;

use hashbrown::{HashMap, HashSet};
use marquee_events::CONTEXT_FIELDS;
use marquee_stream::{ShardIo, StreamError};
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::closed_index::{ClosedIndex, PackedClosed};
use super::contexts::{Contexts, Fields};
use super::session::Session;
use super::sessions::{Packed, Sessions, Slot};
use super::turns::{GROUPS, Turn, group_of};

/// Everybody has had a turn after so many epochs at most, however little changes.
const TURN_EPOCHS: usize = 32;

/// So few sessions are written whole in every epoch.
const WRITTEN_WHOLE: usize = 16;

/// Segments that are read at the same time.
const READ_AT_ONCE: usize = 4;

/// Sessions that are looked up together, so that the processor waits for the memory of all of them at once.
const LOOK_AHEAD: usize = 16;

/// A session's entry: its key, a length, what it is.
const HEAD_BYTES: usize = 16 + 4 + 1;

const GONE: u8 = 0;
const OPEN: u8 = 1;
const CLOSED: u8 = 2;
/// Open, with events that wait: they have contexts of their own.
const WAITING: u8 = 3;

/// A segment, as the snapshot names it.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct SegmentRef {
    name: String,
    /// How many groups had their turn in it.
    groups: usize,
}

/// What the snapshot keeps of the log.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct StateLog {
    /// Oldest first: the turns of all of them together are a whole round, and no more are needed for that.
    segments: VecDeque<SegmentRef>,
    /// The group whose turn is next.
    next_group: usize,
    /// Keys of sessions that changed in this epoch; some more than once.
    #[serde(skip)]
    changed: Vec<u128>,
    /// For each group an epoch at or before the first one that holds rows of its sessions.
    #[serde(skip)]
    first_epochs: Vec<Option<u64>>,
}

/// The texts and contexts that a segment's sessions refer to, under the numbers that they had.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Referred {
    texts: String,
    /// (number, bytes), in the order of `texts`.
    lengths: Vec<(u32, u32)>,
    contexts: Vec<(u32, Fields)>,
}

/// What a shard restores.
#[derive(Debug, Default)]
pub(crate) struct Restored {
    pub(crate) contexts: Contexts,
    pub(crate) sessions: Vec<(u128, Slot)>,
    pub(crate) closed: HashMap<u128, PackedClosed>,
}

impl StateLog {
    /// Notes that this session has changed.
    #[inline]
    pub(crate) fn touch(&mut self, key: u128, session: &Session) {
        if !session.unsaved.replace(true) {
            self.changed.push(key);
        }
    }

    /// Notes that whatever has this key has come, gone or changed.
    pub(crate) fn mark(&mut self, key: u128) {
        self.changed.push(key);
    }

    /// The keys of the sessions that have changed in this epoch, in order.
    pub(crate) fn changed(&mut self) -> &[u128] {
        self.changed.sort_unstable();
        self.changed.dedup();
        &self.changed
    }

    /// The segment of an epoch; `None` when there is nothing to keep. What is in it is packed, where there are many.
    pub(crate) fn write(
        &mut self,
        epoch: u64,
        sessions: &mut Sessions,
        closed: &mut ClosedIndex,
        contexts: &Contexts,
    ) -> Option<(String, Vec<u8>)> {
        self.changed.append(&mut closed.changed);
        self.changed();
        let changed = std::mem::take(&mut self.changed);
        let all = sessions.len() + closed.recent.len();
        if all == 0 && changed.is_empty() && self.segments.is_empty() {
            return None;
        }
        let groups = turns(all, changed.len());
        let turn = Turn { first: self.next_group, groups };
        let is_due = |key: u128| turn.has(key);
        self.first_epochs.resize(GROUPS, None);
        for group in turn.iter() {
            self.first_epochs[group] = None;
        }
        let mut first_epochs = std::mem::take(&mut self.first_epochs);
        let mut note = |key: u128, first: Option<u64>| {
            let known = &mut first_epochs[group_of(key)];
            *known = [*known, first].into_iter().flatten().min();
        };
        let mut segment = SegmentWriter::new(contexts);
        let in_turn = sessions.iter().filter(|(key, _)| is_due(*key) && changed.binary_search(key).is_err());
        let mut open: Vec<(u128, &Slot)> = in_turn.collect();
        for (key, session) in closed.recent.iter().filter(|(key, _)| is_due(**key)) {
            if changed.binary_search(key).is_err() {
                segment.closed(*key, session);
                note(*key, session.first_epoch());
            }
        }
        for key in changed {
            if let Some(slot) = sessions.slot(key) {
                debug_assert!(!closed.recent.contains_key(&key), "open and closed at the same time");
                open.push((key, slot));
            } else if let Some(session) = closed.recent.get(&key) {
                segment.closed(key, session);
                note(key, session.first_epoch());
            } else {
                segment.gone(key);
            }
        }
        let mut to_pack = Vec::new();
        for open in open.chunks(LOOK_AHEAD) {
            for (_, slot) in open {
                slot.touch_all();
            }
            contexts.touch(|| open.iter().map(|(_, slot)| slot.context()));
            for (key, slot) in open {
                let first_epoch = match slot {
                    Slot::Packed(packed) => {
                        segment.packed(*key, packed);
                        packed.first_epoch()
                    }
                    Slot::Unpacked(session) => {
                        session.unsaved.set(false);
                        let entry = segment.open(*key, session);
                        if sessions.packs() && !session.has_waiting() {
                            to_pack.push((*key, entry));
                        }
                        session.bronze_epochs.first()
                    }
                };
                note(*key, first_epoch);
            }
        }
        for (key, entry) in to_pack {
            sessions.pack(key, &segment.entries[entry]);
        }
        self.first_epochs = first_epochs;
        let bytes = segment.finish();
        let name = segment_name(epoch, &bytes);
        self.segments.push_back(SegmentRef { name: name.clone(), groups });
        self.next_group = turn.end();
        let mut turns: usize = self.segments.iter().map(|segment| segment.groups).sum();
        while let Some(oldest) = self.segments.front().filter(|oldest| turns - oldest.groups >= GROUPS) {
            turns -= oldest.groups;
            self.segments.pop_front();
        }
        Some((name, bytes))
    }

    /// An epoch at or before the first one that holds rows of a session that was written.
    pub(crate) fn oldest_epoch(&self) -> Option<u64> {
        self.first_epochs.iter().flatten().min().copied()
    }

    pub(crate) fn segment_names(&self) -> impl Iterator<Item = &str> {
        self.segments.iter().map(|segment| segment.name.as_str())
    }

    /// Reads the state back.
    ///
    /// # Errors
    /// When a segment is missing, cannot be read or is not what was written.
    pub(crate) fn restore(&mut self, io: &ShardIo) -> Result<Restored, StreamError> {
        let mut restored = Restored::default();
        let mut known: HashSet<u128> = HashSet::new();
        self.first_epochs.resize(GROUPS, None);
        let newest_first: Vec<&str> = self.segments.iter().rev().map(|segment| segment.name.as_str()).collect();
        for names in newest_first.chunks(READ_AT_ONCE) {
            for (name, bytes) in names.iter().zip(read_segments(names, io)?) {
                let problem = || StreamError::Damaged {
                    path: (*name).to_owned(),
                    problem: "it is no segment of a shard's state".to_owned(),
                };
                let mut segment = SegmentReader::new(&bytes).ok_or_else(problem)?;
                while !segment.entries.is_empty() {
                    let (key, kind, entry) = segment.next_entry().ok_or_else(problem)?;
                    if !known.insert(key) {
                        continue;
                    }
                    let first_epoch = match kind {
                        GONE => continue,
                        OPEN => {
                            let packed = segment.packed(entry, &mut restored.contexts).ok_or_else(problem)?;
                            let first_epoch = packed.first_epoch();
                            restored.sessions.push((key, Slot::Packed(packed)));
                            first_epoch
                        }
                        WAITING => {
                            let session = segment.session(entry, &mut restored.contexts).ok_or_else(problem)?;
                            let first_epoch = session.bronze_epochs.first();
                            restored.sessions.push((key, Slot::Unpacked(Box::new(session))));
                            first_epoch
                        }
                        CLOSED => {
                            let session = PackedClosed::from_bytes(entry).ok_or_else(problem)?;
                            let first_epoch = session.first_epoch();
                            restored.closed.insert(key, session);
                            first_epoch
                        }
                        _ => return Err(problem()),
                    };
                    let oldest = &mut self.first_epochs[group_of(key)];
                    *oldest = [*oldest, first_epoch].into_iter().flatten().min();
                }
            }
        }
        Ok(restored)
    }
}

/// How many groups have their turn in an epoch that changed so many of all.
fn turns(all: usize, changed: usize) -> usize {
    if all <= WRITTEN_WHOLE {
        return GROUPS;
    }
    let share = (all / TURN_EPOCHS).max(changed / 2);
    (GROUPS * share).div_ceil(all).clamp(1, GROUPS)
}

/// A segment is named by its contents: a fenced writer that comes late cannot replace the winner's.
pub(crate) fn segment_name(epoch: u64, bytes: &[u8]) -> String {
    format!("{epoch:012}-{:016x}", xxh3_64(bytes))
}

/// Reads segments, and checks that their contents are those of their names.
///
/// # Errors
/// When one cannot be read or is damaged.
pub(crate) fn read_segments(names: &[&str], io: &ShardIo) -> Result<Vec<Vec<u8>>, StreamError> {
    let read = io.read_segments(names)?;
    for (name, bytes) in names.iter().zip(&read) {
        if !name.ends_with(&format!("-{:016x}", xxh3_64(bytes))) {
            let problem = "its name does not fit its contents".to_owned();
            return Err(StreamError::Damaged { path: (*name).to_owned(), problem });
        }
    }
    Ok(read)
}

/// A segment is made of the length of what is referred to, that, and the entries.
struct SegmentWriter<'a> {
    contexts: &'a Contexts,
    entries: Vec<u8>,
    referred: Referred,
    has_context: Bits,
    has_text: Bits,
}

impl<'a> SegmentWriter<'a> {
    fn new(contexts: &'a Contexts) -> Self {
        Self {
            contexts,
            entries: Vec::new(),
            referred: Referred::default(),
            has_context: Bits::new(contexts.len()),
            has_text: Bits::new(contexts.symbols().len()),
        }
    }

    /// Where its bytes are.
    fn open(&mut self, key: u128, session: &Session) -> Range<usize> {
        for number in session.contexts() {
            self.refer(number);
        }
        let kind = if session.has_waiting() { WAITING } else { OPEN };
        self.entry(key, kind, |bytes| Packed::encode(session, bytes))
    }

    fn packed(&mut self, key: u128, packed: &Packed) {
        self.refer(packed.context());
        self.copy(key, OPEN, packed.as_bytes());
    }

    fn closed(&mut self, key: u128, session: &PackedClosed) {
        self.copy(key, CLOSED, session.as_bytes());
    }

    fn gone(&mut self, key: u128) {
        self.entry(key, GONE, |bytes| bytes);
    }

    fn copy(&mut self, key: u128, kind: u8, packed: &[u8]) {
        self.entry(key, kind, |mut bytes| {
            bytes.extend_from_slice(packed);
            bytes
        });
    }

    fn entry(&mut self, key: u128, kind: u8, append: impl FnOnce(Vec<u8>) -> Vec<u8>) -> Range<usize> {
        let head = self.entries.len();
        self.entries.extend_from_slice(&key.to_le_bytes());
        self.entries.extend_from_slice(&[0; 4]);
        self.entries.push(kind);
        self.entries = append(std::mem::take(&mut self.entries));
        let entry = head + HEAD_BYTES..self.entries.len();
        self.entries[head + 16..head + 20].copy_from_slice(&(entry.len() as u32).to_le_bytes());
        entry
    }

    fn refer(&mut self, context: u32) {
        if self.has_context.insert(context) {
            return;
        }
        let fields = self.contexts.fields(context);
        for number in fields {
            if !self.has_text.insert(*number) {
                let text = self.contexts.symbols().text(*number);
                self.referred.texts.push_str(text);
                self.referred.lengths.push((*number, text.len() as u32));
            }
        }
        self.referred.contexts.push((context, *fields));
    }

    fn finish(self) -> Vec<u8> {
        let referred = postcard::to_extend(&self.referred, vec![0; 4]).expect("plain data can be encoded");
        let mut bytes = referred;
        let length = (bytes.len() - 4) as u32;
        bytes[..4].copy_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(&self.entries);
        bytes
    }
}

/// Reads what a [`SegmentWriter`] wrote; every `None` says that it was something else.
struct SegmentReader<'a> {
    texts: HashMap<u32, Text>,
    all_texts: String,
    contexts: HashMap<u32, (Fields, Option<u32>)>,
    entries: &'a [u8],
}

/// Where a text is, or its number in the state that is restored.
enum Text {
    At(usize, usize),
    Numbered(u32),
}

impl<'a> SegmentReader<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let (length, bytes) = bytes.split_first_chunk::<4>()?;
        let (referred, entries) = bytes.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        let Referred { texts: all_texts, lengths, contexts } = postcard::from_bytes(referred).ok()?;
        let mut at = 0;
        let texts = lengths.into_iter().map(|(number, length)| {
            let start = at;
            at += length as usize;
            (number, Text::At(start, at))
        });
        let texts = texts.collect();
        let contexts = contexts.into_iter().map(|(number, fields)| (number, (fields, None))).collect();
        Some(Self { texts, all_texts, contexts, entries })
    }

    /// (key, kind, contents) of the next entry.
    fn next_entry(&mut self) -> Option<(u128, u8, &'a [u8])> {
        let (head, rest) = self.entries.split_first_chunk::<HEAD_BYTES>()?;
        let (key, head) = head.split_first_chunk::<16>()?;
        let (length, kind) = head.split_first_chunk::<4>()?;
        let (entry, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        self.entries = rest;
        Some((u128::from_le_bytes(*key), kind[0], entry))
    }

    fn packed(&mut self, entry: &[u8], contexts: &mut Contexts) -> Option<Packed> {
        let mut packed = Packed::from_bytes(entry)?;
        packed.set_context(self.context(packed.context(), contexts)?);
        Some(packed)
    }

    fn session(&mut self, entry: &[u8], contexts: &mut Contexts) -> Option<Session> {
        let mut session = Packed::from_bytes(entry)?.unpack()?;
        session.timer_ms = None; // the shard's timers do not know it yet
        for number in session.contexts_mut() {
            *number = self.context(*number, contexts)?;
        }
        Some(session)
    }

    /// The number that a context of the segment has in the state that is restored.
    fn context(&mut self, number: u32, contexts: &mut Contexts) -> Option<u32> {
        let (fields, known) = self.contexts.get_mut(&number)?;
        if let Some(known) = known {
            return Some(*known);
        }
        let mut numbered: Fields = [0; CONTEXT_FIELDS.len()];
        for (place, field) in numbered.iter_mut().zip(fields.iter()) {
            let text = self.texts.get_mut(field)?;
            *place = match text {
                Text::Numbered(number) => *number,
                Text::At(start, end) => {
                    let number = contexts.number_of_text(self.all_texts.get(*start..*end)?);
                    *text = Text::Numbered(number);
                    number
                }
            };
        }
        let number = contexts.number_of_fields(numbered);
        *known = Some(number);
        Some(number)
    }
}

/// A set of small numbers.
struct Bits(Vec<u64>);

impl Bits {
    fn new(numbers: usize) -> Self {
        Self(vec![0; numbers.div_ceil(64)])
    }

    /// Adds a number; whether it was there.
    #[inline]
    fn insert(&mut self, number: u32) -> bool {
        let (word, bit) = (&mut self.0[number as usize / 64], 1 << (number % 64));
        let was_there = *word & bit != 0;
        *word |= bit;
        was_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_has_a_turn_in_time() {
        assert_eq!(turns(0, 0), GROUPS);
        assert_eq!(turns(WRITTEN_WHOLE, 1), GROUPS);
        assert_eq!(turns(100_000, 0), GROUPS / TURN_EPOCHS, "however little changes");
        assert_eq!(turns(100_000, 20_000), 26, "half of what changes");
        assert_eq!(turns(100_000, 400_000), GROUPS);
    }
}
