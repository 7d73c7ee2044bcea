//! weir's TLS and HTTP/2 before judges that are not ours: scanners, clients and browsers of the field, and for
//! HTTP/2 every case of h2spec's lists by a client that shares nothing with weir.
//!
//! Each test has a weir and a certificate authority of its own. What a judge needs is installed by `.ci/run`; where it
//! is missing a test is skipped with a line, under `WEIR_TESTS=all` it fails.
//!
//! | file | what |
//! |---|---|
//! | `scene.rs` | weir with certificates in front of a backend; the judges' Python |
//! | `conformance.rs` | HTTP/2, in the clear, over TLS and with backends, by the cases in `http2/` |
//! | `scanners.rs` | sslyze and testssl.sh on a listener as it is by default |
//! | `openssl.rs` | `openssl s_client`: versions, ALPN, names, resumption, stapling |
//! | `clients.rs` | certificates of clients, by `openssl s_client` and curl |
//! | `curl.rs` | curl over each version of HTTP and TLS |
//! | `chromium.rs` | a page and a WebSocket over HTTP/2 in a browser |
//! | `http2/` | the cases of HTTP/2, in Python on hyperframe and hpack |
#![allow(clippy::disallowed_methods, clippy::unwrap_used, clippy::expect_used)]

#[path = "../harness/mod.rs"]
mod harness;

mod chromium;
mod clients;
mod conformance;
mod curl;
mod openssl;
mod scanners;
mod scene;
