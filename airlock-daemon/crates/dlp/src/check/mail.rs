//! E-mail addresses: lengths, dots, and endings that are files rather than domains.

use super::table::Checks;

pub(super) const CHECKS: Checks = &[("email", is_address)];

/// Endings of files in names such as `icon@2x.png`.
const FILES: &[&str] = &[
    "png",
    "jpg",
    "jpeg",
    "gif",
    "svg",
    "webp",
    "ico",
    "bmp",
    "tif",
    "tiff",
    "js",
    "mjs",
    "cjs",
    "jsx",
    "ts",
    "tsx",
    "css",
    "scss",
    "less",
    "html",
    "htm",
    "xml",
    "json",
    "yaml",
    "yml",
    "toml",
    "lock",
    "txt",
    "csv",
    "pdf",
    "jar",
    "java",
    "tgz",
    "gz",
    "bz2",
    "xz",
    "exe",
    "dll",
    "so",
    "service",
    "socket",
    "timer",
    "target",
    "mount",
    "slice",
    "local",
    "h",
    "c",
    "o",
    "d",
    "rb",
    "go",
    "map",
    "conf",
    "cfg",
    "ini",
    "log",
    "internal",
    "localdomain",
    "invalid",
];

/// RFC 5321 lengths, no dot at an edge or beside another, a last label of letters that is no kind of file.
fn is_address(text: &str) -> bool {
    let Some((local, domain)) = text.rsplit_once('@') else { return false };
    let has_good_dots = |part: &str| !part.starts_with('.') && !part.ends_with('.') && !part.contains("..");
    let Some((_, last)) = domain.rsplit_once('.') else { return false };
    (1..=64).contains(&local.len())
        && domain.len() <= 253
        && has_good_dots(local)
        && has_good_dots(domain)
        && domain
            .split('.')
            .all(|label| !label.starts_with('-') && !label.ends_with('-') && label.len() <= 63)
        && last.chars().count() >= 2
        && !text.chars().any(is_pictograph)
        && (last.starts_with("xn--") || last.chars().all(char::is_alphabetic))
        && !FILES.iter().any(|file| last.eq_ignore_ascii_case(file))
}

/// Answers whether a character is a picture rather than a letter of any script.
fn is_pictograph(character: char) -> bool {
    matches!(character, '\u{2600}'..='\u{27bf}' | '\u{1f000}'..='\u{1faff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_files_and_versions() {
        for good in [
            "ann@acme.com",
            "first.last+tag@sub.acme.co.uk",
            "müller@münchen.de",
            "用户@例子.中国",
            "a@xn--mnchen-3ya.xn--p1ai",
        ] {
            assert!(is_address(good), "{good}");
        }
        for bad in [
            "icon@2x.png",
            "a@b",
            "a..b@acme.com",
            ".a@acme.com",
            "a@-acme.com",
            "pkg@1.2.3",
            "getty@tty1.service",
            "user@\u{1f605}.com",
            "@",
            "",
        ] {
            assert!(!is_address(bad), "{bad}");
        }
        assert!(!is_address(&format!("{}@acme.com", "a".repeat(65))));
    }
}
