//! Which systemd unit a process belongs to, as its cgroup tells: nobody leaves the cgroup of a unit but who
//! may write to cgroups.

use std::path::Path;

use super::dialers::manager_cgroup;
use super::peer::Peer;
use crate::cgroup::hierarchy;
use airlock_config::unit_names::is_unit_name;

/// The process that connected has to be one of the unit's.
///
/// # Errors
/// Why not, as a sentence with its remedy.
pub fn is_of_unit(peer: &Peer, unit: &str) -> Result<(), String> {
    let own = manager_cgroup()
        .and_then(|manager| Ok((hierarchy::of_process(&peer.number())?, manager)))
        .map(|(place, manager)| unit_at(&place, &manager).map(str::to_owned));
    // The cgroup of its number is the peer's only if the peer has lived until now.
    if !peer.lives() {
        return Err("it has ended".to_owned());
    }
    match own {
        Ok(Some(own)) if own == unit => Ok(()),
        Ok(Some(own)) => {
            Err(format!("it belongs to {own}, not to {unit}; correct `unit`, or let {unit} start the server"))
        }
        Ok(None) => Err(format!("it belongs to no unit; let {unit} start the server, or correct `unit`")),
        Err(error) => Err(format!("its unit cannot be told: {error}")),
    }
}

/// The unit that a cgroup is of or lies in: the first below the slices. A cgroup further below was made by
/// somebody to whom systemd gave the unit's (`Delegate=`, `user@.service`), and may have any name.
fn unit_at<'a>(place: &'a Path, manager: &Path) -> Option<&'a str> {
    let below = place.strip_prefix(manager).ok()?;
    let mut names = below.iter().map(|name| name.to_str());
    let name = names.find(|name| !name.is_some_and(|name| name.strip_suffix(".slice").is_some()))??;
    // systemd writes an underscore before names that are files of cgroups elsewhere, and before those that
    // begin with one.
    let name = name.strip_prefix('_').unwrap_or(name);
    is_unit_name(name).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_is_the_first_below_the_slices() {
        let at = |place: &'static str| unit_at(Path::new(place), Path::new("/cg"));
        assert_eq!(at("/cg/system.slice/notes.service"), Some("notes.service"));
        assert_eq!(at("/cg/a.slice/a-b.slice/notes@1.service/below/x.service"), Some("notes@1.service"));
        assert_eq!(at("/cg/notes.service"), Some("notes.service"));
        assert_eq!(at("/cg/system.slice/_memory.service"), Some("memory.service"));
        assert_eq!(at("/cg/system.slice/__x.service"), Some("_x.service"));
        // A user's own manager calls its units as it likes.
        let of_a_user = "/cg/user.slice/user-1000.slice/user@1000.service/app.slice/notes.service";
        assert_eq!(at(of_a_user), Some("user@1000.service"));
        assert_eq!(at("/cg/user.slice/user-0.slice/session-1.scope"), Some("session-1.scope"));
        for nowhere in ["/cg", "/cg/system.slice", "/cg/other/notes.service", "/elsewhere/notes.service"] {
            assert_eq!(at(nowhere), None, "{nowhere}");
        }
    }

    #[test]
    fn a_name_that_no_process_can_be_of_is_none() {
        for good in ["notes.service", "a@b.service", "a-b\\x2d.scope", "_x:y.service"] {
            assert!(is_unit_name(good), "{good}");
        }
        let long = format!("{}.service", "x".repeat(248));
        for bad in
            ["", ".service", "notes", "a@.service", "@a.service", "a/b.service", "x.slice", "x.socket", &long]
        {
            assert!(!is_unit_name(bad), "{bad}");
        }
    }
}
