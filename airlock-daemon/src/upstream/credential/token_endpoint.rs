//! Tokens for servers, got from an identity provider's token endpoint: by client credentials (RFC 6749,
//! section 4.4), or in exchange for a principal's own (RFC 8693).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, StatusCode, Uri};
use serde::Deserialize;

use crate::auth::keys::fetch::{FetchError, Fetcher};
use crate::auth::keys::guard::Zone;
use crate::auth::principal::Token;
use crate::config::schema::{TokenClient, TokenClientAuth};

use super::blank::Sent;
use super::secret;

const EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
/// The life of a token whose provider names none.
const DEFAULT_LIFE: Duration = Duration::from_mins(5);
/// No token is kept longer.
const LONGEST_LIFE: Duration = Duration::from_hours(24);
/// A token is fetched anew this long before it expires, or after nine tenths of a short life.
const MARGIN: Duration = Duration::from_secs(30);

/// One provider's token endpoint, and who Airlock is there.
#[derive(Debug)]
pub(super) struct TokenEndpoint {
    client: TokenClient,
    fetcher: Fetcher,
}

/// The answer (RFC 6749, section 5.1).
#[derive(Deserialize)]
struct Granted {
    access_token: String,
    token_type: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// The refusal (RFC 6749, section 5.2).
#[derive(Deserialize)]
struct Refused {
    error: String,
    #[serde(default)]
    error_description: String,
}

impl TokenEndpoint {
    pub(in crate::upstream) fn new(client: &TokenClient) -> Self {
        // The operator names this very endpoint, and an organisation's own stands in its own network.
        Self { client: client.clone(), fetcher: Fetcher::new(Zone::Private) }
    }

    /// A token for Airlock itself, and how long it may be used.
    ///
    /// # Errors
    /// Why there is none; never a secret.
    pub(super) async fn for_itself(&self) -> Result<(HeaderValue, Duration), String> {
        self.ask(&[("grant_type", "client_credentials")], None).await
    }

    /// A token for the principal of `token`, and how long it may be used.
    ///
    /// # Errors
    /// As [`TokenEndpoint::for_itself`].
    pub(in crate::upstream) async fn exchange(
        &self,
        token: &Token,
    ) -> Result<(HeaderValue, Duration), String> {
        let subject = token.expose();
        let grant = [
            ("grant_type", EXCHANGE),
            ("subject_token", subject),
            ("subject_token_type", ACCESS_TOKEN),
            ("requested_token_type", ACCESS_TOKEN),
        ];
        self.ask(&grant, Some(subject)).await
    }

    async fn ask(
        &self,
        grant: &[(&str, &str)],
        subject: Option<&str>,
    ) -> Result<(HeaderValue, Duration), String> {
        let client = &self.client;
        let url: Uri = client.token_endpoint.parse().map_err(|error| format!("token_endpoint: {error}"))?;
        let secret = secret::read(&client.client_secret_file)?;
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.extend_pairs(grant);
        if !client.scopes.is_empty() {
            form.append_pair("scope", &client.scopes.join(" "));
        }
        for (name, value) in [("audience", &client.audience), ("resource", &client.resource)] {
            if let Some(value) = value {
                form.append_pair(name, value);
            }
        }
        let authorization = match client.client_auth {
            TokenClientAuth::Basic => Some(basic(&client.client_id, &secret)?),
            TokenClientAuth::Post => {
                form.append_pair("client_id", &client.client_id).append_pair("client_secret", &secret);
                None
            }
        };
        let asked = self.fetcher.post_form(&url, form.finish(), authorization).await;
        let (status, body) = asked.map_err(|error: FetchError| format!("no token could be had: {error}"))?;
        read(&url, status, &body, &Sent { id: &client.client_id, secret: &secret, subject })
    }
}

/// The credentials as RFC 6749, section 2.3.1 wants them: each form-encoded first.
fn basic(id: &str, secret: &str) -> Result<HeaderValue, String> {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = STANDARD.encode(format!("{}:{}", encode(id), encode(secret)));
    secret::header("Basic ", &pair)
        .ok_or_else(|| "the client's name and secret fit into no header".to_owned())
}

fn read(
    url: &Uri,
    status: StatusCode,
    body: &[u8],
    sent: &Sent<'_>,
) -> Result<(HeaderValue, Duration), String> {
    if status != StatusCode::OK {
        // Codes and descriptions are made to be shown (RFC 6749, section 5.2); an answer of another kind is
        // not.
        let why = serde_json::from_slice::<Refused>(body)
            .map(|refused| {
                let said = [sent.blanked(&refused.error), sent.blanked(&refused.error_description)].join(" ");
                format!(": {}", said.trim())
            })
            .unwrap_or_default();
        return Err(format!("{url} gives no token (HTTP status {}){why}", status.as_u16()));
    }
    // serde's message may quote the answer, and with it a token.
    let granted: Granted = serde_json::from_slice(body).map_err(|error| {
        format!("{url} gives no token: line {} of its answer is not what RFC 6749 says", error.line())
    })?;
    if !granted.token_type.eq_ignore_ascii_case("bearer") {
        let kind = sent.blanked(&granted.token_type);
        return Err(format!("{url} gives a token of the type `{kind}`, and only `Bearer` can be presented"));
    }
    if sent.is_in(&granted.access_token) {
        return Err(format!(
            "{url} gives back what it was sent: a client's token or Airlock's own secret is not for a server; have it \
             issue a token for the server (`audience` or `resource`)"
        ));
    }
    let value = Some(granted.access_token.as_str())
        .filter(|token| !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()))
        .and_then(|token| secret::header("Bearer ", token))
        .ok_or_else(|| format!("{url} gives a token that fits into no header"))?;
    let life = granted.expires_in.map_or(DEFAULT_LIFE, Duration::from_secs).min(LONGEST_LIFE);
    Ok((value, life.saturating_sub(MARGIN.min(life / 10))))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBJECT: &str = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl";

    fn answer(status: u16, body: &str) -> Result<(HeaderValue, Duration), String> {
        let url = Uri::from_static("https://idp.example/token");
        let sent = Sent { id: "airlock", secret: "hunter2hunter2", subject: Some(SUBJECT) };
        read(&url, StatusCode::from_u16(status).expect("a status"), body.as_bytes(), &sent)
    }

    #[test]
    fn a_token_is_taken_with_its_life() {
        for (life, kept) in [(r#","expires_in":600"#, 570), (r#","expires_in":10"#, 9), ("", 270)] {
            let body = format!(r#"{{"access_token":"abc","token_type":"bearer"{life},"more":1}}"#);
            let (value, life) = answer(200, &body).expect("a token");
            assert_eq!((value.to_str().expect("text"), life.as_secs()), ("Bearer abc", kept));
            assert!(value.is_sensitive());
        }
        let (_, life) =
            answer(200, r#"{"access_token":"a","token_type":"Bearer","expires_in":18446744073709551615}"#)
                .expect("a token");
        assert!(life < LONGEST_LIFE);
    }

    #[test]
    fn an_answer_without_a_good_token_says_why_and_shows_none() {
        for (status, body, reason) in [
            (
                400,
                r#"{"error":"invalid_grant","error_description":"not\nyours"}"#,
                "invalid_grant not\\nyours",
            ),
            (503, "<html>", "status 503"),
            (302, "", "status 302"),
            (200, "{}", "is not what RFC 6749 says"),
            (200, r#"{"access_token":{"x":"topsecret"},"token_type":"Bearer"}"#, "is not what RFC 6749 says"),
            (200, r#"{"access_token":"topsecret","token_type":"N_A"}"#, "`N_A`"),
            (200, r#"{"access_token":"topsecret\r\nX: y","token_type":"Bearer"}"#, "fits into no header"),
            (200, r#"{"access_token":"","token_type":"Bearer"}"#, "fits into no header"),
            (200, r#"{"access_token":"topsecret","token_type":"Bearer","expires_in":-1}"#, "RFC 6749"),
        ] {
            let error = answer(status, body).expect_err(body);
            assert!(error.contains(reason) && !error.contains("topsecret"), "{error}");
        }
    }

    #[test]
    fn what_was_sent_is_neither_shown_nor_presented() {
        let (head, _) = SUBJECT.rsplit_once('.').expect("a signature");
        for token in [SUBJECT, &format!("{SUBJECT}="), &format!("{head}.b3RoZXI"), "hunter2hunter2"] {
            let body = format!(r#"{{"access_token":"{token}","token_type":"Bearer"}}"#);
            let error = answer(200, &body).expect_err("it was sent");
            assert!(error.contains("gives back what it was sent") && !error.contains(token), "{error}");
        }
        for (status, body) in [
            (401, r#"{"error":"invalid_client","error_description":"no client with hunter2hunter2"}"#),
            (401, r#"{"error":"hunter2hunter2"}"#),
            (200, r#"{"access_token":"x","token_type":"hunter2hunter2"}"#),
        ] {
            let error = answer(status, body).expect_err(body);
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn name_and_secret_are_encoded_before_they_are_joined() {
        let value = basic("a:b", "c d&é").expect("a header");
        let text = value.to_str().expect("text").strip_prefix("Basic ").expect("Basic");
        assert_eq!(STANDARD.decode(text).expect("base64"), b"a%3Ab:c+d%26%C3%A9");
    }
}
