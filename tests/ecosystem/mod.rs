//! Programs of others against Airlock: the official conformance suite on both of its sides, and real clients
//! before real servers.

mod baseline;
mod clients_of_others_come_through;
mod conformance_is_kept;
mod conformance_of_the_client_side;
mod every_pair_of_others_works;
mod old_clients_are_answered;
mod servers_of_others_over_sockets;
mod servers_of_others_work;
mod the_page_says_what_was_tried;

use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use airlock_tests::Running;
use airlock_tests::airlock::until;

/// Members may do everything here: these tests are not about the policy.
const POLICY: &str = r#"package airlock.authz
import rego.v1
default allow := false
allow if "mcp.users" in input.subject.groups
"#;

/// A file of the source tree below `tests/`.
fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// Starts a server and waits until it takes connections at `place`, a port or the path of a socket.
fn serve(command: &mut Command, place: &str) -> Running {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut server = Running::start(command);
    let listening = || match place.parse() {
        Ok(port) => TcpStream::connect(SocketAddr::from(([127, 0, 0, 1], port))).is_ok(),
        Err(_) => UnixStream::connect(place).is_ok(),
    };
    let listens = until(|| (listening() || !matches!(server.try_wait(), Ok(None))).then_some(()));
    assert!(listens.is_some() && listening(), "{command:?} does not listen at {place}");
    server
}
