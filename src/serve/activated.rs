//! Which listener gets which of the sockets that the supervisor opened (socket activation).
//!
//! By name first, since a socket unit can name its sockets (`FileDescriptorName=`), then by address. A socket
//! that nobody wants stops the start: whoever connected to it would wait for an answer for ever. Not here:
//! taking the descriptors over (`sys::activation`).

use crate::config::{Config, ListenAddress, Listener};
use crate::sys::activation::{ActivationRefused, Passed, take};
use std::os::fd::OwnedFd;

/// Why sockets that were passed are not used.
#[derive(Debug, thiserror::Error)]
pub enum ActivatedRefused {
    /// They are not what they must be.
    #[error(transparent)]
    Taken(#[from] ActivationRefused),
    /// The configuration has no use for one.
    #[error(
        "socket activation passed a socket on {address} called {name:?}, and no listener has this name and \
         nothing listens on this address; name a listener so, write the same address in both (a \
         ListenStream= that is only a port means \"[::]:PORT\"), or remove it from the socket unit"
    )]
    Nobodys {
        /// Its name.
        name: String,
        /// Where it listens.
        address: String,
    },
}

/// The sockets that the supervisor opened, each with its place.
#[derive(Debug, Default)]
pub(super) struct Activated {
    sockets: Vec<(Place, OwnedFd)>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Place {
    /// The listener that the configuration has on this address.
    Listener(ListenAddress),
    /// The admin surface on this address.
    Admin(ListenAddress),
}

impl Activated {
    /// Takes what was passed; once in the process's life, the second time there is nothing.
    ///
    /// # Errors
    /// What was passed is of no use.
    pub(super) fn take(config: &Config) -> Result<Self, ActivatedRefused> {
        let place = |passed: Passed| {
            let place = place(&passed.name, passed.address.as_ref(), config).ok_or_else(|| {
                let shown = |address: ListenAddress| address.to_string();
                let address = passed.address.map_or_else(|| "no address".to_owned(), shown);
                ActivatedRefused::Nobodys { name: passed.name, address }
            })?;
            Ok((place, passed.socket))
        };
        let sockets: Result<_, ActivatedRefused> = take()?.into_iter().map(place).collect();
        Ok(Self { sockets: sockets? })
    }

    /// The sockets of the listener that the configuration has on `address`; mostly there is none, or one for
    /// all shards.
    pub(super) fn listener(&mut self, address: &ListenAddress) -> Vec<OwnedFd> {
        self.remove(|place| matches!(place, Place::Listener(of) if of == address))
    }

    /// An admin address's socket.
    pub(super) fn admin(&mut self, address: &ListenAddress) -> Option<OwnedFd> {
        self.remove(|place| matches!(place, Place::Admin(of) if of == address)).into_iter().next()
    }

    /// The addresses, as the configuration has them, of the listeners that have sockets here.
    pub(super) fn listeners(&self) -> Vec<ListenAddress> {
        let of_listener = |(place, _): &(Place, OwnedFd)| match place {
            Place::Listener(address) => Some(address.clone()),
            Place::Admin(_) => None,
        };
        self.sockets.iter().filter_map(of_listener).collect()
    }

    /// The admin addresses that have sockets here.
    pub(super) fn admins(&self) -> Vec<ListenAddress> {
        let of_admin = |(place, _): &(Place, OwnedFd)| match place {
            Place::Admin(address) => Some(address.clone()),
            Place::Listener(_) => None,
        };
        self.sockets.iter().filter_map(of_admin).collect()
    }

    fn remove(&mut self, wanted: impl Fn(&Place) -> bool) -> Vec<OwnedFd> {
        self.sockets.extract_if(.., |(place, _)| wanted(place)).map(|(_, socket)| socket).collect()
    }
}

/// Whose socket it is.
fn place(name: &str, address: Option<&ListenAddress>, config: &Config) -> Option<Place> {
    let has_it = |listener: &&Listener| Some(&listener.address) == address;
    let by_name = config.listeners.iter().find(|listener| listener.name == name);
    if let Some(listener) = by_name.or_else(|| config.listeners.iter().find(has_it)) {
        return Some(Place::Listener(listener.address.clone()));
    }
    let address = address.filter(|address| config.admin.listen.contains(address))?;
    Some(Place::Admin(address.clone()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;
    use crate::config;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;

    fn two_listeners() -> Config {
        let text = "[[listener]]\nname = \"web\"\naddress = \"0.0.0.0:80\"\npool = \"app\"\n\
                    [[listener]]\naddress = \"unix:/run/weir.sock\"\npool = \"app\"\n\
                    [admin]\nlisten = [\"127.0.0.1:9900\", \"unix:/run/admin.sock\"]\n\
                    [[pool.app.backend]]\naddress = \"127.0.0.1:1\"\n";
        config::parse(text, "weir.toml").unwrap().config
    }

    #[test]
    fn a_socket_is_the_listeners_of_its_name_or_address_or_the_admin_surfaces() {
        let config = two_listeners();
        let tcp = |text: &str| ListenAddress::Tcp(text.parse().unwrap());
        let unix = |path: &str| ListenAddress::Unix(path.into());
        let listener = |address| Some(Place::Listener(address));
        for (name, address, expected) in [
            ("web", Some(tcp("0.0.0.0:80")), listener(tcp("0.0.0.0:80"))),
            ("web", Some(tcp("[::]:80")), listener(tcp("0.0.0.0:80"))),
            ("web", Some(unix("/run/weir.sock")), listener(tcp("0.0.0.0:80"))),
            ("web", None, listener(tcp("0.0.0.0:80"))),
            ("weir.socket", Some(tcp("0.0.0.0:80")), listener(tcp("0.0.0.0:80"))),
            ("weir.socket", Some(unix("/run/weir.sock")), listener(unix("/run/weir.sock"))),
            ("weir.socket", Some(tcp("127.0.0.1:9900")), Some(Place::Admin(tcp("127.0.0.1:9900")))),
            ("weir.socket", Some(unix("/run/admin.sock")), Some(Place::Admin(unix("/run/admin.sock")))),
            ("weir.socket", Some(tcp("[::]:80")), None),
            ("unknown", None, None),
        ] {
            assert_eq!(place(name, address.as_ref(), &config), expected, "{name} {address:?}");
        }
    }

    #[test]
    fn each_takes_its_own_sockets_once() {
        let config = two_listeners();
        let socket = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
        let [a, b, c] = [socket(), socket(), socket()];
        let (first, second, admins) = (a.as_raw_fd(), b.as_raw_fd(), c.as_raw_fd());
        let admin = config.admin.listen[0].clone();
        let of = |listener: usize| config.listeners[listener].address.clone();
        let sockets =
            vec![(Place::Listener(of(0)), a), (Place::Admin(admin.clone()), c), (Place::Listener(of(0)), b)];
        let mut activated = Activated { sockets };
        assert_eq!(activated.listeners(), [of(0), of(0)]);
        assert_eq!(activated.admins(), std::slice::from_ref(&admin));
        assert!(activated.listener(&of(1)).is_empty());
        let of_web = activated.listener(&of(0));
        assert_eq!(of_web.iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>(), [first, second]);
        assert!(activated.listener(&of(0)).is_empty());
        assert_eq!(activated.admin(&admin).map(|socket| socket.as_raw_fd()), Some(admins));
        assert!(activated.admin(&admin).is_none());
    }
}
