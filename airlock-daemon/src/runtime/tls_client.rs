//! TLS as a client: what is believed of servers.

use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};

/// A client that believes the root certificates of this host, and those alone.
///
/// # Errors
/// The reason and the remedy where the host has none.
pub fn native() -> Result<ClientConfig, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map(|error| format!(" ({error})")).unwrap_or_default();
        return Err(format!(
            "this host has no root certificates{why}: install its package of CA certificates, or set SSL_CERT_FILE"
        ));
    }
    trusting(roots)
}

/// A client that believes these root certificates.
///
/// # Errors
/// The reason where the provider of the cryptography has none of the versions of TLS.
pub fn trusting(roots: RootCertStore) -> Result<ClientConfig, String> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
