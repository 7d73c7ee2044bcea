//! What heads and chunks cost: parse, rewrite, decode. Run with `cargo bench --bench http1`.
//!
//! The heads are those that wrk, a browser and nginx send. Parsing and writing go into a table and a
//! buffer that are used again, as in the proxy.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use weir::config::Forwarded;
use weir::http1::{
    CHUNK_END, ChunkDecoder, ChunkLimits, ConnectionField, DownstreamFraming, Fields, HeadLimits, LAST_CHUNK,
    Method, Parse, RequestHead, RequestRewrite, ResponseHead, ResponseRewrite, Via, parse_request,
    parse_response, write_chunk_head, write_request, write_response,
};

const WRK: &[u8] = b"GET /index.html HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nUser-Agent: wrk/4.2.0\r\n\
    Accept: */*\r\n\r\n";

const BROWSER: &[u8] = b"GET /articles/2026/load-balancing?utm_source=newsletter&page=2 HTTP/1.1\r\n\
    Host: www.example.org\r\n\
    Connection: keep-alive\r\n\
    sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\", \"Google Chrome\";v=\"140\"\r\n\
    sec-ch-ua-mobile: ?0\r\n\
    Upgrade-Insecure-Requests: 1\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 \
    Safari/537.36\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n\
    Sec-Fetch-Site: same-origin\r\n\
    Referer: https://www.example.org/articles/2026\r\n\
    Accept-Encoding: gzip, deflate, br, zstd\r\n\
    Accept-Language: de-CH,de;q=0.9,en;q=0.8\r\n\
    Cookie: session=7f3f1c0a9b5e4d2c8a6b1e0f3d5c7a9b; theme=dark; consent=2026-01-01T00:00:00Z\r\n\r\n";

const NGINX: &[u8] = b"HTTP/1.1 200 OK\r\n\
    Server: nginx/1.31.5\r\n\
    Date: Mon, 05 Jan 2026 10:00:00 GMT\r\n\
    Content-Type: text/html\r\n\
    Content-Length: 16384\r\n\
    Last-Modified: Mon, 05 Jan 2026 09:00:00 GMT\r\n\
    Connection: keep-alive\r\n\
    ETag: \"695b7e10-4000\"\r\n\
    Accept-Ranges: bytes\r\n\r\n";

const LIMITS: HeadLimits = HeadLimits { max_head: 32 << 10, max_headers: 100 };
const CHUNKS: ChunkLimits = ChunkLimits { max_line: 256, max_extensions: 16 << 10, max_trailers: 8 << 10 };

fn request(bytes: &[u8], fields: &mut Fields) -> RequestHead {
    match parse_request(bytes, &LIMITS, fields) {
        Ok(Parse::Complete(head)) => head,
        other => panic!("the request is good and whole: {other:?}"),
    }
}

fn response(bytes: &[u8], fields: &mut Fields) -> ResponseHead {
    match parse_response(bytes, &LIMITS, fields, Method::Get) {
        Ok(Parse::Complete(head)) => head,
        other => panic!("the response is good and whole: {other:?}"),
    }
}

fn requests(c: &mut Criterion) {
    let mut fields = Fields::default();
    let mut out = Vec::with_capacity(4096);
    let via = Via::new("weir");
    let rewrite = |forwarded| RequestRewrite {
        forwarded,
        trusted: false,
        peer: Some(b"192.0.2.17"),
        client: Some(b"192.0.2.17"),
        proto: b"http",
        via: Some(&via),
        upgrade: false,
        added: b"",
    };
    for (name, bytes) in [("wrk, 3 fields", WRK), ("browser, 12 fields", BROWSER)] {
        let mut group = c.benchmark_group(format!("request: {name}"));
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function("parse", |b| b.iter(|| request(black_box(bytes), &mut fields)));
        let head = request(bytes, &mut fields);
        for (what, forwarded) in [("rewrite", Forwarded::Append), ("rewrite, forwarded off", Forwarded::Off)]
        {
            group.bench_function(what, |b| {
                b.iter(|| {
                    out.clear();
                    write_request(black_box(bytes), &head, &fields, &rewrite(forwarded), &mut out);
                    out.len()
                });
            });
        }
        group.bench_function("parse and rewrite", |b| {
            b.iter(|| {
                out.clear();
                let head = request(black_box(bytes), &mut fields);
                write_request(bytes, &head, &fields, &rewrite(Forwarded::Append), &mut out);
                out.len()
            });
        });
    }
}

fn responses(c: &mut Criterion) {
    let mut fields = Fields::default();
    let mut out = Vec::with_capacity(4096);
    let rewrite = ResponseRewrite {
        framing: DownstreamFraming::AsReceived,
        connection: ConnectionField::None,
        upgrade: false,
        added: b"",
    };
    let mut group = c.benchmark_group("response: nginx, 8 fields");
    group.throughput(Throughput::Bytes(NGINX.len() as u64));
    group.bench_function("parse", |b| b.iter(|| response(black_box(NGINX), &mut fields)));
    let head = response(NGINX, &mut fields);
    group.bench_function("rewrite", |b| {
        b.iter(|| {
            out.clear();
            write_response(black_box(NGINX), &head, &fields, &rewrite, &mut out);
            out.len()
        });
    });
    group.bench_function("parse and rewrite", |b| {
        b.iter(|| {
            out.clear();
            let head = response(black_box(NGINX), &mut fields);
            write_response(NGINX, &head, &fields, &rewrite, &mut out);
            out.len()
        });
    });
}

fn chunks(c: &mut Criterion) {
    let mut group = c.benchmark_group("chunks: 16 KiB");
    group.throughput(Throughput::Bytes(16 << 10));
    for size in [16 << 10, 1 << 10, 64] {
        let mut body = Vec::new();
        for _ in 0..(16 << 10) / size {
            write_chunk_head(size, &mut body);
            body.resize(body.len() + size, b'x');
            body.extend_from_slice(CHUNK_END);
        }
        body.extend_from_slice(LAST_CHUNK);
        group.bench_function(format!("decode, chunks of {size}"), |b| {
            b.iter(|| {
                let mut payload = 0;
                let chunks =
                    ChunkDecoder::new(CHUNKS).decode(black_box(&body), |range| payload += range.len());
                assert!(chunks.is_ok_and(|chunks| chunks.done));
                payload
            });
        });
    }
}

criterion_group!(benches, requests, responses, chunks);
criterion_main!(benches);
