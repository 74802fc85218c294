//! Servers that Airlock does not start: units of a slice whose cgroup carries the programs too, and who may
//! dial in from there.
//!
//! Where servers are sealed the slice is, with doors to Airlock's sockets ([`crate::door`]).
//! Elsewhere it has the IP hooks alone: those on unix sockets know no doors, and would refuse the way to
//! Airlock with the rest. Then a dialler stands on the rung `no-ip`, and what it reaches by unix sockets is
//! for its unit to limit.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::{fs, io};

use airlock_ebpf::Cage;
use aya::Ebpf;
use aya_obj::generated::bpf_attach_type::BPF_CGROUP_INET4_CONNECT;
use rustix::time::{ClockId, clock_gettime};

use super::peer::{Peer, TICKS};
use crate::cgroup::hierarchy::{self, CgroupError};
use crate::ebpf::links::Links;
use crate::ebpf::loader::LoadError;
use crate::ebpf::pins::fault::PinsError;
use crate::ebpf::pins::{Hold, Pins};
use crate::ebpf::{links, loader, sealed};
use crate::process::users;
use crate::report::{Layer, rung_name};
use airlock_config::schema::{Rung, Seal};
use airlock_config::unit_names::slice_dir;

/// Why a slice is not pinned.
#[derive(Debug, Clone, thiserror::Error)]
pub enum SliceError {
    /// It has no cgroup.
    #[error(
        "kernel.slice: {} cannot be opened: {detail}; start the slice before Airlock (Wants= and After= of its unit), or correct the name", dir.display()
    )]
    Absent {
        /// Where it should be.
        dir: PathBuf,
        /// The kernel's error, and its number.
        detail: String,
        /// Its number.
        errno: Option<i32>,
    },
    /// The programs are not on it.
    #[error("kernel.slice: {name} is not pinned: {detail}")]
    Refused {
        /// Its name.
        name: String,
        /// Why, with the remedy.
        detail: String,
        /// The number of the system error.
        errno: Option<i32>,
    },
    /// More is demanded than a slice can have.
    #[error(
        "kernel.slice: the units of {name} stand on rung `{}`, and `{}` is demanded: they need one unix socket, which only sealed \
         programs leave them, and {unsealed}; set `kernel.minimum_rung: no-ip`, or remove `kernel.slice` and let the host's services \
         be reached by `type: unix`",
        rung_name(Some(*rung)), rung_name(Some(*minimum))
    )]
    BelowMinimum {
        /// Its name.
        name: String,
        /// Where its units stand.
        rung: Rung,
        /// The rung that is demanded.
        minimum: Rung,
        /// Why they are not sealed.
        unsealed: String,
    },
}

impl SliceError {
    /// There is nothing that could be attached.
    pub(crate) fn bare(name: &str) -> Self {
        refused(name, "neither are servers here, see the other layers".to_owned(), None)
    }

    fn errno(&self) -> Option<i32> {
        match self {
            Self::Absent { errno, .. } | Self::Refused { errno, .. } => *errno,
            Self::BelowMinimum { .. } => None,
        }
    }
}

/// The slice whose units are pinned. Its links end with this value where they have no names, and stay
/// otherwise, until the end that is asked for: a unit that does not heed the signal to end outlives the
/// daemon by a minute and a half.
#[derive(Debug)]
pub struct Slice {
    name: String,
    dir: PathBuf,
    /// Device and inode: a slice that is stopped and started again has a new cgroup, without the hooks.
    identity: (u64, u64),
    /// When the programs were in place, in [`TICKS`] since the boot.
    since: u64,
    /// Why its units are not sealed; nothing where they are.
    unsealed: Option<String>,
    /// True where programs are on it that leave its units no unix socket but those behind doors.
    has_doors: bool,
    /// The pins that keep the links when this process dies; none where no later start would find them.
    pins: Option<Pins>,
    /// Why there are no names where there should be, with the remedy.
    unpinned: Option<String>,
    links: Links,
}

impl Slice {
    /// The result that [`Self::attach`] would come to, without anything attached: a running daemon has its
    /// own programs there, and a second set without its doors would shut them.
    pub(crate) fn look(name: &str, seal: Option<Seal>) -> Result<Self, SliceError> {
        let (mut slice, _) = Self::find(name)?;
        slice.unsealed = seal.is_none().then(unsealed);
        Ok(slice)
    }

    /// Attaches to the cgroup of a slice what is attached to that of the servers, but for the hooks on unix
    /// sockets; `seal` is how those are sealed. Its worth is for [`Self::proved`] to say.
    pub(crate) fn attach(name: &str, ebpf: &mut Ebpf, seal: Option<Seal>) -> Result<Self, SliceError> {
        let (mut slice, open) = Self::find(name)?;
        slice.links = loader::attach_ip(ebpf, &open)
            .map_err(|error| refused(name, error.to_string(), loader::errno_of(&error)))?;
        match seal {
            Some(by) => match self::seal(ebpf, by, &open, &mut slice.links) {
                Ok(()) => slice.has_doors = true,
                Err(error) => slice.unsealed = Some(error.to_string()),
            },
            None => slice.unsealed = Some(unsealed()),
        }
        let now = clock_gettime(ClockId::Boottime);
        slice.since = u64::try_from(now.tv_sec).unwrap_or_default() * TICKS
            + u64::try_from(now.tv_nsec).unwrap_or_default() / (1_000_000_000 / TICKS);
        Ok(slice)
    }

    /// Gives its links names, in the place of those that an earlier daemon left; `refused` is why those of
    /// servers have none.
    pub(crate) fn pin(&mut self, hold: Hold<'_>, refused: Option<&PinsError>) {
        let explained = |error: &PinsError| format!("{error}; {}", error.remedy());
        if let Some(error @ PinsError::Stronger { .. }) = refused {
            self.unpinned = Some(explained(error));
            return;
        }
        match hold.take_slice(&self.links) {
            Ok(pins) => self.pins = Some(pins),
            Err(error) => self.unpinned = Some(explained(&error)),
        }
        // Host-wide programs among them know the slice, too, and no doors of ours.
        if let Some(error) = refused {
            self.unpinned.get_or_insert_with(|| explained(error));
        }
    }

    /// Claims no more than what a process in the cage of the servers has proved.
    pub(crate) fn proved(&mut self, rung: Option<Rung>) {
        if rung != Some(Rung::Sealed) {
            self.unsealed.get_or_insert_with(unsealed);
        }
    }

    /// The end that was asked for: from here on its links end with this value.
    pub(crate) fn unpin(&self) {
        if let Some(pins) = &self.pins {
            pins.remove();
        }
    }

    /// The programs that are attached to it.
    pub(crate) fn links(&self) -> &Links {
        &self.links
    }

    /// True where its units reach nothing but what a door is opened to.
    pub(crate) fn has_doors(&self) -> bool {
        self.has_doors
    }

    /// Finds its cgroup.
    fn find(name: &str) -> Result<(Self, File), SliceError> {
        let manager = manager_cgroup().map_err(|error| refused(name, error.to_string(), error.errno()))?;
        let below =
            slice_dir(name).ok_or_else(|| refused(name, "that is not the name of a slice".into(), None))?;
        let dir = manager.join(below);
        let absent = |error: io::Error| SliceError::Absent {
            dir: dir.clone(),
            detail: error.to_string(),
            errno: error.raw_os_error(),
        };
        let open = File::open(&dir).map_err(absent)?;
        let identity = open.metadata().map(|found| (found.dev(), found.ino())).map_err(absent)?;
        let slice = Self {
            name: name.to_owned(),
            dir,
            identity,
            since: u64::MAX,
            unsealed: None,
            has_doors: false,
            pins: None,
            unpinned: None,
            links: Links::default(),
        };
        Ok((slice, open))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The rung on which its units stand.
    pub fn rung(&self) -> Rung {
        if self.unsealed.is_none() { Rung::Sealed } else { Rung::NoIp }
    }

    /// Checks that this is enough.
    ///
    /// # Errors
    /// [`SliceError::BelowMinimum`], with the remedy.
    pub fn reaches(&self, minimum: Rung) -> Result<(), SliceError> {
        if self.rung() < minimum {
            let unsealed = self.unsealed.clone().unwrap_or_default();
            return Err(SliceError::BelowMinimum {
                name: self.name.clone(),
                rung: self.rung(),
                minimum,
                unsealed,
            });
        }
        Ok(())
    }

    /// Where it is among the cgroups.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Checks that it still is the slice that the hooks are on.
    ///
    /// # Errors
    /// Why not, as a sentence with its remedy.
    pub fn stands(&self) -> Result<(), String> {
        let now = fs::metadata(&self.dir).map(|found| (found.dev(), found.ino())).ok();
        if now == Some(self.identity) {
            return Ok(());
        }
        Err(format!(
            "{} was stopped since Airlock started, and its new cgroup is not pinned; restart Airlock",
            self.name
        ))
    }

    /// Checks that the programs on it are this daemon's alone. Others refuse as well and know no doors, so
    /// they shut them: those that a daemon left which died, above all. Asked of the kernel, so it is what it
    /// is now.
    ///
    /// # Errors
    /// Why not, as a sentence with its remedy.
    pub fn is_alone(&self) -> Result<(), String> {
        let dir = self.dir.display();
        let remedy = self.unpinned.as_deref().unwrap_or(
            "end that software, or remove the daemon's pins where kernel.bpffs was then: rm -r …/v1/*_slice",
        );
        // A process that cannot be asked is no finding.
        let attached = File::open(&self.dir).and_then(|dir| links::count(&dir, BPF_CGROUP_INET4_CONNECT));
        match attached {
            Ok(count) if count > 1 => Err(format!(
                "{}: besides Airlock's own, {} refuse connections of its units on {dir}, and may shut their way to Airlock: \
                 programs of a daemon that died, or of other software; {remedy}",
                self.name,
                count - 1,
            )),
            _ => Ok(()),
        }
    }

    /// Checks that the hooks have been in force on a process all its life.
    ///
    /// # Errors
    /// Why not, as a sentence with its remedy.
    pub fn holds(&self, peer: &Peer) -> Result<(), String> {
        self.stands()?;
        let entry = peer.number();
        let place = hierarchy::of_process(&entry);
        let started = peer.started();
        if !peer.lives() {
            return Err("it has ended".to_owned());
        }
        match place {
            Ok(place) if place.starts_with(&self.dir) => {}
            Ok(_) | Err(_) => {
                return Err(format!(
                    "it is not in {}, so not pinned; write Slice={} into its unit",
                    self.name, self.name
                ));
            }
        }
        // A socket that it opened before the hooks were there would not be refused any more.
        if started.is_none_or(|started| started <= self.since) {
            return Err(format!(
                "it was started before {} was pinned; order its unit After=airlock.service, and restart it",
                self.name
            ));
        }
        Ok(())
    }
}

fn refused(name: &str, detail: String, errno: Option<i32>) -> SliceError {
    SliceError::Refused { name: name.to_owned(), detail, errno }
}

/// Why a slice whose programs are all there is not sealed.
fn unsealed() -> String {
    "servers are not sealed here either".to_owned()
}

/// Seals a slice in the way in which servers are.
fn seal(ebpf: &mut Ebpf, by: Seal, slice: &File, links: &mut Links) -> Result<(), LoadError> {
    sealed::set_cage(ebpf, Cage::Slice, slice)?;
    if by == Seal::Cgroup {
        links.extend(sealed::attach_to_another(ebpf, slice)?);
    }
    Ok(())
}

/// The lines of the report on a slice.
pub(crate) fn layer(slice: &Result<Slice, SliceError>) -> Layer {
    match slice {
        Ok(slice) => {
            let (name, dir, rung) = (&slice.name, slice.dir.display(), rung_name(Some(slice.rung())));
            let detail = match &slice.unsealed {
                None => format!("{name}: sealed but for its doors, in {dir}, rung {rung}"),
                Some(why) => format!("{name}: the IP hooks, in {dir}, rung {rung}: {why}"),
            };
            let detail = match (&slice.pins, &slice.unpinned) {
                (Some(pins), _) => format!("{detail}; {pins}"),
                (None, Some(why)) => format!("{detail}; not pinned: {why}"),
                (None, None) if slice.since == u64::MAX => detail,
                (None, None) => format!("{detail}; not pinned: it ends with this process"),
            };
            Layer::active("slice", detail)
        }
        Err(error) => Layer::inactive("slice", error.to_string()).with_errno(error.errno()),
    }
}

/// The number of a user; `None` where it does not exist. Asks the name service, which may take its time.
///
/// # Errors
/// When the name service fails.
pub fn user_id(name: &str) -> io::Result<Option<u32>> {
    Ok(users::look_up(name)?.map(|ids| ids.uid))
}

/// The cgroup below which slices are: systemd itself is in `init.scope` of it.
pub(super) fn manager_cgroup() -> Result<PathBuf, CgroupError> {
    let first = hierarchy::of_process("1")?;
    Ok(if first.ends_with("init.scope") {
        first.parent().map_or_else(|| first.clone(), Path::to_path_buf)
    } else {
        first
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slice_lies_where_its_name_says() {
        let dir = |name| slice_dir(name).map(|dir| dir.display().to_string());
        assert_eq!(dir("airlock-mcp.slice").as_deref(), Some("airlock.slice/airlock-mcp.slice"));
        assert_eq!(dir("a-b-c.slice").as_deref(), Some("a.slice/a-b.slice/a-b-c.slice"));
        assert_eq!(dir("user.slice").as_deref(), Some("user.slice"));
        for wrong in [
            "",
            ".slice",
            "-.slice",
            "a--b.slice",
            "-a.slice",
            "a/b.slice",
            "a",
            "a.service",
            "..slice",
            "../x.slice",
        ] {
            assert_eq!(dir(wrong), None, "{wrong}");
        }
    }
}
