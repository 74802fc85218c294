//! A certificate authority of a test's own.

use std::path::PathBuf;

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The authority, and a directory for what it signs.
pub struct Authority {
    dir: TempDir,
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one, in a directory of its own.
    pub fn create() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "authority of a test");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        let dir = tempfile::Builder::new().prefix("airlock-ca-").tempdir().expect("a directory");
        std::fs::write(dir.path().join("ca.pem"), certificate.pem()).expect("written");
        Self { dir, certificate, issuer: Issuer::new(params, key) }
    }

    /// The path of a file in its directory, which has its own certificate as `ca.pem`.
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Certificate chain and key for this host, as PEM.
    pub fn host(&self) -> (String, String) {
        let names = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
        self.sign(CertificateParams::new(names).expect("names"), ExtendedKeyUsagePurpose::ServerAuth)
    }

    /// The same for a client of that URI.
    pub fn client(&self, uri: &str) -> (String, String) {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![SanType::URI(uri.to_owned().try_into().expect("ASCII"))];
        self.sign(params, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(&self, mut params: CertificateParams, usage: ExtendedKeyUsagePurpose) -> (String, String) {
        params.extended_key_usages = vec![usage];
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        (certificate.pem() + &self.certificate.pem(), key.serialize_pem())
    }

    /// Writes a pair as `NAME.pem` and `NAME.key`.
    pub fn write(&self, name: &str, (certificate, key): &(String, String)) {
        std::fs::write(self.file(&format!("{name}.pem")), certificate).expect("written");
        std::fs::write(self.file(&format!("{name}.key")), key).expect("written");
    }

    /// `server.tls` with the pair `host`, made and written.
    pub fn tls(&self) -> Value {
        self.write("host", &self.host());
        json!({"cert_file": self.file("host.pem"), "key_file": self.file("host.key")})
    }

    /// The same with certificates of clients; `mode` is `optional` or `required`.
    pub fn mutual_tls(&self, mode: &str) -> Value {
        let mut tls = self.tls();
        tls["client_ca_file"] = json!(self.file("ca.pem"));
        tls["client_auth"] = json!(mode);
        tls
    }
}
