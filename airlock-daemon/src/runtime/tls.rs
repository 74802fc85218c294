//! TLS in front of the listeners: the certificate in use, another one when the files change, and the
//! handshake.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::ServerConfig;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::SingleCertAndKey;
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;

use crate::config::schema::{self, ClientAuth};
use crate::config::tls_files::{self, TlsFault, TlsFiles, Which};

use super::certificate;
use super::stream::BoxStream;
use super::watched::Watched;

/// HTTP/2, as ALPN names it (RFC 9113, section 3.2).
const H2: &[u8] = b"h2";
/// Days before its end from which on a certificate is told of.
pub const WARN_DAYS: i64 = 14;
/// HTTP/1.1, as ALPN names it (RFC 7301, section 6).
const HTTP_1_1: &[u8] = b"http/1.1";

/// TLS as configured, with the certificate in use.
pub struct Tls {
    settings: schema::Tls,
    inner: ArcSwap<InUse>,
    /// Contents that were refused or are looked at: told once, and taken only when they stay.
    pending: Mutex<Pending>,
}

struct InUse {
    config: Arc<ServerConfig>,
    expires: SystemTime,
    digest: [u8; 32],
}

#[derive(Default)]
struct Pending {
    seen: Option<[u8; 32]>,
    /// Why they were refused, and when the first such refusal was.
    told: Option<(SystemTime, String)>,
}

/// The result of a look at the files.
#[derive(Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// They are as they were, or it has been told already what is wrong with them.
    Same,
    /// They have changed just now, and perhaps not all of them yet: to be looked at once more.
    Unsettled,
    /// New connections get the new certificate.
    Changed,
    /// They are not good; the certificate in use stays.
    Refused(TlsFault),
}

/// A connection after its handshake.
pub struct Secured {
    /// The stream inside.
    pub stream: BoxStream,
    /// True where the client speaks HTTP/2.
    pub is_h2: bool,
    /// The owner of the client's verified certificate.
    pub certificate: Option<Arc<str>>,
    /// SHA-256 of that certificate.
    pub certificate_digest: Option<[u8; 32]>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsFault`] with the remedy.
    pub fn load(settings: &schema::Tls) -> Result<Self, TlsFault> {
        let files = tls_files::read(settings)?.judge(settings, SystemTime::now())?;
        let inner = ArcSwap::from_pointee(InUse::new(settings, &files)?);
        Ok(Self { settings: settings.clone(), inner, pending: Mutex::default() })
    }

    /// Looks at the files again. Whoever replaces them one by one is not caught halfway: a change counts once
    /// it was seen twice, unless `at_once`, when somebody says that they are all there. Blocks on the file
    /// system.
    pub fn reload(&self, at_once: bool) -> Reloaded {
        let result = self.look(at_once);
        let mut pending = self.pending.lock();
        match result {
            Ok(reloaded) => {
                if reloaded != Reloaded::Unsettled {
                    pending.told = None;
                }
                reloaded
            }
            Err(fault)
                if !at_once && pending.told.as_ref().is_some_and(|(_, told)| *told == fault.message) =>
            {
                Reloaded::Same
            }
            Err(fault) => {
                let since = pending.told.take().map_or_else(SystemTime::now, |(since, _)| since);
                pending.told = Some((since, fault.message.clone()));
                Reloaded::Refused(fault)
            }
        }
    }

    fn look(&self, at_once: bool) -> Result<Reloaded, TlsFault> {
        let before = self.inner.load();
        let files = tls_files::read(&self.settings);
        let digest = files.as_ref().map_or([0; 32], |files| files.digest);
        if digest == before.digest {
            return Ok(Reloaded::Same);
        }
        let seen = self.pending.lock().seen.replace(digest);
        if !at_once && seen != Some(digest) {
            return Ok(Reloaded::Unsettled);
        }
        let now = SystemTime::now();
        let files = files?.judge(&self.settings, now)?;
        if files.expires <= now && before.expires > now {
            return Err(TlsFault {
                which: Which::Certificate,
                message: format!(
                    "the certificate in `{}` has expired at {}, the one in use has not",
                    self.settings.cert_file.display(),
                    humantime::format_rfc3339_seconds(files.expires)
                ),
                expected: "a certificate that clients take now",
                help: "have it issued again",
            });
        }
        self.inner.store(Arc::new(InUse::new(&self.settings, &files)?));
        Ok(Reloaded::Changed)
    }

    /// Since when the files on disk are not the ones in use, because they are not good, and why.
    pub fn refused(&self) -> Option<(SystemTime, String)> {
        self.pending.lock().told.clone()
    }

    /// When the certificate in use ends.
    pub fn expires(&self) -> SystemTime {
        self.inner.load().expires
    }

    /// The same in whole days from now on; below zero once it has ended.
    pub fn days_left(&self) -> i64 {
        const DAY: u64 = 86_400;
        match self.expires().duration_since(SystemTime::now()) {
            Ok(left) => i64::try_from(left.as_secs() / DAY).unwrap_or(i64::MAX),
            Err(over) => -i64::try_from(over.duration().as_secs() / DAY).unwrap_or(i64::MAX) - 1,
        }
    }

    /// The handshake, on the current worker. It has no deadline of its own.
    ///
    /// # Errors
    /// When the client breaks it off, or asks for what is not offered, or shows no certificate that is good.
    pub async fn accept(&self, stream: Watched) -> io::Result<Secured> {
        let acceptor = TlsAcceptor::from(Arc::clone(&self.inner.load().config));
        let stream = acceptor.accept(TokioIo::new(stream)).await?;
        let (_, session) = stream.get_ref();
        let is_h2 = session.alpn_protocol() == Some(H2);
        let shown = session.peer_certificates().and_then(<[_]>::first);
        let certificate_digest = shown.map(|shown| Sha256::digest(shown).into());
        let certificate = match shown.map(|shown| certificate::holder(shown)) {
            None => None,
            Some(Some(holder)) => Some(holder.into()),
            // A policy that asks for nobody's certificate must not take this one for none.
            Some(None) => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the client's certificate names nobody",
                ));
            }
        };
        Ok(Secured { stream: Box::new(TokioIo::new(stream)), is_h2, certificate, certificate_digest })
    }
}

impl InUse {
    fn new(settings: &schema::Tls, files: &TlsFiles) -> Result<Self, TlsFault> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| unusable(Which::Certificate, &error))?;
        let builder = match &files.authorities {
            None => builder.with_no_client_auth(),
            Some(roots) => {
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(roots), provider);
                let verifier = match settings.client_auth {
                    ClientAuth::Required => verifier,
                    ClientAuth::None | ClientAuth::Optional => verifier.allow_unauthenticated(),
                };
                let verifier = verifier.build().map_err(|error| unusable(Which::Authorities, &error))?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let resolver = SingleCertAndKey::from(Arc::clone(&files.pair));
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![H2.to_vec(), HTTP_1_1.to_vec()];
        // Nothing that the workers would share a lock for; a resumed session lives in its ticket.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        if files.authorities.is_none() {
            config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()
                .map_err(|error| unusable(Which::Certificate, &error))?;
        } else {
            // A resumed session would not be asked for a certificate again, which may have ended since.
            config.send_tls13_tickets = 0;
        }
        Ok(Self { config: Arc::new(config), expires: files.expires, digest: files.digest })
    }
}

fn unusable(which: Which, error: &dyn std::error::Error) -> TlsFault {
    TlsFault {
        which,
        message: format!("TLS cannot be set up: {error}"),
        expected: "files that TLS can be set up with",
        help: "have them issued again",
    }
}

/// Why a handshake failed, in one of few words for the metrics.
pub fn failure(error: &io::Error) -> &'static str {
    use rustls::Error;
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) {
        Some(
            Error::NoCertificatesPresented
            | Error::InvalidCertificate(_)
            | Error::InvalidCertRevocationList(_),
        ) => "certificate",
        Some(Error::PeerIncompatible(_) | Error::NoApplicationProtocol) => "incompatible",
        Some(Error::AlertReceived(_)) => "refused_by_client",
        Some(_) => "malformed",
        None if error.kind() == io::ErrorKind::InvalidData => "certificate",
        None => "broken_off",
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn write(dir: &std::path::Path, year: i32) {
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        params.not_after = date_time_ymd(year, 1, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        std::fs::write(dir.join("cert.pem"), certificate.pem()).expect("written");
        std::fs::write(dir.join("key.pem"), key.serialize_pem()).expect("written");
    }

    #[test]
    fn a_change_counts_once_it_stays_and_a_bad_one_is_told_once() {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), 2098);
        let tls = Tls::load(&schema::Tls {
            cert_file: dir.path().join("cert.pem"),
            key_file: dir.path().join("key.pem"),
            client_ca_file: None,
            client_auth: ClientAuth::None,
        })
        .expect("good files");
        let first = tls.expires();
        assert_eq!(tls.reload(false), Reloaded::Same);
        write(dir.path(), 2099);
        assert_eq!((tls.reload(false), tls.expires()), (Reloaded::Unsettled, first));
        assert_eq!(tls.reload(false), Reloaded::Changed);
        assert!(tls.expires() > first);
        let second = tls.expires();
        let refused = |reloaded, words: &str| match reloaded {
            Reloaded::Refused(fault) => assert!(fault.message.contains(words), "{fault}"),
            other => panic!("{other:?} instead of a refusal"),
        };
        // One whose time is over does not take the place of one that is good.
        write(dir.path(), 2020);
        refused(tls.reload(true), "has expired");
        assert_eq!(tls.reload(false), Reloaded::Same, "told already");
        assert!(
            tls.refused().is_some_and(|(since, _)| since <= SystemTime::now()),
            "an alarm until it is mended"
        );
        refused(tls.reload(true), "has expired");
        // Half of a pair.
        std::fs::remove_file(dir.path().join("key.pem")).expect("ours");
        assert_eq!(tls.reload(false), Reloaded::Unsettled);
        refused(tls.reload(false), "cannot be read");
        assert_eq!(tls.reload(false), Reloaded::Same, "told already");
        assert_eq!(tls.expires(), second, "the good one stays in use");
        write(dir.path(), 2097);
        assert_eq!(tls.reload(true), Reloaded::Changed);
    }
}
