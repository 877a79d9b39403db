//! Forwarding: a service that the host reaches, reached from here through the same connection. Its near end is a
//! socket in a folder of ours, so that nobody else on this computer can use it.

use std::path::Path;

use openssh::{ForwardType, Socket};

use super::{Connection, RemoteError, chain};

impl Connection {
    /// Opens the socket `near`, and leads it to `address`:`port` as the host sees them, while the connection lasts.
    pub async fn forward(&self, near: &Path, address: &str, port: u16) -> Result<(), RemoteError> {
        match std::fs::remove_file(near) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(RemoteError::Local { path: near.to_owned(), source });
            }
            _ => {}
        }
        let far = Socket::TcpSocket { host: address.into(), port };
        self.session.request_port_forward(ForwardType::Local, near, far).await.map_err(|error| RemoteError::Broken {
            host: self.host.name.clone(),
            reason: format!("no way to port {port} of {address} (sshd's AllowTcpForwarding?): {}", chain(&error)),
        })
    }
}
