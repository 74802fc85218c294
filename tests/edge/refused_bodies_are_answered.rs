//! A client that is refused in the middle of a large body reads why, and sees no broken pipe.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};

use airlock_tests::authority::Authority;
use airlock_tests::curl::shown;
use airlock_tests::http::{Request, connect, read_response};
use airlock_tests::mcp::modern;
use airlock_tests::{Airlock, Setup, skip, start_on, tools};
use serde_json::{Value, json};

const MIB: usize = 1024 * 1024;

fn list() -> Request {
    modern("/mcp/docs", 1, "tools/list", &Value::Null)
}

/// Every early refusal, with what the client is told.
fn cases(token: &str, size: usize) -> Vec<(u16, Request)> {
    let to = |path: &str| Request { path: path.to_owned(), ..list() };
    let cases = [
        (413, list().bearer(token)),
        (401, list()),
        (401, list().bearer("rubbish")),
        (403, list().bearer(token).header("origin", "https://evil.example")),
        (404, to("/nowhere")),
        (405, to("/live")),
        (405, Request { method: "PUT".to_owned(), ..list().bearer(token) }),
        (415, Request { headers: Vec::new(), ..list() }.bearer(token)),
        (417, list().header("expect", "a miracle")),
    ];
    cases.map(|(status, request)| (status, Request { body: vec![b' '; size], ..request })).into()
}

/// Sends all of it, then reads; an error of either is one. With `chunked` the length of the body is not said.
fn refused(airlock: &Airlock, request: &Request, chunked: bool) -> std::io::Result<u16> {
    let mut stream = connect(airlock.address())?;
    let bytes = if chunked {
        let head = Request { body: Vec::new(), ..request.clone() }.header("transfer-encoding", "chunked");
        let head =
            String::from_utf8_lossy(&head.bytes(airlock.address())).replace("Content-Length: 0\r\n", "");
        let size = format!("{:x}\r\n", request.body.len());
        [head.as_bytes(), size.as_bytes(), &request.body, b"\r\n0\r\n\r\n"].concat()
    } else {
        request.bytes(airlock.address())
    };
    stream.write_all(&bytes)?;
    let response = read_response(&mut stream)?;
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest)?;
    assert!(rest.is_empty(), "{}", String::from_utf8_lossy(&rest));
    Ok(response.status)
}

#[test]
fn the_whole_body_is_taken_and_the_answer_read() {
    for io in ["epoll", "io_uring"] {
        let Some(airlock) =
            start_on(io, &Setup::default().with("rate_limiting", json!({"failed_auth": null})))
        else {
            continue;
        };
        let token = airlock.user();
        for size in [MIB, 11 * MIB] {
            for (status, request) in cases(&token, size) {
                for chunked in [false, true] {
                    let told = refused(&airlock, &request, chunked);
                    let told = told.unwrap_or_else(|error| {
                        panic!("{io}, {status}, {size} bytes, chunked {chunked}: {error}")
                    });
                    assert_eq!(told, status, "{io}, {size} bytes, chunked {chunked}");
                }
            }
        }
        assert_eq!(airlock.send(&list().bearer(&token)).status, 200, "and it serves");
    }
}

#[test]
fn on_the_unix_socket_too() {
    let dir = tempfile::Builder::new().prefix("airlock-bodies-").tempdir().expect("a directory");
    let socket = dir.path().join("airlock.sock");
    let server = format!("  unix_socket: {}\n  unix_socket_mode: 0600\n", socket.display());
    for io in ["epoll", "io_uring"] {
        let Some(airlock) = start_on(io, &Setup { server: server.clone(), ..Setup::default() }) else {
            continue;
        };
        let request = Request { body: vec![b' '; 11 * MIB], ..list().bearer(&airlock.user()) };
        let mut stream = UnixStream::connect(&socket).expect("a connection");
        stream.write_all(&request.bytes(airlock.address())).expect("all of it is taken");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer and its end");
        assert!(answer.starts_with("HTTP/1.1 413 "), "{io}: {answer}");
    }
}

/// Python's own client, and httpx, which the Python SDK uses.
const CLIENT: &str = r#"
import http.client, json, ssl, sys, httpx
for case in json.loads(sys.stdin.read()):
    base, address, headers, size = case["base"], case["address"], case["headers"], case["size"]
    if base.startswith("https"):
        connection = http.client.HTTPSConnection(address, context=ssl.create_default_context(cafile=case["ca"]))
    else:
        connection = http.client.HTTPConnection(address)
    connection.request("POST", "/mcp/docs", b" " * size, headers)
    first = connection.getresponse()
    verify = ssl.create_default_context(cafile=case["ca"]) if base.startswith("https") else True
    second = httpx.post(base + "/mcp/docs", content=b" " * size, headers=headers, verify=verify)
    print(json.dumps([first.status, json.loads(first.read())["error"]["code"], second.status_code, second.json()["error"]["code"]]))
"#;

#[test]
fn python_clients_read_the_reason() {
    let python = match tools::python("python") {
        Ok(python) => python,
        Err(reason) => return skip(&reason),
    };
    let authority = Authority::create();
    let plain = Setup::default();
    for (scheme, setup) in [("http", plain.clone()), ("https", plain.server("tls", authority.tls()))] {
        for io in ["epoll", "io_uring"] {
            let Some(airlock) = start_on(io, &setup) else { continue };
            let headers: serde_json::Map<String, Value> =
                list().headers.into_iter().map(|(name, value)| (name, json!(value))).collect();
            let mut known = headers.clone();
            known.insert("authorization".into(), json!(format!("Bearer {}", airlock.user())));
            let case = |headers: &serde_json::Map<String, Value>, size: usize| {
                json!({"base": format!("{scheme}://{}", airlock.address()), "address": airlock.address().to_string(),
                    "ca": shown(&authority.file("ca.pem")), "headers": headers, "size": size})
            };
            let cases = [case(&known, MIB), case(&known, 11 * MIB), case(&headers, 11 * MIB)];
            let mut command = Command::new(&python);
            let child = command.args(["-c", CLIENT]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
            let mut child = child.expect("Python");
            let text = Value::from(cases.to_vec()).to_string();
            child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
            let output = child.wait_with_output().expect("Python");
            assert!(output.status.success(), "{scheme} {io}: see above");
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            let expected = "[413, 413, 413, 413]\n[413, 413, 413, 413]\n[401, 401, 401, 401]\n";
            assert_eq!(said, expected, "{scheme} {io}");
        }
    }
}
