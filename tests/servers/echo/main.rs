//! The fast upstream of the bench: `tools/call` answers a JSON text of as many bytes as the argument `bytes`
//! asks for.
//!
//! `echo-server --http 127.0.0.1:0` serves Streamable HTTP at `/mcp` and prints `listening on
//! http://ADDRESS/mcp`; `echo-server --stdio` speaks one message a line. Both eras: `server/discover` as well
//! as `initialize`.

mod answer;
mod http;
mod stdio;

use std::io::Write as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match args.as_slice() {
        ["--stdio"] => stdio::serve(),
        ["--http", address] => http::serve(address),
        _ => Err(std::io::Error::other("usage: echo-server --stdio | --http ADDRESS:PORT")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "echo-server: {error}");
            ExitCode::FAILURE
        }
    }
}
