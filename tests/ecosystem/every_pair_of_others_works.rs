//! Real clients before real servers, each pair behind one Airlock: list the tools, call one, read a resource
//! where there is one. The table in `docs/compatibility.md` is what this run has seen.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use airlock_tests::airlock::{free_address, stdio_upstream};
use airlock_tests::{Setup, skip, tools};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::the_page_says_what_was_tried::{PAGE, page};
use super::{POLICY, baseline, source};

/// A client: its name, the package with its version in the lists of tools, what it is told about eras, how it
/// is driven.
pub(crate) struct Client {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    pub(crate) mode: &'static str,
    driver: Driver,
}

#[derive(Clone, Copy)]
enum Driver {
    Node(&'static str),
    Python(&'static str),
    Inspector(&'static str),
}

pub(crate) const CLIENTS: [Client; 8] = [
    inspector("legacy"),
    inspector("auto"),
    inspector("modern"),
    Client {
        name: "TypeScript SDK",
        package: "@modelcontextprotocol/client",
        mode: "default",
        driver: Driver::Node("default"),
    },
    Client {
        name: "TypeScript SDK",
        package: "@modelcontextprotocol/client",
        mode: "auto",
        driver: Driver::Node("auto"),
    },
    Client { name: "mcp-remote", package: "mcp-remote", mode: "default", driver: Driver::Node("remote") },
    Client { name: "Python SDK", package: "mcp", mode: "default", driver: Driver::Python("mcp") },
    Client { name: "FastMCP", package: "fastmcp", mode: "default", driver: Driver::Python("fastmcp") },
];

const fn inspector(mode: &'static str) -> Client {
    Client {
        name: "MCP Inspector CLI",
        package: "@modelcontextprotocol/inspector",
        mode,
        driver: Driver::Inspector(mode),
    }
}

/// A server: its name and path, the package with its version, and what clients do with it.
pub(crate) struct Target {
    pub(crate) name: &'static str,
    pub(crate) package: &'static str,
    upstream: String,
    tool: &'static str,
    arguments: Value,
    expected: &'static str,
    pub(crate) uri: Option<&'static str>,
}

impl Target {
    fn json(&self) -> Value {
        json!({"name": self.name, "tool": self.tool, "arguments": self.arguments, "expected": self.expected,
            "uri": self.uri})
    }
}

/// The course of a pair: the steps that were taken, and the revision that was agreed on.
#[derive(Default)]
pub(crate) struct Outcome {
    pub(crate) steps: BTreeMap<&'static str, String>,
    pub(crate) revision: Option<String>,
}

pub(crate) const STEPS: [&str; 3] = ["list", "call", "read"];

#[test]
fn clients_and_servers_in_every_pair() {
    let dir = airlock_tests::shown_dir("airlock-pairs-").expect("a directory");
    let targets = match targets(&dir) {
        Ok(targets) => targets,
        Err(reason) => return skip(&reason),
    };
    let upstreams = targets.iter().map(|target| target.upstream.as_str()).collect();
    let airlock = Setup { upstreams, policy: POLICY.to_owned(), ..Setup::default() }.start();
    let base = format!("http://{}/mcp", airlock.address());
    let tools_dir = tools::node_script("").expect("there, as its packages are");
    let plan = json!({"base": base, "address": airlock.address().to_string(), "token": airlock.user(), "scratch": dir.path(),
        "tools": tools_dir.parent(), "servers": targets.iter().map(Target::json).collect::<Vec<_>>()});
    let file = dir.path().join("plan.json");
    std::fs::write(&file, plan.to_string()).expect("ours");

    // Whole runs of libraries first, then the many small ones of the Inspector, two at a time.
    let mut jobs: Vec<(usize, Option<usize>)> = Vec::new();
    for (at, client) in CLIENTS.iter().enumerate() {
        if matches!(client.driver, Driver::Inspector(_)) {
            jobs.extend((0..targets.len()).map(|target| (at, Some(target))));
        } else {
            jobs.insert(0, (at, None));
        }
    }
    jobs.reverse();
    let jobs = Mutex::new(jobs);
    let seen = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let Some((client, target)) = jobs.lock().expect("no panic").pop() else { break };
                    let begin = Instant::now();
                    let found = match (CLIENTS[client].driver, target) {
                        (Driver::Inspector(era), Some(target)) => {
                            vec![(target, inspect(era, &plan, &targets[target], dir.path()))]
                        }
                        (driver, _) => walk(driver, &file, &targets),
                    };
                    println!("{} {}: {:?}", CLIENTS[client].name, CLIENTS[client].mode, begin.elapsed());
                    let mut seen = seen.lock().expect("no panic");
                    seen.extend(found.into_iter().map(|(target, outcome)| ((client, target), outcome)));
                }
            });
        }
    });
    let seen = seen.into_inner().expect("no panic");
    let mut failed = BTreeMap::new();
    for ((client, target), outcome) in &seen {
        let client = &CLIENTS[*client];
        for step in STEPS.iter().filter(|step| **step != "read" || targets[*target].uri.is_some()) {
            let told = outcome.steps.get(step).map_or("not reached", String::as_str);
            if told != "ok" {
                let entry = format!("{} ({}): {} {step}", client.name, client.mode, targets[*target].name);
                failed.insert(entry, format!("  {told}"));
            }
        }
    }
    baseline::compare("clients/exceptions.txt", &failed);
    let page = page(&targets, &seen);
    if std::env::var_os("AIRLOCK_BLESS").is_some() {
        std::fs::create_dir_all(source("../docs")).expect("the source tree can be written");
        std::fs::write(source(PAGE), &page).expect("the source tree can be written");
    }
    let written = std::fs::read_to_string(source(PAGE)).unwrap_or_default();
    assert!(
        written == page,
        "docs/compatibility.md is not what this run has seen (AIRLOCK_BLESS=1 writes it):\n{page}"
    );
}

/// Every server with something to do. Errors name what is not installed.
#[allow(clippy::too_many_lines)] // A list, and longer with every server.
fn targets(dir: &TempDir) -> Result<Vec<Target>, String> {
    let node = tools::node()?.display().to_string();
    let own = |name: &str| dir.path().join(name).display().to_string();
    let npm = |package: &str| Ok::<_, String>(tools::node_script(package)?.display().to_string());
    let reference = |name: &str| npm(&format!("@modelcontextprotocol/server-{name}/dist/index.js"));
    let python = |name: &str| Ok::<_, String>(tools::python(name)?.display().to_string());

    std::fs::write(dir.path().join("notes.txt"), "the harvest was good\n").expect("ours");
    repository(&dir.path().join("repository"))?;
    let everything = reference("everything")?;
    let (files, memory) = (reference("filesystem")?, reference("memory")?);
    let thinking = reference("sequential-thinking")?;
    let (git, time, fetch) =
        (python("mcp-server-git")?, python("mcp-server-time")?, python("mcp-server-fetch")?);
    let sqlite = tools::python_legacy("mcp-server-sqlite")?.display().to_string();
    let (interpreter, source_of) = (python("python")?, tools::everything_server()?.display().to_string());
    let script = source("conformance/everything.py").display().to_string();

    let target = |name: &'static str, package, command: &[&str], tool, arguments: Value, expected| Target {
        name,
        package,
        upstream: stdio_upstream(name, command),
        tool,
        arguments,
        expected,
        uri: None,
    };
    let repo = own("repository");
    let notes = own("notes.txt");
    let remembered = json!({"MEMORY_FILE_PATH": own("memory.jsonl")});
    let thought =
        json!({"thought": "one", "nextThoughtNeeded": false, "thoughtNumber": 1, "totalThoughts": 1});
    let mut all = vec![
        target(
            "everything",
            "@modelcontextprotocol/server-everything",
            &[&node, &everything, "stdio"],
            "echo",
            json!({"message": "good morning"}),
            "Echo: good morning",
        ),
        target(
            "filesystem",
            "@modelcontextprotocol/server-filesystem",
            &[&node, &files, &dir.path().display().to_string()],
            "read_text_file",
            json!({"path": notes}),
            "the harvest was good",
        ),
        target(
            "memory",
            "@modelcontextprotocol/server-memory",
            &[&node, &memory],
            "read_graph",
            json!({}),
            "relations",
        ),
        target(
            "sequential-thinking",
            "@modelcontextprotocol/server-sequential-thinking",
            &[&node, &thinking],
            "sequentialthinking",
            thought,
            "thoughtHistoryLength",
        ),
        target(
            "git",
            "mcp-server-git",
            &[&git, "--repository", &repo],
            "git_log",
            json!({"repo_path": repo}),
            "the first of all",
        ),
        target(
            "time",
            "mcp-server-time",
            &[&time, "--local-timezone", "UTC"],
            "get_current_time",
            json!({"timezone": "Europe/Berlin"}),
            "is_dst",
        ),
        target("fetch", "mcp-server-fetch", &[&fetch], "fetch", json!({"url": web_page()}), "ripe in August"),
        target(
            "sqlite",
            "mcp-server-sqlite",
            &[&sqlite, "--db-path", &own("notes.db")],
            "read_query",
            json!({"query": "SELECT 6 * 7 AS answer"}),
            "'answer': 42",
        ),
        target(
            "python-everything",
            "mcp",
            &[&interpreter, &script, &source_of, "stdio"],
            "test_simple_text",
            json!({}),
            "simple text",
        ),
    ];
    for target in &mut all {
        match target.name {
            "everything" => target.uri = Some("demo://resource/static/document/architecture.md"),
            "memory" => {
                let _ = writeln!(target.upstream, "    env: {remembered}");
                target.uri = Some("memory://knowledge-graph");
            }
            "fetch" => target.upstream = beside(&dir.path().join("fetch.sock"), &fetch),
            "sqlite" => target.uri = Some("memo://insights"),
            "python-everything" => target.uri = Some("test://static-text"),
            _ => {}
        }
    }
    Ok(all)
}

/// The server whose work is on the network, which a program that Airlock starts has none of: it runs beside
/// Airlock, a process for each connection to a socket, as socket activation does it.
fn beside(socket: &Path, program: &str) -> String {
    let listener = UnixListener::bind(socket).expect("a socket");
    let program = program.to_owned();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let output = stream.try_clone().expect("a descriptor");
            let mut command = Command::new(&program);
            command.args(["--ignore-robots-txt", "--allow-private-ips"]).stderr(Stdio::null());
            command.stdin(OwnedFd::from(stream)).stdout(OwnedFd::from(output));
            let mut child = command.spawn().expect("an installed program");
            // It ends with its connection.
            std::thread::spawn(move || child.wait());
        }
    });
    format!("  - name: fetch\n    type: unix\n    socket: {}\n    framing: ndjson\n", socket.display())
}

/// A repository with one commit.
fn repository(dir: &Path) -> Result<(), String> {
    std::fs::create_dir(dir).expect("ours");
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command.current_dir(dir).args(["-c", "user.name=A", "-c", "user.email=a@example.com"]).args(args);
        let output = command.stdin(Stdio::null()).output().map_err(|error| format!("git: {error}"))?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(format!("git {args:?}: {told}")) }
    };
    git(&["init", "--quiet"])?;
    git(&["commit", "--quiet", "--allow-empty", "--no-gpg-sign", "-m", "the first of all"])
}

/// A page on loopback that is there for as long as the test runs; gives its URL.
fn web_page() -> String {
    let listener = TcpListener::bind(free_address().expect("a free port")).expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("bound"));
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut request = [0; 4_096];
            let _ = stream.read(&mut request);
            let page =
                "<html><head><title>Apples</title></head><body><p>They are ripe in August.</p></body></html>";
            let _ = write!(
                stream,
                "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{page}",
                page.len()
            );
        }
    });
    url
}

/// A library's driver walks over all servers in one process.
fn walk(driver: Driver, plan: &Path, targets: &[Target]) -> Vec<(usize, Outcome)> {
    let mut command = match driver {
        Driver::Python(kind) => {
            let mut command = Command::new(tools::python("python").expect("there"));
            command.arg(source("clients/python.py")).arg(plan).arg(kind);
            command
        }
        Driver::Node(mode) | Driver::Inspector(mode) => {
            let mut command = Command::new(tools::node().expect("there"));
            command.arg(source("clients/typescript.mjs")).arg(plan).arg(mode);
            command
        }
    };
    let output = command.stdin(Stdio::null()).output().expect("an installed program");
    let text = String::from_utf8_lossy(&output.stdout);
    let mut found: Vec<(usize, Outcome)> = (0..targets.len()).map(|at| (at, Outcome::default())).collect();
    for line in text.lines() {
        let Ok(told) = serde_json::from_str::<Value>(line) else { continue };
        let Some(at) = targets.iter().position(|target| told["server"] == target.name) else { continue };
        let outcome = &mut found[at].1;
        outcome.revision = told["revision"].as_str().map(str::to_owned);
        for step in STEPS {
            outcome.steps.extend(told[step].as_str().map(|how| (step, how.to_owned())));
        }
    }
    let told = String::from_utf8_lossy(&output.stderr);
    for (_, outcome) in found.iter_mut().filter(|(_, outcome)| outcome.steps.is_empty()) {
        outcome.steps.insert("list", format!("nothing was told: {told}"));
    }
    found
}

/// The Inspector at one server: a process for each step.
fn inspect(era: &str, plan: &Value, target: &Target, dir: &Path) -> Outcome {
    let launcher = tools::node_script("@modelcontextprotocol/inspector/clients/launcher/build/index.js");
    let config = dir.join(format!("inspector-{era}-{}.json", target.name));
    let (port, seen) = overhear(plan["address"].as_str().unwrap_or_default());
    let token = plan["token"].as_str().unwrap_or_default();
    let url = format!("http://127.0.0.1:{port}/mcp/{}", target.name);
    let server = json!({"type": "streamable-http", "url": url, "protocolEra": era,
        "headers": {"Authorization": format!("Bearer {token}")}});
    std::fs::write(&config, json!({"mcpServers": {"airlock": server}}).to_string()).expect("ours");
    let run = |method: &[&str], expected: &str| {
        let mut command = Command::new(tools::node().expect("there"));
        command.arg(launcher.as_ref().expect("there")).arg("--cli").arg("--config").arg(&config);
        command.args(["--server", "airlock", "--format", "json"]).args(method);
        command.env("MCP_INSPECTOR_SECRET_STORE", "memory").env("HOME", dir);
        let output = command.stdin(Stdio::null()).output().expect("node runs");
        let text = String::from_utf8_lossy(&output.stdout);
        if output.status.success() && text.contains(expected) {
            return "ok".to_owned();
        }
        format!("{}: {text}{}", output.status, String::from_utf8_lossy(&output.stderr))
    };
    let mut outcome = Outcome::default();
    outcome.steps.insert("list", run(&["--method", "tools/list"], &format!("\"{}\"", target.tool)));
    let mut call = vec!["--method".to_owned(), "tools/call".to_owned(), "--tool-name".to_owned()];
    call.push(target.tool.to_owned());
    for (name, value) in target.arguments.as_object().into_iter().flatten() {
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        call.extend(["--tool-arg".to_owned(), format!("{name}={value}")]);
    }
    let call: Vec<&str> = call.iter().map(String::as_str).collect();
    outcome.steps.insert("call", run(&call, target.expected));
    if let Some(uri) = target.uri {
        outcome.steps.insert("read", run(&["--method", "resources/read", "--uri", uri], "contents"));
    }
    outcome.revision = seen.lock().expect("no panic").take();
    outcome
}

/// Passes connections on to an address; gives its own port, and the revision that the client named last. For
/// a client that does not tell what it speaks.
fn overhear(address: &str) -> (u16, Arc<Mutex<Option<String>>>) {
    const FIELD: &str = "mcp-protocol-version:";
    let listener = TcpListener::bind(free_address().expect("a free port")).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let seen = Arc::new(Mutex::new(None));
    let (address, noted) = (address.to_owned(), Arc::clone(&seen));
    std::thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let Ok(mut server) = TcpStream::connect(&address) else { continue };
            let (Ok(mut back), Ok(mut answers)) = (client.try_clone(), server.try_clone()) else { continue };
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut answers, &mut back);
                let _ = back.shutdown(Shutdown::Write);
            });
            let noted = Arc::clone(&noted);
            std::thread::spawn(move || {
                let mut buffer = [0; 16 * 1024];
                while let Ok(count @ 1..) = client.read(&mut buffer) {
                    let text = String::from_utf8_lossy(&buffer[..count]).to_ascii_lowercase();
                    if let Some((_, rest)) = text.rsplit_once(FIELD) {
                        *noted.lock().expect("no panic") = rest.lines().next().map(|v| v.trim().to_owned());
                    }
                    if server.write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
                let _ = server.shutdown(Shutdown::Write);
            });
        }
    });
    (port, seen)
}
