//! The command or the address of a server, as its lock has it: another one is another server.

use airlock_tool_locks::definition::Digest;

use crate::config::schema::{Upstream, UpstreamKind};

/// The words for the command or address. Arguments and queries, which may hold secrets, are there as a
/// digest.
pub(super) fn bound_to(upstream: &Upstream) -> String {
    let (kind, place, whole) = match upstream.kind {
        UpstreamKind::Stdio => {
            let program = upstream.command.first().cloned().unwrap_or_default();
            ("stdio", program, quoted(&upstream.command))
        }
        UpstreamKind::Http => {
            let url = upstream.url.clone().unwrap_or_default();
            let plain = url.split(['?', '#']).next().unwrap_or_default();
            let (scheme, rest) = plain.split_once("://").unwrap_or(("", plain));
            // A user's name and password stand before the last `@` of the authority.
            let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = authority.rsplit('@').next().unwrap_or_default();
            ("http", format!("{scheme}://{host}/{path}"), url)
        }
        UpstreamKind::Unix => {
            let socket = upstream.socket.as_ref().map(|socket| socket.display().to_string());
            let socket = socket.unwrap_or_default();
            ("unix", socket.clone(), socket)
        }
        UpstreamKind::DialIn => {
            let socket = upstream.dial_in_socket().display().to_string();
            let who = [upstream.user.clone(), upstream.unit.clone()].map(Option::unwrap_or_default);
            let whole = quoted(&[std::slice::from_ref(&socket), &who[..]].concat());
            ("dial_in", socket, whole)
        }
    };
    format!("{kind} {place} {}", Digest::of(&whole))
}

fn quoted(words: &[String]) -> String {
    // Text always serialises; words that are joined any other way could be parted in two ways.
    serde_json::to_string(words).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bound(more: &str) -> String {
        let text = format!(r#"{{"name":"docs",{more}}}"#);
        bound_to(&serde_json::from_str(&text).expect("an upstream"))
    }

    #[test]
    fn another_command_or_address_is_another_server() {
        let all = [
            r#""type":"stdio","command":["/bin/docs","--key","hunter2"]"#,
            r#""type":"stdio","command":["/bin/docs","--key hunter2"]"#,
            r#""type":"stdio","command":["/bin/docs"]"#,
            r#""type":"http","url":"https://host/docs""#,
            r#""type":"http","url":"https://alice:hunter2@host/docs?key=hunter2""#,
            r#""type":"unix","socket":"/run/docs.sock""#,
            r#""type":"dial_in","user":"docs""#,
            r#""type":"dial_in","user":"docs","unit":"docs.service""#,
        ];
        let bound: Vec<_> = all.iter().map(|more| bound(more)).collect();
        for (place, one) in bound.iter().enumerate() {
            assert!(!one.contains("hunter2") && !bound[..place].contains(one), "{one}");
        }
        assert!(bound[0].starts_with("stdio /bin/docs sha256:"), "{}", bound[0]);
        assert!(bound[4].starts_with("http https://host/docs sha256:"), "{}", bound[4]);
    }
}
