//! `text_word(text, word)`, a function of Arroyo: a text as five numbers, because the columns that `session_row` folds
//! can only be numbers. This file is posted to Arroyo as it is.
//!
//! Word 0 to 4 is the big-endian number of bytes 0–7, 8–15, … of the text, with zeros behind its end, so words compare
//! as texts do. A text of more than 40 bytes keeps its first 32; its last word is the byte `ff`, which no text holds,
//! and 56 bits of FNV-1a of all of it, so that two such texts stay two. Any other word, and every word of NULL, is NULL.

use arroyo_udf_plugin::udf;

const WORDS: usize = 5;
const WORD_BYTES: usize = 8;
const HASHED: u8 = 0xff;

#[udf]
fn text_word(text: &str, word: i64) -> Option<i64> {
    let bytes = fitted(text);
    let (words, _) = bytes.as_chunks::<WORD_BYTES>();
    let word = words.get(usize::try_from(word).ok()?)?;
    Some(i64::from_be_bytes(*word))
}

fn fitted(text: &str) -> [u8; WORDS * WORD_BYTES] {
    let mut bytes = [0; WORDS * WORD_BYTES];
    if text.len() <= bytes.len() {
        bytes[..text.len()].copy_from_slice(text.as_bytes());
    } else {
        let (kept, hash) = bytes.split_at_mut((WORDS - 1) * WORD_BYTES);
        kept.copy_from_slice(&text.as_bytes()[..kept.len()]);
        hash.copy_from_slice(&fnv1a(text).to_be_bytes());
        hash[0] = HASHED;
    }
    bytes
}

/// FNV-1a, 64 bits (public domain, Fowler/Noll/Vo).
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
