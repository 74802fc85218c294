//! NDJSON framing: one message a line.

use memchr::memchr;

/// A line is longer than an upstream may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// Collects bytes and gives out lines.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Where the first line not given out yet begins.
    start: usize,
    /// Up to where the buffer has been searched for a newline.
    searched: usize,
}

impl Lines {
    /// The buffer to read more bytes into, at its end.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        /// A buffer that one large message blew up is given back when it is empty.
        const KEEP: usize = 256 * 1024;
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
            if self.buffer.is_empty() && self.buffer.capacity() > KEEP {
                self.buffer = Vec::new();
            }
        }
        &mut self.buffer
    }

    /// The next whole line, without its end; empty lines are passed over.
    ///
    /// # Errors
    /// [`TooLong`] when what has come of a line is longer than `limit` bytes.
    pub fn next(&mut self, limit: usize) -> Result<Option<&[u8]>, TooLong> {
        loop {
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(at) = memchr(b'\n', unsearched) else {
                self.searched = self.buffer.len();
                return if self.searched - self.start > limit { Err(TooLong) } else { Ok(None) };
            };
            let (start, end) = (self.start, self.searched + at);
            self.start = end + 1;
            self.searched = self.start;
            if end - start > limit {
                return Err(TooLong);
            }
            let line = self.buffer.get(start..end).unwrap_or_default();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            if !line.is_empty() {
                // Looked up again: the borrow checker does not see that the loop ends here.
                let length = line.len();
                return Ok(self.buffer.get(start..start + length));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(chunks: &[&[u8]], limit: usize) -> Result<Vec<Vec<u8>>, TooLong> {
        let mut lines = Lines::default();
        let mut out = Vec::new();
        for chunk in chunks {
            lines.buffer().extend_from_slice(chunk);
            while let Some(line) = lines.next(limit)? {
                out.push(line.to_vec());
            }
        }
        Ok(out)
    }

    #[test]
    fn lines_come_whole_however_the_bytes_come() {
        assert_eq!(
            lines(&[b"a", b"b\nc\r\n", b"\n\n", b"d", b"\nrest"], 10).expect("short"),
            [&b"ab"[..], b"c", b"d"]
        );
    }

    #[test]
    fn a_line_without_end_is_an_error() {
        assert_eq!(lines(&[b"0123456789", b"0"], 10), Err(TooLong));
        assert_eq!(lines(&[b"0123456789a\n"], 10), Err(TooLong));
        assert!(lines(&[b"0123456789\n"], 10).is_ok());
    }

    proptest! {
        #[test]
        fn cutting_changes_nothing(text in "[ab\n\r]{0,60}", cut in 0_usize..60) {
            let bytes = text.as_bytes();
            let (left, right) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(lines(&[left, right], 100), lines(&[bytes], 100));
        }
    }
}
