//! An example MCP server over standard input and output: a small document collection, and one tool that tries
//! to phone home, so that the demo and the tests can watch what a pinned server reaches.

use std::io::{self, Write as _};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rmcp::handler::server::wrapper::Parameters;
use rmcp::model::{CallToolResult, ContentBlock, Implementation, ServerCapabilities, ServerConfig};
use rmcp::{ServerHandler, ServiceExt as _, schemars, tool, tool_handler, tool_router};

/// Every document: its path and its text.
const DOCUMENTS: [(&str, &str); 6] = [
    ("break-glass.md", BREAK_GLASS),
    ("data-retention.md", include_str!("docs/data-retention.md")),
    ("deployment.md", include_str!("docs/deployment.md")),
    ("incident-runbook.md", include_str!("docs/incident-runbook.md")),
    ("network-zones.md", include_str!("docs/network-zones.md")),
    ("onboarding.md", include_str!("docs/onboarding.md")),
];

/// A document with a card and a key, which no scanner of repositories is to take for real ones.
const BREAK_GLASS: &str = concat!(
    "# Break glass\n\nIn an emergency pay with 4111 1111 1111 ",
    "1111 and push with ghp_",
    "318wPfvnmcZm8jFzhUXA8iNWWgoZXrugg3af; then tell the team.\n"
);

/// How long `phone_home` waits for an answer of the network.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The server has no state.
#[derive(Clone)]
struct Docs;

/// Arguments of `search_docs`.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Search {
    /// Words to look for; a line that holds all of them is a hit. Case does not matter.
    query: String,
}

/// Arguments of `read_file`.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Read {
    /// Path of a document, as `search_docs` gives it.
    path: String,
}

/// Arguments of `phone_home`.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct PhoneHome {
    /// Address and port to try over TCP and UDP, such as `192.0.2.1:443`.
    address: String,
    /// Path of a unix socket to try.
    #[serde(default)]
    socket: Option<String>,
}

/// Arguments of `wait`.
#[derive(serde::Deserialize, schemars::JsonSchema)]
#[schemars(crate = "rmcp::schemars")]
struct Wait {
    /// The answer is held back until this file is gone.
    while_exists: String,
}

#[tool_router]
impl Docs {
    /// Finds lines in the documents.
    #[tool(description = "Search the documents; a line that holds all words of the query is a hit")]
    fn search_docs(Parameters(Search { query }): Parameters<Search>) -> CallToolResult {
        let words: Vec<String> = query.split_whitespace().map(str::to_lowercase).collect();
        if words.is_empty() {
            return failure("the query is empty: give at least one word".to_owned());
        }
        let mut hits = Vec::new();
        for (path, text) in DOCUMENTS {
            for (number, line) in text.lines().enumerate() {
                let lower = line.to_lowercase();
                if words.iter().all(|word| lower.contains(word)) {
                    hits.push(format!("{path}:{}: {line}", number + 1));
                }
            }
        }
        if hits.is_empty() { text(format!("no line holds all of: {query}")) } else { text(hits.join("\n")) }
    }

    /// Gives one document.
    #[tool(description = "Read one document")]
    fn read_file(Parameters(Read { path }): Parameters<Read>) -> CallToolResult {
        match DOCUMENTS.iter().find(|(name, _)| *name == path) {
            Some((_, document)) => text((*document).to_owned()),
            None => failure(format!("there is no document `{path}`")),
        }
    }

    /// Tries to leave the host.
    #[tool(
        description = "Try to reach an address over TCP and UDP, and a unix socket; reports what the kernel said"
    )]
    fn phone_home(Parameters(PhoneHome { address, socket }): Parameters<PhoneHome>) -> CallToolResult {
        let Ok(address) = address.parse::<SocketAddr>() else {
            return failure(format!("`{address}` is not an address and a port, such as 192.0.2.1:443"));
        };
        let socket = socket.unwrap_or_else(|| "/run/systemd/journal/stdout".to_owned());
        let tcp = TcpStream::connect_timeout(&address, CONNECT_TIMEOUT).map(drop);
        let udp = send_datagram(address);
        let unix = UnixStream::connect(&socket).map(drop);
        text(format!(
            "tcp {address}: {}\nudp {address}: {}\nunix {socket}: {}",
            outcome(&tcp),
            outcome(&udp),
            outcome(&unix)
        ))
    }

    /// A call that stays in flight until the caller's test removes a file.
    #[tool(description = "Answer once a file is gone")]
    async fn wait(&self, Parameters(Wait { while_exists }): Parameters<Wait>) -> CallToolResult {
        // Held open, so that a watcher sees that the call has come this far.
        let _held = std::fs::File::open(&while_exists);
        while std::fs::exists(&while_exists).unwrap_or(false) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        text("waited".to_owned())
    }
}

#[tool_handler]
impl ServerHandler for Docs {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(Implementation::new("docs-server", env!("CARGO_PKG_VERSION")))
            .with_instructions("Documents of an imaginary platform team.")
    }
}

/// One datagram to the address, from whatever port the kernel gives.
fn send_datagram(address: SocketAddr) -> io::Result<()> {
    let local: SocketAddr = if address.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        (std::net::Ipv6Addr::UNSPECIFIED, 0).into()
    };
    UdpSocket::bind(local)?.send_to(b"hello from inside", address).map(drop)
}

/// `connected`, or the error with its number, which tells a refusal of the kernel half (EPERM, EACCES) from a
/// network that does not answer.
fn outcome(result: &io::Result<()>) -> String {
    match result {
        Ok(()) => "reached".to_owned(),
        Err(error) => match error.raw_os_error() {
            Some(number) => format!("failed, errno {number} ({error})"),
            None => format!("failed ({error})"),
        },
    }
}

fn text(text: String) -> CallToolResult {
    CallToolResult::success(vec![ContentBlock::text(text)])
}

fn failure(text: String) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(text)])
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::process::ExitCode {
    let service = match Docs.serve(rmcp::transport::stdio()).await {
        Ok(service) => service,
        Err(error) => {
            let _ = writeln!(io::stderr(), "docs-server: {error}");
            return std::process::ExitCode::FAILURE;
        }
    };
    // The end of standard input is the ordinary end.
    match service.waiting().await {
        Ok(_) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "docs-server: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
