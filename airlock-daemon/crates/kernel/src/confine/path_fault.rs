//! The part of a path that is at fault: a path names a file by way of directories and links, and a message
//! about its end alone sends people to the wrong place.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use crate::process::users::Ids;

/// Links that are followed, as many as the kernel follows (`path_resolution(7)`).
const LINKS: usize = 40;

/// Why `path`, which is absolute, leads nowhere for this user (for us where there is none): a sentence that
/// names the link and the directory or file. None where nothing is found to be wrong.
pub(crate) fn path_fault(path: &Path, user: Option<Ids>) -> Option<String> {
    let mut left: VecDeque<OsString> = parts(path);
    let mut at = PathBuf::from("/");
    let mut links = Vec::new();
    loop {
        let part = left.pop_front()?;
        if part == ".." {
            at.pop();
            continue;
        }
        let next = at.join(&part);
        let found = match fs::symlink_metadata(&next) {
            Ok(found) => found,
            Err(error) => return Some(told(&links, &next, &why(&error))),
        };
        if found.is_symlink() {
            let target = fs::read_link(&next).ok()?;
            links.push(format!("{} is a link to {}", next.display(), target.display()));
            if links.len() > LINKS {
                return Some(format!("{}: too many links", path.display()));
            }
            if target.is_absolute() {
                at = PathBuf::from("/");
            }
            let mut target = parts(&target);
            target.append(&mut left);
            left = target;
            continue;
        }
        if !left.is_empty() {
            if !found.is_dir() {
                return Some(told(&links, &next, "is no directory"));
            }
            if let Some(user) = user.filter(|user| !may_pass(&found, *user)) {
                let how = format!(
                    "may not be passed through by the server's user (uid {}): its mode is {:04o}, its owner {}",
                    user.uid,
                    found.mode() & 0o7777,
                    found.uid()
                );
                return Some(told(&links, &next, &how));
            }
        }
        at = next;
    }
}

fn parts(path: &Path) -> VecDeque<OsString> {
    let kept = path.components().filter(|part| matches!(part, Component::Normal(_) | Component::ParentDir));
    kept.map(|part| part.as_os_str().to_owned()).collect()
}

fn why(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "does not exist".to_owned(),
        _ => format!("cannot be looked at: {error}"),
    }
}

fn told(links: &[String], at: &Path, how: &str) -> String {
    let mut told = links.to_vec();
    told.push(format!("{} {how}", at.display()));
    told.join(", and ")
}

/// By the mode alone; access control lists may say otherwise.
fn may_pass(dir: &Metadata, user: Ids) -> bool {
    let shift = match user {
        Ids { uid: 0, .. } => return true,
        Ids { uid, .. } if uid == dir.uid() => 6,
        Ids { gid, .. } if gid == dir.gid() => 3,
        Ids { .. } => 0,
    };
    dir.mode() >> shift & 1 == 1
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn the_link_that_leads_nowhere_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let (link, further, there) = (root.join("python"), root.join("further"), root.join("there"));
        fs::write(&there, "").unwrap();
        assert_eq!(path_fault(&there, None), None);
        symlink("further", &link).unwrap();
        symlink("/nonexistent/bin/python", &further).unwrap();
        let told = path_fault(&link, None).unwrap();
        let expected = format!(
            "{} is a link to further, and {} is a link to /nonexistent/bin/python, and /nonexistent does not exist",
            link.display(),
            further.display()
        );
        assert_eq!(told, expected);
        symlink("loop", root.join("loop")).unwrap();
        assert!(path_fault(&root.join("loop"), None).unwrap().ends_with("too many links"));
        assert!(path_fault(&there.join("in"), None).unwrap().ends_with("is no directory"));
    }

    #[test]
    fn a_directory_that_is_closed_to_the_user_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(root.join("file"), "").unwrap();
        let nobody = Ids { uid: 65_534, gid: 65_534 };
        let told = path_fault(&root.join("file"), Some(nobody)).unwrap();
        assert!(told.contains("may not be passed through by the server's user (uid 65534)"), "{told}");
        assert!(told.contains("its mode is 0700"), "{told}");
        let owner = Ids { uid: fs::metadata(&root).unwrap().uid(), gid: 1 };
        assert_eq!(path_fault(&root.join("file"), Some(owner)), None);
    }
}
