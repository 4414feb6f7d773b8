//! Keys and values as they are stored. Values are postcard, which has no field names: whenever a field of
//! `ProfileState` or `TitleState` changes, [`FORMAT`] has to grow (`a_value_keeps_its_bytes` fails until it does).
//!
//! ```text
//! p/<profile id> 0x00 <shard>  →  FORMAT, postcard(ProfileState)
//! t/<title id>   0x00 <shard>  →  FORMAT, postcard(TitleState)
//! ```
//! No shard's name holds 0x00, so the last one parts the two, whatever an id holds.

use marquee_definitions::OnlineError;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The first byte of every value.
pub(crate) const FORMAT: u8 = 1;

/// What comes before the id of a profile and of a title.
pub(crate) const PROFILE: &str = "p/";
pub(crate) const TITLE: &str = "t/";

/// The longest key (bytes), well below fjall's 64 KiB: an id of 256 bytes and the name of a shard are far shorter.
pub(crate) const MAX_KEY_BYTES: usize = 16 * 1024;

const SEPARATOR: char = '\0';

/// A value cannot be stored under this name.
#[derive(Debug, thiserror::Error)]
#[error("`{id:.60}` of shard `{shard:.60}` cannot be a key: {why}")]
struct BadKey {
    id: String,
    shard: String,
    why: &'static str,
}

/// The key of a shard's part.
///
/// # Errors
/// When the shard's name holds the separator or both are too long.
pub(crate) fn key(prefix: &str, id: &str, shard: &str) -> Result<Vec<u8>, OnlineError> {
    let refused = |why| {
        let source = BadKey { id: id.to_owned(), shard: shard.to_owned(), why };
        Err(OnlineError::Storage { operation: "naming what is written", source: Box::new(source) })
    };
    if shard.contains(SEPARATOR) {
        return refused("the shard's name holds 0x00");
    }
    if prefix.len() + id.len() + 1 + shard.len() > MAX_KEY_BYTES {
        return refused("it is too long");
    }
    Ok([start_of(prefix, id).as_slice(), shard.as_bytes()].concat())
}

/// What the keys of all parts begin with, and some keys of other ids, too: see [`is_shard`].
pub(crate) fn start_of(prefix: &str, id: &str) -> Vec<u8> {
    format!("{prefix}{id}{SEPARATOR}").into_bytes()
}

/// Whether what follows [`start_of`] in a key is a shard's name; otherwise the id goes on there.
pub(crate) fn is_shard(rest: &[u8]) -> bool {
    !rest.contains(&(SEPARATOR as u8))
}

/// The id in a key.
///
/// # Errors
/// [`OnlineError::Damaged`].
pub(crate) fn id_of<'a>(prefix: &str, key: &'a [u8]) -> Result<&'a str, OnlineError> {
    let id = std::str::from_utf8(key).ok().and_then(|text| text.strip_prefix(prefix)?.rsplit_once(SEPARATOR));
    id.map(|(id, _)| id).ok_or_else(|| damaged(key, "the key is not one that is written here".to_owned()))
}

/// A state as it is stored.
pub(crate) fn encode(state: &impl Serialize) -> Vec<u8> {
    postcard::to_extend(state, vec![FORMAT]).expect("a state is data that postcard takes, and a vector has room")
}

/// The state in a value.
///
/// # Errors
/// [`OnlineError::Damaged`].
pub(crate) fn decode<T: DeserializeOwned>(key: &[u8], value: &[u8]) -> Result<T, OnlineError> {
    let problem = match value.split_first() {
        Some((&FORMAT, state)) => match postcard::take_from_bytes(state) {
            Ok((state, [])) => return Ok(state),
            Ok((_, rest)) => format!("{} bytes are left over", rest.len()),
            Err(error) => format!("it cannot be decoded ({error})"),
        },
        Some((format, _)) => format!(
            "it has format {format}, this program reads {FORMAT}: remove the store's folder, recovery fills it anew"
        ),
        None => "it is empty".to_owned(),
    };
    Err(damaged(key, problem))
}

fn damaged(key: &[u8], problem: String) -> OnlineError {
    OnlineError::Damaged { key: key.escape_ascii().to_string(), problem }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use expect_test::expect;
    use marquee_definitions::{FeatureFold, ProfileState, Signal, SignalKind};

    use super::*;

    #[test]
    fn ids_come_out_of_keys() {
        for id in ["a", "", "a\0b", "\0", "ü/p/t/"] {
            for shard in ["features/playback/0", ""] {
                let key = key(TITLE, id, shard).unwrap();
                assert_eq!(id_of(TITLE, &key).unwrap(), id);
                let rest = key.strip_prefix(start_of(TITLE, id).as_slice()).unwrap();
                assert!(is_shard(rest));
            }
        }
        let longer = key(PROFILE, "a\0b", "s").unwrap();
        assert!(
            !is_shard(longer.strip_prefix(start_of(PROFILE, "a").as_slice()).unwrap()),
            "`a` does not read `a\\0b`"
        );
        assert!(key(PROFILE, "a", "s\0").is_err());
        assert!(key(PROFILE, &"a".repeat(MAX_KEY_BYTES), "s").is_err());
        for stray in [&b""[..], b"t/", b"t/a", b"p/a\0s", b"t/\xff\0s"] {
            assert!(matches!(id_of(TITLE, stray), Err(OnlineError::Damaged { .. })), "{stray:?}");
        }
    }

    #[test]
    fn what_is_no_value_is_damage() {
        let whole = encode(&ProfileState::default());
        assert_eq!(decode::<ProfileState>(b"p/a\0s", &whole).unwrap(), ProfileState::default());
        let longer = [whole.as_slice(), b"x"].concat();
        let other = [&[FORMAT + 1], &whole[1..]].concat();
        for bytes in [&[][..], &whole[..whole.len() - 1], &longer, &other] {
            let error = decode::<ProfileState>(b"p/a\0s", bytes).unwrap_err();
            assert!(error.to_string().contains(r"`p/a\x00s`"), "{error}");
        }
    }

    /// When this fails because a state has other fields now: let [`FORMAT`] grow, then update what is expected
    /// (`UPDATE_EXPECT=1`). A store of the old format says so when it is read.
    #[test]
    fn a_value_keeps_its_bytes() {
        let mut fold = FeatureFold::default();
        let genres = ["Drama".to_owned()];
        for (title_id, kind) in [
            ("t-1", SignalKind::ViewStarted),
            ("t-1", SignalKind::ViewFinished { watched_fraction: 0.5 }),
            ("t-2", SignalKind::ViewStarted),
            ("t-3", SignalKind::ListAdd),
            ("t-4", SignalKind::NotInterested),
        ] {
            let (event_time_ms, available_ms) = (1_700_000_000_000, 1_700_000_000_500);
            let signal = Signal { profile_id: "p", title_id, genres: &genres, kind, event_time_ms, available_ms };
            fold.apply(&signal, &mut marquee_definitions::Changed::default());
        }
        expect![[r"
            01e8a7abfef96201054472616d6101fa15c0f0dd80010203742d3180a0abfef9
            6280a0abfef9620000003f03742d3280a0abfef962ffffffffffffffffff0100
            0000000303742d3180a0abfef96280a0abfef96203742d3280a0abfef96280a0
            abfef96203742d3380a0abfef96280a0abfef962000203742d3180a0abfef962
            80a0abfef9620000003f03742d3280a0abfef962ffffffffffffffffff010000
            00000103742d3380a0abfef962010103742d3480a0abfef96201
        "]]
        .assert_eq(&hex(&encode(&fold.profiles["p"])));
        expect![[r"
            01e8a7abfef96201bcd239010101f42bf4dbabcc0380808004010103742d329f
            fb8b9bb6967637
        "]]
        .assert_eq(&hex(&encode(&fold.titles["t-1"])));
    }

    /// 32 bytes a line.
    fn hex(bytes: &[u8]) -> String {
        let mut text = String::new();
        for line in bytes.chunks(32) {
            line.iter().try_for_each(|byte| write!(text, "{byte:02x}")).unwrap();
            text.push('\n');
        }
        text
    }
}
