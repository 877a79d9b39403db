//! Wake-on-LAN: a magic packet that a sleeping network card knows: six bytes of ones, its address sixteen times, and
//! perhaps a password. Nobody answers it, so whether the machine is on is seen by other means.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::net::UdpSocket;

use super::secret::Keeper;
use super::sight::MeansError;
use crate::model::mac::Mac;

/// A packet may be lost, and nobody would say so.
const TIMES: usize = 3;
const PAUSE: Duration = Duration::from_millis(100);

/// How one machine is woken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Its network card.
    pub mac: Mac,
    /// Where the packet goes: a broadcast address (also of another subnet, if its router lets it through), or one host.
    pub to: SocketAddr,
    /// The address of this computer that it leaves from, which chooses the network; none leaves it to the routes.
    pub from: Option<IpAddr>,
    /// SecureOn: six more bytes that the card wants to see, written like its address.
    pub secure_on: Option<Keeper>,
}

impl Packet {
    /// What is sent.
    fn bytes(&self) -> Result<Vec<u8>, MeansError> {
        let mut bytes = vec![0xff; 6];
        for _ in 0..16 {
            bytes.extend(self.mac.0);
        }
        if let Some(keeper) = &self.secure_on {
            let secret = keeper.read().map_err(MeansError::Refused)?;
            // The secret itself must not be told.
            let password: Mac = secret.reveal().trim().parse().map_err(|_| {
                MeansError::Refused("the SecureOn password must be six bytes, such as 01:23:45:67:89:ab".to_owned())
            })?;
            bytes.extend(password.0);
        }
        Ok(bytes)
    }

    /// Sends it.
    pub async fn send(&self) -> Result<(), MeansError> {
        let bytes = self.bytes()?;
        let failed =
            |e: std::io::Error| MeansError::Failed(format!("the magic packet to {} was not sent: {e}", self.to));
        let any = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let socket = UdpSocket::bind((self.from.unwrap_or(any), 0)).await.map_err(failed)?;
        socket.set_broadcast(true).map_err(failed)?;
        for turn in 0..TIMES {
            if turn > 0 {
                tokio::time::sleep(PAUSE).await;
            }
            socket.send_to(&bytes, self.to).await.map_err(failed)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_packet_holds_the_address_sixteen_times_and_then_the_password() {
        let at = tempfile::tempdir().unwrap();
        std::fs::write(at.path().join("p"), "01:02:03:04:05:06\n").unwrap();
        let listener = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let packet = Packet {
            mac: Mac([1, 2, 3, 4, 5, 6]),
            to: listener.local_addr().unwrap(),
            from: None,
            secure_on: Some(Keeper::File(at.path().join("p"))),
        };
        packet.send().await.unwrap();
        let mut seen = [0; 200];
        let count = listener.recv(&mut seen).await.unwrap();
        assert_eq!(count, 6 + 16 * 6 + 6);
        assert_eq!(seen[..6], [0xff; 6]);
        assert!(seen[6..count].chunks(6).all(|part| part == [1, 2, 3, 4, 5, 6]));
        std::fs::write(at.path().join("p"), "hunter2\n").unwrap();
        let error = packet.send().await.unwrap_err();
        assert!(matches!(&error, MeansError::Refused(text) if !text.contains("hunter2")), "{error}");
    }
}
