//! The files that `server.tls` names: read, and judged before anything is served with them.

use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys, RootCertStore};
use sha2::{Digest as _, Sha256};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::exposed::exposed_with_way;
use super::regular::open_file;
use super::schema::{ClientAuth, Tls};

/// Largest of these files in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// The content of the files.
#[derive(Debug)]
pub struct TlsFiles {
    /// The certificate chain with its key.
    pub pair: Arc<CertifiedKey>,
    /// The authorities for certificates of clients; none where they are not asked for one.
    pub authorities: Option<Arc<RootCertStore>>,
    /// From when on clients take the certificate for too old.
    pub expires: SystemTime,
    /// Tells one content of the files from another.
    pub digest: [u8; 32],
}

/// Which of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// `cert_file`.
    Certificate,
    /// `key_file`.
    Key,
    /// `client_ca_file`.
    Authorities,
}

/// A fault of one of them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}; expected {expected}. Remedy: {help}", which.key())]
pub struct TlsFault {
    /// Which.
    pub which: Which,
    /// The fault, with the file's path.
    pub message: String,
    /// The expectation.
    pub expected: &'static str,
    /// The remedy.
    pub help: &'static str,
}

impl Which {
    /// Its key in `server.tls`.
    pub const fn key(self) -> &'static str {
        match self {
            Self::Certificate => "cert_file",
            Self::Key => "key_file",
            Self::Authorities => "client_ca_file",
        }
    }
}

/// The files' bytes, and what tells them from others.
pub struct RawTlsFiles {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authorities: Option<Vec<u8>>,
    /// The digest of all of them.
    pub digest: [u8; 32],
}

/// Reads the files without looking into them.
///
/// # Errors
/// [`TlsFault`] of the first that cannot be read.
pub fn read(tls: &Tls) -> Result<RawTlsFiles, TlsFault> {
    let certificate = file(Which::Certificate, &tls.cert_file)?;
    let key = file(Which::Key, &tls.key_file)?;
    let authorities = match (&tls.client_ca_file, tls.client_auth) {
        (Some(path), ClientAuth::Optional | ClientAuth::Required) => Some(file(Which::Authorities, path)?),
        _ => None,
    };
    let mut digest = Sha256::new();
    for bytes in [&certificate[..], &key, authorities.as_deref().unwrap_or_default()] {
        digest.update((bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    }
    Ok(RawTlsFiles { certificate, key, authorities, digest: digest.finalize().into() })
}

fn file(which: Which, path: &Path) -> Result<Vec<u8>, TlsFault> {
    let fault = |message: String, help| TlsFault { which, message, expected: "a readable PEM file", help };
    let unreadable = |error: std::io::Error| {
        let help = match error.kind() {
            std::io::ErrorKind::NotFound => "write where it is, or put it there",
            std::io::ErrorKind::PermissionDenied => "let the user that runs Airlock read it",
            _ => "check the file and its file system",
        };
        fault(format!("`{}` cannot be read: {error}", path.display()), help)
    };
    let mut bytes = Vec::new();
    let opened = open_file(path).map_err(unreadable)?;
    if let Some(found) = exposed_with_way(path) {
        let help =
            "take the right to write from the others: `chmod o-w`, after a look at what stands there now";
        let expected = "a file that only its owner, or a group, may write";
        return Err(TlsFault { which, message: found.to_string(), expected, help });
    }
    opened.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        let message = format!("`{}` is larger than {MAX_BYTES} bytes", path.display());
        return Err(fault(message, "name the PEM file, not another one"));
    }
    Ok(bytes)
}

impl RawTlsFiles {
    /// Judges them: the key is the certificate's, and the certificate's time has come at `now`. That its time
    /// is over is no fault here but [`TlsFiles::expires`].
    ///
    /// # Errors
    /// [`TlsFault`] of the first that is not good.
    pub fn judge(self, tls: &Tls, now: SystemTime) -> Result<TlsFiles, TlsFault> {
        let chain = certificates(Which::Certificate, &self.certificate, &tls.cert_file)?;
        let expires = times(&chain, &tls.cert_file, now)?;
        let key = key(&self.key, &tls.key_file)?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let pair = CertifiedKey::from_der(chain, key, &provider).map_err(|error| match error {
            Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => TlsFault {
                which: Which::Key,
                message: format!(
                    "the key in `{}` is not that of the first certificate in `{}`",
                    tls.key_file.display(),
                    tls.cert_file.display()
                ),
                expected: "the key that the certificate was made for",
                help: "name the pair that belongs together, the host's own certificate first in its file",
            },
            error => TlsFault {
                which: Which::Key,
                message: format!("`{}` cannot be used: {error}", tls.key_file.display()),
                expected: "a key of ECDSA (P-256, P-384, P-521), Ed25519 or RSA (2048 bits and more)",
                help: "make a new key and have a certificate signed for it",
            },
        })?;
        let authorities = match (&self.authorities, &tls.client_ca_file) {
            (Some(bytes), Some(path)) => Some(Arc::new(roots(bytes, path)?)),
            _ => None,
        };
        Ok(TlsFiles { pair: Arc::new(pair), authorities, expires, digest: self.digest })
    }
}

fn certificates(which: Which, pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let fault = |message: String| TlsFault {
        which,
        message,
        expected: "certificates in PEM (`-----BEGIN CERTIFICATE-----`)",
        help: "name the file with the certificates; one in DER becomes PEM by `openssl x509 -inform der`",
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(fault(format!("there is no certificate in `{}`", path.display())))
        }
        Ok(found) => Ok(found),
        Err(error) => Err(fault(format!("`{}` is broken: {error}", path.display()))),
    }
}

/// When the host's own certificate, the first, ends.
fn times(chain: &[CertificateDer<'_>], path: &Path, now: SystemTime) -> Result<SystemTime, TlsFault> {
    let fault = |message, expected, help| TlsFault { which: Which::Certificate, message, expected, help };
    let first = chain.first().map(|first| X509Certificate::from_der(first.as_ref()));
    let Some(Ok((_, certificate))) = first else {
        let message = format!("the first certificate in `{}` cannot be understood", path.display());
        return Err(fault(message, "an X.509 certificate of version 3", "have it issued again"));
    };
    let validity = certificate.validity();
    let begins = time(validity.not_before.timestamp());
    if begins > now {
        let message = format!(
            "the certificate in `{}` is not yet valid: it is from {} on",
            path.display(),
            humantime::format_rfc3339_seconds(begins)
        );
        return Err(fault(
            message,
            "a certificate that clients take now",
            "wait until then, use the former one, or set this host's clock right",
        ));
    }
    Ok(time(validity.not_after.timestamp()))
}

/// Seconds since 1970 as a time, as far as there are such times.
fn time(secs: i64) -> SystemTime {
    const LAST: u64 = 253_402_300_799;
    UNIX_EPOCH + Duration::from_secs(u64::try_from(secs).unwrap_or(0).min(LAST))
}

fn key(pem: &[u8], path: &Path) -> Result<PrivateKeyDer<'static>, TlsFault> {
    PrivateKeyDer::from_pem_slice(pem).map_err(|error| {
        let encrypted = memchr::memmem::find(pem, b"ENCRYPTED").is_some();
        let (message, expected, help) = if encrypted {
            (
                format!("the key in `{}` is encrypted", path.display()),
                "a key without a pass phrase, in a file that only the user that runs Airlock can read",
                "decrypt it by `openssl pkey`, or hand it over as a systemd credential (LoadCredentialEncrypted=)",
            )
        } else {
            (
                format!("there is no private key in `{}` ({error})", path.display()),
                "a private key in PEM (`-----BEGIN PRIVATE KEY-----`)",
                "name the file with the key",
            )
        };
        TlsFault { which: Which::Key, message, expected, help }
    })
}

fn roots(pem: &[u8], path: &Path) -> Result<RootCertStore, TlsFault> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(Which::Authorities, pem, path)? {
        roots.add(certificate).map_err(|error| TlsFault {
            which: Which::Authorities,
            message: format!("a certificate in `{}` cannot be used: {error}", path.display()),
            expected: "certificates of authorities",
            help: "take it out, or have it issued again",
        })?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn pair(change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        (params.self_signed(&key).expect("signed").pem(), key.serialize_pem())
    }

    fn load(certificate: &str, key: &str, authorities: Option<&str>) -> Result<TlsFiles, TlsFault> {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| {
            std::fs::write(dir.path().join(name), text).expect("written");
            dir.path().join(name)
        };
        let tls = Tls {
            cert_file: write("cert.pem", certificate),
            key_file: write("key.pem", key),
            client_ca_file: authorities.map(|text| write("ca.pem", text)),
            client_auth: ClientAuth::Optional,
        };
        read(&tls)?.judge(&tls, SystemTime::now())
    }

    fn fault(certificate: &str, key: &str, authorities: Option<&str>) -> (Which, String) {
        let fault = load(certificate, key, authorities).expect_err("not good");
        assert!(!fault.expected.is_empty() && !fault.help.is_empty());
        (fault.which, fault.message)
    }

    #[test]
    fn a_pair_that_belongs_together_is_good() {
        let (certificate, key) = pair(|params| params.not_after = date_time_ymd(2099, 1, 1));
        let files = load(&certificate, &key, Some(&certificate)).expect("good");
        assert_eq!(humantime::format_rfc3339_seconds(files.expires).to_string(), "2099-01-01T00:00:00Z");
        assert_eq!(files.authorities.map(|roots| roots.len()), Some(1));
        let again = load(&certificate, &key, Some(&certificate)).expect("good");
        assert_eq!(files.digest, again.digest);
        assert_ne!(files.digest, load(&certificate, &key, None).expect("good").digest);
        // One whose time is over is told elsewhere.
        let (old, key) = pair(|params| params.not_after = date_time_ymd(2020, 1, 1));
        assert!(load(&old, &key, None).expect("good").expires < SystemTime::now());
    }

    #[test]
    fn each_fault_names_its_file() {
        let (certificate, key) = pair(|_| ());
        let (other, other_key) = pair(|_| ());
        let (early, early_key) = pair(|params| params.not_before = date_time_ymd(2999, 1, 1));
        let encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        let legacy = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nAAAA\n-----END RSA PRIVATE KEY-----\n";
        for (certificate, key, authorities, which, words) in [
            ("", &*key, None, Which::Certificate, "no certificate"),
            (&*key, &*key, None, Which::Certificate, "no certificate"),
            (
                "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n",
                &*key,
                None,
                Which::Certificate,
                "broken",
            ),
            (
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                &*key,
                None,
                Which::Certificate,
                "cannot be understood",
            ),
            (&*early, &*early_key, None, Which::Certificate, "not yet valid: it is from 2999-01-01"),
            (&*certificate, &*other_key, None, Which::Key, "is not that of the first certificate"),
            (&*other, &*certificate, None, Which::Key, "no private key"),
            (&*certificate, encrypted, None, Which::Key, "is encrypted"),
            (&*certificate, legacy, None, Which::Key, "encrypted"),
            (&*certificate, &*key, Some(&*key), Which::Authorities, "no certificate"),
        ] {
            let (file, message) = fault(certificate, key, authorities);
            assert!(file == which && message.contains(words), "{words}: {file:?} {message}");
        }
        let tls = Tls {
            cert_file: "/nowhere/cert.pem".into(),
            key_file: "/nowhere/key.pem".into(),
            client_ca_file: None,
            client_auth: ClientAuth::None,
        };
        let missing = read(&tls).map(drop).expect_err("not there").to_string();
        assert!(missing.contains("`/nowhere/cert.pem` cannot be read"), "{missing}");
    }
}
