//! The open sessions of a shard, by key. A shard with many of them keeps those packed that nothing happens to: as the
//! bytes of their entries in the state's segments (`state_log.rs`), a third of what they take to work with. An event or a
//! timer unpacks its session; the end of the epoch, which writes what has changed, packs it again. A restart unpacks
//! nothing.

use std::hint::black_box;

use hashbrown::HashMap;
use hashbrown::hash_map::{Entry, VacantEntry};

use super::contexts::Contexts;
use super::cubes::Cubes;
use super::session::Session;

/// A shard with more sessions packs those that nothing happens to: unpacking takes about as long as ten events do.
pub(crate) const MAX_UNPACKED: usize = 50_000;

/// Context, timer, first epoch, whether it has changed since its last row.
const HEAD_BYTES: usize = 4 + 8 + 8 + 1;

/// Stands for no timer.
const NO_TIMER: i64 = i64::MIN;

/// A session as bytes, with what is asked of it without unpacking.
#[derive(Debug, Clone)]
pub(crate) struct Packed(Box<[u8]>);

/// An open session.
#[derive(Debug)]
pub(crate) enum Slot {
    Unpacked(Box<Session>),
    Packed(Packed),
}

const _: () = assert!(size_of::<Slot>() == 16, "as large as the packed one's pointer and length");

/// The open sessions.
#[derive(Debug)]
pub(crate) struct Sessions {
    slots: HashMap<u128, Slot>,
    max_unpacked: usize,
}

/// The place of a session that is not there.
pub(crate) struct Vacant<'a>(VacantEntry<'a, u128, Slot>);

impl Packed {
    /// Appends the bytes of a session.
    pub(crate) fn encode(session: &Session, bytes: Vec<u8>) -> Vec<u8> {
        let mut bytes = bytes;
        bytes.extend_from_slice(&session.context.to_le_bytes());
        bytes.extend_from_slice(&session.timer_ms.unwrap_or(NO_TIMER).to_le_bytes());
        bytes.extend_from_slice(&session.bronze_epochs.first().unwrap_or_default().to_le_bytes());
        bytes.push(u8::from(session.changed));
        postcard::to_extend(session, bytes).expect("plain data can be encoded")
    }

    /// Bytes that [`encode`](Self::encode) appended; `None` when they are too few.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (bytes.len() >= HEAD_BYTES).then(|| Self(bytes.into()))
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// `None` when the bytes are of no session.
    pub(crate) fn unpack(&self) -> Option<Session> {
        let mut session: Session = postcard::from_bytes(&self.0[HEAD_BYTES..]).ok()?;
        session.context = self.context();
        session.timer_ms = self.timer_ms();
        Some(session)
    }

    pub(crate) fn context(&self) -> u32 {
        u32::from_le_bytes(self.part(0))
    }

    pub(crate) fn set_context(&mut self, context: u32) {
        self.0[..4].copy_from_slice(&context.to_le_bytes());
    }

    pub(crate) fn timer_ms(&self) -> Option<i64> {
        Some(i64::from_le_bytes(self.part(4))).filter(|timer_ms| *timer_ms != NO_TIMER)
    }

    pub(crate) fn first_epoch(&self) -> Option<u64> {
        Some(u64::from_le_bytes(self.part(12))).filter(|epoch| *epoch != 0)
    }

    /// As [`Session::changed`].
    fn has_changed(&self) -> bool {
        self.0[HEAD_BYTES - 1] != 0
    }

    fn part<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0[at..at + N].try_into().expect("a part of the head")
    }
}

impl Slot {
    /// The session; `None` while it is packed.
    pub(crate) fn unpacked(&self) -> Option<&Session> {
        match self {
            Slot::Unpacked(session) => Some(session),
            Slot::Packed(_) => None,
        }
    }

    /// Asks memory for all of it.
    pub(crate) fn touch_all(&self) {
        match self {
            Slot::Unpacked(session) => session.touch_all(),
            Slot::Packed(packed) => packed.0.iter().step_by(64).for_each(|byte| _ = black_box(byte)),
        }
    }

    pub(crate) fn context(&self) -> u32 {
        match self {
            Slot::Unpacked(session) => session.context,
            Slot::Packed(packed) => packed.context(),
        }
    }

    /// As [`Session::timer_ms`].
    pub(crate) fn timer_ms(&self) -> Option<i64> {
        match self {
            Slot::Unpacked(session) => session.timer_ms,
            Slot::Packed(packed) => packed.timer_ms(),
        }
    }

    /// Unpacks it and finds its cells.
    fn unpack(&mut self, contexts: &Contexts, cubes: &mut Cubes) -> &mut Box<Session> {
        if let Slot::Packed(packed) = self {
            let mut session = packed.unpack().expect("bytes that a session was packed to");
            session.number_cells(contexts, cubes);
            *self = Slot::Unpacked(Box::new(session));
        }
        match self {
            Slot::Unpacked(session) => session,
            Slot::Packed(_) => unreachable!("unpacked just now"),
        }
    }
}

impl<'a> Vacant<'a> {
    pub(crate) fn insert(self, session: Session) -> &'a mut Session {
        match self.0.insert(Slot::Unpacked(Box::new(session))) {
            Slot::Unpacked(session) => session,
            Slot::Packed(_) => unreachable!("it was put in unpacked"),
        }
    }
}

impl Sessions {
    /// None yet; with more than `max_unpacked`, those that nothing happens to are packed.
    pub(crate) fn new(max_unpacked: usize) -> Self {
        Self { slots: HashMap::new(), max_unpacked }
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(crate) fn reserve(&mut self, additional: usize) {
        self.slots.reserve(additional);
    }

    /// Whether there are so many that those are packed that nothing happens to.
    pub(crate) fn packs(&self) -> bool {
        self.slots.len() > self.max_unpacked
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u128, &Slot)> {
        self.slots.iter().map(|(key, slot)| (*key, slot))
    }

    pub(crate) fn slot(&self, key: u128) -> Option<&Slot> {
        self.slots.get(&key)
    }

    /// A session that has been unpacked: as every one that something has happened to in this epoch.
    pub(crate) fn unpacked(&self, key: u128) -> Option<&Session> {
        self.slots.get(&key)?.unpacked()
    }

    /// The same, to be changed.
    pub(crate) fn unpacked_mut(&mut self, key: u128) -> Option<&mut Session> {
        match self.slots.get_mut(&key)? {
            Slot::Unpacked(session) => Some(session),
            Slot::Packed(_) => None,
        }
    }

    /// All that have been unpacked.
    pub(crate) fn all_unpacked_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.slots.values_mut().filter_map(|slot| match slot {
            Slot::Unpacked(session) => Some(session.as_mut()),
            Slot::Packed(_) => None,
        })
    }

    /// A session, unpacked; or its place.
    pub(crate) fn entry(
        &mut self,
        key: u128,
        contexts: &Contexts,
        cubes: &mut Cubes,
    ) -> (Option<&mut Session>, Option<Vacant<'_>>) {
        match self.slots.entry(key) {
            Entry::Occupied(known) => (Some(known.into_mut().unpack(contexts, cubes)), None),
            Entry::Vacant(place) => (None, Some(Vacant(place))),
        }
    }

    /// A session, unpacked.
    pub(crate) fn get_mut(&mut self, key: u128, contexts: &Contexts, cubes: &mut Cubes) -> Option<&mut Session> {
        Some(self.slots.get_mut(&key)?.unpack(contexts, cubes))
    }

    /// All of them, unpacked.
    pub(crate) fn unpack_all(
        &mut self,
        contexts: &Contexts,
        cubes: &mut Cubes,
        mut change: impl FnMut(u128, &mut Session, &mut Cubes),
    ) {
        for (key, slot) in &mut self.slots {
            change(*key, slot.unpack(contexts, cubes), cubes);
        }
    }

    /// Keys of those that have changed since their last row, among those with such a key.
    pub(crate) fn changed(&self, is_wanted: impl Fn(u128) -> bool) -> Vec<u128> {
        let has_changed = |slot: &Slot| match slot {
            Slot::Unpacked(session) => session.changed,
            Slot::Packed(packed) => packed.has_changed(),
        };
        self.slots.iter().filter(|(key, slot)| is_wanted(**key) && has_changed(slot)).map(|(key, _)| *key).collect()
    }

    pub(crate) fn insert(&mut self, key: u128, session: Box<Session>) {
        self.slots.insert(key, Slot::Unpacked(session));
    }

    /// As a restart finds it.
    pub(crate) fn insert_packed(&mut self, key: u128, packed: Packed) {
        self.slots.insert(key, Slot::Packed(packed));
    }

    pub(crate) fn remove(&mut self, key: u128, contexts: &Contexts, cubes: &mut Cubes) -> Option<Box<Session>> {
        let mut slot = self.slots.remove(&key)?;
        slot.unpack(contexts, cubes);
        match slot {
            Slot::Unpacked(session) => Some(session),
            Slot::Packed(_) => unreachable!("unpacked just now"),
        }
    }

    /// Takes out a session that has been unpacked, if it is one of these.
    pub(crate) fn remove_if(&mut self, key: u128, is_one: impl Fn(&Session) -> bool) -> Option<Box<Session>> {
        let Entry::Occupied(known) = self.slots.entry(key) else { return None };
        known.get().unpacked().filter(|session| is_one(session))?;
        match known.remove() {
            Slot::Unpacked(session) => Some(session),
            Slot::Packed(_) => unreachable!("it was seen unpacked"),
        }
    }

    /// Drops all others.
    pub(crate) fn retain(&mut self, mut stays: impl FnMut(u128, &Slot) -> bool) {
        self.slots.retain(|key, slot| stays(*key, slot));
    }

    /// Puts the bytes of a session in its place.
    pub(crate) fn pack(&mut self, key: u128, bytes: &[u8]) {
        let packed = Packed::from_bytes(bytes).expect("bytes of a session");
        self.slots.insert(key, Slot::Packed(packed));
    }

    /// Tells of the contexts that the sessions refer to.
    pub(crate) fn contexts(&self, mut see: impl FnMut(u32)) {
        for slot in self.slots.values() {
            match slot {
                Slot::Unpacked(session) => session.contexts().for_each(&mut see),
                Slot::Packed(packed) => see(packed.context()),
            }
        }
    }

    /// Numbers the contexts anew that the sessions refer to.
    pub(crate) fn number_contexts(&mut self, mut number: impl FnMut(u32) -> u32) {
        for slot in self.slots.values_mut() {
            match slot {
                Slot::Unpacked(session) => session.contexts_mut().for_each(|context| *context = number(*context)),
                Slot::Packed(packed) => packed.set_context(number(packed.context())),
            }
        }
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self::new(MAX_UNPACKED)
    }
}
