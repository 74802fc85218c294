//! Results at the merged endpoint: the first byte says where the URIs are, the rest is what a server answers.
//! Whatever it is, no address comes out that reads as another server's, and nothing that a lax reader takes
//! for an address is left.
#![no_main]

use airlock::call::rewrite;
use airlock::pipeline::methods::kind::Uris;
use serde_json::Value;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let Some((first, rest)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(rest) else { return };
    let all = [Uris::Content, Uris::Messages, Uris::Contents, Uris::Outcome, Uris::Nowhere];
    let uris = all[usize::from(*first) % all.len()];
    let error = rewrite::error("docs", uris, text.to_owned());
    if let (Uris::Contents, Ok(error)) = (uris, serde_json::from_str::<Value>(&error)) {
        addresses(&error["data"]);
    }
    let Ok(written) = rewrite::result("docs", uris, text.to_owned()) else { return };
    let Ok(result) = serde_json::from_str::<Value>(&written) else {
        // Half a surrogate pair is JSON by its grammar, and no text to this reader: what it did not take
        // before may be changed.
        assert!(
            serde_json::from_str::<Value>(text).is_err(),
            "this was JSON to others, and is not any more: {written}"
        );
        return;
    };
    match uris {
        Uris::Content => blocks(&result["content"]),
        Uris::Contents => entries(&result["contents"]).iter().for_each(addresses),
        Uris::Messages => entries(&result["messages"]).iter().for_each(|message| match &message["content"] {
            Value::Array(_) => blocks(&message["content"]),
            one => block(one),
        }),
        Uris::Outcome => blocks(&result["result"]["content"]),
        Uris::Nowhere => assert_eq!(written, text),
    }
});

fn entries(list: &Value) -> &[Value] {
    list.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn blocks(list: &Value) {
    entries(list).iter().for_each(block);
}

fn block(block: &Value) {
    addresses(block);
    addresses(&block["resource"]);
}

fn addresses(object: &Value) {
    for (name, value) in object.as_object().into_iter().flatten() {
        if let (true, Value::String(uri)) = (name.eq_ignore_ascii_case("uri"), value) {
            assert!(name == "uri" && uri.starts_with("airlock+docs+"), "{name}: {uri}");
        }
    }
}
