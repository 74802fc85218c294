//! NDJSON framing: one message a line.
//!
//! A long line is kept in the buffers that it came in. To put it together, which copies all of it, takes
//! longer than the others of a worker should wait, and is left to who reads it.

use std::collections::VecDeque;

use memchr::memchr;

/// The length from which on the beginning of a line has a buffer for itself, in bytes: as much as one read
/// brings at most.
const SEGMENT: usize = 256 * 1024;

/// The output of the framing.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// A whole line, without its end.
    Whole(&'a [u8]),
    /// A whole line in the buffers that it came in, without its end.
    Long(Vec<Vec<u8>>),
    /// A piece of a line that is longer than an upstream may send, which is not kept, and whether it is the
    /// last one.
    Piece(&'a [u8], bool),
}

/// Collects bytes and gives out lines.
#[derive(Debug)]
pub struct Lines {
    segment: usize,
    /// The beginning of a line, in buffers that are full.
    full: VecDeque<Vec<u8>>,
    /// Bytes in `full`.
    full_length: usize,
    buffer: Vec<u8>,
    /// Where the first line not given out yet begins, or goes on.
    start: usize,
    /// Up to where the buffer has been searched for a newline.
    searched: usize,
    /// The first bytes of the line have been given out as a piece.
    is_long: bool,
    /// The piece that was given out last, where it had a buffer for itself.
    passed: Vec<u8>,
}

impl Default for Lines {
    fn default() -> Self {
        Self::in_segments(SEGMENT)
    }
}

impl Lines {
    /// Keeps the beginning of a line in buffers of `segment` bytes or more.
    pub const fn in_segments(segment: usize) -> Self {
        Self {
            segment,
            full: VecDeque::new(),
            full_length: 0,
            buffer: Vec::new(),
            start: 0,
            searched: 0,
            is_long: false,
            passed: Vec::new(),
        }
    }

    /// The buffer to read more bytes into, at its end.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        self.passed = Vec::new();
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.searched -= self.start;
            self.start = 0;
            // A buffer that much has come into at once is given back when it is empty.
            if self.buffer.is_empty() && self.buffer.capacity() > self.segment {
                self.buffer = Vec::new();
            }
        }
        if self.searched >= self.segment && self.searched == self.buffer.len() {
            // Room for all that comes before this one is full in its turn, so that none is copied.
            let next = Vec::with_capacity(2 * self.segment);
            let full = std::mem::replace(&mut self.buffer, next);
            self.searched = 0;
            self.full_length += full.len();
            self.full.push_back(full);
        }
        &mut self.buffer
    }

    /// Bytes that were read and not given out.
    pub fn held(&self) -> usize {
        self.full_length + self.buffer.len() - self.start
    }

    /// The next line, or piece of one that is longer than `limit` bytes; empty lines are passed over.
    pub fn next(&mut self, limit: usize) -> Option<Line<'_>> {
        loop {
            let start = self.start;
            let unsearched = self.buffer.get(self.searched..).unwrap_or_default();
            let newline = memchr(b'\n', unsearched).map(|at| self.searched + at);
            let end = newline.unwrap_or(self.buffer.len());
            self.is_long |= self.full_length + end - start > limit;
            if self.is_long
                && let Some(full) = self.full.pop_front()
            {
                self.full_length -= full.len();
                self.passed = full;
                return Some(Line::Piece(&self.passed, false));
            }
            if newline.is_none() {
                self.searched = end;
                if !self.is_long || start == end {
                    return None;
                }
                self.start = end;
                return self.buffer.get(start..end).map(|piece| Line::Piece(piece, false));
            }
            self.start = end + 1;
            self.searched = self.start;
            if std::mem::take(&mut self.is_long) {
                return self.buffer.get(start..end).map(|piece| Line::Piece(piece, true));
            }
            if !self.full.is_empty() {
                let line = self.long(end);
                if line.iter().all(Vec::is_empty) {
                    continue;
                }
                return Some(Line::Long(line));
            }
            let line = self.buffer.get(start..end).unwrap_or_default();
            let length = line.strip_suffix(b"\r").unwrap_or(line).len();
            if length > 0 {
                // Looked up again: the borrow checker does not see that the loop ends here.
                return self.buffer.get(start..start + length).map(Line::Whole);
            }
        }
    }

    /// The line that ends with the first `end` bytes of the buffer.
    fn long(&mut self, end: usize) -> Vec<Vec<u8>> {
        self.full_length = 0;
        let mut line = Vec::from(std::mem::take(&mut self.full));
        if self.start == self.buffer.len() {
            let mut last = std::mem::take(&mut self.buffer);
            last.truncate(end);
            line.push(last);
            (self.start, self.searched) = (0, 0);
        } else {
            line.push(self.buffer.get(..end).unwrap_or_default().to_vec());
        }
        // The carriage return of a line's end may have come before its newline.
        if let Some(last) = line.iter_mut().rfind(|part| !part.is_empty())
            && last.last() == Some(&b'\r')
        {
            last.pop();
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The lines; of those that are too long, how long they are.
    fn lines(chunks: &[&[u8]], limit: usize) -> Vec<Result<Vec<u8>, usize>> {
        read(Lines::default(), chunks, limit)
    }

    fn read(mut lines: Lines, chunks: &[&[u8]], limit: usize) -> Vec<Result<Vec<u8>, usize>> {
        let (mut out, mut passed) = (Vec::new(), 0);
        for chunk in chunks {
            lines.buffer().extend_from_slice(chunk);
            while let Some(line) = lines.next(limit) {
                match line {
                    Line::Whole(line) => out.push(Ok(line.to_vec())),
                    Line::Long(parts) => out.push(Ok(parts.concat())),
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

    #[test]
    fn a_long_line_stays_in_the_buffers_that_it_came_in() {
        let mut lines = Lines::in_segments(4);
        for part in ["abcd", "efghi", "jk"] {
            lines.buffer().extend_from_slice(part.as_bytes());
            assert_eq!(lines.next(100), None);
        }
        assert_eq!(lines.held(), 11);
        lines.buffer().extend_from_slice(b"l\r\nm");
        let long = ["abcd", "efghi", "jkl"].map(|part| part.as_bytes().to_vec()).to_vec();
        assert_eq!(lines.next(100), Some(Line::Long(long)));
        assert_eq!(lines.next(100), None);
        assert_eq!(lines.held(), 1);
        // A limit that has become lower gives up what is held.
        lines.buffer().extend_from_slice(b"nop");
        assert_eq!(lines.next(100), None);
        lines.buffer().extend_from_slice(b"q");
        assert_eq!(lines.next(3), Some(Line::Piece(b"mnop", false)));
        assert_eq!(lines.next(3), Some(Line::Piece(b"q", false)));
        assert_eq!(lines.next(3), None);
        assert_eq!(lines.held(), 0);
    }

    proptest! {
        #[test]
        fn cutting_changes_nothing(text in "[ab\n\r]{0,60}", cut in 0_usize..60, limit in 0_usize..100) {
            let bytes = text.as_bytes();
            let (left, right) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(lines(&[left, right], limit), lines(&[bytes], limit));
        }

        #[test]
        fn segments_change_nothing(text in "[ab\n\r]{0,60}", piece in 1_usize..9, segment in 1_usize..9, limit in 0_usize..100) {
            let chunks: Vec<&[u8]> = text.as_bytes().chunks(piece).collect();
            prop_assert_eq!(read(Lines::in_segments(segment), &chunks, limit), lines(&chunks, limit));
        }
    }
}
