//! Reading a bundle from disk: Rego sources, data, and the digest that names them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use regorus::Value;
use regorus::value::Object;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::document::input::Strict;
use super::error::PolicyError;
use crate::config::{Exposed, exposed, exposed_with_way, open_file};

/// The largest file of a bundle, in bytes.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// The most files in a bundle.
const MAX_FILES: usize = 256;
/// How deep folders may nest.
const MAX_FOLDERS: usize = 8;
const DATA_FILES: [&str; 3] = ["data.json", "data.yaml", "data.yml"];

/// The files of a bundle as they are on disk, in the order of their names.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Files {
    pub(super) root: PathBuf,
    /// Path and text of each.
    pub(super) texts: Vec<(PathBuf, String)>,
}

/// One Rego file.
#[derive(Debug, Clone)]
pub(super) struct PolicyFile {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// The files of a bundle, read but not judged.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) root: PathBuf,
    /// The bundle's modules that decide.
    pub(super) policies: Vec<PolicyFile>,
    /// The `*_test.rego` files, which never take part in a decision.
    pub(super) tests: Vec<PolicyFile>,
    /// All data files, merged.
    pub(super) data: Value,
    /// SHA-256 over names and contents of everything that decides, in hex.
    pub(super) digest: String,
}

impl Files {
    /// Reads the directory `root`.
    ///
    /// # Errors
    /// Names the file, the reason and the remedy.
    pub(super) fn read(root: &Path) -> Result<Self, PolicyError> {
        let mut found = Vec::new();
        if let Some(exposed) = exposed_with_way(root) {
            return Err(not_ours(root, &exposed));
        }
        collect(root, 0, &mut found)?;
        // A stable order makes the digest a property of the bundle and not of the file system.
        found.sort();
        let texts = found.into_iter().map(|path| {
            let text = read_text(&path)?;
            Ok((path, text))
        });
        Ok(Self { root: root.to_path_buf(), texts: texts.collect::<Result<_, _>>()? })
    }

    /// SHA-256 over names and contents of the files, tests included.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        for (path, text) in &self.texts {
            self.add_to(&mut digest, path, text);
        }
        digest.finalize().into()
    }

    fn add_to(&self, digest: &mut Sha256, path: &Path, text: &str) {
        let name = path.strip_prefix(&self.root).unwrap_or(path).to_string_lossy();
        for part in [name.as_bytes(), text.as_bytes()] {
            // The length before each part keeps two different bundles from hashing the same bytes.
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
    }
}

impl Bundle {
    /// Reads the directory `root`.
    ///
    /// # Errors
    /// Names the file (and line, where there is one), the reason and the remedy.
    pub(super) fn read(root: &Path) -> Result<Self, PolicyError> {
        Self::new(&Files::read(root)?)
    }

    /// The bundle of these files.
    ///
    /// # Errors
    /// As [`Bundle::read`].
    pub(super) fn new(files: &Files) -> Result<Self, PolicyError> {
        Self::of(files).map_err(|error| {
            error.shown_in(files.texts.iter().map(|(path, text)| (path.as_path(), text.as_str())))
        })
    }

    /// An error about a Rego file of this bundle, with the line that it is about.
    pub(super) fn show(&self, error: PolicyError) -> PolicyError {
        let sources = self.policies.iter().chain(&self.tests);
        error.shown_in(sources.map(|source| (source.path.as_path(), source.text.as_str())))
    }

    fn of(files: &Files) -> Result<Self, PolicyError> {
        let root = &files.root;
        let mut digest = Sha256::new();
        let (mut policies, mut tests, mut data) = (Vec::new(), Vec::new(), Data::default());
        for (path, text) in &files.texts {
            let source = || PolicyFile { path: path.clone(), text: text.clone() };
            if path.to_string_lossy().ends_with("_test.rego") {
                tests.push(source());
                continue;
            }
            files.add_to(&mut digest, path, text);
            if path.extension().is_some_and(|extension| extension == "rego") {
                policies.push(source());
            } else {
                data.add(path, text)?;
            }
        }
        if policies.is_empty() {
            return Err(PolicyError::at(
                root,
                "no policy: there is no `.rego` file here besides tests",
                "put a file with `package airlock.authz` into this directory, or correct `policy.path`",
            ));
        }
        let digest = digest.finalize().iter().fold(String::with_capacity(64), |mut hex, byte| {
            // Writing into a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Ok(Self { root: root.clone(), policies, tests, data: data.finish(), digest })
    }
}

fn collect(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) -> Result<(), PolicyError> {
    let entries = fs::read_dir(folder).map_err(|error| {
        PolicyError::at(
            folder,
            format!("the policy directory cannot be read: {error}"),
            "create it, make it readable for the daemon's user, or correct `policy.path`",
        )
    })?;
    for entry in entries {
        let entry = entry.map_err(|error| unreadable(folder, &error))?;
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        if name.starts_with('.') {
            continue;
        }
        // Follows links, so that a directory of links to a current version (as config maps are) works.
        let kind = fs::metadata(&path).map_err(|error| unreadable(&path, &error))?;
        let is_data = DATA_FILES.contains(&&*name);
        if let Some(exposed) = exposed(&path, &kind) {
            return Err(not_ours(&path, &exposed));
        }
        if kind.is_dir() {
            if depth == MAX_FOLDERS {
                return Err(PolicyError::at(
                    &path,
                    format!("folders nest deeper than {MAX_FOLDERS}"),
                    "flatten the bundle, and look for a link that leads back to a parent",
                ));
            }
            collect(&path, depth + 1, found)?;
        } else if is_data && depth > 0 {
            return Err(PolicyError::at(
                &path,
                "a data file below the top level would be ignored",
                "move its content into the data file beside the policies",
            ));
        } else if is_data || path.extension().is_some_and(|extension| extension == "rego") {
            if !kind.is_file() {
                return Err(PolicyError::at(&path, "is not a regular file", "replace it by a file"));
            }
            found.push(path);
        }
        if found.len() > MAX_FILES {
            return Err(PolicyError::at(
                folder,
                format!("more than {MAX_FILES} policy files"),
                "join small files, or point `policy.path` at the bundle only",
            ));
        }
    }
    Ok(())
}

fn read_text(path: &Path) -> Result<String, PolicyError> {
    let file = open_file(path).map_err(|error| unreadable(path, &error))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(PolicyError::at(
            path,
            "larger than 1 MiB",
            "split the file; large tables belong into the service that issues groups and claims",
        ));
    }
    String::from_utf8(bytes).map_err(|error| {
        let good = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + good.split(|byte| *byte == b'\n').count().saturating_sub(1);
        PolicyError::new(format!("{}:{line}", path.display()), "is not UTF-8 text", "save the file as UTF-8")
    })
}

/// The error of what everybody may write: who writes the policy decides.
fn not_ours(path: &Path, exposed: &Exposed) -> PolicyError {
    PolicyError::at(path, exposed.to_string(), exposed.remedy())
}

fn unreadable(path: &Path, error: &std::io::Error) -> PolicyError {
    PolicyError::at(
        path,
        format!("cannot be read: {error}"),
        "make it readable for the daemon's user, or remove it from the bundle",
    )
}

/// Data files being merged: which file brought which key.
#[derive(Default)]
struct Data {
    keys: BTreeMap<Value, (PathBuf, Value)>,
}

impl Data {
    fn add(&mut self, path: &Path, text: &str) -> Result<(), PolicyError> {
        let value = parse_data(path, text)?;
        let fields = match &value {
            Value::Object(fields) => fields,
            // An empty YAML file is an empty document.
            Value::Null => return Ok(()),
            _ => {
                return Err(PolicyError::at(
                    path,
                    "the top level is not a mapping",
                    "give every value a key, such as `roles:`",
                ));
            }
        };
        for (key, value) in fields.iter() {
            if let Some((other, _)) = self.keys.get(key) {
                return Err(PolicyError::at(
                    path,
                    format!("the key {key} also stands in {}", other.display()),
                    "keep one of the two",
                ));
            }
            if matches!(key, Value::String(name) if matches!(&**name, "airlock" | "airlock_entry")) {
                return Err(PolicyError::at(
                    path,
                    format!("the key {key} is where the policy's own rules stand"),
                    "choose another name for this data",
                ));
            }
            self.keys.insert(key.clone(), (path.to_path_buf(), value.clone()));
        }
        Ok(())
    }

    fn finish(self) -> Value {
        let fields: Object = self.keys.into_iter().map(|(key, (_, value))| (key, value)).collect();
        Value::Object(Arc::new(fields))
    }
}

fn parse_data(path: &Path, text: &str) -> Result<Value, PolicyError> {
    let remedy = "correct the data file at this place";
    if path.extension().is_some_and(|extension| extension == "json") {
        return serde_json::from_str::<Strict<true>>(text).map(|strict| strict.0).map_err(|error| {
            let place = format!("{}:{}:{}", path.display(), error.line(), error.column());
            PolicyError::new(place, error.to_string(), remedy)
        });
    }
    serde_saphyr::from_str::<Strict<true>>(text).map(|strict| strict.0).map_err(|error| {
        let place = error.location().map_or_else(
            || path.display().to_string(),
            |at| format!("{}:{}:{}", path.display(), at.line(), at.column()),
        );
        PolicyError::new(place, error.without_snippet().to_string(), remedy)
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn bundle(files: &[(&str, &[u8])]) -> (tempfile::TempDir, Result<Bundle, PolicyError>) {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let bundle = Bundle::read(folder.path());
        (folder, bundle)
    }

    const POLICY: (&str, &[u8]) = ("a.rego", b"package airlock.authz\n");

    #[test]
    fn reads_sources_tests_and_data() {
        let (_folder, bundle) = bundle(&[
            POLICY,
            ("sub/b.rego", b"package b\n"),
            ("a_test.rego", b"package airlock.authz_test\n"),
            ("data.yaml", b"roles: {reader: [1, 0.5]}\n"),
            ("data.json", b"{\"tenants\": {}}"),
            ("dlp/pack.yaml", b"not: ours\n"),
            (".hidden.rego", b"nonsense"),
        ]);
        let bundle = bundle.unwrap();
        assert_eq!((bundle.policies.len(), bundle.tests.len()), (2, 1));
        assert_eq!(bundle.data.to_string(), r#"{"roles":{"reader":[1,0.5]},"tenants":{}}"#);
        assert_eq!(bundle.digest.len(), 64);
    }

    #[test]
    fn the_digest_follows_content_and_names_but_not_tests() {
        let digest = |files: &[(&str, &[u8])]| bundle(files).1.unwrap().digest;
        let base = digest(&[POLICY]);
        assert_eq!(base, digest(&[POLICY, ("a_test.rego", b"package t\n")]));
        assert_ne!(base, digest(&[("b.rego", POLICY.1)]));
        assert_ne!(base, digest(&[POLICY, ("data.yaml", b"a: 1\n")]));
        assert_ne!(base, digest(&[("a.rego", b"package airlock.authz\n\n")]));
    }

    type Files<'a> = &'a [(&'a str, &'a [u8])];

    #[test]
    fn every_bad_bundle_names_place_and_remedy() {
        let large = vec![b'#'; usize::try_from(MAX_FILE_BYTES).unwrap() + 1];
        let cases: [(Files<'_>, &str, &str); 10] = [
            (&[], "", "no policy"),
            (&[("a_test.rego", b"package t")], "", "besides tests"),
            (&[("a.rego", b"package a\n\xff\n")], "a.rego:2", "UTF-8"),
            (&[("a.rego", &large)], "a.rego", "1 MiB"),
            (&[POLICY, ("data.yaml", b"a: 1\nb: [\n")], "data.yaml:", ""),
            (&[POLICY, ("data.yaml", b"a: 1\na: 2\n")], "data.yaml:", "a"),
            (&[POLICY, ("data.json", b"{\n\"a\": nope}")], "data.json:2:", "expected"),
            (&[POLICY, ("data.yaml", b"a: 1\n"), ("data.json", b"{\"a\": 1}")], "data.yaml", "data.json"),
            (&[POLICY, ("data.yaml", b"- 1\n")], "data.yaml", "mapping"),
            (&[POLICY, ("data.yaml", b"airlock: {authz: {allow: true}}\n")], "data.yaml", "own rules"),
        ];
        for (files, place, reason) in cases {
            let (folder, result) = bundle(files);
            let error = result.unwrap_err();
            assert!(error.place.starts_with(&*folder.path().to_string_lossy()), "{error}");
            assert!(error.place.contains(place) && error.reason.contains(reason), "{error}");
            assert!(!error.remedy.is_empty());
        }
        let missing = Bundle::read(Path::new("/nonexistent/policies")).unwrap_err();
        assert!(
            missing.reason.contains("cannot be read") && missing.remedy.contains("policy.path"),
            "{missing}"
        );
        let (_folder, nested) = bundle(&[POLICY, ("sub/data.yaml", b"a: 1\n")]);
        assert!(nested.unwrap_err().reason.contains("ignored"));
    }

    #[test]
    fn what_everybody_may_write_is_no_policy() {
        use std::os::unix::fs::PermissionsExt as _;
        for (changed, mode, words) in [
            ("a.rego", 0o646, "write the file"),
            ("data.yaml", 0o666, "write the file"),
            ("a_test.rego", 0o666, "write the file"),
            ("sub", 0o777, "put files into the directory"),
            // The sticky bit keeps nobody from adding a file.
            ("sub", 0o1777, "put files into the directory"),
            ("", 0o1777, "put files into the directory"),
        ] {
            let (folder, good) = bundle(&[
                POLICY,
                ("sub/b.rego", b"package b\n"),
                ("a_test.rego", b"package t\n"),
                ("data.yaml", b"a: 1\n"),
            ]);
            good.unwrap();
            let path = folder.path().join(changed);
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let error = Bundle::read(folder.path()).unwrap_err();
            assert!(error.reason.contains(words) && error.remedy.contains("chmod o-w"), "{error}");
            assert!(path.starts_with(&error.place), "{error}");
        }
    }

    #[test]
    fn a_dangling_link_and_a_pipe_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/nonexistent", folder.path().join("a.rego")).unwrap();
        assert!(Bundle::read(folder.path()).unwrap_err().reason.contains("cannot be read"));
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::net::UnixListener::bind(folder.path().join("a.rego")).unwrap();
        assert!(Bundle::read(folder.path()).unwrap_err().reason.contains("regular file"));
    }
}
