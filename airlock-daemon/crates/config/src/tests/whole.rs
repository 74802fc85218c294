//! Whole files: defaults, several mistakes at once, every key, and that no text brings the loader down.

use std::time::Duration;

use proptest::prelude::*;

use super::{AUTH, assert_mistakes, good, mistakes};
use crate::schema::{
    DayBudget, Framing, Io, Isolation, KernelMode, OnAuditFailure, PerAddress, PinNetwork, PolicyMode,
    SignatureAlgorithm,
};
use crate::schema::{UpstreamKind, Workers};
use crate::units::{ByteSize, Rate};
use crate::{MAX_DIAGNOSTICS, from_text};

#[test]
fn a_minimal_file_gives_the_documented_defaults() {
    let config = good(AUTH);
    let server = &config.server;
    assert_eq!(server.listen, ["127.0.0.1:8080".parse().expect("address")]);
    assert_eq!((server.io, server.workers), (Io::Auto, Workers::Auto));
    assert_eq!(server.max_request_bytes.0, 256 << 10);
    assert!(
        server.allowed_origins.is_empty()
            && server.public_url.is_none()
            && server.hosts.is_empty()
            && server.trusted_proxies.is_empty()
            && server.nat64_prefixes.is_empty()
    );
    let times = &server.timeouts;
    let secs =
        [times.connect, times.upstream, times.idle, times.header, times.body, times.drain, times.input]
            .map(|period| period.0.as_secs());
    assert_eq!(secs, [2, 30, 120, 5, 30, 30, 300]);
    let issuer = &config.auth.issuers[0];
    assert_eq!(issuer.jwks_cache_ttl.0, Duration::from_mins(5));
    assert_eq!(issuer.clock_skew.0, Duration::from_mins(2));
    assert_eq!(
        issuer.algorithms,
        [SignatureAlgorithm::RS256, SignatureAlgorithm::ES256, SignatureAlgorithm::EdDSA]
    );
    assert_eq!(config.policy.mode, PolicyMode::Enforce);
    assert_eq!(config.audit.on_failure, OnAuditFailure::Buffer);
    assert!(config.audit.journald && config.upstreams.is_empty());
    assert_eq!((config.kernel.mode, config.kernel.minimum_rung), (KernelMode::Required, None));
    assert!(config.kernel.xdp.interfaces.is_empty());
    let limits = &config.rate_limiting;
    assert_eq!((limits.failed_auth, limits.per_principal.streams), (Some(Rate::per_minute(5)), Some(64)));
    assert!(limits.per_token.is_none() && limits.per_tenant.is_none());
    assert_eq!(limits.per_address, PerAddress::Unsaid);
    assert!(limits.per_tool.is_empty() && limits.kernel_drop.is_none());
    assert_eq!(config.budget, DayBudget::default());
    let memory = &config.limits.memory;
    let sizes = [memory.total, memory.per_tenant, memory.per_principal, memory.per_session];
    assert_eq!(sizes.map(|size| size.0 >> 20), [256, 128, 64, 32]);
    let off =
        good(&format!("{AUTH}rate_limiting: {{failed_auth: null, per_principal: {{}}}}\n")).rate_limiting;
    assert_eq!((off.failed_auth, off.per_principal.streams), (None, Some(64)));
    let per_address = |value: &str| {
        good(&format!("{AUTH}rate_limiting: {{per_address: {value}}}\n")).rate_limiting.per_address
    };
    assert_eq!(per_address("null"), PerAddress::Off);
    assert_eq!(per_address("30000/min"), PerAddress::Rate(PerAddress::DEFAULT));
}

#[test]
fn values_are_read_as_written() {
    let config = good(&format!(
        "{AUTH}server: {{workers: 3, io: epoll, listen: [\"127.0.0.1:0\", '[::1]:0'], max_request_bytes: 2048}}\n\
         upstreams:\n- name: code-1\n  type: \"stdio\"\n  command: [python3, -m, server]\n  isolation: shared\n\
         \x20 env: {{PORT: 8080, ON: yes, NONE: \"null\", EMPTY: \"\"}}\n  allow_tools: null\n  pin: {{memory: 512MiB}}\n"
    ));
    assert_eq!(config.server.workers, Workers::Count(3));
    assert_eq!(config.server.listen.len(), 2);
    assert_eq!(config.server.max_request_bytes.0, 2048);
    let upstream = &config.upstreams[0];
    assert_eq!((upstream.kind, upstream.isolation), (UpstreamKind::Stdio, Some(Isolation::Shared)));
    assert_eq!(upstream.command, ["python3", "-m", "server"]);
    let env: Vec<_> = upstream.env.iter().map(|(key, value)| format!("{key}={value}")).collect();
    assert_eq!(env, ["EMPTY=", "NONE=null", "ON=yes", "PORT=8080"]);
    assert_eq!(upstream.allow_tools, None);
    assert_eq!((upstream.pin.network, upstream.pin.tasks), (PinNetwork::None, Some(256)));
    assert_eq!((upstream.pin.memory, upstream.pin.tmp), (Some(ByteSize(512 << 20)), ByteSize(64 << 20)));
    assert_eq!(upstream.pin.file_size, Some(ByteSize(1 << 30)));
    let crlf = good(&format!("\u{feff}{AUTH}server:\n  workers: 2\n").replace('\n', "\r\n"));
    assert_eq!(crlf.server.workers, Workers::Count(2));
}

#[test]
fn five_mistakes_are_told_at_once_and_in_order() {
    assert_mistakes(
        "server:\n  «lisen: [«\"127.0.0.1:80800\"]\n  max_request_bytes: «1B\nauth:\n  issuers: «[]\n\
         upstreams:\n  - {name: a, type: «sdtio, command: [x]}\n",
        &[
            "did you mean `listen`?",
            "an IP address and a port",
            "from 1KiB to 64MiB",
            "no identity provider",
            "did you mean `stdio`?",
        ],
    );
}

/// A mistake is told once, and nothing is told that only follows from it.
#[test]
fn a_mistake_has_no_echo() {
    assert_mistakes(
        &format!(
            "{AUTH}upstreams:\n  - «5\n  - {{name: «[], type: «tcp}}\n  - «{{}}\n  - {{name: b, type: «\"\", env: «7}}\n\
             server: {{listen: «x, public_url: «[], timeouts: «1, tls: «1, workers: «[]}}\n\
             kernel: {{mode: «of, minimum_rung: no-ip, xdp: «eth0}}\n"
        )
        .replace("- «{}", "- ««{}"),
        &[
            "found `5`", "found a list", "`tcp`", "`name`", "`type`", "`` is not a known value", "found text", "found `x`",
            "found a list", "found `1`", "found `1`", "`auto` or a number", "did you mean `off`?", "found `eth0`",
        ],
    );
    // A mapping with required keys of several types must be pretended.
    assert_mistakes(
        &format!(
            "{AUTH}rate_limiting: {{kernel_drop: «1, per_token: «x}}\nkernel: {{xdp: «[]}}\n\
             server: {{«tls: {{cert_file: /a}}}}\n"
        ),
        &["a mapping", "such as `200/min`", "a mapping", "`key_file` is missing"],
    );
}

/// A file with every key is good.
#[test]
fn every_key_is_known() {
    let text = r#"
server:
  listen: ["127.0.0.1:8080"]
  unix_socket: /run/airlock/airlock.sock
  unix_socket_mode: 0660
  public_url: https://airlock.example.com
  hosts: [airlock.internal.example.com]
  tls: {cert_file: /etc/airlock/cert.pem, key_file: /etc/airlock/key.pem, client_ca_file: /etc/airlock/ca.pem, client_auth: optional}
  trusted_proxies: [10.0.0.0/8]
  proxy_protocol: required
  nat64_prefixes: ["2001:db8:64::/96"]
  max_connections: 10000
  max_connections_per_address: 1000
  allowed_origins: []
  io: auto
  workers: auto
  max_request_bytes: 256KiB
  timeouts: {connect: 2s, upstream: 30s, idle: 120s, header: 5s, body: 30s}
auth:
  issuers:
    - issuer: https://idp.example.com
      audience: [https://airlock.example.com/mcp]
      jwks_cache_ttl: 5m
      clock_skew: 2m
      claims: {tenant: tid, tenant_optional: false, groups: groups}
      algorithms: [RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA]
      allow_private_addresses: false
      id_tokens: false
  required_scopes: [mcp:use]
  required_groups: [mcp.users]
policy: {path: /etc/airlock/policies, mode: enforce, arguments: strict, numbers: exact, decision_cache_ttl: 1m}
rate_limiting: {per_token: 200/min, per_address: 1000/min, burst: 50, per_tenant: {requests: 2000/min, streams: 100},
                per_principal: {streams: 32}, per_tool: {docs/*: 60/min}, failed_auth: 5/min,
                kernel_drop: {after: 3, for: 5m, at_most: 1h}}
budget: {calls: 1000, bytes: 100MiB, arguments: 500, repeats: 20/min, tools: {docs/*: {calls: 10}}}
upstreams:
  - {name: docs, type: unix, socket: /run/mcp/docs.sock, framing: auto, timeout: 30s, allow_tools: [search_docs]}
  - {name: code, type: stdio, command: [python3, -m, mcp_server.code], env: {LANG: C}, user: airlock-mcp,
     isolation: session, era: auto, pin: {network: none, memory: 512MiB, tasks: 64}}
  - {name: analytics, type: http, url: "http://127.0.0.1:9000/mcp", credential: {bearer_file: /run/token}}
audit: {dir: /var/lib/airlock/audit, journald: true, on_failure: buffer, wait: 2s}
observability: {admin_listen: /run/airlock/admin.sock, metrics_listen: 127.0.0.1:9464, metrics_hosts: [a.example], log: {level: info, format: auto}}
kernel: {mode: required, minimum_rung: no-network, xdp: {interfaces: [], mode: auto, allow: []}}
"#;
    good(text);
}

/// Features that do not exist have no keys: such a key is told like any other that is unknown.
#[test]
fn a_feature_that_is_not_there_has_no_keys() {
    assert_mistakes(
        &format!(
            "{AUTH}«roots: []\naudit: {{«retention: 30d, «checkpoint: {{every: 10s}}}}\n\
             observability: {{«otlp_endpoint: \"http://127.0.0.1:4317\"}}\n"
        ),
        &[
            "unknown key `roots`",
            "unknown key `retention`",
            "unknown key `checkpoint`",
            "unknown key `otlp_endpoint`",
        ],
    );
}

#[test]
fn a_server_that_is_started_has_no_network() {
    assert_mistakes(
        &format!(
            "{AUTH}policy: {{mode: shadow}}\nupstreams:\n\
             \x20 - {{name: a, type: stdio, command: [x], isolation: subject, pin: {{network: «host}}}}\n\
             \x20 - {{name: b, type: stdio, command: [x], isolation: tenant, pin: {{network: none}}}}\n"
        ),
        &["is given no network"],
    );
}

#[test]
fn a_credential_is_one_thing_and_for_servers_spoken_to_over_http() {
    let good = "token_endpoint: https://idp.example/token, client_id: a, client_secret_file: secret";
    let client = "client_id: «\"\", client_secret_file: «a/b, scopes: «[a b]";
    assert_mistakes(
        &format!(
            "{AUTH}upstreams:\n\
             \x20 - {{name: a, type: stdio, command: [x], env: {{K: v}}, env_from: {{«K: /k, L: «k/l}}, «credential: {{bearer_file: /k}}}}\n\
             \x20 - {{name: b, type: unix, socket: /s, «credential: {{bearer_file: /k}}}}\n\
             \x20 - {{name: c, type: unix, socket: /s, framing: http, «credential: {{}}}}\n\
             \x20 - {{name: d, type: http, url: \"https://x\", «credential: {{bearer_file: «k/l, header: {{name: «Mcp-Method, value_file: /k}}}}}}\n\
             \x20 - {{name: e, type: http, url: \"https://x\", isolation: «shared, credential: {{token_exchange: {{{good}}}}}}}\n\
             \x20 - {{name: f, type: http, url: \"https://x\", credential: {{client_credentials: {{token_endpoint: «\"http://x/t\", {client}}}}}}}\n\
             \x20 - {{name: g, type: http, url: \"https://x\", isolation: subject, credential: {{token_exchange: {{{good}}}}}}}\n"
        ),
        &[
            "stands in `env` as well",
            "neither an absolute path",
            "not spoken to over HTTP",
            "not spoken to over HTTP",
            "one thing",
            "one thing",
            "neither an absolute path",
            "cannot be the header",
            "each principal is another",
            "cannot be a token endpoint",
            "no name",
            "neither an absolute path",
            "text without spaces",
        ],
    );
}

#[test]
fn what_listens_is_checked() {
    assert_mistakes(
        &format!(
            "{AUTH}server:\n  listen: []\n  unix_socket: «airlock.sock\n  unix_socket_mode: «0066\n\
             \x20 public_url: «http://127.0.0.1:1\n  tls: {{cert_file: /c, key_file: /k, client_auth: «required}}\n\
             \x20 trusted_proxies: [10.0.0.0/8, «10.0.0.1, «0.0.0.0/0, «\"::/1\", «10.0.0.1/8]\n\
             \x20 max_connections: «0\n  timeouts: {{body: «0s}}\n"
        ),
        &[
            "an absolute path",
            "not even its owner",
            "is not `https`",
            "`client_ca_file`",
            "length of the prefix",
            "trusts everybody",
            "trusts everybody",
            "bits behind",
            "from 1 to",
            "is zero",
        ],
    );
    assert_mistakes(
        &format!(
            "{AUTH}server: {{listen: «[], proxy_protocol: «required,\
             tls: {{cert_file: /c, key_file: /k, client_ca_file: «/a}}}}\n"
        ),
        &["no address to listen on", "there are none", "`client_auth: optional`"],
    );
    assert_mistakes(
        &format!(
            "{AUTH}server:\n  nat64_prefixes: [\"2001:db8:64::/96\", «10.0.0.0/8, «\"2001:db8::/80\", «\"2001:db8::1/96\", «\"::/0\", «x]\n"
        ),
        &["of IPv6", "behind 32, 40", "bits are set", "behind 32, 40", "length of the prefix"],
    );
    let config =
        good(&format!("{AUTH}server: {{listen: [], unix_socket: /run/a.sock, unix_socket_mode: 0600}}\n"));
    assert_eq!(config.server.unix_socket_mode.0, 0o600);
}

#[test]
fn each_type_of_upstream_has_its_own_keys() {
    assert_mistakes(
        &format!(
            "{AUTH}upstreams:\n  - {{«name: a, type: unix, «command: [x], «env: {{A: b}}}}\n\
             \x20 - {{name: c, type: http, url: «http://a.example, «socket: /s, «framing: http, «user: d, «working_dir: /}}\n"
        )
        .replace("{«name: a", "«{name: a"),
        &[
            "needs `socket`", "`stdio`", "`stdio`", "loopback", "`unix`", "`unix`", "`stdio`", "`stdio`",
        ],
    );
}

#[test]
fn servers_that_are_not_started_here_are_not_pinned() {
    assert_mistakes(
        &format!(
            "{AUTH}upstreams:\n  - {{name: a, type: unix, socket: /s, pin: {{«network: host, «memory: 1KiB, «tasks: 0}}}}\n\
             \x20 - {{name: b, type: http, url: \"http://127.0.0.1:1/mcp\", pin: {{network: none, tasks: 256, «memory: 2GiB}}}}\n"
        ),
        &["nothing to pin"; 4],
    );
    let config = good(&format!(
        "{AUTH}upstreams:\n  - {{name: a, type: unix, socket: /s, framing: ndjson}}\n\
         \x20 - {{name: b, type: http, url: \"https://b.example/mcp\", era: modern, isolation: shared}}\n"
    ));
    assert_eq!(
        (config.upstreams[0].kind, config.upstreams[0].framing),
        (UpstreamKind::Unix, Framing::Ndjson)
    );
    assert_eq!(config.upstreams[1].kind, UpstreamKind::Http);
}

#[test]
fn a_server_that_dials_in_has_a_socket_of_its_own() {
    let config = good(&format!(
        "{AUTH}kernel: {{slice: airlock-mcp.slice}}\nupstreams:\n\
         \x20 - {{name: notes, type: dial_in, user: notes, unit: notes.service, pin: {{sockets: [airlock, journal]}}}}\n\
         \x20 - {{name: other, type: dial_in, user: notes, unit: other@1.service, socket: /run/x.sock, pin: {{network: host}}}}\n"
    ));
    let sockets: Vec<_> =
        config.upstreams.iter().map(|one| one.dial_in_socket().display().to_string()).collect();
    assert_eq!(sockets, ["/run/airlock/dial-in/notes.sock", "/run/x.sock"]);
    assert_eq!(config.upstreams[1].unit.as_deref(), Some("other@1.service"));
    assert_eq!(config.kernel.slice.as_deref(), Some("airlock-mcp.slice"));
}

#[test]
fn values_of_variables_are_never_shown() {
    for text in [
        "upstreams:\n- {name: A, type: stdio, command: [x], env: {TOKEN: hunter2, OTHER: \"hunter2\"}}\n",
        "upstreams:\n- {nam: a, env: {TOKEN: hunter2, TOKEN: hunter2}}\n",
        "upstreams:\n- name: a\n  env:\n    TOKEN: \"hunter2\n",
        "upstreams:\n- name: a\n  env:\n    TOKEN: @hunter2\n",
        "upstreams:\n- name: a\n  env: {TOKEN: hunter2, LIST: [hunter2]\n",
        "upstreams:\n- name: a\n  env: {TOKEN: \"hunter2\\0\"}\n",
        "upstreams:\n- name: a\n  env: hunter2\n",
        "upstreams:\r- name: a\r  env:\r    A: 'hun: hunter2\r",
        "upstreams:\n- name: a\n  env:\n    A: \"x\n      y: hunter2 \\q\"\n",
        "upstreams:\n- name: a\n  env: {A: &hunter2 , B: *hunter2 , C: !hunter2 x}\n",
        "upstreams:\n- name: a\n  env: &hunter2\n",
        "upstreams:\n- {name: a, evn: {TOKEN: hunter2}}\n",
        "upstreams:\n- {name: a, environment: {TOKEN: hunter2}}\n",
        "upstreams:\n- {name: a, type: http, url: \"http://me:hunter2@a.example\"}\n",
        "server: {public_url: \"https://hunter2@a.example\", allowed_origins: [\"https://hunter2@a.example\"]}\n",
        "auth: {issuers: [{issuer: \"https://a:hunter2@a.example\", audience: [a]}]}\n",
        "upstreams:\n- name: a\n  env: [hunter2]\n",
    ] {
        let told = mistakes(text).to_string();
        assert!(told.contains('^') && !told.contains("hunter2"), "{told}");
    }
}

const FRAGMENTS: [&str; 32] = [
    "server",
    "auth",
    "upstreams",
    "listen",
    "name",
    "type",
    "stdio",
    "command",
    ": ",
    ":\n",
    "\n",
    "\n  ",
    "\n    - ",
    "- ",
    "[",
    "]",
    "{",
    "}",
    ", ",
    "\"",
    "'",
    "&a ",
    "*a",
    "!!str ",
    "|\n",
    "127.0.0.1:1",
    "30s",
    "null",
    "\t",
    "é\u{2028}",
    "#",
    "---\n",
];

/// Neither a panic nor an answer without a mistake or a configuration.
fn is_answered(text: &str) {
    match from_text("x.yaml", text) {
        Ok(config) => assert!(!config.auth.issuers.is_empty() || config.auth.development_issuer.is_some()),
        Err(diagnostics) => {
            assert!((1..=MAX_DIAGNOSTICS).contains(&diagnostics.entries().len()));
            assert!(!diagnostics.to_string().is_empty());
            assert!(diagnostics.entries().is_sorted_by_key(|d| (d.line, d.column)));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_brings_the_loader_down(text in any::<String>()) {
        is_answered(&text);
    }

    #[test]
    fn nothing_that_resembles_yaml_brings_the_loader_down(parts in prop::collection::vec(0..FRAGMENTS.len(), 0..60)) {
        let text: String = parts.iter().map(|part| FRAGMENTS[*part]).collect();
        is_answered(&text);
    }

    #[test]
    fn no_damage_to_a_good_file_brings_the_loader_down(
        cuts in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..12, 0..FRAGMENTS.len()), 1..6)
    ) {
        let mut text: Vec<char> = include_str!("../../../../../systemd/config.example.yaml")
            .lines().filter(|line| !line.trim_start().starts_with('#')).flat_map(|line| line.chars().chain(['\n'])).collect();
        for (index, length, fragment) in cuts {
            let start = index.index(text.len());
            let end = (start + length).min(text.len());
            text.splice(start..end, FRAGMENTS[fragment].chars());
        }
        is_answered(&text.iter().collect::<String>());
    }
}
