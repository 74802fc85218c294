//! Faults of proofs of possession.

/// Why a proof is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// There is none, or more than one.
    #[error("the request does not have exactly one `DPoP` header")]
    Missing,
    /// Not a JWS of the right type by a public key of its own.
    #[error("malformed proof: {0}")]
    Malformed(String),
    /// The proof is by another key than the one that the token is bound to.
    #[error("the proof is by another key than the one of the token")]
    WrongKey,
    /// The signature is not by the key that the proof names.
    #[error("the signature of the proof does not verify")]
    BadSignature,
    /// It was made for another request.
    #[error("the proof is for another request: `{claim}` should be {expected}")]
    WrongRequest {
        /// `htm`, `htu` or `ath`.
        claim: &'static str,
        /// The value that is expected.
        expected: String,
    },
    /// `iat` is too far from now.
    #[error("the proof was made {seconds} s before or after now, at most {} s are accepted", WINDOW_SECS)]
    WrongTime {
        /// Seconds between `iat` and now.
        seconds: u64,
    },
    /// There is no nonce of this host in it, or one that is too old.
    #[error("the proof has no nonce of this host, or an old one")]
    NonceNeeded,
    /// The same proof came before.
    #[error("the proof was used before")]
    Replayed,
    /// More proofs of one key, or of all, than can be remembered.
    #[error("more proofs than can be remembered came within {} s", WINDOW_SECS)]
    TooMany,
}

impl ProofError {
    /// A short sentence for the client.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Missing => "The access token is bound to a key: send exactly one DPoP header with a proof.",
            Self::Malformed(_) => "The DPoP proof is malformed.",
            Self::WrongKey => "The DPoP proof is by another key than the one of the access token.",
            Self::BadSignature => "The signature of the DPoP proof is not valid.",
            Self::WrongRequest { claim: "htm", .. } => "The DPoP proof is for another method (htm).",
            Self::WrongRequest { claim: "htu", .. } => "The DPoP proof is for another URL (htu).",
            Self::WrongRequest { .. } => "The DPoP proof is for another access token (ath).",
            Self::WrongTime { .. } => "The DPoP proof was not made just now (iat).",
            Self::NonceNeeded => "The DPoP proof needs the nonce of the DPoP-Nonce header.",
            Self::Replayed => "The DPoP proof was used before.",
            Self::TooMany => "Too many DPoP proofs came within a short time.",
        }
    }

    /// The `error` of `WWW-Authenticate` (RFC 9449 sections 7.1 and 9).
    pub(crate) fn error_code(&self) -> &'static str {
        match self {
            Self::NonceNeeded => "use_dpop_nonce",
            _ => "invalid_dpop_proof",
        }
    }

    /// True where it is what somebody sends who does not have the key.
    pub(crate) fn is_guess(&self) -> bool {
        matches!(self, Self::Malformed(_) | Self::WrongKey | Self::BadSignature)
    }
}

/// How far `iat` may be from now, in seconds: a proof is made for one request, and clocks differ.
pub(super) const WINDOW_SECS: u64 = 120;
