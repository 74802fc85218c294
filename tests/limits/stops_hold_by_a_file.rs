//! A file that a script can make stops everything as long as it is there, also where the daemon was not there
//! when it came.

use airlock_tests::airlock::{docs_upstream, until};
use serde_json::Value;

use super::stops_hold_at_once::{Switch, refused};

#[test]
fn a_file_stops_everything_until_it_is_removed() {
    let mut switch = Switch::new(docs_upstream());
    let file = switch.folder.path().join("stop");
    let call = |switch: &Switch, token: &str| switch.call(token, "/mcp/docs", "search_docs");
    let token = switch.airlock.user();
    let is = |switch: &Switch, expected: (u16, String)| {
        until(|| (call(switch, &token) == expected).then_some(()))
            .unwrap_or_else(|| panic!("{:?}\n{}", call(switch, &token), switch.airlock.log()));
    };
    // As by `touch`, and as by `echo`.
    std::fs::write(&file, "").expect("written");
    is(&switch, (503, "the operator has stopped everything here".to_owned()));
    std::fs::write(&file, "a leak\nand more\n").expect("written");
    is(&switch, refused(503, "everything here"));
    let owner = rustix::process::getuid().as_raw();
    let words = format!("the file {} of user {owner} is there: a leak", file.display());
    let told = |record: &Value| record["event"] == "calls.stopped" && record["reason"] == words;
    assert_eq!(switch.airlock.audited(told)["target"], "everything");
    let (done, said) = switch.order(&["resume", "--all"]);
    assert!(!done && said.contains("stop is there: remove it"), "{said}");

    switch.airlock.restart();
    let token = switch.airlock.user();
    assert_eq!(call(&switch, &token), refused(503, "everything here"), "it was there at the start");
    switch.stop(&["--upstream", "docs"]);
    std::fs::remove_file(&file).expect("ours");
    let left = until(|| (switch.stopped() == ["upstream docs"]).then_some(()));
    assert!(left.is_some(), "{:?}", switch.stopped());
    assert_eq!(call(&switch, &token), refused(503, "this server"), "an order stays");
    let words = format!("the file {} has gone", file.display());
    switch.airlock.audited(|record| record["event"] == "calls.resumed" && record["reason"] == words);
    switch.resume(&["--upstream", "docs"]);
    assert_eq!(call(&switch, &token).0, 200);
}
