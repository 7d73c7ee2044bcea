//! Clients from an address of their own: all of 127.0.0.0/8 is this host.

use super::client::Client;
use super::wire::{Socket, Wire};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

impl Client {
    /// Connects over TCP from `ip`.
    pub fn connect_from(ip: Ipv4Addr, address: SocketAddr) -> Self {
        let SocketAddr::V4(address) = address else { panic!("{address} is not IPv4") };
        let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        bind(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(ip, 0))).unwrap();
        connect(fd.as_raw_fd(), &SockaddrIn::from(address))
            .unwrap_or_else(|error| panic!("cannot connect from {ip} to {address}: {error}"));
        Self { wire: Wire::new(Socket::Tcp(TcpStream::from(fd)), Duration::from_secs(10)) }
    }
}
