//! Opaque values for clients: base64url(version, postcard, HMAC-SHA256 cut to 128 bits). Clients can neither read
//! meaning into them nor make their own. A value is sealed for a purpose; another purpose does not open it.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;

/// Shortest secret that is taken (bytes): the output of SHA-256.
pub const MIN_SECRET_BYTES: usize = 32;

/// The largest sealed value that is looked at (characters): two ids of 256 bytes, a model version and the rest.
const MAX_SEALED_CHARS: usize = 2048;

/// Bytes of the signature that are kept: RFC 2104 §5 allows half of the hash's output and not less.
const SIGNATURE_BYTES: usize = 16;

/// Names the format, so that a later one can live beside it.
const VERSION: u8 = 1;

/// Seals and opens.
#[derive(Clone)]
pub struct SealKey {
    mac: Hmac<Sha256>,
}

/// Why a sealed value is not accepted. Never says which byte differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Not of this format.
    #[error("the value is malformed")]
    Malformed,
    /// Sealed with another key or for another purpose, or changed.
    #[error("the value's signature is wrong")]
    WrongSignature,
    /// The secret is shorter than [`MIN_SECRET_BYTES`].
    #[error("the secret is too short")]
    ShortSecret,
}

impl SealKey {
    /// A key from secret bytes.
    ///
    /// # Errors
    /// [`SealError::ShortSecret`].
    pub fn new(secret: &[u8]) -> Result<Self, SealError> {
        if secret.len() < MIN_SECRET_BYTES {
            return Err(SealError::ShortSecret);
        }
        Ok(Self { mac: Hmac::new_from_slice(secret).expect("HMAC takes keys of any length") })
    }

    /// Seals a value for a purpose.
    pub fn seal<T: Serialize>(&self, purpose: &str, value: &T) -> String {
        let body = vec![VERSION];
        let mut sealed = postcard::to_extend(value, body).expect("sealed values are plain data");
        let signature = self.signed(purpose, &sealed).finalize().into_bytes();
        sealed.extend_from_slice(&signature[..SIGNATURE_BYTES]);
        URL_SAFE_NO_PAD.encode(sealed)
    }

    /// What was sealed for this purpose.
    ///
    /// # Errors
    /// [`SealError`]; the signature is compared in constant time and before anything else is believed.
    pub fn open<T: DeserializeOwned>(&self, purpose: &str, sealed: &str) -> Result<T, SealError> {
        if sealed.len() > MAX_SEALED_CHARS {
            return Err(SealError::Malformed);
        }
        let sealed = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| SealError::Malformed)?;
        let body_bytes = sealed.len().checked_sub(SIGNATURE_BYTES).ok_or(SealError::Malformed)?;
        let (body, signature) = sealed.split_at(body_bytes);
        self.signed(purpose, body).verify_truncated_left(signature).map_err(|_| SealError::WrongSignature)?;
        let (&version, value) = body.split_first().ok_or(SealError::Malformed)?;
        if version != VERSION {
            return Err(SealError::Malformed);
        }
        match postcard::take_from_bytes(value) {
            Ok((value, [])) => Ok(value),
            _ => Err(SealError::Malformed),
        }
    }

    /// The purpose is signed with its length, so that no purpose and body read like another.
    fn signed(&self, purpose: &str, body: &[u8]) -> Hmac<Sha256> {
        self.mac.clone().chain_update((purpose.len() as u64).to_le_bytes()).chain_update(purpose).chain_update(body)
    }
}

impl std::fmt::Debug for SealKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SealKey(secret)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> SealKey {
        SealKey::new(&[byte; 32]).unwrap()
    }

    #[test]
    fn only_the_purpose_and_key_that_sealed_it_open_it() {
        let sealed = key(1).seal("a", &("x".to_owned(), 7_u32));
        assert_eq!(key(1).open("a", &sealed), Ok(("x".to_owned(), 7_u32)));
        assert_eq!(key(1).open::<(String, u32)>("b", &sealed), Err(SealError::WrongSignature));
        assert_eq!(key(2).open::<(String, u32)>("a", &sealed), Err(SealError::WrongSignature));
        assert_eq!(key(1).open::<String>("a", &sealed), Err(SealError::Malformed), "nothing may be left over");
        assert_eq!(SealKey::new(&[1; 31]).unwrap_err(), SealError::ShortSecret);
    }

    proptest! {
        #[test]
        fn any_other_text_is_refused(text in ".{0,80}", position in 0_usize..40, flip in 1_u8..=255) {
            prop_assert!(key(1).open::<u64>("a", &text).is_err());
            let mut bytes = URL_SAFE_NO_PAD.decode(key(1).seal("a", &1_234_567_u64)).unwrap();
            let position = position % bytes.len();
            bytes[position] ^= flip;
            prop_assert!(key(1).open::<u64>("a", &URL_SAFE_NO_PAD.encode(bytes)).is_err());
        }
    }
}
