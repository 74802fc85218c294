//! Clients and servers against the memory and the time of everybody else.

use std::io::Write as _;
use std::net::SocketAddr;

use airlock_tests::airlock::{docs_upstream, free_address, stdio_upstream, until};
use airlock_tests::events::Events;
use airlock_tests::http::{Request, connect, read_response};
use airlock_tests::mcp::{Session, modern_call};
use airlock_tests::proc::resident_kib;
use airlock_tests::tools::built;
use airlock_tests::{Airlock, Setup};
use serde_json::{Value, json};

const MIB: u64 = 1024 * 1024;
/// The least shares for answers of the size that these tests have.
const SHARES: &str =
    "limits: {memory: {total: 64MiB, per_tenant: 48MiB, per_principal: 24MiB, per_session: 16MiB}}\n";

/// An `airlock` with these shares in front of a loud server, and where its metrics are.
fn loud(arguments: &[&str], more: &str) -> (Airlock, SocketAddr) {
    loud_with("", arguments, more)
}

/// The same with more lines below `server:`.
fn loud_with(server: &str, arguments: &[&str], more: &str) -> (Airlock, SocketAddr) {
    let metrics = free_address().expect("a port");
    let program = built("loud-server").display().to_string();
    let command: Vec<&str> = std::iter::once(program.as_str()).chain(arguments.iter().copied()).collect();
    let setup = Setup {
        upstreams: stdio_upstream("loud", &command),
        server: server.to_owned(),
        more: more.to_owned(),
        log: "info".to_owned(),
        ..Setup::default()
    }
    .observability("metrics_listen", metrics);
    (setup.start(), metrics)
}

/// The sum of all series of a metric.
fn metric(address: SocketAddr, name: &str) -> u64 {
    let text = Request::get("/metrics").send(address).expect("metrics").text();
    let values = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        (series.split('{').next() == Some(name)).then(|| value.parse::<u64>().ok())?
    });
    values.sum()
}

fn call(id: u64, tool: &str, arguments: &Value) -> Value {
    json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
}

/// Outcomes of calls on record.
fn outcomes(airlock: &Airlock) -> usize {
    airlock.audit().iter().filter(|record| record["event"] == "call.outcome").count()
}

#[test]
fn last_answers_of_sessions_whose_client_has_gone_stay_within_a_share() {
    const SESSIONS: usize = 12;
    // Short ones, since what is left of them is read again in the end, with clients that are not made for it.
    let shares =
        "limits: {memory: {total: 16MiB, per_tenant: 12MiB, per_principal: 6MiB, per_session: 4MiB}}\n";
    let (airlock, metrics) = loud_with("  max_response_bytes: 4MiB\n", &[], shares);
    let token = airlock.user();
    let mut left = Vec::new();
    for _ in 0..SESSIONS {
        let session = Session::open(airlock.address(), "/mcp/loud", &token).expect("a session");
        let request = session.prepare(&call(7, "large", &json!({"bytes": 2 * MIB, "speaks": true})));
        let mut events = Events::open(airlock.address(), &request).expect("a stream");
        let (id, said) = loop {
            let (id, message) = events.identified().expect("what it says first");
            if message["method"] == "notifications/message" {
                break (id, message);
            }
        };
        assert_eq!(said["params"]["data"], "about to answer");
        drop(events);
        left.push((session, id));
        let count = left.len();
        until(|| (outcomes(&airlock) >= count).then_some(())).expect("its answer has come");
    }
    // An outcome is on record before its answer is kept.
    let given_up = || metric(metrics, "airlock_kept_given_up_total");
    until(|| (given_up() >= 9).then_some(())).expect("all but three are given up");
    let kept = metric(metrics, "airlock_kept_bytes");
    assert!(kept <= 6 * MIB + MIB / 2, "{kept} bytes are kept for one principal:\n{}", airlock.log());
    assert!(airlock.logs("limits.memory.per_principal"), "{}", airlock.log());
    // The first of them is told what became of its answer, and the last has it.
    let read = |(session, id): &(Session, Option<String>)| {
        let mut events = Events::open(airlock.address(), &session.listen(id.as_deref())).expect("a stream");
        loop {
            let message = events.message().expect("an answer");
            if message["id"] == 7 {
                return message;
            }
        }
    };
    let first = read(left.first().expect("the first"));
    let rule = first["error"]["data"]["rule_id"].as_str().unwrap_or_default();
    assert_eq!(rule, "limits.memory", "{first}");
    let last = read(left.last().expect("the last"));
    assert_eq!(last["result"]["content"][0]["text"].as_str().map(str::len), Some(2 << 20));
}

#[test]
fn answers_that_are_not_read_stay_within_a_share() {
    const CONNECTIONS: usize = 16;
    let (airlock, metrics) = loud(&[], SHARES);
    let before = resident_kib(airlock.pid()).expect("its memory");
    let (greedy, modest) = (airlock.user(), airlock.mint("modest").expect("a token"));
    let mut open = Vec::new();
    for number in 0..CONNECTIONS {
        let request = modern_call("/mcp/loud", 1, "large", &json!({"bytes": 8 * MIB})).bearer(&greedy);
        let mut stream = connect(airlock.address()).expect("a connection");
        stream.write_all(&request.bytes(airlock.address())).expect("a request");
        open.push(stream);
        until(|| (outcomes(&airlock) > number).then_some(())).expect("its answer has come");
    }
    // An outcome is on record before its answer is kept.
    let given_up = || metric(metrics, "airlock_kept_given_up_total");
    until(|| (given_up() >= 10).then_some(())).expect("most of them are given up");
    let kept = metric(metrics, "airlock_kept_bytes");
    // The bytes on their way to a connection, at most 64 KiB of each, count and cannot be taken back.
    assert!(kept <= 26 * MIB, "{kept} bytes are kept for one principal:\n{}", airlock.log());
    let after = resident_kib(airlock.pid()).expect("its memory");
    assert!(after < before + 64 * 1024, "{before} KiB before, {after} KiB after");
    // Another principal has its own share.
    let honest = modern_call("/mcp/loud", 2, "large", &json!({"bytes": 8 * MIB})).bearer(&modest);
    let answer = airlock.send(&honest);
    assert_eq!((answer.status, answer.text().len() > 8 << 20), (200, true));
    drop(open);
    until(|| (metric(metrics, "airlock_kept_bytes") == 0).then_some(())).expect("all of it is given back");
}

#[test]
fn answers_that_are_still_coming_in_stay_within_a_share() {
    let (airlock, metrics) = loud(&[], SHARES);
    let token = airlock.user();
    let refused = || metric(metrics, "airlock_kept_refused_total");
    let mut sessions = Vec::new();
    for number in 0..5 {
        let session = Session::open(airlock.address(), "/mcp/loud", &token).expect("a session");
        let request = session.prepare(&call(77, "halved", &json!({"bytes": 8 * MIB})));
        let mut stream = connect(airlock.address()).expect("a connection");
        stream.write_all(&request.bytes(airlock.address())).expect("a request");
        let come = || {
            let kept = metric(metrics, "airlock_kept_bytes");
            (kept >= (number + 1) * 8 * MIB || refused() > 0).then_some(kept)
        };
        let kept = until(come).expect("what its server has sent is counted");
        // Bytes on their way to a connection, at most 64 KiB of each, count and cannot be taken back.
        assert!(kept <= 24 * MIB + 5 * 64 * 1024, "{kept} bytes");
        sessions.push((session, stream));
    }
    // The ends of the answers: some had room, the others are told which share has none.
    let (mut whole, mut refused_calls) = (0, 0);
    for (mut session, mut stream) in sessions {
        session.call("deep", &json!({"levels": 1})).expect("the server goes on");
        match read_response(&mut stream) {
            // A call that is silent for long is answered by an event stream, whose status is 200 in any case.
            Ok(answer) if answer.answer().get("result").is_some() => whole += 1,
            Ok(answer) => {
                let text = answer.text();
                let told = text.contains("limits.memory.per_principal");
                assert!(told && [200, 429].contains(&answer.status), "{}: {text}", answer.status);
                refused_calls += 1;
            }
            // On a slow machine an answer on its way out is given up for the next one that comes in.
            Err(error) => {
                assert!(metric(metrics, "airlock_kept_given_up_total") > 0, "{error}:\n{}", airlock.log());
                refused_calls += 1;
            }
        }
    }
    assert!(whole >= 1 && refused_calls >= 2, "{whole} whole, {refused_calls} refused");
    until(|| (metric(metrics, "airlock_kept_bytes") == 0).then_some(())).expect("all of it is given back");
}

#[test]
fn what_is_subscribed_to_is_bounded_in_bytes() {
    let shares =
        "limits: {memory: {total: 64MiB, per_tenant: 48MiB, per_principal: 24MiB, per_session: 1MiB}}\n";
    let (airlock, metrics) = loud_with("  max_response_bytes: 1MiB\n", &[], shares);
    let mut session = Session::open(airlock.address(), "/mcp/loud", &airlock.user()).expect("a session");
    let mut subscribe = |uri: String| session.request("resources/subscribe", &json!({"uri": uri}));
    let long = subscribe(format!("loud://{}", "u".repeat(8 * 1024))).expect("an answer");
    assert!(long.text().contains("longer than 8192 bytes"), "{}", long.text());
    let mut refused = String::new();
    for number in 0..200 {
        let answer = subscribe(format!("loud://{number:03}/{}", "u".repeat(8_000))).expect("an answer");
        if answer.answer().get("error").is_some() {
            refused = answer.text();
            break;
        }
    }
    assert!(refused.contains("limits.memory.per_session"), "{refused}");
    assert!(metric(metrics, "airlock_kept_bytes") <= MIB);
    airlock.send(&{
        let mut delete = session.listen(None);
        "DELETE".clone_into(&mut delete.method);
        delete
    });
    until(|| (metric(metrics, "airlock_kept_bytes") == 0).then_some(())).expect("all of it is given back");
}

#[test]
fn instructions_without_end_are_left_out() {
    let (airlock, _) = loud(&["--instructions", "8388608"], "");
    let session = Session::open(airlock.address(), "/mcp/loud", &airlock.user()).expect("a session");
    assert_eq!(session.initialized.get("instructions"), None);
    assert!(airlock.logs("instructions are left out"), "{}", airlock.log());
    assert!(airlock.logs("loud"), "{}", airlock.log());
}

#[test]
fn an_answer_nested_a_million_deep_is_refused() {
    let (airlock, _) = loud(&[], "");
    let mut session = Session::open(airlock.address(), "/mcp/loud", &airlock.user()).expect("a session");
    let fine = session.call("deep", &json!({"levels": 60})).expect("an answer");
    assert!(fine["structuredContent"]["deep"].is_array(), "{fine}");
    let params = json!({"name": "deep", "arguments": {"levels": 1_000_000}});
    let answer = session.request("tools/call", &params).expect("an answer");
    let text = answer.text();
    assert!(text.contains("nested deeper than 128 levels") && text.len() < 1_000, "{} bytes", text.len());
    session.call("deep", &json!({"levels": 1})).expect("the server goes on");
}

/// A daemon with one worker, so that whoever holds it holds everybody, in front of a loud server and an
/// honest one.
fn one_worker(arguments: &[&str]) -> Airlock {
    let loud = built("loud-server").display().to_string();
    let command: Vec<&str> = std::iter::once(loud.as_str()).chain(arguments.iter().copied()).collect();
    let setup = Setup {
        upstreams: docs_upstream() + &stdio_upstream("loud", &command),
        log: "info".to_owned(),
        ..Setup::default()
    }
    .server("workers", 1);
    setup.start()
}

/// Calls the honest server until `flood` has ended; says how many calls were answered meanwhile.
fn honest_calls_during(airlock: &Airlock, flood: impl FnOnce() + Send) -> usize {
    let mut honest = Session::open(airlock.address(), "/mcp/docs", &airlock.mint("honest").expect("a token"))
        .expect("a session");
    let search = json!({"query": "roll back"});
    honest.call("search_docs", &search).expect("an answer before the flood");
    std::thread::scope(|scope| {
        let flood = scope.spawn(flood);
        let mut answered = 0;
        while !flood.is_finished() {
            honest.call("search_docs", &search).expect("an answer");
            answered += 1;
        }
        answered
    })
}

#[test]
fn a_server_that_floods_is_ended_and_others_are_served_meanwhile() {
    let airlock = one_worker(&[]);
    let mut session = Session::open(airlock.address(), "/mcp/loud", &airlock.user()).expect("a session");
    let answered = honest_calls_during(&airlock, || {
        let params = json!({"name": "rubbish", "arguments": {"lines": 1_000_000}});
        let answer = session.request("tools/call", &params).expect("an answer");
        // After ten seconds of silence the answer is a stream, whose last event is the error.
        let is_told = answer.status == 502 || answer.text().contains("\"error\":{");
        assert!(is_told, "{}: {}", answer.status, answer.text());
    });
    assert!(answered >= 50, "only {answered} calls were answered in ten seconds of a flood");
    for words in ["is read more slowly", "the server is ended: it floods"] {
        assert!(airlock.logs(words), "{}", airlock.log());
    }
    // The next call starts it anew; what it says within the bounds is passed over as before.
    let mut again = Session::open(airlock.address(), "/mcp/loud", &airlock.mint("again").expect("a token"))
        .expect("a session");
    again.call("rubbish", &json!({"lines": 5_000})).expect("an answer");
}

#[test]
fn a_list_without_end_is_refused_and_left_out_of_the_merged_one() {
    let airlock = one_worker(&["--tools", "150000"]);
    let token = airlock.user();
    let mut session = Session::open(airlock.address(), "/mcp/loud", &token).expect("a session");
    let mut merged = Session::open(airlock.address(), "/mcp", &token).expect("a session");
    honest_calls_during(&airlock, || {
        let answer = session.request("tools/list", &Value::Null).expect("an answer");
        assert_eq!(answer.status, 502, "{} bytes", answer.text().len());
        let listed = merged.result("tools/list", &Value::Null).expect("a list");
        assert_eq!(listed["_meta"]["airlock/unavailable"], json!(["loud"]));
        assert!(listed["tools"].as_array().is_some_and(|tools| !tools.is_empty()));
    });
    assert!(airlock.logs("10000 entries"), "{}", airlock.log());
    let modest = one_worker(&["--tools", "9000"]);
    let mut session = Session::open(modest.address(), "/mcp/loud", &modest.user()).expect("a session");
    let listed = session.result("tools/list", &Value::Null).expect("a list");
    assert_eq!(listed["tools"].as_array().map(Vec::len), Some(9_007));
}

#[test]
fn a_long_result_is_read_apart_and_each_of_its_links_is_renamed() {
    const LINKS: usize = 100_000;
    let airlock = one_worker(&[]);
    let mut merged = Session::open(airlock.address(), "/mcp", &airlock.user()).expect("a session");
    honest_calls_during(&airlock, || {
        for count in [LINKS, 1, LINKS] {
            let result = merged.call("loud__links", &json!({"count": count})).expect("an answer");
            let links = result["content"].as_array().expect("links");
            assert_eq!(links.len(), count);
            for (number, link) in links.iter().enumerate() {
                assert_eq!(link["uri"], format!("airlock+loud+file:///{number}"));
            }
        }
    });
}

#[test]
fn a_storm_of_changes_is_told_once_a_second() {
    const CHANGES: usize = 5_000;
    let (airlock, _) = loud(&[], "");
    let mut session = Session::open(airlock.address(), "/mcp/loud", &airlock.user()).expect("a session");
    let mut events = Events::open(airlock.address(), &session.listen(None)).expect("a stream");
    events.next_event().expect("a stream").expect("the first");
    // Its ear is there once a change is heard; then the storm, and what came of it until the next question is
    // answered.
    session.call("storm", &json!({"changes": 1})).expect("an answer");
    let changed = "notifications/tools/list_changed";
    assert_eq!(events.message().expect("a change")["method"], changed);
    let before = std::time::Instant::now();
    session.call("storm", &json!({"changes": CHANGES})).expect("an answer");
    assert_eq!(events.message().expect("the last change")["method"], changed);
    let mut told = 1;
    while !events.is_silent_for(std::time::Duration::from_secs(3)) {
        told += 1;
        assert!(told < 50, "the storm comes through");
    }
    let seconds = usize::try_from(before.elapsed().as_secs()).expect("a number");
    assert!(told <= seconds + 2, "{told} of {CHANGES} changes were told in {seconds} s");
}

#[test]
fn one_tenant_does_not_take_all_places() {
    let places =
        "limits: {sessions: {total: 40, per_principal: 10}, processes: {total: 20, per_principal: 5}}\n";
    let (airlock, _) = loud(&[], places);
    let open = |subject: &str, tenant: &str| {
        let token = airlock.token(subject, tenant, &["mcp.users"]);
        Session::open(airlock.address(), "/mcp/loud", &token)
    };
    let mut greedy = Vec::new();
    let mut refused = 0;
    for number in 0..8 {
        for _ in 0..6 {
            match open(&format!("user-{number}"), "evil") {
                Ok(mut session) => {
                    let _ = session.call("deep", &json!({"levels": 1}));
                    greedy.push(session);
                }
                Err(error) => {
                    assert!(error.contains("503"), "{error}");
                    refused += 1;
                }
            }
            if refused > 0 {
                break;
            }
        }
    }
    assert!(greedy.len() <= 30 && refused > 0, "{} sessions, {refused} refused", greedy.len());
    let mut modest = open("alice", "acme").expect("a place for another tenant");
    modest.call("deep", &json!({"levels": 1})).expect("a process for another tenant");
}
