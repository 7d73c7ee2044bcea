//! One look-up: `/etc/hosts`, A and AAAA, SRV.
//!
//! In the order of getaddrinfo(3): an address written out, `/etc/hosts` (read each time, as it may change),
//! "localhost" (RFC 6761, section 6.3), then the DNS. Nothing is cached here: the names are looked up when
//! their TTL is over, or because what is known is doubted. Called by [`super::Names`].

use super::{LookUpFailed, TTL_MAX};
use crate::config::{BackendAddress, Destination};
use crate::fleet::ResolvedAddress;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::rdata::SRV;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use hickory_resolver::{Hosts, TokioResolver};
use std::cell::RefCell;
use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Duration;
use tokio::task::JoinSet;

/// How long what `/etc/hosts` says is taken to hold.
const HOSTS_TTL: Duration = Duration::from_secs(5);

/// A server that was named to weir has so long to answer, and is asked once more; for the system's
/// `/etc/resolv.conf` says it.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Questions under way at once.
const QUESTIONS_MAX: usize = 1024;

/// The heaviest that a backend can be.
const WEIGHT_MAX: u32 = 256;

/// What a look-up found, and for how long that holds.
pub(super) struct Answer {
    pub(super) addresses: Vec<ResolvedAddress>,
    pub(super) ttl: Duration,
}

/// Addresses of a host, and for how long they hold.
type HostAnswer = (Vec<IpAddr>, Duration);

/// The way to the DNS.
pub(super) struct LookUps {
    server: Option<SocketAddr>,
    /// Made when it is first needed, and anew after a failure: `/etc/resolv.conf` may have changed.
    resolver: RefCell<Option<TokioResolver>>,
}

impl LookUps {
    pub(super) fn new(server: Option<SocketAddr>) -> Self {
        Self { server, resolver: RefCell::default() }
    }

    pub(super) async fn look_up(&self, address: &BackendAddress) -> Result<Answer, LookUpFailed> {
        let (name, found) = match address {
            BackendAddress::Tcp(address) => return Ok(fixed(Destination::Tcp(*address))),
            BackendAddress::Unix(path) => return Ok(fixed(Destination::Unix(path.clone()))),
            BackendAddress::Name(host, port) => (host, self.host(host, *port).await),
            BackendAddress::Service(name) => (name, self.service(name).await),
        };
        found.map_err(|cause| {
            if !cause.is_no_records_found() {
                self.resolver.take();
            }
            LookUpFailed { name: name.clone(), cause: in_words(&cause) }
        })
    }

    async fn host(&self, host: &str, port: u16) -> Result<Answer, NetError> {
        let (ips, ttl) = match without_dns(host) {
            Some(answer) => answer,
            None => host_from_dns(self.resolver()?, host).await?,
        };
        let address = |ip| ResolvedAddress {
            address: Destination::Tcp(SocketAddr::new(ip, port)),
            weight: None,
            backup: false,
        };
        Ok(Answer { addresses: ips.into_iter().map(address).collect(), ttl })
    }

    async fn service(&self, name: &str) -> Result<Answer, NetError> {
        let resolver = self.resolver()?;
        let found = resolver.srv_lookup(name).await?;
        let records: Vec<SRV> = found
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::SRV(srv) if !srv.target.is_root() => Some(srv.clone()),
                _ => None,
            })
            .collect();
        if records.is_empty() {
            return Err(NetError::Message("its SRV records say that there is no such service"));
        }
        let mut ttl = ttl_of(found.answers());
        let mut targets = JoinSet::new();
        for record in records {
            let (host, resolver) = (record.target.to_string(), resolver.clone());
            targets.spawn(async move {
                let answer = match without_dns(&host) {
                    Some(answer) => Ok(answer),
                    None => host_from_dns(resolver, &host).await,
                };
                (record, answer)
            });
        }
        let mut found = Vec::new();
        while let Some(target) = targets.join_next().await {
            let (record, answer) = target.map_err(|error| NetError::Msg(error.to_string()))?;
            match answer {
                Ok((ips, holds)) => {
                    ttl = ttl.min(holds);
                    found
                        .extend(ips.into_iter().map(|ip| (SocketAddr::new(ip, record.port), record.clone())));
                }
                // The others are there.
                Err(none) if none.is_no_records_found() => {}
                Err(failed) => return Err(failed),
            }
        }
        if found.is_empty() {
            return Err(NetError::Message("no host that its SRV records name has an address"));
        }
        Ok(Answer { addresses: by_priority(found), ttl })
    }

    fn resolver(&self) -> Result<TokioResolver, NetError> {
        let mut resolver = self.resolver.borrow_mut();
        let resolver = match &mut *resolver {
            Some(resolver) => resolver,
            none => none.insert(resolver_for(self.server)?),
        };
        // Its cache has no room, but forgets what does not fit only by and by.
        resolver.clear_cache();
        Ok(resolver.clone())
    }
}

fn resolver_for(server: Option<SocketAddr>) -> Result<TokioResolver, NetError> {
    let ask = |server: SocketAddr| {
        let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
            connection.port = server.port();
            connection
        });
        let server = NameServerConfig::new(server.ip(), true, connections.to_vec());
        let config = ResolverConfig::from_name_servers(vec![server]);
        let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        builder.options_mut().timeout = ANSWER_WITHIN;
        builder.options_mut().attempts = 1;
        builder
    };
    let mut builder = match server {
        Some(server) => ask(server),
        // Where no server is named it is the one on this machine (resolv.conf(5)).
        None => TokioResolver::builder_tokio()
            .unwrap_or_else(|_| ask(SocketAddr::from((Ipv4Addr::LOCALHOST, 53)))),
    };
    let options = builder.options_mut();
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.max_active_requests = QUESTIONS_MAX;
    builder.build()
}

fn fixed(address: Destination) -> Answer {
    Answer { addresses: vec![ResolvedAddress { address, weight: None, backup: false }], ttl: TTL_MAX }
}

/// The addresses of a host that needs no DNS.
fn without_dns(host: &str) -> Option<HostAnswer> {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return Some((vec![ip], TTL_MAX));
    }
    let name = Name::from_utf8(host).ok()?;
    let hosts = Hosts::from_system().unwrap_or_default();
    let of = |kind| hosts.lookup_static_host(&Query::query(name.clone(), kind));
    let found: Vec<IpAddr> = [RecordType::A, RecordType::AAAA]
        .into_iter()
        .filter_map(of)
        .flat_map(|lookup| ips(lookup.answers()))
        .collect();
    if !found.is_empty() {
        return Some((usable(found, has_route), HOSTS_TTL));
    }
    name.is_localhost().then(|| (vec![Ipv4Addr::LOCALHOST.into()], TTL_MAX))
}

/// IPv4 decides: a look-up of which only the half worked that has no route from here must not replace what
/// is known. A server that cannot tell about IPv6 hinders nothing.
async fn host_from_dns(resolver: TokioResolver, host: &str) -> Result<HostAnswer, NetError> {
    let four = match resolver.ipv4_lookup(host).await {
        Err(none) if none.is_no_records_found() => None,
        found => Some(found?),
    };
    let mut records = Vec::new();
    match four {
        None => records.extend_from_slice(resolver.ipv6_lookup(host).await?.answers()),
        Some(four) => {
            records.extend_from_slice(four.answers());
            // Of the search list's names the one that was found.
            if let Ok(six) = resolver.ipv6_lookup(four.query().name().clone()).await {
                records.extend_from_slice(six.answers());
            }
        }
    }
    let ips = usable(ips(&records), has_route);
    if ips.is_empty() {
        return Err(NetError::Message("it has no address"));
    }
    Ok((ips, ttl_of(&records)))
}

fn ips(records: &[Record]) -> Vec<IpAddr> {
    records.iter().filter_map(|record| record.data.ip_addr()).collect()
}

fn ttl_of(records: &[Record]) -> Duration {
    let shortest_s = records.iter().map(|record| record.ttl).min();
    shortest_s.map_or(TTL_MAX, |s| Duration::from_secs(s.into()))
}

/// The addresses of a host that make sense as backends, in order: getaddrinfo(3) would sort those that
/// have no route last (RFC 6724), here each would be a backend that fails. Of a name for this very host,
/// such as "localhost", those of IPv4 are enough: what listens there often does so in one family only.
pub(super) fn usable(mut ips: Vec<IpAddr>, has_route: impl Fn(IpAddr) -> bool) -> Vec<IpAddr> {
    ips.sort_unstable();
    ips.dedup();
    let own = ips.iter().all(IpAddr::is_loopback);
    if ips.iter().any(IpAddr::is_ipv4) {
        ips.retain(|&ip| ip.is_ipv4() || !own && has_route(ip));
    }
    ips
}

/// Whether packets could be sent there; none is.
fn has_route(ip: IpAddr) -> bool {
    UdpSocket::bind("[::]:0").and_then(|socket| socket.connect((ip, 9))).is_ok()
}

/// RFC 2782: those of the lowest priority number are used, the others in their stead. Weights up to 65535
/// are brought down in proportion to what a backend can weigh; where none says anything all weigh alike.
fn by_priority(mut found: Vec<(SocketAddr, SRV)>) -> Vec<ResolvedAddress> {
    let first = found.iter().map(|(_, record)| record.priority).min();
    let heaviest = found.iter().map(|(_, record)| u32::from(record.weight)).max().unwrap_or(0);
    found.sort_by_key(|(address, record)| (*address, record.priority, Reverse(record.weight)));
    found.dedup_by_key(|(address, _)| *address);
    found.sort_by_key(|(address, record)| (Some(record.priority) != first, *address));
    let weight = |record: &SRV| {
        let weight = u32::from(record.weight);
        let scaled = if heaviest > WEIGHT_MAX { weight * WEIGHT_MAX / heaviest } else { weight };
        scaled.clamp(1, WEIGHT_MAX) as u16
    };
    let resolved = |(address, record): (SocketAddr, SRV)| ResolvedAddress {
        address: Destination::Tcp(address),
        weight: Some(weight(&record)),
        backup: Some(record.priority) != first,
    };
    found.into_iter().map(resolved).collect()
}

fn in_words(cause: &NetError) -> String {
    match cause {
        _ if cause.is_nx_domain() => "no such name".to_owned(),
        _ if cause.is_no_records_found() => "it has no such record".to_owned(),
        NetError::Timeout => "no DNS server answered in time".to_owned(),
        NetError::NoConnections => "no DNS server can be reached".to_owned(),
        other => other.to_string(),
    }
}
