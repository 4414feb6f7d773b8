//! A certificate for servers on this machine, made by Java's keytool; it signs itself.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Of the key store, which lives as long as its test.
pub(crate) const STORE_PASSWORD: &str = "not-a-secret-either";

/// A certificate and its key.
pub(crate) struct Certificate {
    /// Both, for the server (PKCS12).
    pub(crate) store: PathBuf,
    /// The certificate alone, for clients (PEM).
    pub(crate) pem: PathBuf,
}

impl Certificate {
    /// Makes one in a folder; `name` tells it from others there.
    ///
    /// # Panics
    /// When keytool cannot.
    pub(crate) fn make(folder: &Path, name: &str) -> Self {
        let made = Self { store: folder.join(format!("{name}.p12")), pem: folder.join(format!("{name}.pem")) };
        let subject = format!("CN={name}");
        keytool(
            &made.store,
            &["-genkeypair", "-keyalg", "EC", "-validity", "2", "-dname", &subject, "-ext", "SAN=ip:127.0.0.1"],
        );
        keytool(&made.store, &["-exportcert", "-rfc", "-file", &made.pem.display().to_string()]);
        made
    }
}

fn keytool(store: &Path, arguments: &[&str]) {
    let output = Command::new("keytool")
        .args(arguments)
        .args(["-alias", "server", "-storetype", "PKCS12", "-storepass", STORE_PASSWORD, "-keystore"])
        .arg(store)
        .output()
        .expect("keytool comes with Java");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "keytool {arguments:?} failed: {}", String::from_utf8_lossy(&said));
}
