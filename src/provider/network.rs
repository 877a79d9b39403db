//! The network as a witness: whether a machine answers at its address. A refused connection is an answer too, for
//! only a running kernel refuses. Silence alone proves nothing; beside a controller that says off it does.

use std::time::Duration;

use tokio::net::TcpStream;

use super::process;

/// An answer on a local network takes a millisecond.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How a machine answered, if it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signs {
    /// It answers ping.
    pub ping: bool,
    /// Something accepts connections at its SSH port.
    pub ssh: bool,
    /// Its kernel refused a connection to that port.
    pub refused: bool,
}

impl Signs {
    /// How it answered, in words; none when it is silent.
    pub fn answer(self) -> Option<&'static str> {
        if self.ssh {
            Some("answers on its SSH port")
        } else if self.refused {
            Some("refuses SSH, so its kernel runs")
        } else if self.ping {
            Some("answers ping")
        } else {
            None
        }
    }
}

/// Asks a machine by ping and at its SSH port.
pub async fn signs(address: &str, port: u16) -> Signs {
    let ((ssh, refused), ping) = futures::join!(knock(address, port), ping(address));
    Signs { ping, ssh, refused }
}

async fn knock(address: &str, port: u16) -> (bool, bool) {
    match tokio::time::timeout(PATIENCE, TcpStream::connect((address, port))).await {
        Ok(Ok(_)) => (true, false),
        Ok(Err(error)) => (false, error.kind() == std::io::ErrorKind::ConnectionRefused),
        Err(_) => (false, false),
    }
}

/// By the program, which is allowed to: an echo request of our own takes a privilege that the daemon may lack.
async fn ping(address: &str) -> bool {
    let argv = ["ping", "-n", "-q", "-c", "1", "-W", "1", address].map(str::to_owned);
    process::run(&argv, &[], PATIENCE).await.is_ok_and(|(status, _)| status.success())
}
