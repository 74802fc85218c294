//! Mistakes that the types cannot tell: values that do not fit together, and files that are not there.

mod advice;
mod auth;
mod budget;
pub(super) mod checks;
mod credential;
mod dial_in;
mod dlp;
mod files;
mod host;
mod limits;
mod net;
mod server;
mod shares;
mod upstreams;

pub use self::auth::NO_DEVELOPMENT_ISSUER;
pub use self::host::Host;
use super::diagnostics::Issue;
use super::network::Network;
use super::schema::{Config, KernelMode, Rung, Seal};
use super::units::Period;
use super::yaml::tree::Node;

use self::checks::{Checks, Files, at};

/// The longest `audit.wait`: clients give up on their own after about as long.
const MAX_AUDIT_WAIT: Period = Period::secs(60);

/// All mistakes of `config`, which was read from the tree at `root`.
pub(super) fn validate(config: &Config, root: &Node, files: Files) -> Vec<Issue> {
    let mut checks = Checks { root, issues: Vec::new() };
    server::check(config, &mut checks, files);
    auth::check(config, &mut checks, cfg!(development_issuer));
    limits::check(config, &mut checks);
    budget::check(config, &mut checks);
    shares::check(config, &mut checks);
    upstreams::check(config, &mut checks);
    dial_in::check(config, &mut checks);
    dlp::check(config, &mut checks, files);
    hosts(config, &mut checks);
    admin(config, &mut checks);
    kernel(config, &mut checks);
    if let Some(ttl) = config.policy.decision_cache_ttl {
        checks.not_zero(at!["policy", "decision_cache_ttl"], "policy.decision_cache_ttl", ttl);
    }
    if config.audit.wait > MAX_AUDIT_WAIT {
        let message = "`audit.wait` is longer than a minute: clients give up before";
        checks.value(at!["audit", "wait"], message, "at most `60s`", "write how long a request may wait");
    }
    if files == Files::Check {
        policy_path(config, &mut checks);
        files::check(config, &mut checks);
    }
    checks.issues
}

/// Advice on a good `config`: values that are likely to be a mistake, and with `host` also those that do not
/// fit this host.
pub(super) fn advise(config: &Config, root: &Node, host: Option<&Host<'_>>) -> Vec<Issue> {
    let mut checks = Checks { root, issues: Vec::new() };
    advice::check(config, &mut checks);
    if let Some(host) = host {
        host::check(config, host, &mut checks);
    }
    checks.issues
}

/// Names of hosts, which are compared with `Host` without its port.
fn hosts(config: &Config, checks: &mut Checks<'_>) {
    for (section, key, names) in [
        ("server", "hosts", &config.server.hosts),
        ("observability", "metrics_hosts", &config.observability.metrics_hosts),
    ] {
        for (index, name) in names.iter().enumerate() {
            if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)) {
                checks.value(
                    at![section, key, index],
                    format!("`{}` is not the name of a host", name.escape_debug()),
                    "a name without a scheme and a port, such as `airlock.internal.example.com`",
                    "write the name by which clients ask; addresses need not be written",
                );
            }
        }
    }
}

fn admin(config: &Config, checks: &mut Checks<'_>) {
    if config.observability.admin_listen.socket().is_some_and(|path| !path.is_absolute()) {
        checks.value(
            at!["observability", "admin_listen"],
            "the path of the admin socket is relative",
            "an absolute path, such as `/run/airlock/admin.sock`",
            "write the whole path",
        );
    }
}

fn kernel(config: &Config, checks: &mut Checks<'_>) {
    let kernel = &config.kernel;
    if kernel.minimum_rung == Some(Rung::Sealed) && kernel.seal == Seal::Off {
        checks.value(
            at!["kernel", "seal"],
            "no rung `sealed` without a seal",
            "`auto`, `cgroup` or `host`",
            "leave `seal` out, or lower `minimum_rung`",
        );
    }
    if kernel.mode == KernelMode::Off && kernel.minimum_rung.is_some() && checks.known(at!["kernel", "mode"])
    {
        checks.key(
            at!["kernel", "minimum_rung"],
            "a minimum rung is asked for, but `kernel.mode` is `off`, so no rung is reached",
            "`kernel.mode: required` with a minimum rung",
            "remove `minimum_rung`, or change `kernel.mode`",
        );
    }
    if kernel.bpffs.as_ref().is_some_and(|dir| !dir.is_absolute()) {
        checks.value(
            at!["kernel", "bpffs"],
            "the directory of the pins is not an absolute path",
            "a directory on a bpffs, such as `/sys/fs/bpf/airlock`",
            "write the whole path",
        );
    }
    if kernel.mode == KernelMode::Off
        && !kernel.xdp.interfaces.is_empty()
        && checks.known(at!["kernel", "mode"])
    {
        checks.key(
            at!["kernel", "xdp", "interfaces"],
            "packets are to be dropped early, but `kernel.mode` is `off`, so nothing is loaded",
            "`kernel.mode: required` or `preferred` with interfaces",
            "remove `interfaces`, or change `kernel.mode`",
        );
    }
    for (index, name) in kernel.xdp.interfaces.iter().enumerate() {
        if !net::is_interface_name(name) {
            checks.value(
                at!["kernel", "xdp", "interfaces", index],
                format!("`{}` is not the name of a network interface", name.escape_debug()),
                "1 to 15 characters without `/`, `:` and spaces, such as `eth0`",
                "write a name that `ip link` shows",
            );
        }
    }
    for (index, cidr) in kernel.xdp.allow.iter().enumerate() {
        if let Err(reason) = net::check_cidr(cidr) {
            checks.value(
                at!["kernel", "xdp", "allow", index],
                format!("`{}` is not a network: {reason}", cidr.escape_debug()),
                "an address, a slash and the length of the prefix, such as `192.0.2.0/24` or `2001:db8::/32`",
                "for one address write `/32` (IPv4) or `/128` (IPv6) behind it",
            );
        } else if cidr.parse::<Network>().is_ok_and(|network| network.is_everybody()) {
            checks.value(
                at!["kernel", "xdp", "allow", index],
                format!("`{cidr}` exempts everybody, so nobody could ever be blocked or dropped"),
                "the networks that must never be blocked, such as those of your monitoring",
                "write those networks alone; to drop nothing, leave `interfaces` and `rate_limiting.kernel_drop` out",
            );
        }
    }
}

fn policy_path(config: &Config, checks: &mut Checks<'_>) {
    let path = &config.policy.path;
    let Err(reason) = std::fs::read_dir(path) else { return };
    let default = if checks.line(at!["policy", "path"]).is_some() { "" } else { " (the default)" };
    checks.value(
        at!["policy", "path"],
        format!("the policy directory `{}`{default} cannot be read: {reason}", path.display()),
        "a directory with `.rego` files, which the user that runs Airlock may read",
        "create it, or write where the policy is in `policy.path`",
    );
}
