//! Why a token is refused, and why authentication cannot be set up.

use std::borrow::Cow;
use std::fmt;

use super::proof_error::ProofError;

/// Why a bearer token is refused.
///
/// `Display` is for the operator's log and may quote the token's (unverified) issuer or key id, shortened and
/// escaped; [`TokenError::reason`] is for the client and quotes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// Longer than [`super::jwt::MAX_TOKEN_BYTES`]; nothing was decoded.
    #[error("token of {bytes} bytes, at most {limit} are read")]
    TooLarge {
        /// Length of the token in bytes.
        bytes: usize,
        /// The limit in bytes.
        limit: usize,
    },
    /// Not a JWS in compact form (RFC 7515 section 7.1), or JSON that is not strict.
    #[error("malformed token: {0}")]
    Malformed(String),
    /// A header member that must not be there, or whose value is refused (RFC 7515 section 4).
    #[error("header of the token: {0}")]
    Header(String),
    /// The algorithm is not in the issuer's list (`none` and the symmetric ones never are).
    #[error("signature algorithm {0} is not accepted")]
    UnsupportedAlgorithm(Quoted),
    /// No trusted issuer has this name.
    #[error("issuer {0} is not configured in `auth.issuers`")]
    UnknownIssuer(Quoted),
    /// The issuer has more than one key for the algorithm and the token names none.
    #[error("token of {issuer} names no key (`kid`), and the issuer has several")]
    MissingKeyId {
        /// The issuer.
        issuer: String,
    },
    /// The issuer publishes no such key.
    #[error("issuer {issuer} publishes no key {key_id} for this algorithm")]
    UnknownKey {
        /// The issuer.
        issuer: String,
        /// The `kid` of the token.
        key_id: Quoted,
    },
    /// The signature is not by the named key.
    #[error("signature does not verify with the keys of {issuer}")]
    BadSignature {
        /// The issuer.
        issuer: String,
    },
    /// `exp` and the tolerance have passed.
    #[error("token expired {seconds} s ago")]
    Expired {
        /// Seconds since `exp`.
        seconds: u64,
    },
    /// `nbf` (or `iat`) lies ahead by more than the tolerance.
    #[error("token is valid only in {seconds} s (`{claim}`)")]
    NotYetValid {
        /// `nbf` or `iat`.
        claim: &'static str,
        /// Seconds until then.
        seconds: u64,
    },
    /// `aud` names nobody we are.
    #[error(
        "audience of the token is none of those configured for {issuer}: it is for {has}, and here is {wanted}"
    )]
    WrongAudience {
        /// The issuer.
        issuer: String,
        /// The values of `aud`.
        has: Quoted,
        /// Those that would do.
        wanted: String,
    },
    /// `aud` names other endpoints of this host (RFC 8707).
    #[error("the token was issued for {good_at}, not for the endpoint that it came to")]
    WrongEndpoint {
        /// Where it would be good.
        good_at: String,
    },
    /// The claim stands elsewhere (`OpenID` Connect Core section 5.6.2), and addresses in tokens are not
    /// followed.
    #[error(
        "claim `{claim}` is not in the token but only referred to (too many groups, most likely): have the issuer assign \
         fewer groups or application roles, and name their claim in `claims`"
    )]
    ClaimElsewhere {
        /// The claim.
        claim: String,
    },
    /// The claim that says whose tenant it is is absent.
    #[error(
        "the token has no `{claim}`, which `claims.tenant` of its issuer names: have the issuer put it in, or set \
         `tenant_optional: true` beside it"
    )]
    MissingTenant {
        /// The claim.
        claim: String,
    },
    /// A required claim is absent.
    #[error("claim `{0}` is missing")]
    MissingClaim(&'static str),
    /// A claim has the wrong type or a value that cannot be meant.
    #[error("claim `{claim}`: {problem}")]
    BadClaim {
        /// The claim.
        claim: String,
        /// The fault in it.
        problem: &'static str,
    },
    /// Valid, but the bearer is in none of `auth.required_groups`.
    #[error("{subject} is in none of the required groups")]
    Forbidden {
        /// The `sub` claim.
        subject: Quoted,
        /// The groups of which one is needed.
        required: Vec<String>,
    },
    /// Valid, but without one of `auth.required_scopes`.
    #[error("the token of {subject} lacks one of the required scopes")]
    MissingScope {
        /// The `sub` claim.
        subject: Quoted,
        /// The scopes that are needed, all of them.
        required: Vec<String>,
    },
    /// The token has a mark of another kind of token.
    #[error(
        "the token has `{mark}`, so it is an ID token or another one that is not for resources: have the client send its \
         access token, or set `id_tokens: true` for an issuer that has no other"
    )]
    NotAccess {
        /// The claim.
        mark: &'static str,
    },
    /// `cnf` binds it to something that cannot be checked here (RFC 7800).
    #[error("the token is bound by `cnf` to {0}, which cannot be checked here: `jkt` and `x5t#S256` can")]
    UnknownBinding(Quoted),
    /// Bound to a certificate, and the client showed none (RFC 8705).
    #[error(
        "the token is bound to a client certificate, and this connection has none: `server.tls.client_ca_file` asks for \
         one, and a proxy must pass TLS through"
    )]
    CertificateMissing,
    /// Bound to another certificate than the client's.
    #[error("the token is bound to another client certificate than the one of this connection")]
    WrongCertificate,
    /// Bound to a key, and it came as a plain bearer token (RFC 9449 section 7.2).
    #[error("the token is bound to a key, and came without a proof")]
    ProofNeeded,
    /// Bound to no key, and it came with a proof (RFC 9449 section 7.1).
    #[error("the token is bound to no key, and came with the scheme `DPoP`")]
    NotBound,
    /// The proof of possession is not good.
    #[error("proof of possession: {0}")]
    Proof(#[source] ProofError),
    /// The issuer's keys could not be fetched (yet); the token may be good.
    #[error("keys of {issuer} are not available: {cause}")]
    KeysUnavailable {
        /// The issuer.
        issuer: String,
        /// Why.
        cause: String,
    },
}

impl TokenError {
    /// A short sentence for the client. Quotes nothing of the token, names nothing of this host.
    pub fn reason(&self) -> Cow<'static, str> {
        // It is the operator who wrote the name of this claim, not the token.
        if let Self::MissingTenant { claim } = self {
            return format!(
                "The access token does not say whose tenant it is: the claim {claim} is missing."
            )
            .into();
        }
        Cow::Borrowed(self.sentence())
    }

    fn sentence(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "The access token is too large.",
            Self::Malformed(_) | Self::Header(_) => "The access token is malformed.",
            Self::UnsupportedAlgorithm(_) => "The signature algorithm of the access token is not accepted.",
            Self::UnknownIssuer(_) => "The issuer of the access token is not trusted here.",
            Self::MissingKeyId { .. } => "The access token does not name its key.",
            Self::UnknownKey { .. } => "The access token was signed with an unknown key.",
            Self::BadSignature { .. } => "The signature of the access token is not valid.",
            Self::Expired { .. } => "The access token has expired.",
            Self::NotYetValid { .. } => "The access token is not valid yet.",
            Self::WrongAudience { .. } => "The access token was issued for another audience.",
            Self::WrongEndpoint { .. } => "The access token was issued for another endpoint of this host.",
            Self::ClaimElsewhere { .. } => {
                "The access token does not list your groups, because there are too many: ask your administrator."
            }
            Self::MissingScope { .. } => "The access token lacks a scope that this service needs.",
            Self::MissingTenant { .. } => "The access token does not say whose tenant it is.",
            Self::MissingClaim(_) => "The access token lacks a required claim.",
            Self::BadClaim { .. } => "A claim of the access token is not valid.",
            Self::NotAccess { .. } => "This is not an access token but another one, such as an ID token.",
            Self::UnknownBinding(_) => "The access token is bound in a way that cannot be checked here.",
            Self::CertificateMissing => {
                "The access token is bound to a client certificate, which this connection does not have."
            }
            Self::WrongCertificate => "The access token is bound to another client certificate.",
            Self::ProofNeeded => {
                "The access token is bound to a key: send it with the scheme DPoP and a proof."
            }
            Self::NotBound => "The access token is bound to no key: send it with the scheme Bearer.",
            Self::Proof(error) => error.reason(),
            Self::Forbidden { .. } => "Your account is in none of the groups that may use this service.",
            Self::KeysUnavailable { .. } => "Tokens cannot be checked at the moment; try again shortly.",
        }
    }

    /// True where it may have been a guess: forged, unknown or malformed. A token that a trusted issuer has
    /// signed is none, however late it comes or whomever it is meant for: its bearer has nothing to find out.
    pub fn is_guess(&self) -> bool {
        match self {
            Self::TooLarge { .. }
            | Self::Malformed(_)
            | Self::Header(_)
            | Self::UnsupportedAlgorithm(_)
            | Self::UnknownIssuer(_)
            | Self::MissingKeyId { .. }
            | Self::UnknownKey { .. }
            | Self::BadSignature { .. } => true,
            Self::Proof(error) => error.is_guess(),
            // The one claim that is read before the signature: it says whose keys to take.
            Self::MissingClaim(claim) => *claim == "iss",
            Self::BadClaim { claim, .. } => claim == "iss",
            Self::Expired { .. }
            | Self::NotYetValid { .. }
            | Self::WrongAudience { .. }
            | Self::WrongEndpoint { .. }
            | Self::ClaimElsewhere { .. }
            | Self::MissingTenant { .. }
            | Self::NotAccess { .. }
            | Self::UnknownBinding(_)
            | Self::CertificateMissing
            | Self::WrongCertificate
            | Self::ProofNeeded
            | Self::NotBound
            | Self::Forbidden { .. }
            | Self::MissingScope { .. }
            | Self::KeysUnavailable { .. } => false,
        }
    }

    /// True where the answer to it is about proofs of possession, so that its challenge is of the scheme
    /// `DPoP`.
    pub fn is_about_proofs(&self) -> bool {
        matches!(self, Self::ProofNeeded | Self::Proof(_))
    }

    /// The rule that a refusal with 403 names: the key of the configuration that asks for what is missing.
    pub fn rule_id(&self) -> Option<&'static str> {
        match self {
            Self::Forbidden { .. } => Some("auth.required_groups"),
            Self::MissingScope { .. } => Some("auth.required_scopes"),
            Self::ClaimElsewhere { .. } | Self::MissingTenant { .. } => Some("auth.issuers.claims"),
            _ => None,
        }
    }

    /// The `error` of `WWW-Authenticate` (RFC 6750 section 3.1); for a 503, which carries no such header, the
    /// OAuth code `temporarily_unavailable`.
    pub fn error_code(&self) -> &'static str {
        match self {
            Self::Forbidden { .. }
            | Self::MissingScope { .. }
            | Self::ClaimElsewhere { .. }
            | Self::MissingTenant { .. } => "insufficient_scope",
            Self::KeysUnavailable { .. } => "temporarily_unavailable",
            Self::Proof(error) => error.error_code(),
            _ => "invalid_token",
        }
    }

    /// 403 for a valid token without the groups or scopes, 503 where the keys are missing, otherwise 401.
    pub fn status(&self) -> http::StatusCode {
        match self {
            Self::Forbidden { .. }
            | Self::MissingScope { .. }
            | Self::ClaimElsewhere { .. }
            | Self::MissingTenant { .. } => http::StatusCode::FORBIDDEN,
            Self::KeysUnavailable { .. } => http::StatusCode::SERVICE_UNAVAILABLE,
            _ => http::StatusCode::UNAUTHORIZED,
        }
    }
}

/// Text from an unverified token: shortened to 120 characters and shown with escapes, so that it cannot forge
/// log lines.
#[derive(Clone, PartialEq, Eq)]
pub struct Quoted(String);

impl Quoted {
    /// Keeps the beginning of `text`.
    pub fn new(text: &str) -> Self {
        const LIMIT: usize = 120;
        let mut kept: String = text.chars().take(LIMIT).collect();
        if kept.len() < text.len() {
            kept.push('…');
        }
        Self(kept)
    }
}

impl fmt::Display for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

impl fmt::Debug for Quoted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why authentication cannot be set up from the configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AuthSetupError {
    /// The secret of the nonces cannot be made.
    #[error("the kernel has no random numbers: {0}")]
    Random(String),
    /// Nobody could ever be let in.
    #[error(
        "auth.issuers is empty: name at least one identity provider, or set auth.development_issuer for trying out"
    )]
    NoIssuer,
    /// The issuer is not a URL that keys may be fetched from.
    #[error("auth.issuers: `{issuer}` {problem}")]
    BadIssuer {
        /// As configured.
        issuer: String,
        /// The fault, and the remedy.
        problem: String,
    },
    /// Two entries of the same name.
    #[error("auth.issuers: `{0}` is listed twice: merge the two entries")]
    DuplicateIssuer(String),
    /// A list that must not be empty.
    #[error("auth.issuers: `{issuer}` has an empty `{field}`: {remedy}")]
    Empty {
        /// As configured.
        issuer: String,
        /// The field.
        field: &'static str,
        /// The text to write.
        remedy: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_strangers_is_shortened_and_escaped() {
        let shown = Quoted::new(&format!("a\nlevel=error {}", "x".repeat(500))).to_string();
        assert!(!shown.contains('\n') && shown.contains("\\n"), "{shown}");
        assert!(shown.chars().count() < 130, "{shown}");
    }

    #[test]
    fn the_status_follows_the_kind() {
        let forbidden = TokenError::Forbidden { subject: Quoted::new("alice"), required: vec!["g".into()] };
        let unavailable = TokenError::KeysUnavailable { issuer: "i".into(), cause: "c".into() };
        let expired = TokenError::Expired { seconds: 1 };
        assert_eq!((forbidden.status().as_u16(), forbidden.error_code()), (403, "insufficient_scope"));
        assert_eq!(
            (unavailable.status().as_u16(), unavailable.error_code()),
            (503, "temporarily_unavailable")
        );
        assert_eq!((expired.status().as_u16(), expired.error_code()), (401, "invalid_token"));
    }
}
