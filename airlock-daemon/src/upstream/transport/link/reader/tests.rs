use super::super::shared::Waiter;
use super::*;

fn reading(server: &mpsc::Sender<Command>) -> Reading {
    Reading {
        upstream: "u".into(),
        waiting: Waiting::default(),
        shared: Arc::new(LinkShared::new()),
        asks: Arc::default(),
        hub: Hub::new(false, None, Arc::default()),
        server: server.downgrade(),
        limit: 16 * 1024 * 1024,
    }
}

fn wait(reading: &Reading, id: u64, takes: Takes) -> mpsc::Receiver<Reply> {
    let (replies, receiver) = mpsc::channel(4);
    reading.waiting.borrow_mut().insert(id, Waiter { replies, takes, failure: Arc::default() });
    receiver
}

/// A message with a member that nobody reads, which makes it a long one.
fn padded(members: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0",{members},"pad":"{}"}}"#, "x".repeat(LONG))
}

/// A message in two parts.
fn parts(message: &str) -> Vec<Vec<u8>> {
    let (left, right) = message.as_bytes().split_at(message.len() / 2);
    vec![left.to_vec(), right.to_vec()]
}

#[tokio::test]
async fn a_long_message_of_any_kind_is_taken_as_a_short_one_is() {
    let (server, mut commands) = mpsc::channel(4);
    let reading = reading(&server);
    let mut answers = [3, 4, 5].map(|id| wait(&reading, id, Takes::Result));
    let mut changes = wait(&reading, 6, Takes::Changes);

    assert_eq!(reading.long(parts(&padded(r#""id":3,"result":{"a":1}"#))).await, Counts::Not);
    assert!(matches!(answers[0].try_recv(), Ok(Reply::Result(text)) if text == r#"{"a":1}"#));
    assert_eq!(reading.long(parts(&padded(r#""id":4,"error":{"code":1}"#))).await, Counts::Not);
    assert!(matches!(answers[1].try_recv(), Ok(Reply::Error(text)) if text == r#"{"code":1}"#));
    let nested = format!("{}{}", "[".repeat(200), "]".repeat(200));
    let deep = padded(&format!(r#""id":5,"result":{{"deep":{nested}}}"#));
    assert_eq!(reading.long(parts(&deep)).await, Counts::Not);
    assert!(matches!(answers[2].try_recv(), Ok(Reply::Error(text)) if text.contains("nested deeper")));
    let late = reading.long(parts(&padded(r#""id":3,"result":{}"#))).await;
    assert_eq!(late, Counts::Once, "nobody waits any more");

    assert_eq!(reading.long(parts(&padded(r#""id":"r","method":"ping""#))).await, Counts::ByLength);
    let Ok(Command::Notify(answer)) = commands.try_recv() else { panic!("no answer") };
    assert_eq!(answer, r#"{"jsonrpc":"2.0","id":"r","result":{}}"#);

    let change = format!(r#""method":"vendor/x","params":{{"_meta":{{"{META_SUBSCRIPTION}":6}}}}"#);
    assert_eq!(reading.long(parts(&padded(&change))).await, Counts::ByLength);
    assert!(matches!(changes.try_recv(), Ok(Reply::Notification(method, _)) if method == "vendor/x"));
    let params = format!(r#"{{"_meta":{{"{META_SUBSCRIPTION}":6}},"x":"{}"}}"#, "x".repeat(MAX_NOTIFICATION));
    let change = format!(r#"{{"jsonrpc":"2.0","method":"vendor/x","params":{params}}}"#);
    assert_eq!(reading.long(parts(&change)).await, Counts::ByLength);
    assert!(changes.try_recv().is_err(), "it is longer than any that is passed on");
    assert!(reading.shared.rubbish.load_full().is_none());
}

#[tokio::test]
async fn of_long_rubbish_the_beginning_is_kept() {
    let (server, _commands) = mpsc::channel(4);
    for rubbish in ["x".repeat(LONG), "\u{20ac}".repeat(LONG), format!("\"{}\"", "x".repeat(LONG))] {
        let reading = reading(&server);
        assert_eq!(reading.long(parts(&rubbish)).await, Counts::ByLength);
        let kept = reading.shared.rubbish.load_full().expect("kept");
        assert_eq!(kept.chars().count(), SHOWN);
        assert!(rubbish.starts_with(kept.as_str()));
    }
    let reading = reading(&server);
    let bytes = vec![0xff_u8; LONG];
    assert_eq!(reading.long(vec![bytes]).await, Counts::ByLength);
    assert!(reading.shared.rubbish.load_full().is_some());
}
