//! No web page drives a local mesh: Host and Origin of plain HTTP calls must fit (DNS rebinding and
//! cross-site request forgery; OWASP, "Cross-Site Request Forgery Prevention").

use std::{collections::HashSet, net::IpAddr};

use ::http::{HeaderMap, Method, Request, StatusCode, Uri, header, uri::Authority};
use cortex_core::Fault;

use crate::{
    context::Peer,
    server::{ServerConfig, uploads::Uploads},
};

/// Which hosts and origins fit.
#[derive(Debug, Clone)]
pub(crate) struct Guard {
    hosts: HashSet<String>,
    any_host: bool,
    origins: HashSet<String>,
    uploads: Uploads,
}

/// Why a call is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) status: StatusCode,
    pub(crate) fault: Fault,
}

/// Media types that a web page may send anywhere without asking first (fetch.spec.whatwg.org,
/// "CORS-safelisted request-header").
const SENT_WITHOUT_ASKING: [&str; 3] =
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data"];

impl Guard {
    /// Bodies sent to `uploads` may be of any media type.
    pub(crate) fn new(config: &ServerConfig, uploads: Uploads) -> Self {
        let lower = |text: &String| text.trim_end_matches('/').to_ascii_lowercase();
        Self {
            hosts: config.allowed_hosts.iter().map(lower).collect(),
            any_host: config.allowed_hosts.iter().any(|host| host == "*"),
            origins: config.allowed_origins.iter().map(lower).collect(),
            uploads,
        }
    }

    /// Lets a call pass, or says why not.
    ///
    /// Every call needs a Host that is loopback, this end of its connection, or allowed. One that may
    /// change something also needs an Origin that fits, if it has one, and a body that no web page can
    /// send unasked.
    pub(crate) fn check<B: http_body::Body>(&self, request: &Request<B>) -> Result<(), Refusal> {
        let peer = request.extensions().get::<Peer>().copied().unwrap_or_default();
        let host = host(request)?;
        if !self.host_fits(&host, peer) {
            return Err(wrong_host(host.host()));
        }
        if matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
            return Ok(());
        }
        self.check_origin(request.headers(), &host)?;
        if self.uploads.contains(request.uri().path()) {
            return Ok(());
        }
        let empty = request.body().is_end_stream();
        check_media_type(request.headers(), empty)
    }

    fn host_fits(&self, host: &Authority, peer: Peer) -> bool {
        let name = host.host().trim_end_matches('.').to_ascii_lowercase();
        if self.any_host || self.hosts.contains(&name) || self.hosts.contains(host.as_str()) {
            return true;
        }
        if name == "localhost" || name.ends_with(".localhost") {
            return true;
        }
        let ip: Option<IpAddr> = name.trim_matches(['[', ']']).parse().ok();
        ip.is_some_and(|ip| {
            // A page can only make the browser send another page's address literally, and then the
            // Origin gives it away; a name that was rebound is not literal.
            let this_end = matches!(peer, Peer::Socket { local, .. } if local.ip() == ip);
            ip.is_loopback() || this_end
        })
    }

    fn check_origin(&self, headers: &HeaderMap, host: &Authority) -> Result<(), Refusal> {
        let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
        let origin = origin.to_str().unwrap_or("null").to_ascii_lowercase();
        let own = origin.parse::<Uri>().ok().and_then(|uri| uri.into_parts().authority);
        let fits = own.is_some_and(|authority| same_host(&authority, host))
            || self.origins.contains(&origin);
        if fits { Ok(()) } else { Err(wrong_origin(&origin)) }
    }
}

/// Same name and same port.
fn same_host(a: &Authority, b: &Authority) -> bool {
    a.host().eq_ignore_ascii_case(b.host()) && a.port_u16() == b.port_u16()
}

/// The host that the client wanted to reach.
fn host<B>(request: &Request<B>) -> Result<Authority, Refusal> {
    if let Some(authority) = request.uri().authority() {
        return Ok(authority.clone());
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let only = hosts.next().filter(|_| hosts.next().is_none());
    only.and_then(|host| host.to_str().ok()?.parse().ok()).ok_or_else(|| {
        let message = "the request needs exactly one valid Host header";
        refusal(StatusCode::BAD_REQUEST, Fault::invalid("host", message))
    })
}

fn check_media_type(headers: &HeaderMap, empty: bool) -> Result<(), Refusal> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else {
        return if empty { Ok(()) } else { Err(wrong_media_type("none")) };
    };
    let given = given.to_str().unwrap_or("unreadable");
    let essence = given.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if SENT_WITHOUT_ASKING.contains(&essence.as_str()) || !essence.contains('/') {
        return Err(wrong_media_type(given));
    }
    Ok(())
}

fn wrong_host(host: &str) -> Refusal {
    let message = format!(
        "the Host '{host}' is not one of this service's names; add it to server.allowed_hosts if it is"
    );
    refusal(StatusCode::FORBIDDEN, Fault::permission_denied("HOST_NOT_ALLOWED", message))
}

fn wrong_origin(origin: &str) -> Refusal {
    let message = format!(
        "pages of '{origin}' may not call this service; add it to server.allowed_origins if they may"
    );
    refusal(StatusCode::FORBIDDEN, Fault::permission_denied("ORIGIN_NOT_ALLOWED", message))
}

fn wrong_media_type(given: &str) -> Refusal {
    let message = format!("the body needs Content-Type: application/json, not {given}");
    let fault = Fault::invalid("content-type", message);
    refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, Fault { reason: "CONTENT_TYPE", ..fault })
}

fn refusal(status: StatusCode, fault: Fault) -> Refusal {
    Refusal { status, fault }
}

#[cfg(test)]
mod tests {
    use http_body_util::{Empty, Full};

    use super::*;

    fn guard() -> Guard {
        let config = ServerConfig {
            allowed_hosts: vec!["cortex.example.com".into()],
            allowed_origins: vec!["https://ui.example.com".into()],
            ..ServerConfig::default()
        };
        Guard::new(&config, Uploads::of(&[cortex_proto::descriptor_pool().clone()]))
    }

    fn post(headers: &[(&str, &str)]) -> Request<Full<bytes::Bytes>> {
        let mut request = Request::post("/x");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body("{}".into()).expect("a request")
    }

    fn code(headers: &[(&str, &str)]) -> Result<(), (u16, &'static str)> {
        guard().check(&post(headers)).map_err(|r| (r.status.as_u16(), r.fault.reason))
    }

    const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");
    const LOCAL: (&str, &str) = ("host", "localhost:8080");

    #[test]
    fn own_names_pass() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:1",
            "[::1]:8080",
            "a.localhost",
            "cortex.example.com:9",
        ] {
            assert_eq!(code(&[("host", host), JSON]), Ok(()), "{host}");
        }
    }

    #[test]
    fn a_rebound_name_is_refused_even_for_reading() {
        for host in ["evil.com", "localhost.evil.com", "127.0.0.1.evil.com:8080", "10.0.0.1"] {
            assert_eq!(code(&[("host", host), JSON]), Err((403, "HOST_NOT_ALLOWED")), "{host}");
        }
        let get = Request::get("/x").header("host", "evil.com").body(Empty::<bytes::Bytes>::new());
        assert!(guard().check(&get.expect("a request")).is_err());
    }

    #[test]
    fn a_missing_or_doubled_host_is_refused() {
        assert_eq!(code(&[JSON]), Err((400, "INVALID_FIELD")));
        assert_eq!(code(&[LOCAL, LOCAL, JSON]), Err((400, "INVALID_FIELD")));
    }

    #[test]
    fn this_end_of_the_connection_is_an_own_name() {
        let mut request = post(&[("host", "10.1.2.3:8085"), JSON]);
        let local = "10.1.2.3:8085".parse().expect("an address");
        let remote = "10.1.2.9:1234".parse().expect("an address");
        request.extensions_mut().insert(Peer::Socket { remote, local });
        assert_eq!(guard().check(&request), Ok(()));
    }

    #[test]
    fn another_pages_origin_is_refused() {
        for origin in ["https://evil.com", "null", "http://localhost:9999", "", "http://localhost"]
        {
            let refused = code(&[LOCAL, JSON, ("origin", origin)]);
            assert_eq!(refused, Err((403, "ORIGIN_NOT_ALLOWED")), "{origin}");
        }
        for origin in ["http://localhost:8080", "https://ui.example.com"] {
            assert_eq!(code(&[LOCAL, JSON, ("origin", origin)]), Ok(()), "{origin}");
        }
    }

    #[test]
    fn bodies_that_a_page_can_send_unasked_are_refused() {
        for kind in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=x",
            "json",
        ] {
            assert_eq!(
                code(&[LOCAL, ("content-type", kind)]),
                Err((415, "CONTENT_TYPE")),
                "{kind}"
            );
        }
        assert_eq!(code(&[LOCAL]), Err((415, "CONTENT_TYPE")));
        assert_eq!(code(&[LOCAL, ("content-type", "application/octet-stream")]), Ok(()));
    }

    #[test]
    fn an_upload_may_be_of_any_type_but_not_from_another_page() {
        let upload = |origin: &str| {
            let mut request = post(&[LOCAL, ("content-type", "text/plain"), ("origin", origin)]);
            *request.uri_mut() = Uri::from_static("/storage/artifacts:upload");
            guard().check(&request).map_err(|refusal| refusal.fault.reason)
        };
        assert_eq!(upload("http://localhost:8080"), Ok(()));
        assert_eq!(upload("https://evil.com"), Err("ORIGIN_NOT_ALLOWED"));
    }

    #[test]
    fn a_call_without_a_body_needs_no_media_type() {
        let delete =
            Request::delete("/x").header("host", "localhost").body(Empty::<bytes::Bytes>::new());
        assert_eq!(guard().check(&delete.expect("a request")), Ok(()));
    }
}
