//! Where the early drop is attached: XDP, or TCX where another XDP program has the interface.
//!
//! An interface that is not there yet, or that comes back as another one of the same name, is attached to
//! when it is seen: the control thread looks from time to time, which costs one system call an interface.

use std::collections::BTreeMap;

use airlock_ebpf::{DROP_PROGRAM, DROP_TCX_PROGRAM};
use aya::Ebpf;
use aya::programs::links::LinkOrder;
use aya::programs::tc::{SchedClassifierLinkId, TcAttachOptions};
use aya::programs::xdp::XdpLinkId;
use aya::programs::{ProgramError, SchedClassifier, TcAttachType, Xdp, XdpMode};
use rustix::net::{AddressFamily, SocketType};

use super::error::DropError;
use super::holder;
use crate::ebpf::loader::{LoadError, errno_of};
use airlock_config::schema::{Xdp as XdpConfig, XdpMode as ModeChoice};

/// An interface with the program, and the way in which it was attached.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Attached {
    /// The interface.
    pub interface: String,
    /// `native`, `generic`, or `tcx` where another XDP program was there first.
    pub mode: &'static str,
}

/// The configured interfaces, and those that have the program.
#[derive(Debug)]
pub(crate) struct Interfaces {
    wanted: Vec<String>,
    choice: ModeChoice,
    places: BTreeMap<String, InterfaceEntry>,
    /// The message that was logged last on an interface, so that it is logged once.
    troubles: BTreeMap<String, String>,
}

#[derive(Debug)]
struct InterfaceEntry {
    index: u32,
    mode: &'static str,
    link: Link,
}

#[derive(Debug)]
enum Link {
    Xdp(XdpLinkId),
    Tcx(SchedClassifierLinkId),
}

impl Interfaces {
    /// Those of the configuration; nothing is attached yet.
    pub(crate) fn new(config: &XdpConfig) -> Self {
        Self {
            wanted: config.interfaces.clone(),
            choice: config.mode,
            places: BTreeMap::new(),
            troubles: BTreeMap::new(),
        }
    }

    /// Where the program is now, as far as was seen.
    pub(crate) fn attached(&self) -> Vec<Attached> {
        let places = self.places.iter();
        places.map(|(name, place)| Attached { interface: name.clone(), mode: place.mode }).collect()
    }

    /// Attaches where it is wanted and not yet so; gives what does not work and was not said before.
    pub(crate) fn refresh(&mut self, ebpf: &mut Ebpf) -> Vec<DropError> {
        let mut new = Vec::new();
        for name in self.wanted.clone() {
            let index = index(&name);
            if let Some(place) = self.places.get(&name) {
                if Some(place.index) == index {
                    continue;
                }
                tracing::warn!(interface = name, "the interface of the early drop is gone or another one");
                if let Some(place) = self.places.remove(&name) {
                    detach(ebpf, place.link);
                }
            }
            let attached = match index {
                Some(index) => self.attach(ebpf, &name, index),
                None => Err(DropError::Attach {
                    interface: name.clone(),
                    mode: "any",
                    reason: "there is no such interface, and it is waited for".to_owned(),
                    errno: Some(libc::ENODEV),
                }),
            };
            match attached {
                Ok(place) => {
                    tracing::info!(interface = name, mode = place.mode, "early drop attached");
                    self.troubles.remove(&name);
                    self.places.insert(name, place);
                }
                Err(error) => {
                    let said = error.to_string();
                    if self.troubles.get(&name) != Some(&said) {
                        self.troubles.insert(name, said);
                        new.push(error);
                    }
                }
            }
        }
        new
    }

    fn attach(&self, ebpf: &mut Ebpf, name: &str, index: u32) -> Result<InterfaceEntry, DropError> {
        let modes: &[(XdpMode, &'static str)] = match self.choice {
            ModeChoice::Auto => &[(XdpMode::Driver, "native"), (XdpMode::Skb, "generic")],
            ModeChoice::Native => &[(XdpMode::Driver, "native")],
            ModeChoice::Generic => &[(XdpMode::Skb, "generic")],
        };
        let failed = |mode, error: &ProgramError| DropError::Attach {
            interface: name.to_owned(),
            mode,
            reason: error.to_string(),
            errno: errno_of(error),
        };
        let program = xdp(ebpf)?;
        let mut last = None;
        for (mode, shown) in modes.iter().copied() {
            match program.attach_to_if_index(index, mode) {
                Ok(link) => return Ok(InterfaceEntry { index, mode: shown, link: Link::Xdp(link) }),
                Err(error) => {
                    tracing::debug!(interface = name, mode = shown, %error, "XDP mode refused");
                    let is_taken = matches!(errno_of(&error), Some(libc::EBUSY | libc::EEXIST));
                    last = Some(failed(shown, &error));
                    if is_taken {
                        return attach_tcx(ebpf, name, index);
                    }
                }
            }
        }
        Err(last.unwrap_or_else(|| DropError::Load(LoadError::Foreign(DROP_PROGRAM))))
    }
}

/// Behind another XDP program, which keeps its place.
fn attach_tcx(ebpf: &mut Ebpf, name: &str, index: u32) -> Result<InterfaceEntry, DropError> {
    let failed = |error: &ProgramError| DropError::Taken {
        interface: name.to_owned(),
        holder: holder::of(index).unwrap_or_else(|| "which one is not told".to_owned()),
        reason: error.to_string(),
        errno: errno_of(error),
    };
    let program = tcx(ebpf)?;
    if program.fd().is_err() {
        program.load().map_err(|error| failed(&error))?;
    }
    let options = TcAttachOptions::TcxOrder(LinkOrder::first());
    let link =
        program.attach_with_options(name, TcAttachType::Ingress, options).map_err(|error| failed(&error))?;
    Ok(InterfaceEntry { index, mode: "tcx", link: Link::Tcx(link) })
}

/// A link to an interface that is gone is gone with it; what the kernel says to that is no news.
fn detach(ebpf: &mut Ebpf, link: Link) {
    let result = match link {
        Link::Xdp(link) => xdp(ebpf).map(|program| program.detach(link)),
        Link::Tcx(link) => tcx(ebpf).map(|program| program.detach(link)),
    };
    if let Ok(Err(error)) = result {
        tracing::debug!(%error, "an old link of the early drop");
    }
}

/// The XDP program of the loaded object.
pub(crate) fn xdp(ebpf: &mut Ebpf) -> Result<&mut Xdp, LoadError> {
    ebpf.program_mut(DROP_PROGRAM)
        .and_then(|program| program.try_into().ok())
        .ok_or(LoadError::Foreign(DROP_PROGRAM))
}

/// Its twin for TCX, which is in the kernel only once it was needed.
pub(super) fn tcx(ebpf: &mut Ebpf) -> Result<&mut SchedClassifier, LoadError> {
    ebpf.program_mut(DROP_TCX_PROGRAM)
        .and_then(|program| program.try_into().ok())
        .ok_or(LoadError::Foreign(DROP_TCX_PROGRAM))
}

/// True where the calling thread's network namespace has an interface of this name.
pub fn exists(name: &str) -> bool {
    index(name).is_some()
}

/// The number of an interface of the calling thread's network namespace.
fn index(name: &str) -> Option<u32> {
    // Any socket will do to ask on.
    let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::DGRAM, None).ok()?;
    rustix::net::netdevice::name_to_index(socket, name).ok()
}
