//! The signed profile token: who asks for a page. HMAC-SHA256 (RFC 2104) over the profile id and the expiry; it says
//! nothing about maturity or region, which the server reads for itself.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

/// Shortest key that is taken (bytes): the output of SHA-256.
pub const MIN_KEY_BYTES: usize = 32;

/// The largest token that is looked at (bytes): an id of 256 bytes, base64 and the rest.
pub const MAX_TOKEN_BYTES: usize = 1024;

/// Names the format, so that a later one can live beside it.
const VERSION: &str = "p1";

/// Signs and checks profile tokens.
#[derive(Clone)]
pub struct TokenKey {
    mac: Hmac<Sha256>,
}

/// Why a token is not accepted. Never says which byte differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token of this format.
    #[error("the profile token is malformed")]
    Malformed,
    /// Signed with another key, or changed.
    #[error("the profile token's signature is wrong")]
    WrongSignature,
    /// Its time is over.
    #[error("the profile token has expired")]
    Expired,
    /// The key is shorter than [`MIN_KEY_BYTES`].
    #[error("the token key is too short")]
    ShortKey,
}

impl TokenKey {
    /// A key from secret bytes.
    ///
    /// # Errors
    /// [`TokenError::ShortKey`].
    pub fn new(secret: &[u8]) -> Result<Self, TokenError> {
        if secret.len() < MIN_KEY_BYTES {
            return Err(TokenError::ShortKey);
        }
        Ok(Self { mac: Hmac::new_from_slice(secret).expect("HMAC takes keys of any length") })
    }

    /// A token for a profile, valid until `expires_at_ms` (ms since the epoch).
    pub fn sign(&self, profile_id: &str, expires_at_ms: i64) -> String {
        let body = format!("{VERSION}.{}.{expires_at_ms}", URL_SAFE_NO_PAD.encode(profile_id));
        let signature = self.mac.clone().chain_update(body.as_bytes()).finalize().into_bytes();
        format!("{body}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    /// The profile that a token is for.
    ///
    /// # Errors
    /// [`TokenError`]; the signature is compared in constant time and before anything in the token is believed.
    pub fn verify(&self, token: &str, now_ms: i64) -> Result<String, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let (body, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| TokenError::Malformed)?;
        let mac = self.mac.clone().chain_update(body.as_bytes());
        mac.verify_slice(&signature).map_err(|_| TokenError::WrongSignature)?;
        let mut parts = body.split('.');
        let (Some(VERSION), Some(profile), Some(expires), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::Malformed);
        };
        let expires_at_ms: i64 = expires.parse().map_err(|_| TokenError::Malformed)?;
        if now_ms >= expires_at_ms {
            return Err(TokenError::Expired);
        }
        let profile = URL_SAFE_NO_PAD.decode(profile).map_err(|_| TokenError::Malformed)?;
        String::from_utf8(profile).map_err(|_| TokenError::Malformed)
    }
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey(secret)")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_comes_is_refused(bytes in proptest::collection::vec(any::<u8>(), 0..1200)) {
            let key = TokenKey::new(&[7; 32]).unwrap();
            prop_assert!(key.verify(&String::from_utf8_lossy(&bytes), 0).is_err());
        }

        #[test]
        fn whatever_looks_like_a_token_is_refused(
            token in r"p1\.[A-Za-z0-9_-]{0,12}\.-?[0-9]{0,20}\.[A-Za-z0-9_-]{43}",
        ) {
            let key = TokenKey::new(&[7; 32]).unwrap();
            prop_assert!(key.verify(&token, i64::MIN).is_err());
        }

        /// Decoding alone, behind a right signature: nothing that the key has signed makes it panic.
        #[test]
        fn a_signed_body_of_any_shape_is_no_panic(body in r"(p1|p2|)\.?[A-Za-z0-9_=\.-]{0,40}") {
            let key = TokenKey::new(&[7; 32]).unwrap();
            let signature = key.mac.clone().chain_update(body.as_bytes()).finalize().into_bytes();
            let token = format!("{body}.{}", URL_SAFE_NO_PAD.encode(signature));
            prop_assert_ne!(key.verify(&token, 0), Err(TokenError::WrongSignature));
        }

        #[test]
        fn what_was_signed_comes_back(profile_id in ".{1,64}", expires_at_ms in any::<i64>()) {
            let key = TokenKey::new(&[7; 32]).unwrap();
            let token = key.sign(&profile_id, expires_at_ms);
            prop_assert!(token.len() <= MAX_TOKEN_BYTES);
            let expected = if expires_at_ms > 0 { Ok(profile_id) } else { Err(TokenError::Expired) };
            prop_assert_eq!(key.verify(&token, 0), expected);
        }

        /// Every byte, the last character's unused bits included, against every other byte that may stand in a string.
        #[test]
        fn any_changed_byte_is_refused(profile_id in "[a-z0-9-]{1,24}", expires_at_ms in 1_i64..) {
            let key = TokenKey::new(&[7; 32]).unwrap();
            let token = key.sign(&profile_id, expires_at_ms).into_bytes();
            for index in 0..token.len() {
                for other in (0..128_u8).filter(|other| *other != token[index]) {
                    let mut changed = token.clone();
                    changed[index] = other;
                    let changed = String::from_utf8(changed).unwrap();
                    prop_assert!(key.verify(&changed, 0).is_err(), "{changed}");
                }
                let shorter = String::from_utf8(token[..index].to_vec()).unwrap();
                prop_assert!(key.verify(&shorter, 0).is_err(), "{shorter}");
            }
        }
    }

    #[test]
    fn only_what_was_signed_is_believed() {
        let key = TokenKey::new(&[7; 32]).unwrap();
        let token = key.sign("ml-1", 1_000);
        assert_eq!(key.verify(&token, 999), Ok("ml-1".to_owned()));
        assert_eq!(key.verify(&token, 1_000), Err(TokenError::Expired));
        assert_eq!(TokenKey::new(&[8; 32]).unwrap().verify(&token, 0), Err(TokenError::WrongSignature));
        let other = key.sign("ml-2", 1_000);
        let (body, _) = other.rsplit_once('.').unwrap();
        let forged = format!("{body}.{}", token.rsplit_once('.').unwrap().1);
        assert_eq!(key.verify(&forged, 0), Err(TokenError::WrongSignature));
        for malformed in ["", ".", "a.b", "p1.x.y.z", &"x".repeat(2_000)] {
            assert!(key.verify(malformed, 0).is_err(), "{malformed}");
        }
        assert_eq!(TokenKey::new(b"short").unwrap_err(), TokenError::ShortKey);
    }
}
