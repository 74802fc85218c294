//! The development issuer beside the gateway. A build without it has the same functions, and refuses to start
//! with a configuration that asks for it.

use super::failure::Failure;
use crate::config::schema;

#[cfg(development_issuer)]
pub(super) use self::built_in::Development;
#[cfg(not(development_issuer))]
pub(super) use self::left_out::Development;

#[cfg(development_issuer)]
mod built_in {
    use std::sync::Arc;

    use super::{Failure, schema};
    use crate::auth::development::DevelopmentIssuer;

    /// The issuer that the configuration asks for.
    pub(in crate::cli::serve) struct Development(Option<Arc<DevelopmentIssuer>>);

    impl Development {
        /// Binds the issuer's address. Nothing is answered before [`Development::run`].
        pub(in crate::cli::serve) fn start(auth: &schema::Auth, base_url: &str) -> Result<Self, Failure> {
            let Some(config) = &auth.development_issuer else { return Ok(Self(None)) };
            Ok(Self(Some(DevelopmentIssuer::start(config, format!("{base_url}/mcp"))?)))
        }

        /// The entry of `auth.issuers` that trusts it.
        pub(in crate::cli::serve) fn issuer(&self) -> Option<schema::Issuer> {
            self.0.as_ref().map(|issuer| issuer.issuer())
        }

        /// Starts its task on the control thread; gives its URL.
        pub(in crate::cli::serve) fn run(self) -> Option<String> {
            let issuer = self.0?;
            let url = issuer.url();
            tokio::task::spawn_local(async move {
                if let Err(error) = issuer.run().await {
                    tracing::error!(%error, "the development issuer has ended");
                }
            });
            Some(url)
        }
    }
}

#[cfg(not(development_issuer))]
mod left_out {
    use super::{Failure, schema};

    /// No issuer.
    pub(in crate::cli::serve) struct Development;

    impl Development {
        /// Validation has refused a configuration with a development issuer; this refuses it once more.
        pub(in crate::cli::serve) fn start(auth: &schema::Auth, _: &str) -> Result<Self, Failure> {
            if auth.development_issuer.is_some() {
                return Err(crate::config::NO_DEVELOPMENT_ISSUER.into());
            }
            Ok(Self)
        }

        /// No entry of `auth.issuers`.
        #[expect(clippy::unused_self, reason = "the other build has an issuer here")]
        pub(in crate::cli::serve) fn issuer(&self) -> Option<schema::Issuer> {
            None
        }

        /// Starts nothing.
        #[expect(clippy::unused_self, reason = "the other build has an issuer here")]
        pub(in crate::cli::serve) fn run(self) -> Option<String> {
            None
        }
    }
}
