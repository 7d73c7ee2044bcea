//! What the configuration names and the host must give: addresses that nobody else has, accounts, files.
//!
//! Reads only; nothing is bound. Judged in `claims.rs`.

use super::host::{Claims, Host};
use super::parse::{self, Listening};
use crate::admin::Token;
use crate::config::{AccessFormat, AccessTarget, Config, ListenAddress};
use crate::log::access::look;
use crate::serve;
use crate::sys::privileges::{Use, group_by_name, may, user_by_name};
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

/// An address of the configuration that somebody listens on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    /// Whose address it is: "listener web" or "admin".
    pub(super) claim: String,
    pub(super) address: ListenAddress,
    pub(super) holder: Holder,
    /// It stands on `[::]`, which takes IPv4 as well unless it was told not to.
    pub(super) is_perhaps: bool,
}

/// Who has a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// Another user's process, or one outside of this container.
    Unseen,
    Process {
        pid: u32,
        name: String,
    },
}

/// A user or group of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Account {
    /// "user" or "group".
    pub(super) kind: &'static str,
    pub(super) name: String,
    /// `None`: the accounts could not be read.
    pub(super) exists: Option<bool>,
}

/// A file of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub(super) key: &'static str,
    pub(super) path: PathBuf,
    pub(super) state: FileState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FileState {
    Fine,
    Absent,
    /// It is not what it should be: why, and what to do.
    Wrong(String, String),
    /// Its directory is not there.
    NoDirectory,
    /// Nothing may be made in its directory.
    NotWritable,
    /// Whom weir becomes may not read it again.
    OutOfReach,
}

/// Looks at all that `config` names.
pub(super) fn read(host: &Host, config: &Config) -> Claims {
    let listeners = config.listeners.iter();
    let of_listeners = listeners.map(|listener| (format!("listener {}", listener.name), &listener.address));
    let of_admin = config.admin.listen.iter().map(|address| ("admin".to_owned(), address));
    let claims: Vec<_> = of_listeners.chain(of_admin).collect();
    let tables = ["proc/net/tcp", "proc/net/tcp6"].map(|path| host.text(path));
    Claims {
        sockets_seen: tables.iter().any(Option::is_some),
        taken: taken(host, &claims, &tables),
        accounts: accounts(config),
        files: files(config),
    }
}

fn taken(host: &Host, claims: &[(String, &ListenAddress)], tables: &[Option<String>]) -> Vec<Taken> {
    let sockets: Vec<Listening> = tables.iter().flatten().flat_map(|table| parse::listening(table)).collect();
    let unix = host.text("proc/net/unix").unwrap_or_default();
    let mut taken = Vec::new();
    for (claim, address) in claims {
        let found = match address {
            ListenAddress::Tcp(wanted) => sockets
                .iter()
                .filter_map(|socket| Some((overlap(*wanted, socket.address)?, socket.inode)))
                .min_by_key(|(is_perhaps, _)| *is_perhaps),
            ListenAddress::Unix(path) => listening_at(&unix, path).map(|inode| (false, inode)),
        };
        let Some((is_perhaps, inode)) = found else { continue };
        let (claim, address) = (claim.clone(), (*address).clone());
        taken.push(Taken { claim, address, holder: holder(host, inode), is_perhaps });
    }
    taken
}

/// Whether a socket at `held` stands in the way of one at `wanted`; true if only perhaps.
fn overlap(wanted: SocketAddr, held: SocketAddr) -> Option<bool> {
    if wanted.port() != held.port() || wanted.port() == 0 {
        return None;
    }
    let (wanted, held) = (wanted.ip(), held.ip());
    match (wanted, held) {
        (IpAddr::V4(_), IpAddr::V4(_)) | (IpAddr::V6(_), IpAddr::V6(_)) => {
            (wanted == held || wanted.is_unspecified() || held.is_unspecified()).then_some(false)
        }
        (IpAddr::V4(_), IpAddr::V6(_)) => held.is_unspecified().then_some(true),
        // weir's own IPv6 sockets take no IPv4.
        (IpAddr::V6(_), IpAddr::V4(_)) => None,
    }
}

/// The inode of the socket that listens at `path`, by /proc/net/unix.
fn listening_at(table: &str, path: &Path) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        // Num, RefCount, Protocol, Flags, Type, St, Inode, Path; the flag is __SO_ACCEPTCON.
        let fields: Vec<&str> = line.split_whitespace().collect();
        let is_it =
            fields.get(3) == Some(&"00010000") && fields.get(7).is_some_and(|at| Path::new(at) == path);
        is_it.then(|| fields[6].parse().ok()).flatten()
    })
}

/// The process that has the socket with this inode, if this process may see it.
fn holder(host: &Host, inode: u64) -> Holder {
    let wanted = PathBuf::from(format!("socket:[{inode}]"));
    let has_it = |pid: &u32| {
        let entries = fs::read_dir(host.path(&format!("proc/{pid}/fd"))).into_iter().flatten();
        entries.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|link| link == wanted))
    };
    // Of several the youngest: systemd, which has number 1, passes its sockets on.
    let pids = host.names("proc").into_iter().filter_map(|name| name.parse::<u32>().ok());
    match pids.filter(has_it).max() {
        Some(pid) => {
            let name = host.text(&format!("proc/{pid}/comm")).unwrap_or_default();
            Holder::Process { pid, name }
        }
        None => Holder::Unseen,
    }
}

fn accounts(config: &Config) -> Vec<Account> {
    let runtime = &config.runtime;
    let user = runtime.user.iter().map(|name| {
        let exists = exists(name, user_by_name);
        Account { kind: "user", name: name.clone(), exists }
    });
    let group = runtime.group.iter().map(|name| {
        let exists = exists(name, group_by_name);
        Account { kind: "group", name: name.clone(), exists }
    });
    group.chain(user).collect()
}

/// Whether this host knows the account, by name or by number; `None` if the accounts cannot be read. A number
/// needs no entry: the kernel takes any.
fn exists<T>(name: &str, find: impl FnOnce(&str) -> io::Result<Option<T>>) -> Option<bool> {
    if name.parse::<u32>().is_ok() {
        return Some(true);
    }
    find(name).ok().map(|found| found.is_some())
}

fn files(config: &Config) -> Vec<Wanted> {
    let of_token = config.admin.token_file.iter().map(|path| {
        let state = token(path, config);
        Wanted { key: "admin.token_file", path: path.clone(), state }
    });
    let state_file = config.runtime.state_file.iter().map(|path| {
        let state = match path.parent() {
            Some(directory) if !directory.is_dir() => FileState::NoDirectory,
            Some(directory) if may(Use::MakeFilesIn, directory).is_err() => FileState::NotWritable,
            Some(_) | None => FileState::Fine,
        };
        Wanted { key: "runtime.state_file", path: path.clone(), state }
    });
    // They were read with the configuration, so they are there, for this user.
    let becomes = serve::Account::of(&config.runtime).ok().flatten();
    let pages = config.listeners.iter().flat_map(|listener| &listener.error_pages.0).map(|page| {
        let in_reach = becomes.as_ref().and_then(|account| account.may_read(&page.file)).unwrap_or(true);
        let state = if in_reach { FileState::Fine } else { FileState::OutOfReach };
        Wanted { key: "listener.error_pages", path: page.file.clone(), state }
    });
    let access_log = match &config.access_log.to {
        AccessTarget::File(path) | AccessTarget::Syslog(path)
            if config.access_log.format != AccessFormat::Off =>
        {
            let state = look(&config.access_log).map_or_else(
                |refused| FileState::Wrong(refused.cause().to_string(), refused.remedy()),
                |()| FileState::Fine,
            );
            Some(Wanted { key: "access_log.to", path: path.clone(), state })
        }
        AccessTarget::File(_) | AccessTarget::Syslog(_) | AccessTarget::Stderr => None,
    };
    of_token.chain(state_file).chain(pages).chain(access_log).collect()
}

/// Whether the admin surface would find its token at `path`. Its own reader says so; but it would wait for a
/// FIFO.
fn token(path: &Path, config: &Config) -> FileState {
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return FileState::Absent,
        Ok(file) if !file.is_file() => {
            return FileState::Wrong("it is not a file".to_owned(), "name a file with one line".to_owned());
        }
        Ok(_) | Err(_) => {}
    }
    match Token::of(&config.admin) {
        Ok(_) => FileState::Fine,
        Err(refused) => FileState::Wrong(refused.cause().to_string(), refused.remedy().to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::host::tests::Tree;
    use super::super::tests::config;
    use super::*;
    use crate::config::{Answers, ErrorPage, PageBody};
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::sync::Arc;

    #[test]
    fn accounts_are_found_by_name_and_any_number_will_do() {
        let (user, group) = (|name| exists(name, user_by_name), |name| exists(name, group_by_name));
        assert_eq!((user("root"), group("root")), (Some(true), Some(true)));
        assert!(!user("no-such-user-here").unwrap_or(false));
        assert!(!group("no-such-group-here").unwrap_or(false));
        assert_eq!((user("65533"), group("65533")), (Some(true), Some(true)));
    }

    #[test]
    fn two_addresses_overlap_as_bind_sees_it() {
        for (wanted, held, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", Some(false)),
            ("0.0.0.0:80", "127.0.0.1:80", Some(false)),
            ("127.0.0.1:80", "0.0.0.0:80", Some(false)),
            ("127.0.0.1:80", "127.0.0.2:80", None),
            ("127.0.0.1:80", "127.0.0.1:81", None),
            ("0.0.0.0:80", "[::]:80", Some(true)),
            ("0.0.0.0:80", "[::1]:80", None),
            ("[::]:80", "0.0.0.0:80", None),
            ("[::]:80", "[::1]:80", Some(false)),
            ("127.0.0.1:0", "127.0.0.1:0", None),
        ] {
            assert_eq!(overlap(wanted.parse().unwrap(), held.parse().unwrap()), expected, "{wanted} {held}");
        }
    }

    #[test]
    fn who_listens_is_found_by_the_sockets_number() {
        let row = |inode: u64| {
            format!(" 0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 0 0 {inode} 1\n")
                .replace("0:0", "00000000:0")
        };
        let tree = Tree::of(&[
            ("proc/net/tcp", &format!("heading\n{}", row(77))),
            ("proc/net/unix", "heading\n0000: 00000002 00000000 00010000 0001 01 88 /run/weir.sock\n"),
            ("proc/42/comm", "nginx\n"),
            ("proc/42/fd/0", ""),
        ]);
        symlink("socket:[77]", tree.path().join("proc/42/fd/9")).unwrap();
        let text = config("", "address = \"127.0.0.1:8080\"", "");
        let claims = read(&tree.host(), &text);
        assert!(claims.sockets_seen);
        let nginx = Holder::Process { pid: 42, name: "nginx".into() };
        let address = ListenAddress::Tcp("127.0.0.1:8080".parse().unwrap());
        let expected = Taken { claim: "listener web".into(), address, holder: nginx, is_perhaps: false };
        assert_eq!(claims.taken, [expected]);
        let elsewhere = read(&tree.host(), &config("", "address = \"127.0.0.1:8081\"", ""));
        assert_eq!(elsewhere.taken, []);
        let unix = read(&tree.host(), &config("", "address = \"unix:/run/weir.sock\"", ""));
        assert_eq!(unix.taken.len(), 1);
        assert_eq!(unix.taken[0].holder, Holder::Unseen);
    }

    #[test]
    fn files_and_accounts_are_looked_at_as_the_configuration_names_them() {
        let tree = Tree::of(&[("token", "0123456789abcdef\n"), ("short", "secret\n")]);
        let root = tree.path().display();
        let lines = format!("state_file = \"{root}/none/state.json\"\nuser = \"no-such-user-here\"");
        let mut text = config(&lines, "address = \"127.0.0.1:8080\"", "");
        text.admin.token_file = Some(tree.path().join("token"));
        let claims = read(&tree.host(), &text);
        assert!(!claims.sockets_seen);
        let states: Vec<_> = claims.files.iter().map(|file| (file.key, file.state.clone())).collect();
        assert_eq!(
            states,
            [("admin.token_file", FileState::Fine), ("runtime.state_file", FileState::NoDirectory)]
        );
        assert_eq!(claims.accounts.len(), 1);
        let page = tree.path().join("token");
        let answers = Answers::Status(503);
        let body = PageBody(Arc::from(b"x".as_slice()));
        text.listeners[0].error_pages.0 =
            vec![ErrorPage { answers, file: page.clone(), content_type: "text/html", body }];
        for (mode, expected) in [(0o604, FileState::Fine), (0o600, FileState::OutOfReach)] {
            fs::set_permissions(&page, fs::Permissions::from_mode(mode)).unwrap();
            for (user, state) in [(Some("65534"), expected), (None, FileState::Fine)] {
                (text.runtime.user, text.runtime.group) = (user.map(String::from), user.map(String::from));
                let found = read(&tree.host(), &text).files.pop().map(|file| (file.key, file.state));
                assert_eq!(found, Some(("listener.error_pages", state)), "{user:?} {mode:o}");
            }
        }
        text.listeners[0].error_pages.0.clear();
        assert_ne!(claims.accounts[0].exists, Some(true));
        text.admin.token_file = Some(tree.path().join("none"));
        assert_eq!(read(&tree.host(), &text).files[0].state, FileState::Absent);
        text.admin.token_file = Some(tree.path().join("short"));
        let state = read(&tree.host(), &text).files[0].state.clone();
        assert!(matches!(&state, FileState::Wrong(cause, _) if cause.contains("6 bytes")), "{state:?}");
        text.admin.token_file = Some(tree.path().to_owned());
        text.runtime.state_file = Some(tree.path().join("state.json"));
        let states: Vec<_> = read(&tree.host(), &text).files.into_iter().map(|file| file.state).collect();
        assert_eq!(
            states,
            [
                FileState::Wrong("it is not a file".into(), "name a file with one line".into()),
                FileState::Fine
            ]
        );
    }
}
