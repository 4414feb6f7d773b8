//! From what the RFC 8941 parser gives to a key's value as the table of keys wants it.

use marquee_events::MAX_ID_BYTES;
use sfv::{BareItem, InnerList, Item, ListEntry};

use crate::keys::{Kind, OBJECT_TYPES};
use crate::problem::quoted;

/// A checked value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Flag(bool),
    Number(i64),
    Measures(Measures),
    Text(String),
    Texts(Vec<String>),
    Token(&'static str),
}

/// Numbers by what they are for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Measures(Vec<(Option<&'static str>, i64)>);

impl Measures {
    /// Of what is watched: muxed, else video, else what has no type, else audio. They are not added: a report that has
    /// one of two would look like a switch.
    pub(crate) fn watched(&self) -> Option<i64> {
        [Some("av"), Some("v"), None, Some("a")]
            .into_iter()
            .find_map(|wanted| self.0.iter().find(|(object_type, _)| *object_type == wanted))
            .map(|(_, value)| *value)
    }

    /// Of all: a player stalls when the first of its buffers is empty.
    pub(crate) fn least(&self) -> Option<i64> {
        self.0.iter().map(|(_, value)| *value).min()
    }
}

/// Checks a value; the error says what is wrong with it, such as `must be a string`.
pub(crate) fn check(kind: &Kind, entry: ListEntry, text_of: impl Fn(String) -> String) -> Result<Value, String> {
    match (kind, entry) {
        (Kind::Measures(range), ListEntry::InnerList(InnerList { items, .. })) => {
            let measure = |item: Item| {
                let value = rounded(&item.bare_item, range)?;
                Ok((object_type(&item)?, value))
            };
            items.into_iter().map(measure).collect::<Result<_, String>>().map(|list| Value::Measures(Measures(list)))
        }
        (Kind::Measures(range), ListEntry::Item(item)) => {
            let value = rounded(&item.bare_item, range)?;
            Ok(Value::Measures(Measures(vec![(object_type(&item)?, value)])))
        }
        (Kind::Texts(max_chars), ListEntry::InnerList(InnerList { items, .. })) => {
            let texts = items.into_iter().map(|item| code(item.bare_item, *max_chars, &text_of));
            texts.collect::<Result<_, String>>().map(Value::Texts)
        }
        (Kind::Texts(max_chars), ListEntry::Item(item)) => {
            Ok(Value::Texts(vec![code(item.bare_item, *max_chars, &text_of)?]))
        }
        (_, ListEntry::InnerList(_)) => Err("must not be a list".to_owned()),
        (Kind::Flag, ListEntry::Item(item)) => match item.bare_item {
            BareItem::Boolean(flag) => Ok(Value::Flag(flag)),
            _ => Err("must be a boolean".to_owned()),
        },
        (Kind::Integer(range), ListEntry::Item(item)) => match item.bare_item {
            BareItem::Integer(value) => within(value.into(), range).map(Value::Number),
            _ => Err("must be an integer".to_owned()),
        },
        (Kind::Measure(range), ListEntry::Item(item)) => rounded(&item.bare_item, range).map(Value::Number),
        (Kind::Rate(range), ListEntry::Item(item)) => match thousandths(&item.bare_item) {
            Some(value) => within(value, range).map(Value::Number),
            None => Err("must be a number".to_owned()),
        },
        (Kind::Text(max_chars), ListEntry::Item(item)) => match item.bare_item {
            BareItem::String(text) => short(text_of(text.into()), *max_chars).map(Value::Text),
            _ => Err("must be a string".to_owned()),
        },
        (Kind::Token(known), ListEntry::Item(item)) => match &item.bare_item {
            BareItem::Token(token) => known
                .iter()
                .find(|known| **known == token.as_str())
                .map(|token| Value::Token(token))
                .ok_or_else(|| format!("has the unknown value `{}`", quoted(token.as_str()))),
            _ => Err("must be a token".to_owned()),
        },
    }
}

/// The object type that a number is for: `5000;v`, or `5000;ot=v`.
fn object_type(item: &Item) -> Result<Option<&'static str>, String> {
    let Some((name, value)) = item.params.iter().next() else { return Ok(None) };
    let named = match value {
        BareItem::Token(token) if name.as_str() == "ot" => token.as_str(),
        _ => name.as_str(),
    };
    let known = OBJECT_TYPES.iter().find(|known| **known == named).copied();
    known.map(Some).ok_or_else(|| format!("has a number of the unknown object type `{}`", quoted(named)))
}

/// An error code or a path; dash.js sends codes as numbers.
fn code(item: BareItem, max_chars: usize, text_of: impl Fn(String) -> String) -> Result<String, String> {
    match item {
        BareItem::String(text) => short(text_of(text.into()), max_chars),
        BareItem::Integer(number) => Ok(number.to_string()),
        _ => Err("must be a list of strings".to_owned()),
    }
}

fn short(text: String, max_chars: usize) -> Result<String, String> {
    let length = text.chars().count();
    if length > max_chars {
        return Err(format!("has {length} characters, at most {max_chars} are accepted"));
    }
    // The specification's letters have one byte; the longest of ours must fit into the wire's.
    if max_chars <= MAX_ID_BYTES && text.len() > MAX_ID_BYTES {
        return Err(format!("has {} bytes, at most {MAX_ID_BYTES} are accepted", text.len()));
    }
    Ok(text)
}

fn thousandths(item: &BareItem) -> Option<i64> {
    match item {
        BareItem::Integer(value) => Some(i64::from(*value) * 1000), // fifteen digits and three more fit
        BareItem::Decimal(value) => Some(i64::from(value.as_integer_scaled_1000())),
        _ => None,
    }
}

fn rounded(item: &BareItem, range: &std::ops::RangeInclusive<i64>) -> Result<i64, String> {
    let thousandths = thousandths(item).ok_or("must be a number")?;
    within((thousandths + 500).div_euclid(1000), range)
}

fn within(value: i64, range: &std::ops::RangeInclusive<i64>) -> Result<i64, String> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(format!("is {value}, which is not between {} and {}", range.start(), range.end()))
}
