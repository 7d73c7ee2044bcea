//! Beside httparse: whatever both take must mean the same.
//!
//! httparse is laxer in many places, and these inputs reach them: where it takes more, nothing is asked.
//! Not here: bodies, several messages in a row, and what is passed on (`tests/corpus`).

use super::generate::{almost, good_request, good_response};
use super::*;
use proptest::prelude::*;

/// Names and values of httparse, to be compared with ours.
fn theirs<'a>(headers: &'a [httparse::Header<'a>]) -> Vec<(&'a [u8], &'a [u8])> {
    headers.iter().map(|header| (header.name.as_bytes(), header.value)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn a_request_that_both_take_means_the_same_to_both(bytes in almost(good_request())) {
        let mut headers = [httparse::EMPTY_HEADER; 100];
        let mut their = httparse::Request::new(&mut headers);
        let their_len = their.parse(&bytes);
        let mut fields = Fields::default();
        let ours = parse_request(&bytes, &LIMITS, &mut fields);
        if let (Ok(Parse::Complete(head)), Ok(httparse::Status::Complete(len))) = (&ours, &their_len) {
            prop_assert_eq!(head.len, *len);
            prop_assert_eq!(head.method_span.of(&bytes), their.method.unwrap().as_bytes());
            let after_method = head.method_span.end as usize + 1;
            let target = their.path.unwrap().as_bytes();
            prop_assert_eq!(&bytes[after_method..after_method + target.len()], target);
            prop_assert_eq!(bytes[after_method + target.len()], b' ');
            prop_assert_eq!(head.version == Version::Http11, their.version == Some(1));
            prop_assert_eq!(fields.iter(&bytes).collect::<Vec<_>>(), theirs(their.headers));
        }
        // What they wait for the rest of, we do not call whole.
        prop_assert!(
            !(matches!(ours, Ok(Parse::Complete(_))) && their_len == Ok(httparse::Status::Partial))
        );
    }

    #[test]
    fn a_response_that_both_take_means_the_same_to_both(bytes in almost(good_response())) {
        let mut headers = [httparse::EMPTY_HEADER; 100];
        let mut their = httparse::Response::new(&mut headers);
        let their_len = their.parse(&bytes);
        let mut fields = Fields::default();
        let ours = parse_response(&bytes, &LIMITS, &mut fields, Method::Get);
        if let (Ok(Parse::Complete(head)), Ok(httparse::Status::Complete(len))) = (&ours, &their_len) {
            prop_assert_eq!((head.len, Some(head.status)), (*len, their.code));
            prop_assert_eq!(head.version == Version::Http11, their.version == Some(1));
            // They give an empty reason where it has bytes above ASCII.
            let reason = their.reason.unwrap().as_bytes();
            prop_assert!(reason.is_empty() || reason == head.reason.of(&bytes));
            prop_assert_eq!(fields.iter(&bytes).collect::<Vec<_>>(), theirs(their.headers));
        }
    }
}
