//! `text_word` as Arroyo calls it: the built library through its C interface.

use std::sync::{Arc, LazyLock};

use arroyo_udf_plugin::arrow::array::{ArrayRef, AsArray as _, Int64Array, StringArray};
use arroyo_udf_plugin::arrow::datatypes::Int64Type;

#[path = "../../tests/udf/host.rs"]
mod host;

static TEXT_WORD: LazyLock<&host::Udf> = LazyLock::new(|| host::Udf::load("marquee_text_word"));

/// Word `word` of each text.
fn call(texts: &[Option<&str>], word: Option<i64>) -> Vec<Option<i64>> {
    let texts: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
    let words: ArrayRef = Arc::new(Int64Array::from(vec![word; texts.len()]));
    let answer = TEXT_WORD.run(&[texts, words]).expect("it does not panic");
    answer.as_primitive::<Int64Type>().iter().collect()
}

/// The bytes of all five words of a text.
fn bytes(text: &str) -> Vec<u8> {
    (0..5).flat_map(|word| call(&[Some(text)], Some(word))[0].expect("a word").to_be_bytes()).collect()
}

#[test]
fn words_are_the_bytes_of_the_text() {
    for text in ["", "a", "rendition", "play_requested", "01890a5d-ac96-774b-bcce-b302099a8057", "Ümlaut 中 …"] {
        let mut expect = text.as_bytes().to_vec();
        expect.resize(40, 0);
        assert_eq!(bytes(text), expect, "{text}");
    }
    let longest = "x".repeat(40);
    assert_eq!(bytes(&longest), longest.as_bytes());
}

#[test]
fn a_long_text_keeps_its_beginning_and_differs_from_others() {
    let (one, other) = (format!("{}1", "x".repeat(40)), format!("{}2", "x".repeat(40)));
    let (one, other) = (bytes(&one), bytes(&other));
    assert_eq!((&one[..32], one[32]), ("x".repeat(32).as_bytes(), 0xff));
    assert_eq!((&other[..32], other[32]), (&one[..32], 0xff));
    assert_ne!(one, other);
}

#[test]
fn what_is_no_text_or_no_word_is_null() {
    assert_eq!(call(&[None, Some("a"), None], Some(0)), [None, Some(0x61 << 56), None]);
    for word in [Some(-1), Some(5), Some(i64::MIN), None] {
        assert_eq!(call(&[Some("a")], word), [None], "{word:?}");
    }
}
