//! Ports on which nothing listens, and which no other lab on this machine takes as long as these are held.
//!
//! A replica that is being restarted leaves its port for a moment, and so does one that is yet to be started. Another lab that looks
//! for ports just then would find it free, and whoever listens on a replica's port is taken for that replica. So a lab holds each of
//! its ports a second time: as a port for datagrams, which no replica needs and which goes with the process that holds it.
//!
//! The ports lie below the range from which the system takes the ports of outgoing connections. Otherwise a client that knocks at a
//! replica which is being restarted could be given that very port, and so connect to itself.

use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::ops::Deref;

use uuid::Uuid;

/// Ports of the loopback interface; free for others when it is dropped.
#[derive(Debug)]
pub struct Ports {
    numbers: Vec<u16>,
    /// What says to other labs that they are taken.
    _claims: Vec<UdpSocket>,
}

impl Ports {
    /// Claims so many.
    pub fn claim(wanted: u32) -> Result<Self, PortsError> {
        let mut found = Vec::new();
        for _ in 0..ATTEMPTS {
            if found.len() >= wanted as usize {
                break;
            }
            let (high, low) = Uuid::new_v4().as_u64_pair();
            let offset = u16::try_from((high ^ low) % u64::from(END - BEGIN)).unwrap_or_default();
            found.extend(claim(BEGIN + offset));
        }
        if found.len() < wanted as usize {
            return Err(PortsError { found: found.len(), wanted });
        }
        let (numbers, claims) = found.into_iter().unzip();
        Ok(Self { numbers, _claims: claims })
    }
}

impl Deref for Ports {
    type Target = [u16];

    fn deref(&self) -> &[u16] {
        &self.numbers
    }
}

/// There are not enough free ports.
#[derive(Debug, thiserror::Error)]
#[error("not enough free ports on the loopback interface: {found} of {wanted}")]
pub struct PortsError {
    found: usize,
    wanted: u32,
}

fn claim(port: u16) -> io::Result<(u16, UdpSocket)> {
    // Claimed first: whoever looks at the same port at the same time finds it claimed and does not see this listener as somebody's.
    let claim = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
    TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    Ok((port, claim))
}

const ATTEMPTS: u32 = 1000;
const BEGIN: u16 = 15_000;
/// Linux hands out ports from 32768 on, the other systems from 49152 on.
const END: u16 = 32_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_port_is_claimed_by_nobody_else_and_can_be_listened_on() {
        let ports = Ports::claim(2).unwrap();
        assert_ne!(ports[0], ports[1]);
        let first = ports[0];
        assert_eq!(claim(first).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(TcpListener::bind((Ipv4Addr::LOCALHOST, first)).unwrap());
        assert_eq!(claim(first).unwrap_err().kind(), io::ErrorKind::AddrInUse, "also between two runs of its replica");
        drop(ports);
        claim(first).unwrap();
    }
}
