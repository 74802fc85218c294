//! Admission to the socket: processes of one user, of one unit where the configuration names it, in the slice
//! that is pinned.

use std::io;
use std::sync::Arc;

use crate::config::schema::{self, UpstreamKind};
use crate::kernel::{KernelHalf, Peer, is_of_unit, user_id};

/// The rule of who is let in on one socket.
pub(super) struct Admission {
    /// The user's name; its number is asked for each time, since users of units (`DynamicUser=`) come and go.
    pub(super) user: String,
    /// Other servers that dial in, whose users must not be this one by another name.
    pub(super) rivals: Vec<Rival>,
    /// The unit of which it has to be a process; any where there is none.
    pub(super) unit: Option<String>,
    /// True where the process has to be pinned.
    pub(super) is_pinned: bool,
    pub(super) kernel: Arc<KernelHalf>,
}

/// Another server that dials in and that no unit tells apart from this one.
pub(super) struct Rival {
    upstream: String,
    user: String,
}

impl Rival {
    /// Those of one upstream. One of the same user's name is refused with the configuration.
    pub(super) fn all(of: &schema::Upstream, config: &schema::Config) -> Vec<Self> {
        let others = config.upstreams.iter().filter(|other| {
            other.kind == UpstreamKind::DialIn && other.name != of.name && !other.is_of_another_unit(of)
        });
        let rival =
            |other: &schema::Upstream| Some(Self { upstream: other.name.clone(), user: other.user.clone()? });
        others.filter_map(rival).collect()
    }
}

impl Admission {
    /// Sees to it that no other server's user has the same number: each of the two could serve the other's
    /// calls.
    ///
    /// # Errors
    /// Whose it is as well, or that it cannot be known, as a sentence with its remedy.
    pub(super) fn is_nobody_elses(
        &self,
        uid: u32,
        look_up: impl Fn(&str) -> io::Result<Option<u32>>,
    ) -> Result<(), String> {
        for Rival { upstream, user } in &self.rivals {
            let other = look_up(user);
            let other = other.map_err(|error| format!("the user `{user}` cannot be looked up: {error}"))?;
            if other == Some(uid) {
                return Err(format!(
                    "its user `{}` and `{user}`, which is that of the upstream `{upstream}`, are one user (uid \
                     {uid}), so each of the two servers could serve the other's calls; give each a `User=` of its \
                     own, or write `unit: NAME.service` beside both",
                    self.user
                ));
            }
        }
        Ok(())
    }

    /// The same before anybody dials in, as far as the users are there already.
    ///
    /// # Errors
    /// As [`Admission::is_nobody_elses`].
    pub(super) fn is_told_apart(&self) -> Result<(), String> {
        let uid = user_id(&self.user).ok().flatten();
        let of_users_now = |user: &str| Ok(user_id(user).ok().flatten());
        uid.map_or(Ok(()), |uid| self.is_nobody_elses(uid, of_users_now))
    }

    /// Judges a process by what the kernel noted when it connected. Asks the name service, which may take its
    /// time.
    ///
    /// # Errors
    /// Why it is not let in, as a sentence with its remedy.
    pub(super) fn judge(&self, peer: &Peer) -> Result<(), String> {
        let user = &self.user;
        match user_id(user) {
            Ok(Some(uid)) if uid == peer.uid() => self.is_nobody_elses(uid, user_id)?,
            Ok(Some(uid)) => {
                return Err(format!(
                    "its user is not `{user}` (uid {uid}); correct `user` or the unit's User="
                ));
            }
            Ok(None) => return Err(format!("there is no user `{user}`; create it or correct `user`")),
            Err(error) => return Err(format!("the user `{user}` cannot be looked up: {error}")),
        }
        // Nothing is pinned where there is no slice (`kernel.mode: off`), which the log and `airlock status`
        // say.
        if let Some(slice) = self.kernel.cage().slice().filter(|_| self.is_pinned) {
            slice.as_ref().map_err(ToString::to_string)?.holds(peer)?;
        }
        self.unit.as_deref().map_or(Ok(()), |unit| is_of_unit(peer, unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::KernelMode;

    #[test]
    fn one_user_by_two_names_is_let_in_for_neither() {
        let config = |units: [&str; 2]| {
            let one = |name: &str, user: &str, unit: &str| {
                format!("  - {{name: {name}, type: dial_in, user: {user}{unit}}}\n")
            };
            let upstreams = one("notes", "root", units[0]) + &one("wiki", "toor", units[1]);
            let yaml = format!("kernel: {{mode: off}}\nupstreams:\n{upstreams}");
            serde_saphyr::from_str::<schema::Config>(&yaml).expect("a configuration")
        };
        let admission = |config: &schema::Config| {
            let kernel = KernelHalf::start(&config.kernel).expect("nothing to start");
            let rivals = Rival::all(&config.upstreams[0], config);
            Admission { user: "root".to_owned(), rivals, unit: None, is_pinned: false, kernel }
        };
        let both = config(["", ""]);
        assert_eq!(both.kernel.mode, KernelMode::Off);
        let known = |user: &str| Ok((user == "toor").then_some(0));
        let told = admission(&both).is_nobody_elses(0, known).expect_err("one user");
        assert!(told.contains("`toor`, which is that of the upstream `wiki`"), "{told}");
        assert_eq!(admission(&both).is_nobody_elses(7, known), Ok(()));
        assert_eq!(admission(&both).is_nobody_elses(0, |_| Ok(None)), Ok(()), "it is not there");
        let failing = |_: &str| Err(io::Error::other("no word"));
        assert!(admission(&both).is_nobody_elses(0, failing).is_err(), "it may be the same");
        let apart = config([", unit: a.service", ", unit: b.service"]);
        assert_eq!(admission(&apart).is_nobody_elses(0, known), Ok(()), "units tell them apart");
    }
}
