//! For tests: a server over TLS.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

/// A server of HTTP over TLS with a certificate for `localhost`; its threads end with the test's process.
pub(crate) struct TlsServer {
    pub(crate) port: u16,
    certificate: CertificateDer<'static>,
}

impl TlsServer {
    /// Listens on a free port of the loopback. Every answer is the number of its connection, from 0.
    pub(crate) fn start() -> Self {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let certificate = params.self_signed(&key).expect("signed").der().clone();
        let key = PrivateKeyDer::try_from(key.serialize_der()).expect("a key");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .expect("a pair");
        let config = Arc::new(config);
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
                // Clients that do not trust it hang up in the handshake.
                std::thread::spawn(move || serve(StreamOwned::new(session, stream), number));
            }
        });
        Self { port, certificate }
    }

    /// The authorities of a client that trusts it.
    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a root");
        roots
    }
}

/// Answers requests without a body.
fn serve(mut stream: StreamOwned<ServerConnection, TcpStream>, number: usize) -> io::Result<()> {
    let (mut request, mut buffer) = (Vec::new(), [0; 1024]);
    let body = number.to_string();
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        request.extend_from_slice(&buffer[..count]);
        if request.ends_with(b"\r\n\r\n") {
            request.clear();
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())?;
            stream.flush()?;
        }
    }
}
