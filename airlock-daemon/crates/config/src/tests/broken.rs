//! One mistake a file: its exact place, marked in the text, and the words that tell it.

use super::{AUTH, compare};

/// Each is the rest of a file that begins with [`AUTH`].
#[test]
#[expect(clippy::too_many_lines, reason = "a table of mistakes")]
fn a_mistake_is_told_at_its_place() {
    let cases: &[(&str, &str)] = &[
        // Keys.
        ("server:\n  «lsten: [\"127.0.0.1:1\"]\n", "did you mean `listen`?"),
        ("«srever: {}\n", "did you mean `server`?"),
        (
            "server: {timeouts: {«conect: 1s}}\n",
            "one of `connect`, `upstream`, `idle`, `header`, `body`, `drain`, `input`",
        ),
        ("server:\n  «maxRequestBytes: 1KiB\n", "unknown key `maxRequestBytes`"),
        ("server:\n  «max-request-bytes: 1KiB\n", "did you mean `max_request_bytes`?"),
        ("«banana: 1\n", "remove the key"),
        ("server: {io: auto}\n«server: {io: epoll}\n", "given twice"),
        ("server:\n  io: auto\n  workers: 2\n  «io: epoll\n", "it stands on line 3 already"),
        ("upstreams:\n  - «type: stdio\n    command: [x]\n", "the key `name` is missing"),
        ("upstreams:\n  - {name: a, type: stdio, command: [x], «pni: {tasks: 1}}\n", "did you mean `pin`?"),
        ("«<<: {io: auto}\n", "unknown key `<<`"),
        ("server:\n  ? «[a, b]\n  : c\n", "where a key belongs"),
        // Kinds of values.
        ("server: «5\n", "a mapping"),
        ("server: «[]\n", "found a list"),
        ("«server:\n", "found nothing"),
        ("server:\n  «listen:\n  # - 127.0.0.1:1\n", "write a value after the colon, or remove the key"),
        ("upstreams:\n  - {name: a, type: stdio, command: [x], «allow_tools: }\n", "`null` for none"),
        ("server: {listen: «null}\n", "found null"),
        ("server: {listen: «\"127.0.0.1:8080\"}\n", "write a list"),
        ("server: {listen: [«8080]}\n", "an IP address and a port"),
        ("server: {listen: [«\"localhost:8080\"]}\n", "such as `127.0.0.1:8080`"),
        ("server: {listen: [«\"127.0.0.1:80800\"]}\n", "found the text \"127.0.0.1:80800\""),
        ("server: {io: «iouring}\n", "did you mean `io_uring`?"),
        ("server: {io: «kqueue}\n", "one of `auto`, `io_uring`, `epoll`"),
        ("server: {workers: «0}\n", "a number of at least 1"),
        ("server: {workers: «many}\n", "`auto` or a number"),
        ("server: {max_request_bytes: «256KB}\n", "a whole number and B, KiB, MiB or GiB"),
        ("server: {timeouts: {idle: «2 fortnights}}\n", "such as `30s`"),
        ("audit: {journald: «yes}\n", "`true` or `false`"),
        ("audit: {journald: «\"true\"}\n", "remove the quotes"),
        ("upstreams: [{name: a, type: stdio, command: [x], pin: {tasks: «-1}}]\n", "from 0 to 4294967295"),
        ("upstreams: [{name: a, type: stdio, command: [x], pin: {tasks: «1.5}}]\n", "a whole number"),
        ("upstreams: [{name: a, type: stdio, command: [x], env: {A: «[b]}}]\n", "found a list"),
        ("observability: {metrics_listen: «nowhere}\n", "an IP address and a port"),
        ("observability: {metrics_hosts: [a.example, «\"b:9464\"]}\n", "not the name of a host"),
        ("server: {hosts: [a.example, «\"https://b.example\"]}\n", "not the name of a host"),
        ("server: {hosts: [«\"*\"]}\n", "without a scheme and a port"),
        // Redaction.
        ("dlp: {mode: «enforced}\n", "did you mean `enforce`?"),
        ("dlp: {packs: [secrets, «paymnet]}\n", "did you mean `payment`?"),
        ("dlp: {packs: [«banana]}\n", "one of `network`, `payment`, `pii`, `secrets`"),
        ("dlp: {directory: «packs}\n", "an absolute path"),
        ("dlp: {request: «mangle}\n", "one of `redact`, `mask`, `hash`, `block`, `report`, `off`"),
        ("dlp: {rules: [{detector: «github-tokne, action: block}]}\n", "did you mean `github-token`?"),
        ("dlp: {rules: [{pack: «pii, action: block}]}\n", "add `pii` to `dlp.packs`"),
        ("dlp: {rules: [{detector: «email, action: block}]}\n", "add `pii` to `dlp.packs`"),
        ("dlp: {rules: [{upstream: «nowhere, action: off}]}\n", "is no upstream"),
        ("dlp:\n  rules:\n    - «{detector: github-token}\n", "the key `action` is missing"),
        ("dlp: {mode: off, «rules: [{action: block}]}\n", "so no rule does anything"),
        ("dlp: {detectors: [{name: «Ticket, pattern: 'TCK-[0-9]{6}'}]}\n", "lower case letters"),
        ("dlp: {detectors: [{name: ticket, pattern: «'TCK-[0-9{6}'}]}\n", "unclosed character class"),
        (
            "dlp: {detectors: [{name: ticket, pattern: «'[a-z]+'}]}\n",
            "nothing in the pattern shows where to look",
        ),
        ("dlp: {detectors: [{name: ticket, pattern: «'(?:TCK-1)?'}]}\n", "matches the empty text"),
        (
            "dlp: {detectors: [{name: «github-token, pattern: 'TCK-1'}]}\n",
            "a detector `github-token` already",
        ),
        ("dlp: {hash_key_file: «a/b}\n", "neither an absolute path"),
        ("dlp: {phone_regions: [DE, «Germany]}\n", "`Germany` is no region"),
        // YAML itself.
        ("server: {listen: [«&a \"127.0.0.1:1\"]}\n", "an anchor is not allowed"),
        ("server: {io: «*a}\n", "an alias is not allowed"),
        ("server: {io: «!!str auto}\n", "a YAML tag is not allowed"),
        ("«---\nserver: {}\n", "a second YAML document"),
        // Values that do not fit.
        ("server: {listen: «[]}\n", "no address to listen on"),
        ("server: {listen: [\"127.0.0.1:1\", «\"0.0.0.0:443\"]}\n", "`server.public_url` is missing"),
        ("server: {listen: [«\"[::]:443\"]}\n", "add `public_url"),
        ("server: {public_url: «https://a.example/}\n", "without a slash at its end"),
        ("server: {public_url: «http://a.example}\n", "loopback only"),
        ("server: {public_url: «\"https://a.example?x=1\"}\n", "something follows host and port"),
        ("server: {allowed_origins: [«\"*\"]}\n", "every web page"),
        ("server: {allowed_origins: [https://a.example, «https://b.example/]}\n", "is not an origin"),
        ("server: {max_request_bytes: «1}\n", "from 1KiB to 64MiB"),
        ("server: {max_request_bytes: «65MiB}\n", "`max_request_bytes` is 65MiB"),
        ("server: {timeouts: {drain: «0s}}\n", "`drain` is zero"),
        ("audit: {wait: «61s}\n", "longer than a minute"),
        ("server: {timeouts: {input: «0s}}\n", "`input` is zero"),
        ("upstreams: [{name: «Docs, type: stdio, command: [x]}]\n", "a name may not have"),
        ("upstreams: [{name: «a__b, type: stdio, command: [x]}]\n", "separates the name"),
        ("upstreams: [{name: «-a, type: stdio, command: [x]}]\n", "begins or ends with `-`"),
        ("upstreams: [{name: «aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa, type: stdio, command: [x]}]\n", "too long"),
        (
            "upstreams:\n  - {name: a, type: stdio, command: [x]}\n  - {name: «a, type: stdio, command: [x]}\n",
            "first on line 3",
        ),
        ("upstreams:\n  - «name: a\n    type: stdio\n", "needs `command`"),
        ("upstreams:\n  - name: a\n    type: stdio\n    command: «[]\n", "needs `command`"),
        ("upstreams: [{name: a, type: stdio, command: [«\"\"]}]\n", "the program has no name"),
        ("upstreams: [{name: a, type: stdio, command: [«bin/x]}]\n", "neither absolute nor a bare name"),
        (
            "upstreams: [{name: a, type: stdio, command: [x], «socket: /s}]\n",
            "belongs to upstreams of the type `unix`",
        ),
        ("upstreams: [{name: a, type: unix, socket: «run/s}]\n", "an absolute path"),
        ("upstreams: [{name: a, type: stdio, command: [x], «framing: ndjson}]\n", "of the type `unix`"),
        ("upstreams: [{name: a, type: http, url: «\"http://10.0.0.1/mcp\"}]\n", "loopback only"),
        ("upstreams: [{name: a, type: stdio, command: [x], timeout: «0s}]\n", "`timeout` is zero"),
        ("upstreams: [{name: a, type: stdio, command: [x], env: {«A=B: c}}]\n", "name of a variable"),
        ("upstreams: [{name: a, type: stdio, command: [x], env: {«A: \"b\\0\"}}]\n", "NUL"),
        ("upstreams: [{name: a, type: stdio, command: [x, «\"b\\0\"]}]\n", "NUL"),
        ("upstreams: [{name: a, type: stdio, command: [x], user: «\"\"}]\n", "the name of a user"),
        ("upstreams: [{name: a, type: stdio, command: [x], working_dir: «srv}]\n", "an absolute path"),
        ("upstreams: [{name: a, type: stdio, command: [x], pin: {tasks: «0}}]\n", "at least 1"),
        ("upstreams: [{name: a, type: stdio, command: [x], pin: {memory: «1KiB}}]\n", "at least `1MiB`"),
        ("upstreams: [{name: a, type: stdio, command: [x], pin: {tmp: «1KiB}}]\n", "at least `64KiB`"),
        (
            "upstreams: [{name: a, type: stdio, command: [x], pin: {file_size: «1KiB}}]\n",
            "or `null` for no limit",
        ),
        ("upstreams: [{name: a, type: unix, socket: /s, pin: {«tmp: 1MiB}}]\n", "has no effect here"),
        ("upstreams: [{name: a, type: stdio, command: [x], pin: {cpu: «half}}]\n", "such as `50%`"),
        ("upstreams: [{name: a, type: stdio, command: [x], pin: {open_files: «3}}]\n", "at least 16"),
        ("upstreams: [{name: a, type: unix, socket: /s, pin: {«cpu: 50%}}]\n", "has no effect here"),
        (
            "upstreams: [{name: a, type: stdio, command: [x], isolation: «shared, era: legacy}]\n",
            "cannot be shared",
        ),
        (
            "upstreams: [{name: a, type: stdio, command: [x], files: {read: [/usr], write: [«srv]}}]\n",
            "this path is relative",
        ),
        ("upstreams: [{name: a, type: unix, socket: /s, «files: {}}]\n", "`stdio`"),
        ("kernel: {minimum_rung: sealed, seal: «off}\n", "without a seal"),
        ("kernel: {mode: off, «minimum_rung: no-ip}\n", "`kernel.mode` is `off`"),
        ("kernel: {bpffs: «airlock}\n", "not an absolute path"),
        ("kernel: {xdp: {interfaces: [eth0, «a/b]}}\n", "name of a network interface"),
        ("kernel: {xdp: {allow: [10.0.0.0/8, «10.0.0.1]}}\n", "`/32`"),
        ("kernel: {xdp: {allow: [«\"2001:db8::/129\"]}}\n", "is not a network"),
        ("kernel: {xdp: {allow: [10.0.0.0/8, «0.0.0.0/0]}}\n", "exempts everybody"),
        ("kernel: {xdp: {interfaces: [eth0], allow: [«\"::/0\"]}}\n", "exempts everybody"),
        ("kernel: {mode: off, xdp: {«interfaces: [eth0]}}\n", "`kernel.mode` is `off`"),
    ];
    let differences: Vec<_> =
        cases.iter().filter_map(|(rest, word)| compare(&format!("{AUTH}{rest}"), &[word]).err()).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

#[test]
fn a_server_that_cannot_dial_in_is_told_at_its_place() {
    let cases: &[(&str, &str)] = &[
        (
            "upstreams: [{name: a, type: stdio, command: [x], pin: {«sockets: [airlock]}}]\n",
            "needs no socket",
        ),
        ("kernel: {slice: s.slice}\nupstreams:\n  - «name: a\n    type: dial_in\n", "needs `user`"),
        ("upstreams: [{name: a, user: u, type: «dial_in}]\n", "and no slice is"),
        (
            "kernel: {slice: s.slice}\nupstreams: [{name: a, user: u, type: dial_in, socket: «s}]\n",
            "is relative",
        ),
        (
            "kernel: {slice: s.slice}\nupstreams: [{name: a, user: u, type: dial_in, «command: [x]}]\n",
            "`stdio`",
        ),
        (
            "kernel: {slice: s.slice}\nupstreams: [{name: a, user: u, type: dial_in, pin: {«memory: 2GiB}}]\n",
            "here: Airlock does not",
        ),
        (
            "kernel: {slice: s.slice}\nupstreams:\n  - {name: a, user: u, type: dial_in, socket: /s}\n\
             \x20 - {name: b, user: v, type: dial_in, socket: «/s}\n",
            "listens on this socket already",
        ),
        (
            "server: {unix_socket: /s}\nupstreams:\n  - {name: a, user: u, type: dial_in, socket: «/s, pin: {network: host}}\n",
            "for others already",
        ),
        (
            "upstreams: [{name: a, user: u, type: dial_in, pin: {network: host, «sockets: [journal]}}]\n",
            "may connect to every socket",
        ),
        (
            "kernel: {slice: s.slice}\nupstreams: [{name: a, user: u, type: dial_in, pin: {sockets: [«journald]}}]\n",
            "`airlock`, `journal`",
        ),
        (
            "kernel: {slice: s.slice}\nupstreams:\n  - {name: a, user: u, type: dial_in, unit: a.service}\n\
             \x20 - {name: b, user: «u, type: dial_in}\n",
            "`a` lets in the same `user`",
        ),
        (
            "kernel: {slice: s.slice}\nupstreams:\n  - {name: a, user: u, type: dial_in, unit: a.service}\n\
             \x20 - {name: b, user: u, type: dial_in, unit: «a.service}\n",
            "`a` lets in the same `unit`",
        ),
        (
            "kernel: {slice: s.slice}\nupstreams: [{name: a, user: u, type: dial_in, unit: «a.socket}]\n",
            "not the name of a unit",
        ),
        ("upstreams: [{name: a, type: stdio, command: [x], «unit: a.service}]\n", "`dial_in`"),
        ("upstreams: [{name: a, type: stdio, command: [x], «yield_after: 1s}]\n", "`dial_in`"),
        (
            "kernel: {slice: s.slice}\nupstreams: [{name: a, user: u, type: dial_in, yield_after: «0s}]\n",
            "is zero",
        ),
        ("kernel: {slice: «airlock.service}\n", "not the name of a slice"),
        ("kernel: {mode: off, «slice: a.slice}\n", "`kernel.mode` is `off`"),
    ];
    let differences: Vec<_> =
        cases.iter().filter_map(|(rest, word)| compare(&format!("{AUTH}{rest}"), &[word]).err()).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

#[test]
fn a_limit_that_cannot_be_meant_is_told_at_its_place() {
    let cases: &[(&str, &str)] = &[
        ("limits: {memory: {per_session: «100MiB}}\n", "more than `per_principal` (64MiB, its default)"),
        ("limits: {memory: {per_tenant: «1GiB, total: 512MiB}}\n", "more than `total` (512MiB, line"),
        ("limits: {memory: {per_session: «1MiB}}\n", "the longest answers could never arrive"),
        ("limits: {sessions: {per_tenant: «0}}\n", "nothing would ever be let through"),
        ("limits: {processes: {total: «0, per_principal: 1}}\n", "nothing would ever be let through"),
        ("limits: {memory: {«swap: 1MiB}}\n", "swap"),
        ("rate_limiting: {per_token: 1/s, burst: «0}\n", "nothing would ever be let through"),
        ("rate_limiting: {«burst: 5}\n", "`burst` belongs to a rate"),
        ("rate_limiting: {per_token: «0/min}\n", "a count of at least 1"),
        ("rate_limiting: {per_tenant: {streams: «0}}\n", "nothing would ever be let through"),
        ("rate_limiting: {per_principal: {streams: «0}}\n", "at least 1"),
        ("rate_limiting: {«per_tenant: {}}\n", "limits nothing"),
        ("rate_limiting: {per_tool: {«docs: 1/s}}\n", "names no tool"),
        (
            "upstreams: [{name: docs, type: stdio, command: [x]}]\n\
             rate_limiting: {per_tool: {docs/*: 1/s, «code/*: 1/s, '*/write': 1/s}}\n",
            "`code` is no upstream",
        ),
        ("rate_limiting: {per_tool: {«\"*/x\": 1/s}}\n", "`*` is no upstream"),
        (
            "rate_limiting: {failed_auth: null, per_address: null, «kernel_drop: {after: 3, for: 5m, at_most: 1h}}\n",
            "no address can be blocked",
        ),
        ("rate_limiting: {kernel_drop: {after: «0, for: 5m, at_most: 1h}}\n", "before it did anything"),
        ("rate_limiting: {kernel_drop: {after: 3, for: «0s, at_most: 1h}}\n", "`for` is zero"),
        ("rate_limiting: {kernel_drop: {after: 3, for: 5m, at_most: «0s}}\n", "`at_most` is zero"),
        ("rate_limiting: {kernel_drop: {after: 3, for: 5m, at_most: «1m}}\n", "shorter than the first (5m)"),
        ("rate_limiting: {«kernel_drop: {after: 3, for: 5m}}\n", "`at_most` is missing"),
        ("budget: {calls: «0}\n", "nothing would ever be let through"),
        ("budget: {bytes: «0}\n", "nothing would ever be let through"),
        ("budget: {arguments: «10001}\n", "10000 are the most of one tool"),
        ("budget: {repeats: «20}\n", "is not a rate"),
        ("budget: {tools: {«docs: {calls: 1}}}\n", "names no tool"),
        (
            "upstreams: [{name: docs, type: stdio, command: [x]}]\nbudget: {tools: {«docs/*: {}}}\n",
            "bounds nothing",
        ),
    ];
    let differences: Vec<_> =
        cases.iter().filter_map(|(rest, word)| compare(&format!("{AUTH}{rest}"), &[word]).err()).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

#[test]
fn a_mistake_in_whom_to_believe_is_told_at_its_place() {
    let cases: &[(&str, &str)] = &[
        ("«", "no identity provider"),
        ("«# nothing but a comment\n", "no identity provider"),
        ("server: {io: auto}\n«auth: {}\n", "no identity provider"),
        ("auth:\n  issuers: «[]\n", "at least one entry below `auth.issuers`"),
        ("auth: {issuers: [{issuer: «http://idp.example, audience: [a]}]}\n", "loopback only"),
        ("auth: {issuers: [{issuer: «idp.example, audience: [a]}]}\n", "cannot be an issuer"),
        ("auth: {issuers: [{issuer: https://i.example, audience: «[]}]}\n", "no audience"),
        ("auth: {issuers: [{issuer: https://i.example, audience: [a, «\"\"]}]}\n", "an empty audience"),
        ("auth: {issuers: [«{issuer: https://i.example}]}\n", "the key `audience` is missing"),
        ("auth: {issuers: [{issuer: https://i.example, audience: [a], clock_skew: «6m}]}\n", "at most `5m`"),
        ("auth: {issuers: [{issuer: https://i.example, audience: [a], algorithms: «[]}]}\n", "no algorithm"),
        (
            "auth: {issuers: [{issuer: https://i.example, audience: [a], algorithms: [«HS256]}]}\n",
            "`HS256` is not a known value",
        ),
        (
            "auth: {issuers: [{issuer: https://i.example, audience: [a], claims: {tenant: «\"\"}}]}\n",
            "name of a claim",
        ),
        (
            "auth: {issuers: [{issuer: https://i.example, audience: [a], claims: {groups: «realm..roles}}]}\n",
            "an empty part",
        ),
        (
            "auth: {issuers: [{issuer: https://i.example, audience: [a], «allow_private_adresses: true}]}\n",
            "did you mean `allow_private_addresses`?",
        ),
        (
            "server: {public_url: https://a.example}\n\
             auth: {issuers: [{issuer: https://i.example, audience: [https://a.example/mcp, «https://a.example/mcp/docs]}]}\n",
            "no upstream is called so",
        ),
        (
            "auth: {issuers: [{issuer: https://i.example, audience: [a]}], required_scopes: [mcp:use, «a b]}\n",
            "an entry of its own",
        ),
        (
            "auth:\n  issuers:\n  - {issuer: https://i.example, audience: [a]}\n  - {issuer: «https://i.example, audience: [b]}\n",
            "first on line 3",
        ),
        #[cfg(development_issuer)]
        ("auth: {development_issuer: {listen: «\"0.0.0.0:8090\"}}\n", "which others can reach"),
        #[cfg(development_issuer)]
        ("auth: {development_issuer: {«lisen: \"127.0.0.1:8090\"}}\n", "did you mean `listen`?"),
        #[cfg(development_issuer)]
        ("auth: {development_issuer: «yes}\n", "a mapping"),
        #[cfg(development_issuer)]
        (
            "server:\n  public_url: https://a.example\n  listen: [«\"0.0.0.0:443\"]\n\
             auth: {development_issuer: {listen: \"127.0.0.1:8090\"}}\n",
            "`auth.development_issuer` (line 4) gives tokens to whoever asks",
        ),
        ("«[]\n", "a mapping"),
        ("«just text\n", "found `just text`"),
    ];
    let differences: Vec<_> = cases.iter().filter_map(|(text, word)| compare(text, &[word]).err()).collect();
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

/// Where the YAML reader stumbles is its own affair; that it is told with a place is ours.
#[test]
fn what_is_not_yaml_is_told_with_its_line() {
    let cases: &[(&str, usize)] = &[
        ("server:\n\tio: auto\n", 2),
        ("server: {io: auto\naudit: {}\n", 2),
        ("server:\n  io: \"auto\n", 2),
        ("server:\n  io: auto\n workers: 2\n", 3),
        ("server: @\n", 1),
        ("%YAML 1.2\n---\nserver: {}\n", 1),
        ("- a\nb: c\n", 2),
    ];
    for (text, line) in cases {
        let diagnostics = super::mistakes(text);
        let [one] = diagnostics.entries() else { panic!("{diagnostics}") };
        assert!(one.message.starts_with("this is not YAML"), "{one}");
        assert!(one.line.is_some_and(|told| told.abs_diff(*line) <= 1), "line {line} in {one}");
        assert!(one.to_string().contains('^') && !one.help.is_empty(), "{one}");
    }
}

#[test]
fn billion_laughs_deep_nesting_and_floods_are_refused() {
    let mut laughs = String::from("a: &a [x, x]\n");
    for (one, two) in "abcdefghijklmnopqrstuvwxy".chars().zip("bcdefghijklmnopqrstuvwxyz".chars()) {
        laughs.extend([format!("{two}: &{two} [*{one}, *{one}, *{one}, *{one}]\n")]);
    }
    assert!(super::mistakes(&laughs).to_string().contains("not allowed"));
    for deep in ["[".repeat(5_000), "{a: ".repeat(5_000), "- ".repeat(5_000)] {
        assert_eq!(super::mistakes(&deep).entries().len(), 1);
    }
    let flood = format!("auth: {{required_groups: [{}]}}", "a, ".repeat(30_000));
    assert!(super::mistakes(&flood).to_string().contains("too many"));
    let unknown: String = (0..5_000).flat_map(|n| [format!("k{n}"), ": 1\n".to_owned()]).collect();
    let told = super::mistakes(&unknown);
    assert_eq!(told.entries().len(), crate::MAX_DIAGNOSTICS);
    assert!(told.to_string().contains("there are more mistakes"));
}
