//! Every input that fuzzing kept, through the property it was kept for.

use super::properties::{chunk_decoder, exchange, http2, request_head, response_head, shown};
use std::fs;
use std::path::Path;

/// Runs the property over all files of a target, and says how many there were.
fn run(target: &str, holds: fn(&[u8])) -> usize {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz");
    let mut count = 0;
    for folder in ["seeds", "corpus"] {
        for entry in fs::read_dir(fuzz.join(folder).join(target)).unwrap() {
            let path = entry.unwrap().path();
            let bytes = fs::read(&path).unwrap();
            if std::panic::catch_unwind(|| holds(&bytes)).is_err() {
                panic!("{} does not hold: {}", path.display(), shown(&bytes));
            }
            count += 1;
        }
    }
    count
}

#[test]
fn the_kept_request_heads_hold() {
    assert!(run("request_head", request_head::holds) > 100);
}

#[test]
fn the_kept_response_heads_hold() {
    assert!(run("response_head", response_head::holds) > 100);
}

#[test]
fn the_kept_chunked_bodies_hold() {
    assert!(run("chunk_decoder", chunk_decoder::holds) > 100);
}

#[test]
fn the_kept_exchanges_hold() {
    assert!(run("exchange", exchange::holds) > 100);
}

#[test]
fn the_kept_http_2_messages_hold() {
    assert!(run("http2", http2::holds) > 100);
}
