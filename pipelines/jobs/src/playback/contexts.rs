//! The contexts of a shard by number, their texts by number, too. A context is decoded once: a record that begins with
//! the same bytes has the same one.

use std::hint::black_box;

use hashbrown::{HashMap, HashTable};
use marquee_events::{CONTEXT_FIELDS, ContextView, Split};
use xxhash_rust::xxh3::{Xxh3, Xxh3Builder, xxh3_64};

use super::sessions::Sessions;

/// So many contexts are kept whatever the sessions: fewer are not worth numbering anew.
const MIN_KEPT: usize = 10_000;

/// Above that, contexts are kept up to this many times as many as there are sessions.
const KEPT_FACTOR: usize = 2;

/// Texts by number; 0 is the empty one.
#[derive(Debug)]
pub(crate) struct Symbols {
    bytes: String,
    /// Where each text ends.
    ends: Vec<usize>,
    numbers: HashTable<u32>,
}

impl Default for Symbols {
    fn default() -> Self {
        Self { bytes: String::new(), ends: vec![0], numbers: HashTable::new() }
    }
}

impl Symbols {
    pub(crate) fn number(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let hash = xxh3_64(text.as_bytes());
        let Self { bytes, ends, numbers } = self;
        let known = |number: &u32| text_at(bytes, ends, *number) == text;
        if let Some(number) = numbers.find(hash, known) {
            return *number;
        }
        let number = ends.len() as u32;
        bytes.push_str(text);
        ends.push(bytes.len());
        numbers.insert_unique(hash, number, |number| xxh3_64(text_at(bytes, ends, *number).as_bytes()));
        number
    }

    /// Makes room for so many more.
    fn reserve(&mut self, additional: usize) {
        let Self { bytes, ends, numbers } = self;
        ends.reserve(additional);
        numbers.reserve(additional, |number| xxh3_64(text_at(bytes, ends, *number).as_bytes()));
    }

    pub(crate) fn text(&self, number: u32) -> &str {
        text_at(&self.bytes, &self.ends, number)
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes held, about; none by the empty text.
    pub(crate) fn size_bytes(&self) -> usize {
        self.bytes.len() + 16 * (self.ends.len() - 1)
    }

    /// Every text in the order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len() as u32).map(|number| self.text(number))
    }
}

fn text_at<'a>(bytes: &'a str, ends: &[usize], number: u32) -> &'a str {
    match number as usize {
        0 => "",
        number => &bytes[ends[number - 1]..ends[number]],
    }
}

/// The texts of a context, in the order of [`CONTEXT_FIELDS`].
pub(crate) type Fields = [u32; CONTEXT_FIELDS.len()];

/// Every context that a session or a row refers to.
#[derive(Debug)]
pub(crate) struct Contexts {
    symbols: Symbols,
    fields: Vec<Fields>,
    sessions: Vec<u128>,
    numbers: HashTable<u32>,
    /// By hashes of encoded contexts. No sender knows the hash's seed, so none can make two contexts meet.
    known_bytes: HashMap<u128, u32>,
    seed: u64,
}

impl Default for Contexts {
    fn default() -> Self {
        use std::hash::{BuildHasher as _, RandomState};
        Self {
            symbols: Symbols::default(),
            fields: Vec::new(),
            sessions: Vec::new(),
            numbers: HashTable::new(),
            known_bytes: HashMap::new(),
            seed: RandomState::new().hash_one(0),
        }
    }
}

impl Contexts {
    /// By which the bytes of a record's context are known.
    pub(crate) fn hash_of_split(&self, split: &Split<'_>) -> u128 {
        let mut hasher = Xxh3Builder::new().with_seed(self.seed).build();
        let location = split.location.unwrap_or_default();
        // With the lengths nothing of the one part can pass for the other's.
        hasher.update(&[split.content_type as u8, u8::from(split.location.is_some())]);
        hasher.update(&(split.context.len() as u64).to_le_bytes());
        hasher.update(split.context);
        hasher.update(location);
        hasher.digest128()
    }

    /// The number of a record's context, `None` when it cannot be decoded by itself. `hash` is that of the split.
    pub(crate) fn of_split(&mut self, split: &Split<'_>, hash: u128) -> Option<u32> {
        if let Some(number) = self.known_bytes.get(&hash) {
            return Some(*number);
        }
        let number = self.number(&split.decode_context()?.fields().map(AsRef::as_ref));
        self.known_bytes.insert(hash, number);
        Some(number)
    }

    /// The number of a decoded context.
    pub(crate) fn of_view(&mut self, view: &ContextView<'_>) -> u32 {
        self.number(&view.fields().map(AsRef::as_ref))
    }

    /// The number of the context with these texts.
    pub(crate) fn number(&mut self, texts: &[&str; CONTEXT_FIELDS.len()]) -> u32 {
        let fields = texts.each_ref().map(|text| self.symbols.number(text));
        self.number_of_fields(fields)
    }

    /// The number of a text among [`symbols`](Self::symbols).
    pub(crate) fn number_of_text(&mut self, text: &str) -> u32 {
        self.symbols.number(text)
    }

    /// The number of the context with these texts, by their numbers.
    pub(crate) fn number_of_fields(&mut self, fields: Fields) -> u32 {
        self.number_of_session(fields, |symbols| session_key(symbols.text(fields[0]), symbols.text(fields[1])))
    }

    fn number_of_session(&mut self, fields: Fields, session: impl FnOnce(&Symbols) -> u128) -> u32 {
        let hash = hash_of(&fields);
        if let Some(number) = self.numbers.find(hash, |number| self.fields[*number as usize] == fields) {
            return *number;
        }
        let number = self.fields.len() as u32;
        self.fields.push(fields);
        self.sessions.push(session(&self.symbols));
        self.numbers.insert_unique(hash, number, |number| hash_of(&self.fields[*number as usize]));
        number
    }

    /// Makes room for so many more.
    fn reserve(&mut self, additional: usize) {
        let Self { symbols, fields, sessions, numbers, .. } = self;
        fields.reserve(additional);
        sessions.reserve(additional);
        numbers.reserve(additional, |number| hash_of(&fields[*number as usize]));
        symbols.reserve(additional);
    }

    pub(crate) fn len(&self) -> usize {
        self.fields.len()
    }

    /// Bytes held, about.
    pub(crate) fn size_bytes(&self) -> usize {
        let per_context = size_of::<Fields>() + size_of::<u128>() + size_of::<u64>();
        self.symbols.size_bytes() + self.fields.len() * per_context + self.known_bytes.len() * 2 * size_of::<u128>()
    }

    pub(crate) fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    pub(crate) fn fields(&self, number: u32) -> &Fields {
        &self.fields[number as usize]
    }

    /// The key of the session whose context it is.
    pub(crate) fn session(&self, number: u32) -> u128 {
        self.sessions[number as usize]
    }

    /// The text at `index` of [`CONTEXT_FIELDS`].
    pub(crate) fn text(&self, number: u32, index: usize) -> &str {
        self.symbols.text(self.fields[number as usize][index])
    }

    /// Asks memory for these contexts and their texts, for all of them at once.
    pub(crate) fn touch<N: Iterator<Item = u32>>(&self, numbers: impl Fn() -> N) {
        let fields = || numbers().map(|number| self.fields(number));
        fields().for_each(|fields| _ = black_box((fields[0], fields[CONTEXT_FIELDS.len() - 1])));
        // Its own is the id of the session; most of the others are those of many.
        fields().for_each(|fields| _ = black_box(self.symbols.ends[fields[0] as usize]));
        fields().for_each(|fields| _ = black_box(self.symbols.text(fields[0]).as_bytes().last()));
    }

    /// (session id, player instance).
    pub(crate) fn ids(&self, number: u32) -> (&str, &str) {
        (self.text(number, 0), self.text(number, 1))
    }

    /// The text of a field; empty when unknown.
    #[cfg(test)]
    pub(crate) fn get(&self, number: u32, field: &str) -> &str {
        CONTEXT_FIELDS.iter().position(|name| *name == field).map_or("", |index| self.text(number, index))
    }

    /// Drops the contexts that no session refers to, once they are many; whether the numbers have changed. Rows must not
    /// refer to any, and `sessions` must be all there are.
    pub(crate) fn sweep(&mut self, sessions: &mut Sessions) -> bool {
        let kept = MIN_KEPT.max(KEPT_FACTOR * sessions.len());
        if self.known_bytes.len() > kept {
            // One context can be encoded in many ways.
            self.known_bytes = HashMap::new();
        }
        if self.fields.len() <= kept {
            return false;
        }
        // In the order of the numbers, which is that of memory, and not in that of the sessions.
        let mut renumbered: Vec<Option<u32>> = vec![None; self.fields.len()];
        sessions.contexts(|number| renumbered[number as usize] = Some(number));
        let old = std::mem::replace(self, Self { seed: self.seed, ..Self::default() });
        self.reserve(sessions.len());
        // The new numbers of texts, 0 for those that have none yet: each is looked up once.
        let mut symbols = vec![0; old.symbols.len()];
        for number in renumbered.iter_mut().flatten() {
            let fields = old.fields[*number as usize].map(|symbol| {
                let known = &mut symbols[symbol as usize];
                if *known == 0 {
                    *known = self.symbols.number(old.symbols.text(symbol));
                }
                *known
            });
            *number = self.number_of_session(fields, |_| old.sessions[*number as usize]);
        }
        let renumber = |number: u32| renumbered[number as usize];
        self.known_bytes = old.known_bytes;
        self.known_bytes.retain(|_, number| {
            let new = renumber(*number);
            *number = new.unwrap_or_default();
            new.is_some()
        });
        sessions.number_contexts(|number| renumber(number).expect("a session's context was seen"));
        true
    }
}

fn hash_of(fields: &Fields) -> u64 {
    let mut bytes = [0; size_of::<Fields>()];
    for (place, symbol) in bytes.chunks_exact_mut(4).zip(fields) {
        place.copy_from_slice(&symbol.to_le_bytes());
    }
    xxh3_64(&bytes)
}

/// Identifies (session id, player instance); 128 bits never collide in practice.
pub(crate) fn session_key(session_id: &str, player_instance: &str) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(session_id.as_bytes());
    hasher.update(&[0xff]); // in no UTF-8 text
    hasher.update(player_instance.as_bytes());
    hasher.digest128()
}

#[cfg(test)]
mod tests {
    use marquee_events::{ContentType, split};

    use super::*;

    fn of(contexts: &mut Contexts, json: &str) -> Option<u32> {
        let split = split(ContentType::Json, json.as_bytes(), &mut Vec::new())?;
        contexts.of_split(&split, contexts.hash_of_split(&split))
    }

    #[test]
    fn equal_contexts_have_one_number_however_they_come() {
        let mut contexts = Contexts::default();
        let first = of(&mut contexts, r#"{"context":{"session_id":"s","country":"DE"},"events":[{}]}"#).unwrap();
        let again = of(&mut contexts, r#"{"context":{"session_id":"s","country":"DE"},"sent_at_ms":1,"events":[{}]}"#);
        assert_eq!(again, Some(first));
        let turned = of(&mut contexts, r#"{"context":{"country":"DE","session_id":"s"},"events":[{}]}"#);
        assert_eq!((turned, contexts.known_bytes.len()), (Some(first), 2));
        let located = r#"{"context":{"session_id":"s","country":"DE"},"events":[{}],"location":{"country":"FR"}}"#;
        let located = of(&mut contexts, located).unwrap();
        assert_eq!((contexts.get(located, "country"), contexts.get(first, "country")), ("FR", "DE"));
        assert_eq!(contexts.session(located), contexts.session(first));
        assert_eq!(
            of(&mut contexts, r#"{"context":{"country":"DE"},"events":[{}]}"#),
            None,
            "for the decoder to refuse"
        );
        assert_eq!(contexts.len(), 2);
    }
}
