//! `listener.request_id` and `[tracing]`.

use super::*;
use weir::config::Collector;

#[test]
fn a_requests_id_stands_in_a_field_of_its_own() {
    let listener =
        |key: &str| format!("[[listener]]\naddress = \"127.0.0.1:3\"\npool = \"rest\"\n{key}{REST}");
    let field = |key: &str| config(&listener(key)).listeners[0].request_id.clone();
    assert_eq!(field(""), None);
    assert_eq!(field("request_id = \"\""), None);
    assert_eq!(field("request_id = \"X-Request-Id\"").as_deref(), Some("X-Request-Id"));
    for taken in [
        "host",
        "Content-Length",
        "content_length",
        "Via",
        "FORWARDED",
        "X-Forwarded-Anything",
        "traceparent",
    ] {
        let text = listener(&format!("request_id = \"{taken}\""));
        one(
            &faults(&text),
            (&text, 4, "listener[0].request_id", "has a meaning of its own", "Content-Length, Content-Range"),
        );
    }
    let text = listener("request_id = \"X Request\"");
    one(
        &faults(&text),
        (&text, 4, "listener[0].request_id", "not a name that a field can have", "\"X-Request-Id\""),
    );
}

#[test]
fn a_collector_is_an_http_address_to_which_the_path_of_traces_is_added() {
    for (address, host, port, path, shown) in [
        ("http://127.0.0.1:4318", "127.0.0.1", 4318, "/v1/traces", "http://127.0.0.1:4318/v1/traces"),
        ("http://otel.internal:80/", "otel.internal", 80, "/v1/traces", "http://otel.internal:80/v1/traces"),
        ("http://[::1]:4318/otlp/", "::1", 4318, "/otlp/v1/traces", "http://[::1]:4318/otlp/v1/traces"),
    ] {
        let tracing = config(&format!("[tracing]\notlp = \"{address}\"{REST}")).tracing.unwrap();
        let expected = Collector { host: host.to_owned(), port, path: path.to_owned() };
        assert_eq!((tracing.sample, tracing.otlp.as_ref()), (0.01, Some(&expected)), "{address}");
        assert_eq!(expected.to_string(), shown);
    }
    assert_eq!(config(&format!("[tracing]{REST}")).tracing.unwrap().otlp, None);
    assert_eq!(config(REST).tracing, None);
}

#[test]
fn faults_of_tracing_are_found() {
    each_is_one_fault(&[
        ("[tracing]\notlp = \"https://a:4318\"", 2, "tracing.otlp", "not built yet", "\"http://a:4318\""),
        (
            "[tracing]\notlp = \"grpc://a:4317\"",
            2,
            "tracing.otlp",
            "no http address",
            "http://127.0.0.1:4318",
        ),
        ("[tracing]\notlp = \"a:4318\"", 2, "tracing.otlp", "has no scheme", "write \"http://a:4318\""),
        ("[tracing]\notlp = \"http://a\"", 2, "tracing.otlp", "has no port", "\"http://a:4318\""),
        ("[tracing]\notlp = \"http://[::1]/x\"", 2, "tracing.otlp", "has no port", "\"http://[::1]:4318/x\""),
        ("[tracing]\notlp = \"http://a:0\"", 2, "tracing.otlp", "no port from 1", "4318"),
        (
            "[tracing]\notlp = \"http://a:4318/v1/traces\"",
            2,
            "tracing.otlp",
            "adds itself",
            "write \"http://a:4318\"",
        ),
        ("[tracing]\notlp = \"http://a:4318/b?c=d\"", 2, "tracing.otlp", "has a query", "4318"),
        ("[tracing]\notlp = \"http://u:p@a:4318\"", 2, "tracing.otlp", "a user", "4318"),
        ("[tracing]\notlp = \"http://a_/b:4318\"", 2, "tracing.otlp", "has no port", "add it"),
        ("[tracing]\notlp = \"http://-a:4318\"", 2, "tracing.otlp", "no host", "4318"),
        ("[tracing]\notlp = \"http://a:4318/b c\"", 2, "tracing.otlp", "no request's path", "percent-encode"),
        ("[tracing]\nsample = 2", 2, "tracing.sample", "2 is not a share", "0 to 1"),
    ]);
}
