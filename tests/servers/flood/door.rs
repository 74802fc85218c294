//! A daemon behind a network device, with an identity provider that its clients cannot reach.

use std::net::SocketAddr;

use airlock_tests::airlock::{Failed, run};
use airlock_tests::net::{self, CLIENTS, DOOR, Net};
use airlock_tests::{Airlock, Setup, Upstream, tools};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::cores::{Cores, stay_on};

/// The address of who asks decently.
pub(crate) const HONEST: std::net::IpAddr = CLIENTS[0];
/// The address that is blocked.
pub(crate) const OFFENDER: std::net::IpAddr = CLIENTS[1];

/// One door. Its parts end in this order.
pub(crate) struct Door {
    /// The offender's fate here.
    pub(crate) name: &'static str,
    pub(crate) airlock: Airlock,
    _issuer: Airlock,
    folder: tempfile::TempDir,
    pub(crate) net: Net,
    pub(crate) token: String,
}

impl Door {
    /// Opens it and blocks the offender.
    pub(crate) fn open(name: &'static str, early_drop: bool, cores: &Cores) -> Result<Self, String> {
        let net = net::create()?;
        cores.steer(&net)?;
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        // A door to the network does not believe a development issuer of its own; that of a daemon on
        // loopback is to it like any other provider.
        let issuer = Setup { upstreams: String::new(), log: "warn".to_owned(), ..Setup::default() };
        let issuer = on_host(&net, cores, || issuer.try_start().map_err(|failed| told(&failed)))??;
        let token = net.inside(0, || issuer.token("olga", "acme", &["mcp.admins"]));
        let setup = setup(&token, early_drop, &socket(&folder))?;
        let airlock = on_host(&net, cores, || setup.try_start().map_err(|failed| told(&failed)))??;
        let door = Self { name, airlock, _issuer: issuer, folder, net, token };
        door.command(&["add", &OFFENDER.to_string(), "--for", "24h", "--reason", "a flood"])?;
        let drops = door.block()?["dropped_on"] == serde_json::json!(["door"]);
        if drops == early_drop {
            return Ok(door);
        }
        Err(format!("`{name}`: the kernel drops the offender's packets: {drops}\n{}", door.airlock.log()))
    }

    /// Where clients find it.
    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::new(DOOR, self.airlock.address().port())
    }

    /// Packets of the offender that the kernel dropped so far.
    pub(crate) fn dropped(&self) -> Result<u64, String> {
        self.block()?["packets"].as_u64().ok_or_else(|| "a block without a count".to_owned())
    }

    /// Packets of anybody that arrived so far.
    pub(crate) fn arrived(&self) -> Result<u64, String> {
        let text = self.net.shell(0, "cat /sys/class/net/door/statistics/rx_packets")?;
        text.trim().parse().map_err(|_| format!("no number of packets: {text}"))
    }

    /// The offender's block, as the daemon lists it.
    fn block(&self) -> Result<Value, String> {
        let said = self.command(&["list", "--json"])?;
        let listed: Value = serde_json::from_str(&said).map_err(|error| format!("{error}: {said}"))?;
        Ok(listed["blocks"][0].clone())
    }

    fn command(&self, args: &[&str]) -> Result<String, String> {
        let (done, said, errors) = run(&[&["block"], args, &["--socket", &socket(&self.folder)]].concat());
        if done { Ok(said) } else { Err(format!("airlock block: {errors}")) }
    }
}

fn socket(folder: &tempfile::TempDir) -> String {
    folder.path().join("admin.sock").display().to_string()
}

/// Starts something in the host's namespace and on its core.
fn on_host<T: Send>(net: &Net, cores: &Cores, start: impl FnOnce() -> T + Send) -> Result<T, String> {
    net.inside(0, || stay_on(cores.host).map(|()| start()))
}

fn told(failed: &Failed) -> String {
    format!("airlock does not start:\n{}", failed.log)
}

/// A daemon as in the other rows of the bench, which trusts whoever made the token.
fn setup(token: &str, early_drop: bool, socket: &str) -> Result<Setup, String> {
    let claims = token.split('.').nth(1).and_then(|claims| URL_SAFE_NO_PAD.decode(claims).ok());
    let claims: Value = serde_json::from_slice(&claims.ok_or("a token without claims")?)
        .map_err(|error| format!("the claims of a token: {error}"))?;
    let echo = tools::built("echo-server").display().to_string();
    let issuer = json!({"issuer": claims["iss"], "audience": [claims["aud"]], "algorithms": ["EdDSA"],
        "claims": {"tenant": "tenant", "groups": "groups"}});
    let interfaces = if early_drop { "door" } else { "" };
    let setup = Setup {
        listen: vec![format!("{DOOR}:0")],
        upstreams: Upstream::stdio("echo", &[&echo, "--stdio"]).with("isolation", "shared").to_string(),
        log: "warn".to_owned(),
        shipped_policy: true,
        // Generic: it runs where a packet is received, which is the host's core; native, a veth device's runs
        // where it is sent.
        more: format!("  xdp: {{interfaces: [{interfaces}], mode: generic}}\n"),
        ..Setup::default()
    };
    let setup =
        setup.issuers([issuer]).server("workers", 1).server("public_url", "https://airlock.example.com");
    Ok(setup.observability("admin_listen", socket))
}
