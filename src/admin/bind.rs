//! Binding the admin listeners, with errors that say what to do.
//!
//! Called by `main` before the shards start and before privileges are dropped.

use crate::config::{Admin, ListenAddress};
use crate::sys::socket;
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;

/// A bound admin listener, nonblocking.
#[derive(Debug)]
pub enum AdminListener {
    /// On an IP address.
    Tcp(TcpListener),
    /// On a Unix socket.
    Unix(UnixListener),
}

/// An admin address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("admin.listen: {address}: {cause}; {remedy}")]
pub struct BindRefused {
    /// As the configuration writes it.
    pub address: String,
    /// What the kernel said.
    pub cause: io::Error,
    /// What to do about it.
    pub remedy: &'static str,
}

impl AsFd for AdminListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(listener) => listener.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

impl AdminListener {
    /// The address it really has: its port, where 0 was asked for.
    pub fn address(&self) -> Option<ListenAddress> {
        match self {
            Self::Tcp(listener) => listener.local_addr().ok().map(ListenAddress::Tcp),
            Self::Unix(listener) => {
                Some(ListenAddress::Unix(listener.local_addr().ok()?.as_pathname()?.to_path_buf()))
            }
        }
    }
}

/// Binds all addresses of `[admin]`. A Unix socket's file that nobody listens on any more is replaced.
///
/// # Errors
/// The first address that cannot be bound.
pub fn bind(admin: &Admin) -> Result<Vec<AdminListener>, BindRefused> {
    bind_around(admin, |_| None)
}

/// As [`bind`], but not where `inherited` gives a socket that listens there already.
///
/// # Errors
/// The first address that cannot be bound.
pub fn bind_around(
    admin: &Admin,
    mut inherited: impl FnMut(&ListenAddress) -> Option<OwnedFd>,
) -> Result<Vec<AdminListener>, BindRefused> {
    let one = |address: &ListenAddress| {
        Ok(match (inherited(address), address) {
            (Some(socket), ListenAddress::Tcp(_)) => AdminListener::Tcp(socket.into()),
            (Some(socket), ListenAddress::Unix(_)) => AdminListener::Unix(socket.into()),
            (None, _) => bind_one(address).map_err(|cause| refused(address, cause))?,
        })
    };
    admin.listen.iter().map(one).collect()
}

fn bind_one(address: &ListenAddress) -> io::Result<AdminListener> {
    Ok(match address {
        ListenAddress::Tcp(address) => {
            let listener = TcpListener::bind(address)?;
            listener.set_nonblocking(true)?;
            AdminListener::Tcp(listener)
        }
        ListenAddress::Unix(path) => {
            // Who may connect may change what is served.
            AdminListener::Unix(UnixListener::from(socket::guarded(path)?))
        }
    })
}

fn refused(address: &ListenAddress, cause: io::Error) -> BindRefused {
    let remedy = match cause.kind() {
        io::ErrorKind::AddrInUse => "another process listens there: end it, or choose another address",
        io::ErrorKind::AddrNotAvailable => "this host has no such address: choose one that it has",
        io::ErrorKind::PermissionDenied => {
            "this user may not: choose a port from 1024 up, or a path that it may write"
        }
        io::ErrorKind::NotFound => "the directory does not exist: create it",
        _ => "choose another address",
    };
    let address = match address {
        ListenAddress::Tcp(address) => address.to_string(),
        ListenAddress::Unix(path) => format!("unix:{}", path.display()),
    };
    BindRefused { address, cause, remedy }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    #[test]
    fn an_address_that_is_taken_is_refused_with_its_name_and_what_to_do() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let refused =
            bind(&Admin { listen: vec![ListenAddress::Tcp(address)], token_file: None }).unwrap_err();
        let text = refused.to_string();
        assert!(text.contains(&address.to_string()) && text.contains("another process"), "{text}");
    }

    #[test]
    fn a_dead_socket_file_is_replaced_and_a_living_one_and_another_file_are_not() {
        let dir = std::env::temp_dir().join(format!("weir-bind-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("admin.sock");
        let listen = |path: &Path| {
            bind(&Admin { listen: vec![ListenAddress::Unix(path.to_owned())], token_file: None })
        };
        drop(listen(&path).unwrap());
        let living = listen(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660, "nobody else's");
        assert_eq!(listen(&path).unwrap_err().cause.kind(), io::ErrorKind::AddrInUse);
        drop(living);
        let file = dir.join("file");
        std::fs::write(&file, "kept").unwrap();
        listen(&file).unwrap_err();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
        assert!(listen(&dir.join("none/admin.sock")).unwrap_err().to_string().contains("create it"));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn any_number_of_addresses_is_bound_none_too() {
        assert!(bind(&Admin { listen: Vec::new(), token_file: None }).unwrap().is_empty());
        let any = ListenAddress::Tcp(SocketAddr::from(([127, 0, 0, 1], 0)));
        assert_eq!(bind(&Admin { listen: vec![any.clone(), any], token_file: None }).unwrap().len(), 2);
    }
}
