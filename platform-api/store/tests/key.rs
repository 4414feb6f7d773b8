//! The key file: made once, for its owner, whole; refused when it is anything else.

#![allow(clippy::unwrap_used, reason = "clippy takes only functions marked as tests for tests")]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use marquee_catalogue::token::TokenError;
use marquee_events::ErrorKind;
use marquee_store::{KEY_BYTES, KeyError, load_or_create_key, load_or_create_secret};

fn assert_refused(path: &Path, kind: ErrorKind, expected: &str) {
    let error = load_or_create_key(path).unwrap_err();
    assert_eq!(error.kind(), kind, "{error:?}");
    let message = error.to_string();
    assert!(message.contains(expected) && message.contains(&path.display().to_string()), "{message}");
}

#[test]
fn a_key_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("keys/token.key");
    let token = load_or_create_key(&path).unwrap().sign("ml-1", 1);
    assert_eq!(load_or_create_key(&path).unwrap().verify(&token, 0), Ok("ml-1".to_owned()));

    let secret = fs::read(&path).unwrap();
    assert_eq!(secret.len(), KEY_BYTES);
    assert_eq!(load_or_create_secret(&path).unwrap().as_slice(), secret);
    let metadata = fs::metadata(&path).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing is left beside it");

    let other = dir.path().join("other.key");
    assert_eq!(load_or_create_key(&other).unwrap().verify(&token, 0), Err(TokenError::WrongSignature));
    assert_ne!(fs::read(other).unwrap(), secret);
}

#[test]
fn all_who_make_it_at_once_get_the_same() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..20 {
        let path = dir.path().join(format!("{round}.key"));
        let start = std::sync::Barrier::new(4);
        let tokens: Vec<_> = std::thread::scope(|scope| {
            let make = || {
                start.wait();
                load_or_create_key(&path).unwrap().sign("ml-1", 1)
            };
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(make)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(tokens.iter().all(|token| *token == tokens[0]), "{tokens:?}");
    }
}

#[test]
fn a_key_that_others_can_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token.key");
    load_or_create_key(&path).unwrap();
    for mode in [0o604, 0o640, 0o620, 0o601, 0o777] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        assert_refused(&path, ErrorKind::Invalid, &format!("chmod 600 {}", path.display()));
    }
    for mode in [0o600, 0o400] {
        fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        load_or_create_key(&path).unwrap();
    }
}

#[test]
fn a_key_of_another_length_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token.key");
    for length in [0, KEY_BYTES - 1, KEY_BYTES + 1, 1_000_000] {
        fs::write(&path, vec![7; length]).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        assert_refused(&path, ErrorKind::Damaged, "is not a file of 32 bytes");
        assert_eq!(fs::metadata(&path).unwrap().len(), length as u64, "it is left as it is");
    }
    let folder = dir.path().join("folder");
    fs::create_dir(&folder).unwrap();
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    assert_refused(&folder, ErrorKind::Damaged, "is not a file");
}

#[test]
fn no_error_shows_the_secret() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token.key");
    fs::write(&path, "0123456789-secret-of-another-length-").unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
    let error = load_or_create_key(&path).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("secret"), "{error:?}");
    fs::write(&path, [b'7'; KEY_BYTES]).unwrap();
    assert!(!format!("{:?}", load_or_create_key(&path).unwrap()).contains('7'));
}

#[test]
fn a_folder_that_cannot_be_made_is_unavailable() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), "").unwrap();
    let error = load_or_create_key(&dir.path().join("file/token.key")).unwrap_err();
    assert!(matches!(error, KeyError::Storage { .. }), "{error:?}");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}
