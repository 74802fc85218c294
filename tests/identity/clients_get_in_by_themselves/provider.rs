//! Identity providers that others wrote, as processes of their own.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use airlock_tests::airlock::free_address;
use airlock_tests::http::Request;
use airlock_tests::{Running, tools};
use serde_json::Value;

/// A running provider; killed when it is dropped.
pub(super) struct Provider {
    child: Running,
    pub(super) address: SocketAddr,
}

/// The parts from which a provider can be started: an address of its own, and a place for its keys.
pub(super) struct Site {
    node: PathBuf,
    modules: PathBuf,
    keys: tempfile::TempDir,
    pub(super) address: SocketAddr,
}

impl Site {
    /// # Errors
    /// The program that is not installed.
    pub(super) fn new() -> Result<Self, String> {
        let node = tools::node()?;
        let package = tools::node_script("oidc-provider/package.json")?;
        let modules = package.ancestors().nth(2).unwrap_or(Path::new("/")).to_owned();
        let keys = tempfile::tempdir().expect("a directory");
        Ok(Self { node, modules, keys, address: free_address().expect("a free port") })
    }

    /// The issuer's name.
    pub(super) fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Starts oidc-provider: it signs with the first key and publishes all.
    pub(super) fn start(&self, keys: &[&str]) -> Provider {
        let keys = keys.iter().map(|name| self.keys.path().join(name).display().to_string());
        self.run("provider.mjs", &keys.collect::<Vec<_>>())
    }

    /// Starts oauth2-mock-server with a key of this algorithm.
    pub(super) fn start_mock(&self, algorithm: &str) -> Provider {
        self.run("mock.mjs", &[algorithm.to_owned()])
    }

    /// Runs a client of this provider for one resource to its end; what it tells.
    pub(super) fn visit(&self, script: &str, resource: &str) -> Value {
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("identity/clients_get_in_by_themselves").join(script);
        let mut command = Command::new(&self.node);
        tools::told(command.arg(script).arg(&self.modules).args([&self.issuer(), resource]))
    }

    fn run(&self, script: &str, more: &[String]) -> Provider {
        let script =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("identity/clients_get_in_by_themselves").join(script);
        let mut command = Command::new(&self.node);
        command.arg(script).arg(&self.modules).arg(self.address.port().to_string()).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = Running::start(&mut command);
        let said = child.stdout.take().expect("a pipe");
        let mut lines = BufReader::new(said).lines().map_while(Result::ok);
        let ready = lines.any(|line| line == "ready");
        // Whatever else it says must not fill the pipe.
        std::thread::spawn(move || lines.for_each(drop));
        let provider = Provider { child, address: self.address };
        assert!(ready, "the provider ended before it was ready");
        provider
    }
}

impl Provider {
    /// A token of oidc-provider's client `robot` for one resource.
    pub(super) fn token(&self, resource: &str, scope: &str) -> String {
        self.ask(&[
            ("client_id", "robot"),
            ("client_secret", "a secret of the tests"),
            ("resource", resource),
            ("scope", scope),
        ])
    }

    /// A token of oauth2-mock-server with these claims, whatever they are.
    pub(super) fn mock_token(&self, claims: &Value) -> String {
        self.ask(&[("claims", &claims.to_string())])
    }

    fn ask(&self, fields: &[(&str, &str)]) -> String {
        let mut form = "grant_type=client_credentials".to_owned();
        for (name, value) in fields {
            let _ = write!(form, "&{name}=");
            for byte in value.bytes() {
                let _ = write!(form, "%{byte:02X}");
            }
        }
        let request = Request { method: "POST".to_owned(), path: "/token".to_owned(), ..Request::default() };
        let request = Request { body: form.into_bytes(), ..request }
            .header("content-type", "application/x-www-form-urlencoded");
        let response = request.send(self.address).expect("an answer of the provider");
        let answer: Value = serde_json::from_slice(&response.body).expect("JSON");
        answer["access_token"].as_str().unwrap_or_else(|| panic!("no token: {}", response.text())).to_owned()
    }

    /// Ends it at once, like a crash.
    pub(super) fn kill(self) {
        drop(self.child);
    }
}
