//! `airlock token`: a token of the running development issuer.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use http::Uri;
use serde::Deserialize;

use crate::auth::development::DEFAULT_LIFETIME;
use crate::auth::keys::fetch::{FetchError, Fetcher, checked_url, is_loopback_host};
use crate::auth::keys::guard::Zone;
use crate::config::units::Period;

use super::print;

/// Prints an access token of the development issuer of a running daemon.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Configuration file of the running daemon; its `auth.development_issuer.listen` is asked.
    #[arg(long, default_value = crate::cli::defaults::DEFAULT_CONFIG, conflicts_with = "issuer")]
    config: PathBuf,
    /// URL of the development issuer, such as <http://127.0.0.1:9000>.
    #[arg(long)]
    issuer: Option<String>,
    /// The subject that the token is for (`sub`).
    #[arg(long)]
    subject: String,
    /// The tenant.
    #[arg(long)]
    tenant: Option<String>,
    /// A group; may be repeated.
    #[arg(long = "group")]
    groups: Vec<String>,
    /// A scope; may be repeated.
    #[arg(long = "scope")]
    scopes: Vec<String>,
    /// How long the token is valid, such as 30m.
    #[arg(long, default_value_t = Period(DEFAULT_LIFETIME))]
    lifetime: Period,
    /// The audience; the daemon's own when absent.
    #[arg(long)]
    audience: Option<String>,
}

/// Runs the command. The token goes to standard output, errors to standard error; exit code 1 where there is
/// no token.
#[expect(clippy::needless_pass_by_value, reason = "all commands have this shape")]
pub fn run(args: Args) -> ExitCode {
    match token(&args) {
        Ok(token) => {
            print::out(format_args!("{token}\n"));
            ExitCode::SUCCESS
        }
        Err(problem) => {
            print::err(format_args!("airlock token: {problem}\n"));
            ExitCode::FAILURE
        }
    }
}

fn token(args: &Args) -> Result<String, String> {
    let issuer = match &args.issuer {
        Some(issuer) => issuer.clone(),
        None => from_config(&args.config)?,
    };
    let url = token_url(&issuer)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(ask(&url, form(args)))
}

fn from_config(path: &Path) -> Result<String, String> {
    let shown = path.display();
    // The policy and what else the file names are the daemon's business, not this command's.
    let text = std::fs::read_to_string(path).map_err(|error| format!("cannot read {shown}: {error}"))?;
    let name = shown.to_string();
    let config = crate::config::from_text(&name, &text).map_err(|mistakes| mistakes.to_string())?;
    let Some(development) = config.auth.development_issuer else {
        return Err(format!(
            "{shown} has no `auth.development_issuer`: tokens of other issuers come from those issuers"
        ));
    };
    if development.listen.port() == 0 {
        return Err(format!(
            "{shown} lets the system choose the port of `auth.development_issuer`: take the URL from the daemon's log and use --issuer URL"
        ));
    }
    Ok(format!("http://{}", development.listen))
}

fn token_url(issuer: &str) -> Result<Uri, String> {
    let url = checked_url(&format!("{}/token", issuer.trim_end_matches('/')), true)
        .map_err(|problem| format!("--issuer `{issuer}` {problem}"))?;
    if url.host().is_some_and(is_loopback_host) && url.scheme_str() == Some("http") {
        Ok(url)
    } else {
        Err(format!(
            "--issuer `{issuer}` is not on this host: the development issuer is http on a loopback address"
        ))
    }
}

fn form(args: &Args) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("subject", &args.subject).append_pair("lifetime", &args.lifetime.to_string());
    for (name, value) in [("tenant", &args.tenant), ("audience", &args.audience)] {
        if let Some(value) = value {
            form.append_pair(name, value);
        }
    }
    for group in &args.groups {
        form.append_pair("groups", group);
    }
    for scope in &args.scopes {
        form.append_pair("scope", scope);
    }
    form.finish()
}

async fn ask(url: &Uri, form: String) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Granted {
        access_token: String,
    }
    #[derive(Deserialize)]
    struct Refused {
        error_description: String,
    }
    let (status, body) = Fetcher::new(Zone::Private).post_form(url, form, None).await.map_err(|error| match error {
        FetchError::Transport { .. } | FetchError::Timeout { .. } => format!(
            "no development issuer answers ({error}): start `airlock serve` with `auth.development_issuer.listen` set"
        ),
        other => other.to_string(),
    })?;
    if let Ok(Granted { access_token }) = serde_json::from_slice(&body)
        && status.is_success()
    {
        return Ok(access_token);
    }
    match serde_json::from_slice(&body) {
        Ok(Refused { error_description }) => Err(format!("refused: {}", error_description.escape_debug())),
        Err(_) => Err(format!("{url} answered {status}: that is not Airlock's development issuer")),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use clap::Parser;

    use super::*;
    use crate::auth::development::DevelopmentIssuer;
    use crate::config::schema;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: Args,
    }

    fn args(words: &[&str]) -> Args {
        Cli::try_parse_from([&["token"], words].concat()).expect("valid arguments").args
    }

    /// Runs `body` while a development issuer serves on a thread of its own.
    fn with_issuer(body: impl FnOnce(&DevelopmentIssuer)) {
        let config = schema::DevelopmentIssuer { listen: "127.0.0.1:0".parse().expect("an address") };
        let issuer = DevelopmentIssuer::start(&config, "airlock".into()).expect("a free port");
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let served = Arc::clone(&issuer);
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async {
                tokio::select! {
                    result = served.run() => panic!("ended by itself: {result:?}"),
                    _ = stopped => {}
                }
            });
        });
        body(&issuer);
        drop(stop);
        thread.join().expect("no panic");
    }

    #[test]
    fn the_running_issuer_gives_the_token_that_was_asked_for() {
        let dir = tempfile::tempdir().expect("a directory");
        with_issuer(|issuer| {
            let file = dir.path().join("airlock.yaml");
            let text = format!("auth:\n  development_issuer:\n    listen: {}\n", issuer.address());
            std::fs::write(&file, text).expect("written");
            let words = ["--config", file.to_str().expect("UTF-8"), "--subject", "alice", "--tenant", "acme"];
            let more = ["--group", "dev", "--group", "a&b", "--scope", "read", "--lifetime", "5m"];
            let token = token(&args(&[&words[..], &more].concat())).expect("a token");
            let claims = crate::auth::jwt::inspect(&token).expect("well formed").claims;
            assert_eq!((&claims["sub"], &claims["tenant"]), (&"alice".into(), &"acme".into()));
            assert_eq!(claims["groups"], serde_json::json!(["dev", "a&b"]));
            assert_eq!((&claims["scope"], &claims["aud"]), (&"read".into(), &"airlock".into()));
            let lifetime = claims["exp"].as_u64().zip(claims["iat"].as_u64()).map(|(exp, iat)| exp - iat);
            assert_eq!(lifetime, Some(300));
            let refused =
                super::token(&args(&["--issuer", &issuer.url(), "--subject", "a", "--lifetime", "99d"]));
            assert!(refused.expect_err("too long").contains("refused: `lifetime` must be"));
        });
    }

    #[test]
    fn what_cannot_work_says_what_to_do() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("written");
            path.to_str().expect("UTF-8").to_owned()
        };
        // A port that was free a moment ago, and that nobody listens on while this socket holds it without
        // listening.
        let unused = tokio::net::TcpSocket::new_v4().expect("a socket");
        unused.bind("127.0.0.1:0".parse().expect("an address")).expect("a free port");
        let away = format!("http://{}", unused.local_addr().expect("an address"));
        for (words, expected) in [
            (["--issuer", away.as_str()], "start `airlock serve` with"),
            (["--issuer", "https://idp.example"], "is not on this host"),
            (["--issuer", "http://10.0.0.1:1"], "must be https"),
            (["--issuer", "nonsense"], "is not"),
            (["--config", "/nonexistent/airlock.yaml"], "cannot read /nonexistent"),
            (
                [
                    "--config",
                    &file("none.yaml", "auth: {issuers: [{issuer: 'https://idp.example', audience: [x]}]}\n"),
                ],
                "has no `auth.development_issuer`",
            ),
            (
                ["--config", &file("any.yaml", "auth: {development_issuer: {listen: '127.0.0.1:0'}}\n")],
                "use --issuer",
            ),
            (["--config", &file("bad.yaml", "auth: [\n")], "bad.yaml"),
        ] {
            let problem = token(&args(&[&words[..], &["--subject", "alice"]].concat())).expect_err(expected);
            assert!(problem.contains(expected), "{words:?}: {problem}");
        }
        assert_eq!(args(&["--subject", "alice"]).config, PathBuf::from(crate::cli::defaults::DEFAULT_CONFIG));
        assert!(Cli::try_parse_from(["token", "--issuer", "http://127.0.0.1:1"]).is_err(), "nobody");
    }
}
