//! A slice's units outlive the daemon: nothing of what is refused to them is let through from its death to
//! their own.

use std::fs;
use std::sync::Arc;

use airlock::config::schema::{Kernel, KernelMode, Rung, Seal};
use airlock::kernel::{KernelError, KernelHalf, PinsError};

use crate::attack::{Attack, IP, SEALED};
use crate::place::{Names, Place, layer, lives, place};
use crate::support::{self, Slice};

fn with_slice(place: &Place, slice: &Slice) -> Kernel {
    Kernel { slice: Some(slice.name.clone()), ..place.config() }
}

/// True where a process in the slice may have a socket of IP, which every rung refuses.
fn is_free(slice: &Slice) -> bool {
    support::probe_slice(slice, &[slice.dir.join("nothing").display().to_string()])["inet"] == "0"
}

/// The daemon is killed; the next one takes over and ends with an error; the one after that takes over and is
/// stopped. Somebody in the slice tries to get out all the time, and it does only after the last.
fn never_open(place: &Place, slice: &Slice, seal: Seal) {
    let config = Kernel { seal, ..with_slice(place, slice) };
    assert!(is_free(slice), "without programs there is something to refuse");
    place.dead_daemon_with(&config);
    let pinned = place.pins().iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" ");
    let seals = |prefix: &str| pinned.contains(&format!("{prefix}unix_may_send-link"));
    let sealed = match seal {
        Seal::Cgroup => seals("cage_"),
        Seal::Host => seals("host_"),
        Seal::Auto => seals("cage_") || seals("host_"),
        Seal::Off => false,
    };
    assert!(sealed || seal == Seal::Auto, "{seal:?}: {pinned}");
    let mut attack = Attack::start(&place.dir, slice, if sealed { SEALED } else { IP });
    // systemd may remove the cgroups of servers, or be on its way.
    place.kill_servers();
    attack.goes_on();
    let take_over = |attack: &mut Attack| {
        let half = place.start_with(&config).expect("preferred always starts");
        let (active, detail) = layer(&half, "slice");
        assert!(active && detail.contains("taken over from a daemon that died"), "{detail}");
        let rung = half.cage().slice().expect("configured").expect("attached").rung();
        assert_eq!(rung, if sealed { Rung::Sealed } else { Rung::NoIp }, "{detail}");
        attack.goes_on();
        half
    };
    // Whatever it ends with, nobody has asked for it.
    drop(take_over(&mut attack));
    attack.goes_on();
    assert!(Names::of_slice(place).set.exists() && Names::of(place).set.exists());
    let half = take_over(&mut attack);
    let got = attack.end();
    assert!(got.is_empty(), "{seal:?}: it got out by {got:?}");
    half.end();
    assert!(place.is_clean(), "an orderly end leaves nothing");
    drop(half);
    assert!(is_free(slice));
}

#[test]
fn a_slice_is_never_open_between_daemons() {
    let Some(place) = place() else { return };
    let Some(slice) = support::slice() else { return };
    if std::env::var_os("AIRLOCK_GUEST").is_some() {
        never_open(&place, &slice, Seal::Cgroup);
        never_open(&place, &slice, Seal::Host);
    } else {
        never_open(&place, &slice, Seal::Auto);
    }
}

/// Leftovers of an earlier daemon on a slice, and what the next one makes of them.
#[test]
fn leftovers_of_a_slice() {
    if std::env::var_os("AIRLOCK_GUEST").is_some() {
        // Which directories are there does not depend on the kernel, and each start takes its time there.
        return support::note("left to the host");
    }
    let Some(place) = place() else { return };
    let Some(slice) = support::slice() else { return };
    of_another_version(&place, &slice);
    of_a_slice_that_is_not_configured_any_more(&place, &slice);
    of_one_that_could_do_more(&place, &slice);
    of_one_with_another_bpffs(&place, &slice);
    of_one_that_is_switched_off(&place, &slice);
    a_doctor_touches_nothing(&place, &slice);
}

/// The slice lives on when its programs are of another version, so they are replaced.
fn of_another_version(place: &Place, slice: &Slice) {
    place.dead_daemon_with(&with_slice(place, slice));
    let set = Names::of_slice(place).set;
    fs::rename(set.join("connect4-link"), set.join("older-link")).expect("another name");
    fs::remove_file(set.join("connect6-prog")).expect("one that is missing");
    let half = place.start_with(&with_slice(place, slice)).expect("preferred always starts");
    let (active, detail) = layer(&half, "slice");
    assert!(active && detail.contains("taken over from a daemon that died"), "{detail}");
    assert!(set.join("connect4-link").exists() && !set.join("older-link").exists());
    until_alone(&half);
    half.end();
    assert!(place.is_clean());
}

/// The kernel lets go of links a little later than of their names.
fn until_alone(half: &KernelHalf) {
    while half.cage().slice().expect("configured").expect("attached").is_alone().is_err() {
        std::thread::yield_now();
    }
}

fn of_a_slice_that_is_not_configured_any_more(place: &Place, slice: &Slice) {
    place.dead_daemon_with(&with_slice(place, slice));
    place.kill_servers();
    assert!(!is_free(slice));
    let half = place.start(KernelMode::Required).expect("taken over");
    assert!(is_free(slice));
    drop(half);
    assert!(place.is_clean());
}

/// This host may take no programs that seal, so the set is made to look as if the one before had had one.
fn of_one_that_could_do_more(place: &Place, slice: &Slice) {
    place.dead_daemon_with(&with_slice(place, slice));
    place.remove_servers();
    let set = Names::of_slice(place).set;
    let sealing = "cage_unix_may_send-link";
    if set.join(sealing).exists() {
        return support::note("this host seals: not tried with a daemon that can do less");
    }
    fs::hard_link(set.join("connect4-link"), set.join(sealing)).expect("another name");
    let before = place.pins();
    let config = with_slice(place, slice);
    let error =
        place.start_with(&Kernel { mode: KernelMode::Required, ..config.clone() }).expect_err("refused");
    let text = error.to_string();
    assert!(matches!(error, KernelError::Pins(PinsError::Stronger { .. })), "{text}");
    assert!(text.contains("could not attach unix_may_send"), "{text}");
    assert!(text.contains(&format!("rm -r {} {}", set.display(), Names::of(place).set.display())), "{text}");
    let half = place.start_with(&config).expect("preferred always starts");
    let (active, detail) = layer(&half, "slice");
    assert!(active && detail.contains("stay on the slice, and shut its doors"), "{detail}");
    let alarm = half.cage().slice().expect("configured").expect("attached").is_alone().expect_err("two sets");
    assert!(alarm.contains("besides Airlock's own, 1 refuse") && alarm.contains("rm -r"), "{alarm}");
    drop(half);
    assert_eq!(place.pins(), before, "what holds them is not touched");
    // Nor by one that cannot attach anything to the slice: 64 programs find room at a place.
    let crowd = fill(slice);
    let half = place.start_with(&config).expect("preferred always starts");
    let (active, detail) = layer(&half, "slice");
    assert!(!active && detail.contains("is not pinned"), "{detail}");
    assert!(!layer(&half, "pins").0, "{}", half.report());
    drop(half);
    drop(crowd);
    // It may be given up by who says so.
    let half = place.start_with(&Kernel { seal: Seal::Off, ..config }).expect("preferred always starts");
    assert!(!set.join(sealing).exists());
    half.end();
    assert!(place.is_clean());
}

/// So many daemons with this slice that the kernel takes no more programs on it.
fn fill(slice: &Slice) -> Vec<Arc<KernelHalf>> {
    let config = Kernel {
        mode: KernelMode::Preferred,
        slice: Some(slice.name.clone()),
        seal: Seal::Off,
        ..Kernel::default()
    };
    let mut crowd = Vec::new();
    loop {
        let half = KernelHalf::start(&config).expect("preferred always starts");
        if half.cage().slice().expect("configured").is_err() {
            return crowd;
        }
        crowd.push(half);
        assert!(crowd.len() < 64, "a kernel has room for 64");
    }
}

/// Nobody finds them there, but what they do is seen.
fn of_one_with_another_bpffs(place: &Place, slice: &Slice) {
    place.dead_daemon_with(&with_slice(place, slice));
    place.remove_servers();
    let elsewhere = place.bpffs.join("elsewhere");
    fs::rename(Names::of_slice(place).set, &elsewhere).expect("another directory");
    let half = place.start_with(&with_slice(place, slice)).expect("preferred always starts");
    let alarm = half.cage().slice().expect("configured").expect("attached").is_alone().expect_err("two sets");
    assert!(alarm.contains("besides Airlock's own, 1 refuse") && alarm.contains("_slice"), "{alarm}");
    fs::remove_dir_all(&elsewhere).expect("as the message says");
    until_alone(&half);
    half.end();
    drop(half);
    assert!(place.is_clean());
}

fn of_one_that_is_switched_off(place: &Place, slice: &Slice) {
    let server = place.dead_daemon_with(&with_slice(place, slice));
    assert!(!is_free(slice));
    place.start(KernelMode::Off).expect("nothing can fail");
    assert!(place.is_clean() && is_free(slice));
    assert!(!lives(server), "nobody is let go");
}

/// Also where it is run in the cgroup of the service, as `ExecStartPre=` would.
fn a_doctor_touches_nothing(place: &Place, slice: &Slice) {
    let config = with_slice(place, slice);
    let (mut daemon, server) = place.daemon_with(&config);
    let before = place.pins();
    place.service.enter();
    let half = KernelHalf::try_out(&config);
    place.service.leave();
    let (active, detail) = layer(&half, "cgroups");
    assert!(active && detail.contains("delegated by systemd"), "{detail}");
    assert!(layer(&half, "pins").0 && half.report().rung.is_some(), "{}", half.report());
    drop(half);
    assert_eq!(place.pins(), before);
    let inner = fs::read_dir(&place.service.dir).expect("cgroups").flatten();
    let inner = inner.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())).count();
    assert_eq!(inner, 3, "daemon, servers and unpinned");
    assert!(lives(server), "its server runs");
    assert!(place.service.dir.join("servers").exists());
    daemon.kill().expect("kill -9");
    daemon.wait().expect("its end");
    place.start(KernelMode::Off).expect("nothing can fail");
    assert!(place.is_clean());
}
