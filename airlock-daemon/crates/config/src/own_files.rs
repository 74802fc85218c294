//! The files and directories that are Airlock's own, and no server's to see.

use std::path::{Path, PathBuf};

use super::schema::Config;

/// Where Airlock is at home as a service, whatever its configuration says.
const HOMES: [&str; 3] = ["/etc/airlock", "/var/lib/airlock", "/run/airlock"];

/// The files and directories of this configuration, which was read from `file`: policies, the audit log,
/// keys, secrets and sockets. Not the socket of a server that dials in, which is there to be reached.
pub fn own_files(config: &Config, file: &Path) -> Vec<PathBuf> {
    let mut own: Vec<PathBuf> = HOMES.map(PathBuf::from).to_vec();
    own.extend([file.to_path_buf(), config.policy.path.clone(), config.audit.dir.clone()]);
    own.extend([config.tool_lock_file(), config.stops_file(), config.stop_file()]);
    own.extend(config.server.tls.as_ref().map(|tls| tls.key_file.clone()));
    own.extend(config.server.unix_socket.clone());
    own.extend([&config.dlp.directory, &config.dlp.hash_key_file].into_iter().flatten().cloned());
    own.extend(config.observability.admin_listen.socket().map(Path::to_path_buf));
    // systemd's directory of this service's credentials.
    own.extend(std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from));
    for upstream in &config.upstreams {
        own.extend(upstream.env_from.values().cloned());
        let Some(credential) = &upstream.credential else { continue };
        own.extend(credential.bearer_file.clone());
        own.extend(credential.header.as_ref().map(|header| header.value_file.clone()));
        let clients = [&credential.client_credentials, &credential.token_exchange];
        own.extend(clients.into_iter().flatten().map(|client| client.client_secret_file.clone()));
    }
    // A secret without a slash in its name is a credential of systemd's, which lies in the directory above.
    own.retain(|path| path.is_absolute() || path.components().count() > 1);
    own
}
