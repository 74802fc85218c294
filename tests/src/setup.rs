//! The configuration of a test, built.

use std::fmt::{self, Display, Formatter};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::airlock::{Airlock, Failed, free_address, start};
use crate::tools;

/// The policy of the tests: members of `mcp.users` may do everything but phone home and write.
pub const POLICY: &str = r#"package airlock.authz

import rego.v1

default allow := false

allow if "mcp.users" in input.subject.groups

rule_id := "members" if allow

deny contains {"rule_id": "no_phone_home", "reason": "only operators may call phone_home"} if {
    input.call.tool == "phone_home"
    not "mcp.operators" in input.subject.groups
}

deny contains {"rule_id": "no_writes", "reason": "this door is for reading"} if {
    is_string(input.call.tool)
    some prefix in {"write_", "edit_", "create_", "move_"}
    startswith(input.call.tool, prefix)
}
"#;

/// The daemon to start.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The addresses of `server.listen`; port 0 takes any.
    pub listen: Vec<String>,
    /// `auto`, `io_uring` or `epoll`.
    pub io: String,
    /// The YAML list below `upstreams:`, each line indented by two.
    pub upstreams: String,
    /// The text of `policies/authz.rego`, where `shipped_policy` is off.
    pub policy: String,
    /// More lines below `policy:`, each indented by two.
    pub policy_keys: String,
    /// The policy that comes with Airlock takes the place of `policy`.
    pub shipped_policy: bool,
    /// `required`, `preferred` or `off`.
    pub kernel: String,
    /// More lines below `kernel:`, each indented by two.
    pub kernel_keys: String,
    /// More lines below `server:`, each indented by two.
    pub server: String,
    /// The whole of `auth:` when it is not the development issuer.
    pub auth: Option<String>,
    /// Records go to the host's journald as well.
    pub audit_in_journald: bool,
    /// More lines below `audit:`, each indented by two.
    pub audit: String,
    /// More lines below `observability:`, each indented by two.
    pub observability: String,
    /// More top-level YAML.
    pub more: String,
    /// The level of its log.
    pub log: String,
    /// `text` or `journald`.
    pub log_format: String,
    /// Root starts servers as itself where the kernel is required: few hosts of tests have a user for them.
    pub asks_for_root: bool,
    /// Run the daemon as this user; only root can.
    pub user: Option<u32>,
    /// Do not wait for readiness, only for the listener.
    pub only_listening: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            listen: vec!["127.0.0.1:0".to_owned()],
            io: "auto".to_owned(),
            upstreams: docs_upstream(),
            policy: POLICY.to_owned(),
            policy_keys: String::new(),
            shipped_policy: false,
            kernel: "preferred".to_owned(),
            kernel_keys: String::new(),
            server: String::new(),
            auth: None,
            audit_in_journald: false,
            audit: String::new(),
            observability: String::new(),
            more: String::new(),
            log: "debug".to_owned(),
            log_format: "text".to_owned(),
            asks_for_root: true,
            user: None,
            only_listening: false,
        }
    }
}

/// An entry of `upstreams:`.
#[derive(Debug, Clone)]
pub struct Upstream(Vec<(String, Value)>);

impl Upstream {
    /// A server of that name and type.
    pub fn of(name: &str, kind: &str) -> Self {
        Self(vec![("name".to_owned(), json!(name)), ("type".to_owned(), json!(kind))])
    }

    /// A program that speaks on its standard input and output.
    pub fn stdio(name: &str, command: &[&str]) -> Self {
        Self::of(name, "stdio").with("command", command)
    }

    /// The example server as `docs`.
    pub fn docs() -> Self {
        Self::stdio("docs", &[&tools::built("docs-server").display().to_string()])
    }

    /// A server at a URL.
    pub fn http(name: &str, url: &str) -> Self {
        Self::of(name, "http").with("url", url)
    }

    /// The same with this value of a key, in place of the one that it has.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        match self.0.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value,
            None => self.0.push((key.to_owned(), value)),
        }
        self
    }
}

impl Display for Upstream {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        // A name is written plainly, as people do. Any other value is JSON, which is YAML as well.
        for (place, (key, value)) in self.0.iter().enumerate() {
            let dash = if place == 0 { "-" } else { " " };
            match value.as_str().filter(|_| key == "name" || key == "type") {
                Some(plain) => writeln!(to, "  {dash} {key}: {plain}")?,
                None => writeln!(to, "  {dash} {key}: {value}")?,
            }
        }
        Ok(())
    }
}

/// The example server as upstream `docs`.
pub fn docs_upstream() -> String {
    Upstream::docs().to_string()
}

/// A stdio upstream with that command.
pub fn stdio_upstream(name: &str, command: &[&str]) -> String {
    Upstream::stdio(name, command).to_string()
}

/// A line of a mapping: the value is JSON, which is YAML as well.
fn line(indent: &str, key: &str, value: impl Serialize) -> String {
    format!("{indent}{key}: {}\n", serde_json::to_value(value).expect("a value of JSON"))
}

impl Setup {
    /// The same with a key of `server:`.
    #[must_use]
    pub fn server(mut self, key: &str, value: impl Serialize) -> Self {
        self.server += &line("  ", key, value);
        self
    }

    /// The same with a key of `policy:`.
    #[must_use]
    pub fn policy(mut self, key: &str, value: impl Serialize) -> Self {
        self.policy_keys += &line("  ", key, value);
        self
    }

    /// The same with these upstreams and no others.
    #[must_use]
    pub fn upstreams(self, upstreams: &[Upstream]) -> Self {
        Self { upstreams: upstreams.iter().map(Upstream::to_string).collect(), ..self }
    }

    /// The same with a key of `kernel:`.
    #[must_use]
    pub fn kernel(mut self, key: &str, value: impl Serialize) -> Self {
        self.kernel_keys += &line("  ", key, value);
        self
    }

    /// The same with an early drop on these interfaces, in the kernel's own code, which every device has.
    #[must_use]
    pub fn early_drop(self, interfaces: &[&str]) -> Self {
        self.kernel("xdp", json!({"interfaces": interfaces, "mode": "generic"}))
    }

    /// The same with this `auth:`, and no development issuer.
    #[must_use]
    pub fn auth(self, auth: impl Serialize) -> Self {
        Self { auth: Some(line("", "auth", auth)), ..self }
    }

    /// The same with tokens of these issuers, and of no development issuer.
    #[must_use]
    pub fn issuers(self, issuers: impl Serialize) -> Self {
        self.auth(json!({"issuers": serde_json::to_value(issuers).expect("a value of JSON")}))
    }

    /// The same with an issuer that nobody can reach: whatever token comes, it is none.
    #[must_use]
    pub fn without_tokens(self) -> Self {
        self.issuers(json!([{"issuer": "http://127.0.0.1:9", "audience": ["nobody"]}]))
    }

    /// The same with a key of `audit:`.
    #[must_use]
    pub fn audit(mut self, key: &str, value: impl Serialize) -> Self {
        self.audit += &line("  ", key, value);
        self
    }

    /// The same with a key of `observability:`.
    #[must_use]
    pub fn observability(mut self, key: &str, value: impl Serialize) -> Self {
        self.observability += &line("  ", key, value);
        self
    }

    /// The same with a key at the top.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Serialize) -> Self {
        self.more += &line("", key, value);
        self
    }

    /// Writes configuration and policy into a fresh directory. Gives the directory; the file is
    /// `airlock.yaml`.
    pub fn write(&self) -> io::Result<TempDir> {
        // Not below /tmp, where the servers of tests work: what lies beside a hidden file is a server's only
        // if it is there when the server starts.
        let dir = tempfile::Builder::new().prefix("airlock-test-").tempdir_in("/var/tmp")?;
        // Servers run as users of their own and may have to look in.
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755))?;
        let policies = dir.path().join("policies");
        std::fs::create_dir(&policies)?;
        if self.shipped_policy {
            std::fs::write(policies.join("authz.rego"), include_str!("../../policies/authz.rego"))?;
            std::fs::write(policies.join("data.yaml"), include_str!("../../policies/data.yaml"))?;
        } else {
            std::fs::write(policies.join("authz.rego"), &self.policy)?;
        }
        std::fs::write(dir.path().join("airlock.yaml"), self.yaml(dir.path())?)?;
        Ok(dir)
    }

    fn yaml(&self, dir: &Path) -> io::Result<String> {
        let auth = match &self.auth {
            Some(auth) => auth.clone(),
            None => format!("auth:\n  development_issuer:\n    listen: \"{}\"\n", free_address()?),
        };
        let dir = dir.display();
        Ok(format!(
            "server:\n  listen: {listen}\n  io: {io}\n{server}{auth}\
             policy:\n  path: {dir}/policies\n{policy}\
             upstreams:\n{upstreams}\
             audit:\n  dir: {dir}/audit\n  journald: {journald}\n{audit}\
             observability:\n  log: {{level: {log}, format: {format}}}\n{observability}\
             kernel:\n  mode: {kernel}\n{kernel_keys}{more}",
            listen = json!(self.listen),
            io = self.io,
            log = self.log,
            format = self.log_format,
            server = self.server,
            policy = self.policy_keys,
            upstreams = if self.upstreams.is_empty() { "  []\n".to_owned() } else { self.asking_for_root() },
            kernel = self.kernel,
            kernel_keys = self.kernel_keys,
            journald = self.audit_in_journald,
            audit = self.audit,
            observability = self.observability,
            more = self.more,
        ))
    }

    /// The upstreams. Where root would not start them as itself unasked, it is asked to.
    fn asking_for_root(&self) -> String {
        if !self.asks_for_root || !self.kernel.starts_with("required") || !tools::is_root() {
            return self.upstreams.clone();
        }
        let ask = |entry: &str| {
            let by = if entry.contains(" user:") {
                "    type: stdio\n"
            } else {
                "    type: stdio\n    user: root\n"
            };
            entry.replace("    type: stdio\n", by)
        };
        self.upstreams.split("  - name:").map(ask).collect::<Vec<_>>().join("  - name:")
    }

    /// Starts it and waits until it is ready. Panics with its log when it is not: the test has failed.
    pub fn start(&self) -> Airlock {
        match self.try_start() {
            Ok(airlock) => airlock,
            Err(failed) => panic!("airlock did not start ({:?}):\n{}", failed.status, failed.log),
        }
    }

    /// Starts it and waits until it is ready or has ended.
    pub fn try_start(&self) -> Result<Airlock, Failed> {
        let broken = |error: io::Error| Failed { status: None, log: format!("the harness: {error}") };
        let dir = self.write().map_err(broken)?;
        start(dir, self.user, self.only_listening)
    }
}
