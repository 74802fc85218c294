//! Servers that connect to us: a socket for each, who may come in, and those that wait to be used.
//!
//! Each connection counts as a process of its own. It is used once, by whoever a process would be started
//! for: a session, a principal, or all. When that one ends, the connection is closed, and the server dials in
//! again.

mod admission;
mod lent;
mod refusals;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rustix::net::{RecvFlags, recv};
use tokio::sync::watch;

use crate::audit::AuditLog;
use crate::config::schema::{self, PinNetwork, PinSocket, UpstreamKind};
use crate::config::units::FileMode;
use crate::kernel::{Door, KernelError, KernelHalf, Peer};
use crate::runtime::backend::Backend;
use crate::runtime::listen_error::ListenError;
use crate::runtime::unix_socket::{self, SocketFile};

use super::handle::Link;
use super::link::{Parts, PipeLink, hang_up};
use crate::upstream::error::UpstreamError;
use crate::upstream::hub::Hub;
use admission::{Admission, Rival};
use lent::{Lent, Reclaimed};
use refusals::Refusals;

/// Most connections of one server that wait to be used.
const MAX_WAITING: usize = 64;

/// The sockets of all servers that dial in, by the names of their upstreams.
pub type DialIns = BTreeMap<String, Arc<DialIn>>;

/// Where one server dials in.
pub struct DialIn {
    upstream: Arc<str>,
    path: PathBuf,
    listener: UnixListener,
    _file: SocketFile,
    /// The grant that lets the units of a sealed slice connect, whether this server has to be one of them or
    /// not.
    _door: Option<Door>,
    /// The grant that lets them print to the journal; all servers share it.
    _journal: Arc<[Door]>,
    admission: Admission,
    waiting: Mutex<VecDeque<UnixStream>>,
    lent: Lent,
    /// How many have come so far.
    arrived: watch::Sender<u64>,
}

/// Opens the sockets of all servers that dial in. To be called while the process has one thread.
///
/// # Errors
/// [`DialInError`], with the remedy.
pub fn open_all(config: &schema::Config, kernel: &Arc<KernelHalf>) -> Result<DialIns, DialInError> {
    let dial_ins = || config.upstreams.iter().filter(|upstream| upstream.kind == UpstreamKind::DialIn);
    let prints = dial_ins().any(|upstream| upstream.pin.sockets.contains(&PinSocket::Journal));
    let journal: Arc<[Door]> =
        if prints { kernel.cage().open_doors_to_journal()?.into() } else { Arc::default() };
    dial_ins()
        .map(|upstream| {
            let dial_in = DialIn::open(upstream, config, kernel, Arc::clone(&journal))?;
            Ok((upstream.name.clone(), Arc::new(dial_in)))
        })
        .collect()
}

/// Why a server has nowhere to dial in.
#[derive(Debug, thiserror::Error)]
pub enum DialInError {
    /// The socket.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// The door to it.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Its user is that of another server that dials in.
    #[error("upstream `{upstream}`: {told}")]
    NotApart {
        /// The upstream's name.
        upstream: String,
        /// Whose user it is as well, with the remedy.
        told: String,
    },
}

impl DialIn {
    fn open(
        upstream: &schema::Upstream,
        config: &schema::Config,
        kernel: &Arc<KernelHalf>,
        journal: Arc<[Door]>,
    ) -> Result<Self, DialInError> {
        let admission = Admission {
            user: upstream.user.clone().unwrap_or_default(),
            rivals: Rival::all(upstream, config),
            unit: upstream.unit.clone(),
            is_pinned: upstream.pin.network == PinNetwork::None,
            kernel: Arc::clone(kernel),
        };
        let refused = |told| DialInError::NotApart { upstream: upstream.name.clone(), told };
        admission.is_told_apart().map_err(refused)?;
        let path = upstream.dial_in_socket();
        // Everybody may knock: who is let in is decided by what the kernel says of the process, not by the
        // file's mode.
        let (listener, file) = unix_socket::open(&path, FileMode(0o666), "socket")?;
        let door = kernel.cage().open_door(&listener)?;
        Ok(Self {
            upstream: upstream.name.as_str().into(),
            path,
            listener,
            _file: file,
            _door: door,
            _journal: journal,
            admission,
            waiting: Mutex::default(),
            lent: Lent::new(upstream.yield_after().0),
            arrived: watch::Sender::new(0),
        })
    }

    /// Where it listens.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<UnixStream>> {
        // A panic while it was held leaves a whole queue: every change to it is one call.
        self.waiting.lock()
    }

    /// True where a server waits to be used.
    pub fn is_waited_at(&self) -> bool {
        let mut waiting = self.waiting();
        waiting.retain(is_open);
        !waiting.is_empty()
    }

    /// The arrivals from now on, for those who wait for one.
    pub fn arrivals(&self) -> watch::Receiver<u64> {
        self.arrived.subscribe()
    }

    /// The connection that has waited longest; waits for one at most `limit`. Where none comes, one that
    /// stands idle is given up, so that its server dials in again.
    async fn take(&self, limit: Duration) -> Result<UnixStream, UpstreamError> {
        let next = async {
            let mut arrivals = self.arrived.subscribe();
            // A server that is about to dial in comes by itself.
            let mut patience = Some(limit / 4);
            loop {
                {
                    let mut waiting = self.waiting();
                    while let Some(stream) = waiting.pop_front() {
                        if is_open(&stream) {
                            return stream;
                        }
                    }
                }
                // The sender lives as long as `self`.
                let arrival = arrivals.changed();
                let is_over = match patience {
                    Some(patience) => tokio::time::timeout(patience, arrival).await.is_err(),
                    None => arrival.await.is_err(),
                };
                if is_over {
                    // One for each who waits.
                    patience = match self.lent.reclaim() {
                        Reclaimed::NoneBefore(left) => Some(left),
                        Reclaimed::One => {
                            tracing::info!(upstream = %self.upstream,
                                "a connection that stands idle is given up for a caller who has none");
                            None
                        }
                        Reclaimed::Nothing => None,
                    };
                }
            }
        };
        tokio::time::timeout(limit, next).await.map_err(|_| self.absent())
    }

    /// The error for a server that is not there.
    pub fn absent(&self) -> UpstreamError {
        UpstreamError::Absent { upstream: self.upstream.to_string(), place: self.path.display().to_string() }
    }

    /// Lets servers in until the process ends; run it on the control thread.
    ///
    /// # Errors
    /// When the listener cannot be used.
    pub async fn serve(self: Arc<Self>, audit: AuditLog) -> io::Result<()> {
        /// How long nothing is accepted where the process has no descriptor left.
        const PAUSE: Duration = Duration::from_millis(100);
        let listener = tokio::net::UnixListener::from_std(self.listener.try_clone()?)?;
        let mut refusals = Refusals::new(Arc::clone(&self.upstream), audit);
        loop {
            let accepted = listener.accept().await.and_then(|(stream, _)| stream.into_std());
            let stream = match accepted {
                Ok(stream) => stream,
                Err(error) => {
                    tracing::warn!(upstream = %self.upstream, %error, "a server that dials in cannot be accepted");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            let peer = match Peer::of(&stream) {
                Ok(peer) => peer,
                Err(error) => {
                    refusals
                        .refuse("an unknown process", &format!("it has ended, or cannot be held: {error}"));
                    continue;
                }
            };
            let this = Arc::clone(&self);
            // In a thread of its own, since the name service may take its time. One at a time is enough:
            // whoever knocks often waits for itself.
            let judged = tokio::task::spawn_blocking(move || (this.admission.judge(&peer), peer.describe()));
            match judged.await {
                Ok((Ok(()), who)) => {
                    if self.keep(stream) {
                        tracing::info!(upstream = %self.upstream, who, "a server has dialled in");
                    } else {
                        refusals.refuse(&who, &format!("{MAX_WAITING} of its connections wait already"));
                    }
                }
                Ok((Err(reason), who)) => refusals.refuse(&who, &reason),
                Err(error) => refusals.refuse("an unknown process", &error.to_string()),
            }
        }
    }

    /// Puts a connection among those that wait; false when there are too many.
    fn keep(&self, stream: UnixStream) -> bool {
        let mut waiting = self.waiting();
        waiting.retain(is_open);
        if waiting.len() >= MAX_WAITING {
            return false;
        }
        waiting.push_back(stream);
        drop(waiting);
        self.arrived.send_modify(|count| *count = count.wrapping_add(1));
        true
    }

    /// A link over a connection that waits, or comes within `wait`.
    ///
    /// # Errors
    /// [`UpstreamError::Absent`] when none does.
    pub(in crate::upstream) async fn link(
        &self,
        backend: Backend,
        limits: (Duration, usize),
        idle: Option<Duration>,
        hub: &Arc<Hub>,
        counted: impl Send + 'static,
    ) -> Result<Link, UpstreamError> {
        let (wait, limit) = limits;
        let stream = self.take(wait).await?;
        let set_up = stream.try_clone().and_then(|handle| Ok((backend.unix(stream)?, handle)));
        let (stream, handle) = set_up.map_err(|error| UpstreamError::Unreachable {
            upstream: self.upstream.to_string(),
            place: self.path.display().to_string(),
            detail: error.to_string(),
        })?;
        let link = PipeLink::start(Parts {
            upstream: Arc::clone(&self.upstream),
            stream,
            limit,
            idle,
            hub: Arc::clone(hub),
            end: hang_up(handle, counted),
        });
        self.lent.add(link.lease());
        Ok(Link::Pipe(link))
    }
}

/// True where the other end still holds the connection; what it may have said already is left in it.
fn is_open(stream: &UnixStream) -> bool {
    let mut byte = [0_u8; 1];
    match recv(stream.as_fd(), &mut byte[..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((_, 0)) => false,
        Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => true,
        Err(_) => false,
    }
}
