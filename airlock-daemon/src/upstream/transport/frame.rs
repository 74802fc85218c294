//! NDJSON framing: one message a line.

use memchr::memchr;

/// The output of the framing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line<'a> {
    /// A whole line, without its end.
    Whole(&'a [u8]),
    /// A piece of a line that is longer than an upstream may send, which is not kept, and whether it is the
    /// last one.
    Piece(&'a [u8], bool),
}

/// Collects bytes and gives out lines.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Where the first line not given out yet begins.
    start: usize,
    /// Up to where the buffer has been searched for a newline.
    searched: usize,
    /// The first bytes of the line have been given out as a piece.
    is_long: bool,
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

    /// Bytes that were read and not given out.
    pub fn held(&self) -> usize {
        self.buffer.len() - self.start
    }

    /// The next line, or piece of one that is longer than `limit` bytes; empty lines are passed over.
    pub fn next(&mut self, limit: usize) -> Option<Line<'_>> {
        loop {
            let start = self.start;
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            let Some(at) = memchr(b'\n', unsearched) else {
                self.searched = self.buffer.len();
                self.is_long |= self.searched - start > limit;
                if !self.is_long || start == self.searched {
                    return None;
                }
                self.start = self.searched;
                return self.buffer.get(start..).map(|piece| Line::Piece(piece, false));
            };
            let end = self.searched + at;
            self.start = end + 1;
            self.searched = self.start;
            if std::mem::take(&mut self.is_long) || end - start > limit {
                return self.buffer.get(start..end).map(|piece| Line::Piece(piece, true));
            }
            let line = self.buffer.get(start..end).unwrap_or_default();
            let length = line.strip_suffix(b"\r").unwrap_or(line).len();
            if length > 0 {
                // Looked up again: the borrow checker does not see that the loop ends here.
                return self.buffer.get(start..start + length).map(Line::Whole);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The lines; of those that are too long, how long they are.
    fn lines(chunks: &[&[u8]], limit: usize) -> Vec<Result<Vec<u8>, usize>> {
        let mut lines = Lines::default();
        let (mut out, mut passed) = (Vec::new(), 0);
        for chunk in chunks {
            lines.buffer().extend_from_slice(chunk);
            while let Some(line) = lines.next(limit) {
                match line {
                    Line::Whole(line) => out.push(Ok(line.to_vec())),
                    Line::Piece(piece, is_last) => {
                        passed += piece.len();
                        if is_last {
                            out.push(Err(std::mem::take(&mut passed)));
                        }
                    }
                }
            }
        }
        out
    }

    #[test]
    fn lines_come_whole_however_the_bytes_come() {
        let found = lines(&[b"a", b"b\nc\r\n", b"\n\n", b"d", b"\nrest"], 10);
        assert_eq!(found, [b"ab".to_vec(), b"c".to_vec(), b"d".to_vec()].map(Ok));
    }

    #[test]
    fn of_a_line_that_is_too_long_nothing_is_kept_and_the_next_one_is_whole() {
        assert_eq!(lines(&[b"0123456789a\nb\n"], 10), [Err(11), Ok(b"b".to_vec())]);
        assert_eq!(lines(&[b"0123456789", b"0", b"12", b"3\n", b"b\n"], 10), [Err(14), Ok(b"b".to_vec())]);
        assert_eq!(lines(&[b"0123456789", b"0", b"\nb\n"], 10), [Err(11), Ok(b"b".to_vec())]);
        assert_eq!(lines(&[b"0123456789\n"], 10), [Ok(b"0123456789".to_vec())]);
        let mut endless = Lines::default();
        for _ in 0..100 {
            endless.buffer().extend_from_slice(&[b'x'; 100]);
            assert!(matches!(endless.next(10), Some(Line::Piece(piece, false)) if piece.len() == 100));
            assert_eq!(endless.next(10), None);
            assert!(endless.buffer().is_empty());
        }
    }

    proptest! {
        #[test]
        fn cutting_changes_nothing(text in "[ab\n\r]{0,60}", cut in 0_usize..60, limit in 0_usize..100) {
            let bytes = text.as_bytes();
            let (left, right) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(lines(&[left, right], limit), lines(&[bytes], limit));
        }
    }
}
