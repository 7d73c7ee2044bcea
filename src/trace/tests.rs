//! The rules of the formats as tables, and what holds for any input.
#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn dice() -> Dice {
    Dice::new([1, 2, 3, 4])
}

#[test]
fn a_traceparent_is_read_by_the_rules_of_its_version() {
    let good = format!("00-{TRACE}-{SPAN}-01");
    for (case, value, is_read) in [
        ("sampled", good.clone(), true),
        ("not sampled", format!("00-{TRACE}-{SPAN}-00"), true),
        ("all flags", format!("00-{TRACE}-{SPAN}-ff"), true),
        ("more behind version 00", format!("{good}-"), false),
        ("a later version", format!("cc-{TRACE}-{SPAN}-01"), true),
        ("a later version with more", format!("cc-{TRACE}-{SPAN}-01-what.will-be"), true),
        ("a later version with more, not set off", format!("cc-{TRACE}-{SPAN}-01.what"), false),
        ("version ff", format!("ff-{TRACE}-{SPAN}-01"), false),
        ("no trace", format!("00-{}-{SPAN}-01", "0".repeat(32)), false),
        ("no span", format!("00-{TRACE}-{}-01", "0".repeat(16)), false),
        ("capital letters", good.to_uppercase(), false),
        ("a capital letter in the version", format!("0A-{TRACE}-{SPAN}-01"), false),
        ("no digit", format!("00-{}g-{SPAN}-01", &TRACE[1..]), false),
        ("too short", good[..54].to_owned(), false),
        ("other marks", good.replace('-', "_"), false),
        ("white space", format!(" {}", &good[..54]), false),
        ("nothing", String::new(), false),
        ("two in one", format!("{good},{good}"), false),
    ] {
        assert_eq!(Parent::read(value.as_bytes()).is_some(), is_read, "{case}: {value}");
    }
}

#[test]
fn a_trace_is_continued_under_a_new_span_and_a_trusted_parent_decides_whether_it_is_sampled() {
    for (case, flags, trusted, share, expected) in [
        ("trusted, sampled", "01", true, 0.0, "01"),
        ("trusted, not sampled", "00", true, 1.0, "00"),
        ("not trusted, so the share decides", "01", false, 0.0, "00"),
        ("not trusted, so the share decides", "00", false, 1.0, "01"),
        ("what level 2 says of the id stays true", "03", true, 0.0, "03"),
        ("flags that nobody knows are not passed on", "fd", true, 0.0, "01"),
    ] {
        let parent = Parent::read(format!("00-{TRACE}-{SPAN}-{flags}").as_bytes()).unwrap();
        let context = Context::after(Some(&parent), trusted, Share::of(share), &mut dice());
        assert_eq!(context.parent, Some(parent.span));
        let text = String::from_utf8(context.text().to_vec()).unwrap();
        assert!(text.starts_with(&format!("00-{TRACE}-")) && !text.contains(SPAN), "{case}: {text}");
        assert!(text.ends_with(&format!("-{expected}")), "{case}: {text}");
    }
}

#[test]
fn a_new_trace_has_no_parent_and_is_sampled_by_the_share() {
    let mut dice = dice();
    for (share, sampled) in [(0.0, false), (1.0, true)] {
        let context = Context::after(None, true, Share::of(share), &mut dice);
        assert_eq!((context.parent, context.sampled), (None, sampled));
        let again = Parent::read(&context.text()).unwrap();
        assert_eq!((again.trace, again.span, again.is_sampled()), (context.trace, context.span, sampled));
    }
}

#[test]
fn a_share_of_traces_is_sampled_and_who_samples_more_samples_those_too() {
    let mut dice = dice();
    let traces: Vec<TraceId> = (0..20_000).map(|_| TraceId::draw(&mut dice)).collect();
    let tenth = traces.iter().filter(|trace| trace.is_in(Share::of(0.1))).count();
    assert!((1_800..2_200).contains(&tenth), "{tenth}");
    assert!(traces.iter().all(|trace| !trace.is_in(Share::of(0.1)) || trace.is_in(Share::of(0.2))));
    // As OpenTelemetry's samplers do it: of ids that end in the largest numbers.
    assert!(TraceId([0xff; 16]).is_in(Share::of(0.000_001)));
    assert!(!TraceId([1; 16]).is_in(Share::of(0.99)));
}

#[test]
fn an_id_from_a_peer_is_short_visible_and_a_word() {
    for (case, value, good) in [
        ("a UUID", "01890a5d-ac96-774b-bcce-b302099a8057", true),
        ("Amazon's", "Root=1-67891233-abcdef012345678912345678", true),
        ("base 64", "q83vEjRWeJA+/w==", true),
        ("a path", "a/b:c.d_e~f", true),
        ("nothing", "", false),
        ("a space", "a b", false),
        ("a quote", "a\"b", false),
        ("a list", "a,b", false),
        ("a line break", "a\r\nb", false),
        ("beyond ASCII", "ä", false),
    ] {
        assert_eq!(is_id(value.as_bytes()), good, "{case}");
    }
    assert!(is_id(&[b'a'; ID_MAX]) && !is_id(&[b'a'; ID_MAX + 1]));
}

#[test]
fn a_uuid_has_its_time_its_version_and_its_variant() {
    // RFC 9562 §A.6: the same moment begins with the same digits.
    let text =
        String::from_utf8(Mint::default().make(0x017F_22E2_79B0, &mut dice()).text().to_vec()).unwrap();
    assert!(text.starts_with("017f22e2-79b0-7"), "{text}");
    assert!(matches!(text.as_bytes()[19], b'8' | b'9' | b'a' | b'b'), "{text}");
    let dashes: Vec<usize> = text.match_indices('-').map(|(at, _)| at).collect();
    assert_eq!(dashes, [8, 13, 18, 23]);
}

#[test]
fn uuids_stay_in_order_when_a_millisecond_has_more_than_it_has_numbers_for() {
    let (mut mint, mut dice) = (Mint::default(), dice());
    let made: Vec<Uuid> = (0..10_000).map(|_| mint.make(5, &mut dice)).collect();
    assert!(made.is_sorted_by(|a, b| a < b));
}

#[test]
fn uuids_follow_a_clock_that_is_set_back_far() {
    let (mut mint, mut dice) = (Mint::default(), dice());
    let before = mint.make(3_600_000, &mut dice);
    assert!(mint.make(1_000, &mut dice) < before);
}

proptest! {
    #[test]
    fn whatever_is_read_is_what_is_written(trace in any::<[u8; 16]>(), span in any::<[u8; 8]>(), flags in any::<u8>()) {
        let (mut digits, mut more) = ([0; 32], [0; 16]);
        hex(&trace, &mut digits);
        hex(&span, &mut more);
        let digits = [&digits[..], b"-", &more].concat();
        let value = [b"00-", &digits[..], format!("-{flags:02x}").as_bytes()].concat();
        let read = Parent::read(&value);
        prop_assert_eq!(read.is_some(), trace != [0; 16] && span != [0; 8]);
        if let Some(parent) = read {
            prop_assert_eq!((parent.trace.0, parent.span.0), (trace, span));
            prop_assert_eq!(parent.is_sampled(), flags & 1 == 1);
        }
    }

    #[test]
    fn any_bytes_are_read_or_not_and_what_goes_on_is_always_right(bytes in proptest::collection::vec(any::<u8>(), 0..80), trusted in any::<bool>(), seed in any::<[u64; 4]>()) {
        let parent = Parent::read(&bytes);
        let context = Context::after(parent.as_ref(), trusted, Share::of(0.5), &mut Dice::new(seed));
        let text = context.text();
        let next = Parent::read(&text).unwrap();
        prop_assert_eq!(next.trace, context.trace);
        prop_assert_eq!(next.is_sampled(), context.sampled);
        prop_assert!(parent.is_none_or(|parent| parent.trace == next.trace));
    }

    #[test]
    fn uuids_grow_whatever_the_clock_does_within_reason(steps in proptest::collection::vec(-3_000i64..3_000, 1..200), seed in any::<[u64; 4]>()) {
        let (mut mint, mut dice) = (Mint::default(), Dice::new(seed));
        let mut now = 1_700_000_000_000_i64;
        let mut furthest = now;
        let mut last = mint.make(now as u64, &mut dice);
        for step in steps {
            now = (now + step).max(furthest - 9_000);
            furthest = furthest.max(now);
            let next = mint.make(now as u64, &mut dice);
            prop_assert!(next > last);
            prop_assert!(is_id(&next.text()));
            last = next;
        }
    }
}
