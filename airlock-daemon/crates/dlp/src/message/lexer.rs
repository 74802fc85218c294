//! The lexer: the strings and numbers of a JSON text, with the place where each stands, without recursion.

use std::ops::Range;

use memchr::memchr2;

/// A step of the walk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// `{`
    Object,
    /// `[`
    Array,
    /// `}` or `]`
    End,
    /// A name within an object, without its quotes.
    Key(Range<usize>),
    /// A string that is a value, without its quotes.
    String(Range<usize>),
    /// A number, as it is spelled.
    Number(Range<usize>),
    /// `true`, `false` or `null`.
    Literal,
}

/// The text is not JSON; the walk stops at this byte.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotJson(pub(crate) usize);

/// Reads a text token by token. It is meant for texts that a parser has read before, and takes every one that
/// a parser takes; of others it takes some.
#[derive(Debug)]
pub(crate) struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    /// The places of quotes that begin and end strings, in order; none of them where nobody has looked.
    quotes: Vec<u32>,
    /// The number of quotes that were passed.
    passed: usize,
    /// By open container: it is an object.
    open: Vec<bool>,
    is_key: bool,
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(json: &'a str) -> Self {
        Self::with_quotes(json, Vec::new())
    }

    /// The same, where someone has found the quotes before.
    pub(crate) fn with_quotes(json: &'a str, quotes: Vec<u32>) -> Self {
        Self { bytes: json.as_bytes(), at: 0, quotes, passed: 0, open: Vec::new(), is_key: false }
    }

    /// The place behind the token that was read last.
    pub(crate) fn place(&self) -> usize {
        self.at
    }

    /// Reads the next token; nothing at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Token>, NotJson> {
        loop {
            let Some(&byte) = self.bytes.get(self.at) else {
                return if self.open.is_empty() { Ok(None) } else { Err(NotJson(self.at)) };
            };
            match byte {
                b' ' | b'\t' | b'\n' | b'\r' => self.at += 1,
                b':' => {
                    self.at += 1;
                    self.is_key = false;
                }
                b',' => {
                    self.at += 1;
                    self.is_key = self.open.last() == Some(&true);
                }
                _ => return self.token(byte).map(Some),
            }
        }
    }

    fn token(&mut self, byte: u8) -> Result<Token, NotJson> {
        match byte {
            b'{' | b'[' => {
                self.at += 1;
                self.open.push(byte == b'{');
                self.is_key = byte == b'{';
                Ok(if byte == b'{' { Token::Object } else { Token::Array })
            }
            b'}' | b']' => {
                self.open.pop().filter(|&is_object| is_object == (byte == b'}')).ok_or(NotJson(self.at))?;
                self.at += 1;
                self.is_key = false;
                Ok(Token::End)
            }
            b'"' => {
                let inner = self.string()?;
                Ok(if self.is_key { Token::Key(inner) } else { Token::String(inner) })
            }
            b'-' | b'0'..=b'9' => Ok(Token::Number(
                self.run(|byte| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E')),
            )),
            b'a'..=b'z' => {
                self.run(|byte| byte.is_ascii_lowercase());
                Ok(Token::Literal)
            }
            _ => Err(NotJson(self.at)),
        }
    }

    fn run(&mut self, is_of: impl Fn(u8) -> bool) -> Range<usize> {
        let start = self.at;
        self.at += self.bytes[start..].iter().take_while(|&&byte| is_of(byte)).count();
        start..self.at
    }

    fn string(&mut self) -> Result<Range<usize>, NotJson> {
        let start = self.at + 1;
        if let Some(&[first, last]) = self.quotes.get(self.passed..self.passed + 2)
            && first as usize == self.at
        {
            self.passed += 2;
            self.at = last as usize + 1;
            return Ok(start..last as usize);
        }
        let mut at = start;
        loop {
            let found = self.bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest));
            at += found.ok_or(NotJson(self.bytes.len()))?;
            if self.bytes[at] == b'"' {
                self.at = at + 1;
                return Ok(start..at);
            }
            at += 2;
        }
    }
}
