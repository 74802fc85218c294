//! The four ways to the same tool.

use std::io::{BufRead as _, BufReader};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use airlock_tests::airlock::{free_address, until};
use airlock_tests::{Airlock, Setup, Upstream, proc, tools};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// One way, with the processes that stand on it.
pub(crate) struct Route {
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) token_file: Option<PathBuf>,
    /// The processes under test.
    pub(crate) own: Vec<u32>,
    /// The server behind them, where it is not their child.
    pub(crate) upstream: Vec<u32>,
    /// Kept alive as long as the route.
    keeper: Keeper,
}

enum Keeper {
    Airlock { airlock: Box<Airlock> },
    Programs { _programs: Vec<Program>, _dir: Option<TempDir> },
}

impl Route {
    /// The servers that the process under test has started.
    pub(crate) fn children(&self) -> Vec<u32> {
        match &self.keeper {
            Keeper::Airlock { airlock } => proc::servers(airlock.pid()),
            Keeper::Programs { .. } => Vec::new(),
        }
    }
}

/// A program that ends with us.
struct Program {
    child: Child,
}

impl Drop for Program {
    fn drop(&mut self) {
        // SIGTERM: nginx's master takes its worker along.
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::TERM);
        }
        let _ = self.child.wait();
    }
}

/// Starts everything. A kind of socket I/O that this host does not have is left out, and said.
pub(crate) fn start() -> Result<Vec<Route>, String> {
    let (echo, address) = echo()?;
    let echo_pid = echo.child.id();
    let mut routes = vec![Route {
        name: "direct".to_owned(),
        url: format!("http://{address}/mcp"),
        token_file: None,
        own: vec![echo_pid],
        upstream: Vec::new(),
        keeper: Keeper::Programs { _programs: vec![echo], _dir: None },
    }];
    match std::env::var_os("AIRLOCK_NGINX") {
        Some(program) => routes.push(nginx(Path::new(&program), address, echo_pid)?),
        None => println!("without nginx: AIRLOCK_NGINX names no program"),
    }
    let lines = tools::built("echo-server").display().to_string();
    let stdio = Upstream::stdio("echo", &[&lines, "--stdio"]).with("isolation", "shared").to_string();
    let http = format!("  - {{name: echo, type: http, url: \"http://{address}/mcp\"}}\n");
    for io in ["io_uring", "epoll"] {
        for (transport, upstream, behind) in [("http", &http, vec![echo_pid]), ("stdio", &stdio, vec![])] {
            match airlock(io, transport, upstream, behind) {
                Ok(route) => routes.push(route),
                Err(error) => println!("without airlock on {io}: {error}"),
            }
        }
    }
    Ok(routes)
}

fn echo() -> Result<(Program, SocketAddr), String> {
    let mut child = Command::new(tools::built("echo-server"))
        .args(["--http", "127.0.0.1:0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("echo-server: {error}"))?;
    let out = child.stdout.take().ok_or("echo-server: no output")?;
    let program = Program { child };
    let mut reader = BufReader::new(out);
    let mut line = String::new();
    reader.read_line(&mut line).map_err(|error| format!("echo-server: {error}"))?;
    let address = line.split("http://").nth(1).and_then(|rest| rest.split('/').next());
    let address = address.and_then(|address| address.parse().ok());
    Ok((program, address.ok_or_else(|| format!("echo-server: {line}"))?))
}

fn nginx(program: &Path, upstream: SocketAddr, upstream_pid: u32) -> Result<Route, String> {
    let dir = tempfile::tempdir().map_err(|error| error.to_string())?;
    let address = free_address().map_err(|error| error.to_string())?;
    let config = dir.path().join("nginx.conf");
    std::fs::write(&config, configuration(address, upstream)).map_err(|error| error.to_string())?;
    let child = Command::new(program)
        .args(["-e", "stderr", "-p"])
        .arg(dir.path())
        .arg("-c")
        .arg(&config)
        .stdin(Stdio::null())
        .spawn()
        .map_err(|error| format!("{}: {error}", program.display()))?;
    let mut program = Program { child };
    let up = until(|| {
        let ended = program.child.try_wait().ok().flatten().is_some();
        (ended || TcpStream::connect(address).is_ok()).then_some(!ended)
    });
    if up != Some(true) {
        return Err("nginx does not start".to_owned());
    }
    let master = program.child.id();
    let own = [vec![master], proc::descendants(master)].concat();
    Ok(Route {
        name: "nginx".to_owned(),
        url: format!("http://{address}/mcp"),
        token_file: None,
        own,
        upstream: vec![upstream_pid],
        keeper: Keeper::Programs { _programs: vec![program], _dir: Some(dir) },
    })
}

/// A plain reverse proxy at its best: one worker, no log, connections kept on both sides, answers held in
/// memory.
fn configuration(address: SocketAddr, upstream: SocketAddr) -> String {
    let user = if tools::is_root() { "user root;" } else { "" };
    format!(
        "{user}
daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr crit;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    upstream echo {{ server {upstream}; keepalive 128; keepalive_requests 1000000000; }}
    server {{
        listen {address};
        keepalive_requests 1000000000;
        location / {{
            proxy_pass http://echo;
            proxy_http_version 1.1;
            proxy_set_header Connection \"\";
            proxy_buffers 80 4k;
        }}
    }}
}}
"
    )
}

fn airlock(io: &str, transport: &str, upstream: &str, behind: Vec<u32>) -> Result<Route, String> {
    let setup = Setup {
        io: io.to_owned(),
        upstreams: upstream.to_owned(),
        // As many workers as nginx has.
        server: "  workers: 1\n".to_owned(),
        log: "warn".to_owned(),
        shipped_policy: true,
        ..Setup::default()
    };
    let airlock =
        setup.try_start().map_err(|failed| failed.log.lines().last().unwrap_or("no reason").to_owned())?;
    let token = airlock.token("olga", "acme", &["mcp.admins"]);
    let token_file = airlock.dir().join("token");
    std::fs::write(&token_file, token).map_err(|error| error.to_string())?;
    Ok(Route {
        name: format!("airlock {io} {transport}"),
        url: format!("http://{}/mcp/echo", airlock.address()),
        token_file: Some(token_file),
        own: vec![airlock.pid()],
        upstream: behind,
        keeper: Keeper::Airlock { airlock: Box::new(airlock) },
    })
}
