//! Encodings of paths against two routes: 400 where a backend could read another route than weir did, else
//! the raw path, unchanged, to the backend of the route.

use crate::harness::{Backend, Weir, answers};

/// Who gets it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum To {
    Admin,
    Static,
    /// Nobody: it can be read in two ways.
    Refused,
    /// Nobody: no route has it, in any reading.
    Nobody,
}

use To::{Admin, Nobody, Refused, Static};

/// Two routes, `/admin` and `/static`, and no other.
const PATHS: &[(&str, To)] = &[
    // Plain, and what RFC 3986 section 6.2.2 calls the same.
    ("/admin", Admin),
    ("/admin/", Admin),
    ("/admin/x?y=z", Admin),
    ("/admin?x", Admin),
    ("/%61dmin", Admin),
    ("/%61%64%6D%69%6e", Admin),
    ("/admi%6E/x", Admin),
    ("/static/a.css", Static),
    ("/st%61tic/a%20b", Static),
    // On whole segments, and in its case.
    ("/administrator", Nobody),
    ("/admin.html", Nobody),
    ("/admin;x", Nobody),
    ("/ADMIN", Nobody),
    ("/Static/", Nobody),
    ("/admin%20", Nobody),
    ("/admin%00", Nobody),
    ("/admin%", Nobody),
    ("/admin%zz", Nobody),
    // Decoded once, not twice.
    ("/%2561dmin", Nobody),
    ("/static/%252e%252e/admin", Static),
    ("/static/..%252fadmin", Static),
    // Peculiar, but below the prefix in every reading.
    ("/static//a", Static),
    ("/static/./a", Static),
    ("/static/b/../a", Static),
    ("/static/%2e/a", Static),
    ("/static/a%2Fb", Static),
    ("/static/a%5Cb", Static),
    ("/static/a\\b", Static),
    ("/static/b/%2e%2e/a", Static),
    ("/static/...", Static),
    ("/static/..a", Static),
    ("/static/.a/a.", Static),
    ("/static/;/a", Static),
    ("/admin?/../static", Admin),
    ("/admin?a=%2F..%2Fstatic", Admin),
    ("/static/a?//", Static),
    // Out of the prefix, where dots are resolved.
    ("/static/../admin", Refused),
    ("/static/../admin/x", Refused),
    ("/static/..", Refused),
    ("/static/../", Refused),
    ("/static/./../admin", Refused),
    ("/static/a/../../admin", Refused),
    ("/static/%2e%2e/admin", Refused),
    ("/static/%2E%2e/admin", Refused),
    ("/static/.%2e/admin", Refused),
    ("/static/%2e./admin", Refused),
    ("/static/..;/admin", Refused),
    ("/static/..;a=b/admin", Refused),
    ("/x/../admin", Refused),
    ("/../admin", Refused),
    ("/./admin", Refused),
    ("/%2e/admin", Refused),
    // Where encoded slashes and backslashes are slashes.
    ("/static/..%2Fadmin", Refused),
    ("/static/..%2fadmin", Refused),
    ("/static%2F..%2Fadmin", Refused),
    ("/static/%2e%2e%2fadmin", Refused),
    ("/static/..%5Cadmin", Refused),
    ("/static/..%5cadmin", Refused),
    ("/static/..\\admin", Refused),
    ("/static\\..\\admin", Refused),
    ("/static%5C..%5Cadmin", Refused),
    ("/admin%2Fx", Refused),
    ("/admin%5Cx", Refused),
    ("/admin\\x", Refused),
    ("/%2Fadmin", Refused),
    ("/%5Cadmin", Refused),
    ("/\\admin", Refused),
    ("/x%2F..%2Fadmin", Refused),
    // Where empty segments are dropped.
    ("//admin", Refused),
    ("///admin", Refused),
    ("//static/a", Refused),
    ("/static//../admin", Refused),
    ("/static//..//admin", Refused),
    ("/static/a//../../admin", Refused),
    // Read in two ways, and neither leads to a route.
    ("/x/../y", Nobody),
    ("//x", Nobody),
    ("/x%2Fy", Nobody),
    ("/", Nobody),
];

fn in_front_of(admin: &Backend, stat: &Backend) -> Weir {
    Weir::start(&format!(
        "[runtime]\ncores = 1\n[[listener]]\nname = \"web\"\naddress = \"127.0.0.1:{{web}}\"\n\
         [[route]]\npath = \"/admin\"\npool = \"admin\"\n[[route]]\npath = \"/static\"\npool = \"static\"\n\
         [pool.admin]\n[[pool.admin.backend]]\naddress = \"{}\"\n\
         [pool.static]\n[[pool.static.backend]]\naddress = \"{}\"\n",
        admin.address(),
        stat.address()
    ))
}

#[test]
fn a_path_is_routed_as_every_server_reads_it_and_forwarded_raw_or_refused() {
    let (admin, stat) = (Backend::http(answers::echo()), Backend::http(answers::echo()));
    let weir = in_front_of(&admin, &stat);
    assert!(PATHS.len() >= 30);
    for form in ["", "http://h"] {
        for (path, to) in PATHS {
            let before = (admin.requests(), stat.requests());
            let response = weir.client().ask(format!("GET {form}{path} HTTP/1.1\r\nHost: h\r\n\r\n"));
            let (status, expected) = match to {
                Admin => (200, (before.0 + 1, before.1)),
                Static => (200, (before.0, before.1 + 1)),
                Refused => (400, before),
                Nobody => (404, before),
            };
            assert_eq!(response.status, status, "{form}{path}: {}", response.text());
            assert_eq!((admin.requests(), stat.requests()), expected, "{form}{path}");
            if status == 200 {
                let received = if *to == Admin { admin.last() } else { stat.last() };
                assert_eq!(received.line(), format!("GET {path} HTTP/1.1"), "as raw as it came");
            }
        }
    }
}

/// With one pool for everything there is no route to be confused about: all goes on raw.
#[test]
fn where_there_is_one_route_every_path_goes_on_raw() {
    let backend = Backend::http(answers::echo());
    let weir = Weir::start(&crate::harness::one_pool(&[&backend], "", ""));
    let mut client = weir.client();
    for (path, _) in PATHS {
        let response = client.get(path);
        assert_eq!((response.status, response.field("X-Target")), (200, Some(*path)));
    }
}
