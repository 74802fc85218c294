//! From an issuer's name to its keys: `OpenID` Connect Discovery 1.0, RFC 8414, RFC 7517.

use http::Uri;
use serde::Deserialize;

use super::fetch::{FetchError, Fetcher, checked_url, is_loopback_host};
use super::guard::Zone;
use super::jwks::{self, Parsed};
use crate::config::schema::SignatureAlgorithm;

/// Where an issuer's metadata may be, in the order in which it is asked for.
#[derive(Debug)]
pub(crate) struct Locations {
    issuer: String,
    /// Where plain http may go: the issuer's own host, if that is this host and the issuer is plain http
    /// itself.
    plain_host: Option<String>,
    is_loopback: bool,
    urls: [Uri; 2],
}

impl Locations {
    /// # Errors
    /// The fault of the issuer's name, as the end of a sentence that begins with it.
    pub(crate) fn of(issuer: &str) -> Result<Self, String> {
        let url = checked_url(issuer, true)?;
        if url.query().is_some() || issuer.contains('#') {
            return Err("must have neither query nor fragment".into());
        }
        let host = url.host().unwrap_or_default();
        let is_loopback = is_loopback_host(host);
        let plain_host = (url.scheme_str() == Some("http")).then(|| host.to_owned());
        let base = issuer.trim_end_matches('/');
        let path = url.path().trim_end_matches('/');
        let origin = base.strip_suffix(path).unwrap_or(base);
        // OpenID Connect appends to the path, RFC 8414 section 3 puts itself before it.
        let location = |text: String| text.parse().map_err(|error| format!("is not a URL ({error})"));
        let urls = [
            location(format!("{base}/.well-known/openid-configuration"))?,
            location(format!("{origin}/.well-known/oauth-authorization-server{path}"))?,
        ];
        Ok(Self { issuer: issuer.to_owned(), plain_host, is_loopback, urls })
    }

    /// Where all of it may be fetched from.
    pub(crate) fn zone(&self, allow_private_addresses: bool) -> Zone {
        match (allow_private_addresses, self.is_loopback) {
            (true, _) => Zone::Private,
            (false, true) => Zone::PublicAndLoopback,
            (false, false) => Zone::Public,
        }
    }

    /// Fetches the metadata, then the keys.
    ///
    /// # Errors
    /// A sentence for the log.
    pub(crate) async fn fetch_keys(
        &self,
        fetcher: &Fetcher,
        algorithms: &[SignatureAlgorithm],
    ) -> Result<Parsed, String> {
        let metadata = match fetcher.get(&self.urls[0]).await {
            Err(FetchError::Status { status, .. }) if status.is_client_error() => {
                fetcher.get(&self.urls[1]).await
            }
            other => other,
        };
        let keys_at = self.keys_url(&metadata.map_err(|error| error.to_string())?)?;
        let document = fetcher.get(&keys_at).await.map_err(|error| error.to_string())?;
        jwks::parse(&document, algorithms).map_err(|error| format!("{keys_at}: {error}"))
    }

    fn keys_url(&self, document: &[u8]) -> Result<Uri, String> {
        #[derive(Deserialize)]
        struct Metadata {
            issuer: String,
            jwks_uri: String,
        }
        let metadata: Metadata = serde_json::from_slice(document)
            .map_err(|error| format!("the metadata of {} cannot be used: {error}", self.issuer))?;
        if metadata.issuer != self.issuer {
            return Err(format!(
                "the metadata is that of `{}`, not of `{}`: write the issuer exactly as it names itself",
                metadata.issuer.escape_debug(),
                self.issuer
            ));
        }
        let refused = |problem: &str| format!("`jwks_uri` `{}` {problem}", metadata.jwks_uri.escape_debug());
        // A public issuer has no business with this host's loopback services.
        let url = checked_url(&metadata.jwks_uri, self.plain_host.is_some())
            .map_err(|problem| refused(&problem))?;
        if url.scheme_str() == Some("http") && url.host() != self.plain_host.as_deref() {
            return Err(refused("is on another host than the issuer, so it must be https"));
        }
        Ok(url)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_where_the_specifications_put_it() {
        for (issuer, first, second) in [
            (
                "https://idp.example",
                "https://idp.example/.well-known/openid-configuration",
                "https://idp.example/.well-known/oauth-authorization-server",
            ),
            (
                "https://idp.example/",
                "https://idp.example/.well-known/openid-configuration",
                "https://idp.example/.well-known/oauth-authorization-server",
            ),
            (
                "http://127.0.0.1:9/realms/a",
                "http://127.0.0.1:9/realms/a/.well-known/openid-configuration",
                "http://127.0.0.1:9/.well-known/oauth-authorization-server/realms/a",
            ),
        ] {
            let locations = Locations::of(issuer).expect(issuer);
            assert_eq!(locations.urls.each_ref().map(ToString::to_string), [first, second]);
        }
    }

    #[test]
    fn names_that_are_no_issuers_are_refused() {
        for issuer in [
            "",
            "idp",
            "http://idp.example",
            "https://idp.example?x=1",
            "https://idp.example#x",
            "https://a@b/",
        ] {
            assert!(Locations::of(issuer).is_err(), "{issuer}");
        }
    }

    #[test]
    fn only_an_issuer_on_this_host_is_fetched_from_this_host() {
        let zone = |issuer: &str, allowed| Locations::of(issuer).expect(issuer).zone(allowed);
        assert_eq!(zone("https://idp.example", false), Zone::Public);
        assert_eq!(zone("https://10.0.0.1", false), Zone::Public);
        assert_eq!(zone("https://localhost:8443", false), Zone::PublicAndLoopback);
        assert_eq!(zone("http://127.0.0.1:9", false), Zone::PublicAndLoopback);
        assert_eq!(zone("https://idp.example", true), Zone::Private);
    }

    #[test]
    fn metadata_must_be_the_issuers_own() {
        let keys_url = |issuer: &str, document: &str| {
            Locations::of(issuer).expect(issuer).keys_url(document.as_bytes()).map(|url| url.to_string())
        };
        let good = r#"{"issuer":"https://a.example","jwks_uri":"https://keys.example/k","x":1}"#;
        assert_eq!(keys_url("https://a.example", good).as_deref(), Ok("https://keys.example/k"));
        let own = r#"{"issuer":"http://127.0.0.1:9","jwks_uri":"http://127.0.0.1:10/k"}"#;
        assert_eq!(keys_url("http://127.0.0.1:9", own).as_deref(), Ok("http://127.0.0.1:10/k"));
        for (issuer, document) in [
            ("https://a.example/", good),
            ("https://b.example", good),
            ("https://a.example", r#"{"issuer":"https://a.example"}"#),
            ("https://a.example", r#"{"jwks_uri":"https://a.example/k"}"#),
            ("https://a.example", r#"{"issuer":"https://a.example","jwks_uri":"http://a.example/k"}"#),
            ("https://a.example", r#"{"issuer":"https://a.example","jwks_uri":"http://127.0.0.1/k"}"#),
            ("https://a.example", r#"{"issuer":"https://a.example","jwks_uri":"file:///etc/passwd"}"#),
            (
                "https://a.example",
                r#"{"issuer":"https://a.example","issuer":"https://a.example","jwks_uri":"https://a.example/k"}"#,
            ),
            ("http://127.0.0.1:9", r#"{"issuer":"http://127.0.0.1:9","jwks_uri":"http://localhost:9/k"}"#),
            ("https://a.example", "<html>"),
            ("https://a.example", "[]"),
        ] {
            assert!(keys_url(issuer, document).is_err(), "{issuer} {document}");
        }
    }
}
