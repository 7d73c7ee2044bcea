//! From a request to its answer: what is named, whether it has the method, who answers.

use super::live::{self, Events};
use super::problem::Problem;
use super::target::Target;
use super::{Life, Surface, changes, dashboard, pages};
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use hyper::{Request, Response, StatusCode};
use serde::Serialize;
use std::rc::Rc;

/// Answers a request.
pub(super) async fn answer(
    request: Request<Incoming>,
    surface: &Rc<Surface>,
    life: &Rc<Life>,
) -> Response<Either<Full<Bytes>, Events>> {
    answered(request, surface, life).await.unwrap_or_else(|problem| {
        let mut response = json(problem.status, &problem);
        if let Some(allow) = problem.allow {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        }
        if problem.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        whole(response)
    })
}

/// An answer that is there at once.
fn whole(response: Response<Full<Bytes>>) -> Response<Either<Full<Bytes>, Events>> {
    response.map(Either::Left)
}

async fn answered(
    request: Request<Incoming>,
    surface: &Rc<Surface>,
    life: &Rc<Life>,
) -> Result<Response<Either<Full<Bytes>, Events>>, Problem> {
    let path = match request.uri().path() {
        "/" if dashboard::is_wanted(request.headers()) => "/dashboard",
        path => path,
    };
    // Before anything is told, even which paths there are.
    if !Target::is_open(path) {
        surface.door.may_ask(request.headers())?;
    }
    let target = Target::of(path)?;
    if !target.takes(request.method()) {
        return Err(Problem::method(path, target.methods()));
    }
    match target {
        Target::Live => live::answer(&request, surface, life),
        Target::Page(page) => pages::answer(page, &request, &surface.desk).await.map(whole),
        Target::Backends { .. }
        | Target::Backend { .. }
        | Target::Verb { .. }
        | Target::Inject { .. }
        | Target::InjectIntoControl
        | Target::Reload
        | Target::ReopenLogs => changes::make(target, request, surface, life).await.map(whole),
    }
}

/// An answer of JSON.
pub(super) fn json(status: StatusCode, page: &impl Serialize) -> Response<Full<Bytes>> {
    match serde_json::to_string_pretty(page) {
        Ok(json) => text(status, "application/json", json + "\n"),
        // Our own pages have text for keys and finite numbers: nothing that JSON cannot say.
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, pages::TEXT, format!("{error}\n")),
    }
}

/// An answer of this type.
pub(super) fn text(status: StatusCode, kind: &'static str, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // A name that an operator chose is not to be taken for a page by a browser.
    fields.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
