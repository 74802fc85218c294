//! Messages between the daemon and the process that starts servers. A request has one form, so no bytes but
//! its own are read as it; an answer of any bytes is read as one that says the same when it is said again.
#![no_main]

use airlock::kernel::spawner::message::{ANSWER, Answer, REQUEST, Request};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Some(request) = Request::decode(data) {
        assert_eq!(data.len(), REQUEST);
        assert_eq!(request.encode(), data);
    }
    if let Some(answer) = Answer::decode(data) {
        let again = answer.encode();
        assert!(again.len() <= ANSWER);
        // A text of other bytes than UTF-8, or of too many, is mended.
        if !matches!(answer, Answer::Refused(_)) {
            assert_eq!(Answer::decode(&again), Some(answer));
        }
    }
});
