//! A message that is too long to be kept: its bytes go by, and of the envelope its id stays, wherever in it
//! that stands.

use memchr::memchr2;

/// Longest id that is kept, in bytes.
const MAX_ID: usize = 256;
/// Longest name of a member of the envelope, in bytes; of a longer one the beginning is kept, which is no
/// name of ours.
const MAX_NAME: usize = 8;

/// The envelope of such a message, as far as anything can be done about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Envelope {
    /// The answer to a request of ours.
    Answer(u64),
    /// A request of the server's, with its id as JSON text.
    Request(String),
    /// A notification, a batch, or nothing that could be read.
    Other,
}

/// The bytes of one message on their way.
#[derive(Debug, Default)]
pub(super) struct Passing {
    length: usize,
    depth: u64,
    is_object: bool,
    /// Within a string, and behind a backslash in it.
    in_string: bool,
    is_escaped: bool,
    /// True where a string would be the name of a member of the envelope.
    expects_name: bool,
    name: Vec<u8>,
    /// The value is the id.
    is_id: bool,
    id: Vec<u8>,
    ids: u32,
    has_method: bool,
}

impl Passing {
    /// How many bytes have gone by.
    pub(in crate::upstream) const fn length(&self) -> usize {
        self.length
    }

    /// Looks at more bytes of the message. In long strings, where nearly all of a long message is, no byte is
    /// looked at alone.
    pub(in crate::upstream::transport) fn feed(&mut self, mut bytes: &[u8]) {
        self.length = self.length.saturating_add(bytes.len());
        while let Some((byte, rest)) = bytes.split_first() {
            if !self.in_string {
                self.outside(*byte);
                bytes = rest;
                continue;
            }
            if std::mem::take(&mut self.is_escaped) {
                self.inside(&[*byte]);
                bytes = rest;
                continue;
            }
            let (text, rest) = bytes.split_at(memchr2(b'"', b'\\', bytes).unwrap_or(bytes.len()));
            self.inside(text);
            let Some((end, rest)) = rest.split_first() else { return };
            self.inside(&[*end]);
            self.is_escaped = *end == b'\\';
            self.in_string = self.is_escaped;
            bytes = rest;
        }
    }

    fn outside(&mut self, byte: u8) {
        match byte {
            b'"' => {
                self.in_string = true;
                if self.depth == 1 && self.expects_name {
                    self.name.clear();
                }
                self.inside(b"\"");
            }
            b'{' | b'[' => {
                self.depth += 1;
                if self.depth == 1 {
                    (self.is_object, self.expects_name) = (byte == b'{', true);
                }
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.is_id = self.is_id && self.depth > 0;
            }
            b',' if self.depth == 1 => (self.expects_name, self.is_id) = (true, false),
            b':' if self.depth == 1 && self.expects_name => {
                self.expects_name = false;
                self.is_id = self.name == b"\"id\"";
                self.ids += u32::from(self.is_id);
                self.has_method |= self.name == b"\"method\"";
            }
            byte if !byte.is_ascii_whitespace() => self.inside(&[byte]),
            _ => {}
        }
    }

    /// Keeps what belongs to a name of the envelope or to the id.
    fn inside(&mut self, text: &[u8]) {
        let (kept, most) = match (self.depth, self.expects_name, self.is_id) {
            (1, true, _) => (&mut self.name, MAX_NAME),
            (1, false, true) => (&mut self.id, MAX_ID + 1),
            _ => return,
        };
        let room = most.saturating_sub(kept.len());
        kept.extend_from_slice(text.get(..room).unwrap_or(text));
    }

    /// The envelope, behind the last byte. Two ids are none.
    pub(super) fn envelope(&self) -> Envelope {
        let id = std::str::from_utf8(&self.id).ok().filter(|id| id.len() <= MAX_ID);
        let Some(id) = id.filter(|_| self.is_object && self.ids == 1 && self.depth == 0 && !self.in_string)
        else {
            return Envelope::Other;
        };
        match id.parse() {
            _ if self.has_method => {
                let is_id = serde_json::from_str(id)
                    .is_ok_and(|id: serde_json::Value| id.is_string() || id.is_number());
                if is_id { Envelope::Request(id.to_owned()) } else { Envelope::Other }
            }
            Ok(id) => Envelope::Answer(id),
            Err(_) => Envelope::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str, cut: usize) -> Envelope {
        let mut passing = Passing::default();
        for piece in text.as_bytes().chunks(cut.max(1)) {
            passing.feed(piece);
        }
        assert_eq!(passing.length(), text.len());
        passing.envelope()
    }

    #[test]
    fn the_id_is_found_at_either_end_and_nowhere_else() {
        for answer in [
            r#"{"jsonrpc":"2.0","id":3,"result":{"id":4,"method":"x","text":"\"id\":5,"}}"#,
            r#"{"result":{"content":[{"id":4}],"text":"a\\"},"jsonrpc":"2.0","id": 3 }"#,
            r#" { "error" : {"code":1,"message":"id","data":["id",4]} , "id" : 3 , "jsonrpc" : "2.0" } "#,
        ] {
            for cut in 1..answer.len() {
                assert_eq!(read(answer, cut), Envelope::Answer(3), "{answer} by {cut}");
            }
        }
    }

    #[test]
    fn other_messages_are_told_apart() {
        for (text, envelope) in [
            (r#"{"id":"a\"b","method":"ping","params":{}}"#, Envelope::Request(r#""a\"b""#.to_owned())),
            (r#"{"method":"ping","id":7}"#, Envelope::Request("7".to_owned())),
            (r#"{"method":"notifications/message","params":{"id":3}}"#, Envelope::Other),
            (r#"{"id":3,"id":4,"result":{}}"#, Envelope::Other),
            (r#"{"id":"3","result":{}}"#, Envelope::Other),
            (r#"{"id":{"id":3},"result":{}}"#, Envelope::Other),
            (r#"{"identity":3,"result":{}}"#, Envelope::Other),
            (r#"[{"id":3,"result":{}}]"#, Envelope::Other),
            (r#"{"id":3,"result":{"#, Envelope::Other),
            ("plain words", Envelope::Other),
        ] {
            assert_eq!(read(text, 5), envelope, "{text}");
        }
        let long = format!(r#"{{"id":{},"result":{{}}}}"#, "1".repeat(10_000));
        assert_eq!(read(&long, 64), Envelope::Other);
    }

    proptest! {
        #[test]
        fn cutting_changes_nothing(text in r#"[\[\]{}:,"\\ a1]{0,40}|\{"id":[0-9]{1,3},"result":"[a\\"]{0,9}\}"#, cut in 1_usize..9) {
            prop_assert_eq!(read(&text, cut), read(&text, usize::MAX));
        }
    }
}
