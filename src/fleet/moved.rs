//! How many clients a change sends to another backend, in a pool whose policy goes by a hash.
//!
//! Asked before and after, by the very code that picks: for a sample of clients, where each goes.

use super::roster::Member;
use super::status::Will;
use crate::balance::{self, Asked, BackendId, Picker, Traffic, View, client_hash, name_hash};
use crate::config::Policy;
use crate::time::Instant;
use std::net::{IpAddr, Ipv4Addr};

/// Clients that are asked about: the share is right to about 1 %.
const SAMPLE: u32 = 4096;

/// Share of clients, 0 to 1, that go to another backend; `None` where no hash decides. `traffic` is what a
/// backend gets now.
pub(crate) fn moved(
    policy: Policy,
    before: &[Member],
    after: &[Member],
    traffic: impl Fn(BackendId) -> Traffic,
) -> Option<f64> {
    match policy {
        Policy::IpHash => {}
        Policy::RoundRobin | Policy::LeastConn | Policy::RandomTwo => return None,
    }
    let now_gets = |member: &Member| Traffic { ramp: None, ..traffic(member.id) };
    let gets = |member: &Member| match before.iter().find(|same| same.name == member.name) {
        _ if member.will != Will::Ready => Traffic::NOTHING,
        // Who comes, or comes back, is taken to pass its check.
        None => Traffic::ALL,
        Some(was) if was.will != Will::Ready => Traffic::ALL,
        Some(_) => now_gets(member),
    };
    let mut one = Choice::new(policy, before, now_gets);
    let mut other = Choice::new(policy, after, gets);
    let differ = (0..SAMPLE).filter(|client| one.of(*client) != other.of(*client)).count();
    Some(differ as f64 / f64::from(SAMPLE))
}

/// Whom the policy picks.
struct Choice<'a> {
    members: &'a [Member],
    picker: Picker,
    view: View,
}

impl<'a> Choice<'a> {
    fn new(policy: Policy, members: &'a [Member], gets: impl Fn(&Member) -> Traffic) -> Self {
        // By place: one that is to be added has no number yet.
        let picked: Vec<balance::Member> = (0..)
            .zip(members)
            .map(|(place, member)| balance::Member {
                id: BackendId(place),
                weight: member.weight,
                backup: member.backup,
                key: name_hash(&member.name),
                traffic: gets(member),
            })
            .collect();
        Self { members, picker: Picker::new(policy, &picked, 0), view: View::new(0, picked.len()) }
    }

    fn of(&mut self, client: u32) -> Option<&'a str> {
        // Spread over all of IPv4 by an odd factor.
        let client = client_hash(&IpAddr::V4(Ipv4Addr::from(client.wrapping_mul(0x9e37_79b1))));
        let asked = Asked { client, tried: &[], may_retry: false, now: Instant::default() };
        let place = self.picker.pick(&self.view, &asked)?;
        self.members.get(place).map(|member| member.name.as_str())
    }
}
