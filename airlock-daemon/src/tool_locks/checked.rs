//! The file of locks, looked at for `airlock check`: before a start, and without writing it.

use crate::config::schema::{Config, ToolLockMode};

use super::locks::own_host;
use super::store;

/// Faults of the file for which it would not be used, a sentence each; it may be another host's where
/// `any_host`. None of one that this user may not read.
pub fn faults(config: &Config, any_host: bool) -> Vec<String> {
    if config.tool_lock.mode == ToolLockMode::Off {
        return Vec::new();
    }
    let (path, host) = (config.tool_lock_file(), own_host());
    let host = (!any_host).then_some(host.as_str());
    if store::denied(&path).is_some() {
        // Whoever checks need not be who runs it: that is a hindrance.
        return Vec::new();
    }
    let read = store::read(&path).and_then(|text| match text {
        Some(text) => store::parse(&path, &text, host).map(drop),
        None => Ok(()),
    });
    read.err().into_iter().collect()
}

/// Reasons why what has to be locked could not be written down, or why nobody can tell, a sentence each. A file that is only to be
/// read is good where each server has its lock.
pub fn hindrances(config: &Config) -> Vec<String> {
    if config.tool_lock.mode == ToolLockMode::Off {
        return Vec::new();
    }
    let path = config.tool_lock_file();
    if let Some(why) = store::denied(&path) {
        return vec![why];
    }
    let Ok(text) = store::read(&path) else { return Vec::new() };
    let Some(text) = text else {
        // The service's unit makes the directory of the default.
        let is_made = config.tool_lock.file.is_none() && path.parent().is_some_and(|folder| !folder.exists());
        return if is_made { Vec::new() } else { store::has_place(&path).err().into_iter().collect() };
    };
    let Ok(file) = store::parse(&path, &text, None) else { return Vec::new() };
    let names = config.upstreams.iter().map(|upstream| upstream.name.as_str());
    let without: Vec<&str> = names.filter(|name| !file.upstreams.contains_key(*name)).collect();
    if config.tool_lock.mode != ToolLockMode::TrustFirstUse || without.is_empty() {
        return Vec::new();
    }
    let hindered = store::is_writable(&path).and_then(|()| store::has_place(&path));
    let told = hindered.err().map(|why| format!("all of {} is held back, since {why}", without.join(", ")));
    told.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_looked_at_as_a_start_would_and_stays() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("tools.lock");
        let text = format!(
            r#"{{"tool_lock":{{"mode":"trust_first_use","file":{path:?}}},"upstreams":[{{"name":"docs","type":"stdio","command":["x"]}}]}}"#
        );
        let mut config: Config = serde_json::from_str(&text).expect("a configuration");
        let told = |config: &Config| (faults(config, false), hindrances(config));
        assert_eq!(told(&config), (Vec::new(), Vec::new()), "there is none yet");
        for (text, wanted) in [
            ("<<<<<<< ours", "tools.lock is not used: it is no JSON that can be read"),
            (r#"{"version":7,"upstreams":{}}"#, "it is of version 7, and this Airlock reads version 1: take"),
            (r#"{"version":1,"host":"elsewhere"}"#, "it was made on the host `elsewhere`"),
        ] {
            fs::write(&path, text).expect("written");
            let (found, hindered) = told(&config);
            assert!(found.concat().contains(wanted), "{found:?}");
            assert!(text.contains("elsewhere") == faults(&config, true).is_empty(), "{text}");
            assert!(hindered.is_empty() && fs::read_to_string(&path).is_ok_and(|now| now == text));
        }
        fs::write(&path, r#"{"version":1,"upstreams":{}}"#).expect("written");
        assert_eq!(told(&config), (Vec::new(), Vec::new()));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("a mode");
        let hindered = hindrances(&config).concat();
        assert!(hindered.starts_with("all of docs is held back, since the lock file "), "{hindered}");
        assert!(hindered.contains("it is only to be read: its mode lets nobody write it; let"), "{hindered}");
        let locked = r#"{"version":1,"upstreams":{"docs":{"bound_to":"stdio x"}}}"#;
        fs::remove_file(&path).expect("removed");
        fs::write(&path, locked).expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o444)).expect("a mode");
        assert_eq!(told(&config), (Vec::new(), Vec::new()), "each has its lock");
        config.tool_lock.file = Some(dir.path().join("none/tools.lock"));
        let hindered = hindrances(&config).concat();
        assert!(
            hindered.contains("none/tools.lock cannot be written: ") && hindered.contains("give another")
        );
        config.tool_lock.file = Some(dir.path().to_path_buf());
        assert!(faults(&config, false).concat().contains("cannot be read: "), "it is a directory");
        config.tool_lock.file = Some("/dev/null".into());
        let found = faults(&config, false).concat();
        assert!(found.contains("it is no regular file; name a file by `tool_lock.file`"), "{found}");
        config.tool_lock.mode = ToolLockMode::Off;
        assert_eq!(told(&config), (Vec::new(), Vec::new()));
    }
}
