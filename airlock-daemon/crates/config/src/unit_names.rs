//! Names of units and slices of systemd, as it allows them.

use std::path::PathBuf;

/// Most characters of a unit's name (`UNIT_NAME_MAX` of systemd, which counts a NUL).
pub const LONGEST: usize = 255;

/// True for the name of a unit that has processes: of a service or a scope, and no template.
pub fn is_unit_name(name: &str) -> bool {
    let stem = name.strip_suffix(".service").or_else(|| name.strip_suffix(".scope"));
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b":-_.\\@".contains(&b);
    stem.is_some_and(|stem| {
        name.len() <= LONGEST
            && !stem.is_empty()
            && !stem.starts_with('@')
            && !stem.ends_with('@')
            && stem.bytes().all(allowed)
    })
}

/// Where a slice lies below the cgroup of the system's manager: `a-b.slice` in `a.slice`. `None` for what
/// names no slice.
pub fn slice_dir(name: &str) -> Option<PathBuf> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b':' | b'\\');
    let stem = name.strip_suffix(".slice").filter(|_| name.len() < 256)?;
    let parts: Vec<&str> = stem.split('-').collect();
    if parts.iter().any(|part| part.is_empty() || part.starts_with('.') || !part.bytes().all(allowed)) {
        return None;
    }
    Some((1..=parts.len()).map(|count| format!("{}.slice", parts[..count].join("-"))).collect())
}
