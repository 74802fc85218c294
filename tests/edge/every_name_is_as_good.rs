//! The names under which a host is reached.

use airlock_tests::Setup;
use airlock_tests::mcp::modern;
use serde_json::{Value, json};

#[test]
fn a_second_name_is_as_good_as_the_first_and_no_other_is() {
    let airlock =
        Setup::default().server("hosts", json!(["airlock.corp", "Airlock.internal.example"])).start();
    let token = airlock.user();
    let list = || modern("/mcp/docs", 1, "tools/list", &Value::Null).bearer(&token);
    let ask = |host: &str| airlock.send(&list().header("host", host));
    for host in ["airlock.corp", "AIRLOCK.corp:8443", "airlock.internal.example", "localhost", "127.0.0.1"] {
        assert_eq!(ask(host).status, 200, "{host}");
    }
    for host in ["corp", "x.airlock.corp", "airlock.corp.evil.example", "evil.example"] {
        let refused = ask(host);
        assert_eq!(refused.status, 403, "{host}");
        assert!(refused.text().contains("server.hosts"), "{}", refused.text());
    }
}
