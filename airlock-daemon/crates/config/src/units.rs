//! Durations, sizes, rates, shares and modes as an operator writes them: `30s`, `256KiB`, `200/min`, `50%`,
//! `0660`.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A span of time: a whole number and a unit (`ms`, `s`, `m`, `h`, `d`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

/// A number of bytes: a whole number and an optional unit (`B`, `KiB`, `MiB`, `GiB`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ByteSize(pub u64);

/// How many events are allowed in a span of time: `200/min`. The span is one of `s`, `min`, `h`, `d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The number of events, at least 1.
    pub count: u32,
    /// The span in which that number is allowed.
    pub per: Duration,
}

/// The permission bits of a file, written in octal: `0660`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileMode(pub u32);

/// A share of processors: hundredths of one, `50%` or `200%`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CpuShare {
    /// Hundredths of a processor, at least 1 and at most 100,000.
    pub percent: u32,
}

impl Period {
    /// A period of whole seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }
}

impl ByteSize {
    /// A size in KiB.
    pub const fn kib(kib: u64) -> Self {
        Self(kib * 1024)
    }

    /// The size as a `usize`, saturating.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Rate {
    /// `count` events a minute.
    pub const fn per_minute(count: u32) -> Self {
        Self { count, per: Duration::from_mins(1) }
    }
}

/// Splits `12KiB` into the number and the unit.
fn number_and_unit(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number = text.get(..end)?.parse().ok()?;
    Some((number, text.get(end..)?.trim_start()))
}

impl FromStr for Period {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!("`{text}` is not a duration: write a whole number and ms, s, m, h or d, such as `30s`")
        };
        let (number, unit) = number_and_unit(text).ok_or_else(expected)?;
        let millis = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" | "min" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(expected()),
        };
        number.checked_mul(millis).map(|ms| Self(Duration::from_millis(ms))).ok_or_else(expected)
    }
}

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!("`{text}` is not a size: write a whole number and B, KiB, MiB or GiB, such as `256KiB`")
        };
        let (number, unit) = number_and_unit(text).ok_or_else(expected)?;
        let factor: u64 = match unit {
            "" | "B" => 1,
            "KiB" => 1 << 10,
            "MiB" => 1 << 20,
            "GiB" => 1 << 30,
            _ => return Err(expected()),
        };
        number.checked_mul(factor).map(Self).ok_or_else(expected)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "`{text}` is not a rate: write a count of at least 1 and /s, /min, /h or /d, such as `200/min`"
            )
        };
        let (count, unit) = text.split_once('/').ok_or_else(expected)?;
        let count: u32 = count.trim().parse().ok().filter(|c| *c > 0).ok_or_else(expected)?;
        let secs = match unit.trim() {
            "s" => 1,
            "m" | "min" => 60,
            "h" => 3_600,
            "d" => 86_400,
            _ => return Err(expected()),
        };
        Ok(Self { count, per: Duration::from_secs(secs) })
    }
}

impl FromStr for CpuShare {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('%').and_then(|number| number.trim_end().parse().ok());
        number.filter(|percent| (1..=100_000).contains(percent)).map(|percent| Self { percent }).ok_or_else(
            || {
                format!(
                    "`{text}` is not a share of processors: write hundredths of one, such as `50%` or `200%`"
                )
            },
        )
    }
}

impl FromStr for FileMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits =
            (3..=4).contains(&text.len()) && text.bytes().all(|digit| (b'0'..=b'7').contains(&digit));
        let mode = u32::from_str_radix(text, 8).ok().filter(|mode| digits && *mode <= 0o777);
        mode.map(Self).ok_or_else(|| {
            format!("`{text}` is not a file mode: write three or four octal digits, such as `0660`")
        })
    }
}

impl fmt::Display for FileMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl fmt::Display for CpuShare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.percent)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0.as_millis();
        let (value, unit) = match ms {
            0 => (0, "s"),
            ms if ms % 86_400_000 == 0 => (ms / 86_400_000, "d"),
            ms if ms % 3_600_000 == 0 => (ms / 3_600_000, "h"),
            ms if ms % 60_000 == 0 => (ms / 60_000, "m"),
            ms if ms % 1_000 == 0 => (ms / 1_000, "s"),
            ms => (ms, "ms"),
        };
        write!(f, "{value}{unit}")
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (value, unit) = match self.0 {
            0 => (0, "B"),
            n if n % (1 << 30) == 0 => (n >> 30, "GiB"),
            n if n % (1 << 20) == 0 => (n >> 20, "MiB"),
            n if n % (1 << 10) == 0 => (n >> 10, "KiB"),
            n => (n, "B"),
        };
        write!(f, "{value}{unit}")
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            1 => "s",
            60 => "min",
            3_600 => "h",
            _ => "d",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

macro_rules! text_serde {
    ($($unit:ty),*) => {$(
        impl<'de> Deserialize<'de> for $unit {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl Serialize for $unit {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
    )*};
}
text_serde!(Period, ByteSize, Rate, FileMode, CpuShare);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_survive_being_written_and_read() {
        for text in ["250ms", "30s", "5m", "1h", "30d", "0s"] {
            assert_eq!(text.parse::<Period>().expect(text).to_string(), text);
        }
        for text in ["512B", "256KiB", "512MiB", "2GiB"] {
            assert_eq!(text.parse::<ByteSize>().expect(text).to_string(), text);
        }
        for text in ["0660", "0600", "0777"] {
            assert_eq!(text.parse::<FileMode>().expect(text).to_string(), text);
        }
        for text in ["1%", "50%", "100000%"] {
            assert_eq!(text.parse::<CpuShare>().expect(text).to_string(), text);
        }
        for text in ["1/s", "200/min", "10/h", "5/d"] {
            assert_eq!(text.parse::<Rate>().expect(text).to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_value_is_refused_with_an_example() {
        for text in ["", "s", "-1s", "1.5s", "1 fortnight", "99999999999999999999d"] {
            assert!(text.parse::<Period>().expect_err(text).contains("such as"));
        }
        for text in ["", "KB", "1KB", "1e3", "99999999999999GiB"] {
            assert!(text.parse::<ByteSize>().expect_err(text).contains("such as"));
        }
        for text in ["", "66", "0o660", "1777", "0688", "u=rw", "00660"] {
            assert!(text.parse::<FileMode>().expect_err(text).contains("such as"));
        }
        for text in ["", "50", "0%", "-1%", "1.5%", "100001%"] {
            assert!(text.parse::<CpuShare>().expect_err(text).contains("such as"));
        }
        for text in ["", "200", "0/min", "200/fortnight", "-1/s"] {
            assert!(text.parse::<Rate>().expect_err(text).contains("such as"));
        }
    }
}
