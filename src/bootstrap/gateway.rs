//! The way to the new cluster's function gateway: through the front-end's SSH, which is all that a bootstrap needs
//! to reach, with the password that lies in the cluster.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use super::Bootstrap;
use super::cluster::{Api, ClusterError};
use super::run::host_of;
use crate::model::cluster::ClusterSpec;
use crate::remote::{Connection, RemoteError};

/// The recipe that brings it, and the port at which it is unless the document says otherwise.
const RECIPE: &str = "functions";
const PORT: u16 = 30301;

/// The gateway's port on the front-end; none when the cluster is to have no gateway.
pub fn port(spec: &ClusterSpec) -> Option<u16> {
    let recipe = spec.front_end.recipes.iter().find(|recipe| recipe.name == RECIPE)?;
    Some(recipe.parameters.get("node_port").and_then(|text| text.parse().ok()).unwrap_or(PORT))
}

/// An open way.
pub struct Door {
    /// The socket here that leads to it.
    pub socket: PathBuf,
    /// The administrator.
    pub user: String,
    /// And the password.
    pub password: String,
    connection: Connection,
}

impl fmt::Debug for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Door").field("socket", &self.socket).field("user", &self.user).finish_non_exhaustive()
    }
}

impl Door {
    /// Opens it.
    pub async fn open(bootstrap: &Bootstrap) -> Result<Self, ClusterError> {
        let front_end = bootstrap.front_end();
        let limit = Duration::from_secs(bootstrap.boot_timeout);
        let connection = Connection::wait(&host_of(front_end), &bootstrap.access, limit).await?;
        let api = Api { front_end: &connection, address: front_end.address.clone() };
        let (user, password) = api.gateway_password().await?;
        let socket = bootstrap.access.control.join("gateway");
        connection.forward(&socket, &front_end.address, port(&bootstrap.spec).unwrap_or(PORT)).await?;
        Ok(Self { socket, user, password, connection })
    }

    /// Closes it.
    pub async fn close(self) -> Result<(), RemoteError> {
        self.connection.close().await;
        match std::fs::remove_file(&self.socket) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(RemoteError::Local { path: self.socket, source })
            }
            _ => Ok(()),
        }
    }
}
