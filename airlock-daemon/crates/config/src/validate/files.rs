//! Files that the configuration names and that everybody on the host may write.

use std::path::Path;

use super::super::exposed::exposed_with_way;
use super::super::schema::Config;
use super::checks::{Checks, at};
use crate::yaml::tree::PathStep;

/// The policy's directory and the files of secrets. Those of TLS are judged where they are read, again at
/// each reload, and so are the files in the policy's directory.
pub(super) fn check(config: &Config, checks: &mut Checks<'_>) {
    judge(&config.policy.path, at!["policy", "path"], checks);
    if let Some(directory) = &config.dlp.directory {
        judge(directory, at!["dlp", "directory"], checks);
    }
    for (at, file) in secrets(config) {
        judge(file, &at, checks);
    }
}

/// The files of secrets, each with its place in the configuration.
pub(super) fn secrets(config: &Config) -> Vec<(Vec<PathStep<'_>>, &Path)> {
    let mut all: Vec<(Vec<PathStep<'_>>, &Path)> = Vec::new();
    if let Some(file) = &config.dlp.hash_key_file {
        all.push((at!["dlp", "hash_key_file"].to_vec(), file));
    }
    for (index, upstream) in config.upstreams.iter().enumerate() {
        for (name, file) in &upstream.env_from {
            all.push((at!["upstreams", index, "env_from", name.as_str()].to_vec(), file));
        }
        let Some(credential) = &upstream.credential else { continue };
        let below = |names: &[&'static str]| -> Vec<PathStep<'static>> {
            let credential = ["upstreams".into(), index.into(), "credential".into()].into_iter();
            credential.chain(names.iter().map(|name| PathStep::from(*name))).collect()
        };
        if let Some(file) = &credential.bearer_file {
            all.push((below(&["bearer_file"]), file));
        }
        if let Some(header) = &credential.header {
            all.push((below(&["header", "value_file"]), &header.value_file));
        }
        for (name, client) in [
            ("client_credentials", &credential.client_credentials),
            ("token_exchange", &credential.token_exchange),
        ] {
            if let Some(client) = client {
                all.push((below(&[name, "client_secret_file"]), &client.client_secret_file));
            }
        }
    }
    all
}

/// A relative path names a credential of systemd's, whose directory is the service's alone.
fn judge(path: &Path, at: &[PathStep<'_>], checks: &mut Checks<'_>) {
    if let Some(found) = path.is_absolute().then(|| exposed_with_way(path)).flatten() {
        checks.value(
            at,
            found.to_string(),
            "one that only its owner, or a group, may write",
            &found.remedy(),
        );
    }
}
