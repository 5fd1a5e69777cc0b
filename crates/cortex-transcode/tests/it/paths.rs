//! Paths and queries to fields.

use cortex_transcode::{Route, Unmatched};
use http::Method;

use crate::server::{ask, asked, call, request, send};

#[tokio::test]
async fn paths_fill_fields() {
    let asked = asked();
    for (method, path, body, fields) in [
        ("GET", "/v1/shelves/a/books/b%20c", "", r#"GetBook {name="shelves/a/books/b c"}"#),
        ("GET", "/v1/shelves/a%2Fb/books/c", "", r#"GetBook {name="shelves/a%2Fb/books/c"}"#),
        ("GET", "/v1/files/a/b/c:d", "", r#"GetBook {name="a/b/c:d"}"#),
        (
            "PUT",
            "/v1/books/x%2Fy",
            r#"{"book":{"title":"T","book_id":"other"}}"#,
            r#"ReplaceBook {book={book_id="x/y" title="T"}}"#,
        ),
        (
            "PATCH",
            "/v1/books/17",
            r#"{"title":"T"}"#,
            r#"UpdateBook {book_id=17 book={title="T"}}"#,
        ),
        ("DELETE", "/v1/books/b1", "", r#"DeleteBook {book_id="b1"}"#),
        ("POST", "/v1/books/b1:lend?reader=r", "", r#"LendBook {book_id="b1" reader="r"}"#),
        ("POST", "/v1/books/b1:lend", "{}", r#"LendBook {book_id="b1"}"#),
        ("GET", "/v1/books:search", "", "ListBooks {}"),
    ] {
        assert_eq!(ask(&asked, method, path, body).await, fields, "{method} {path}");
    }
}

#[tokio::test]
async fn queries_fill_fields() {
    let asked = asked();
    for (query, fields) in [
        ("page_size=5&pageToken=a%2Bb+c", r#"page_size=5 page_token="a+b c""#),
        ("filter.status=lent&filter.min_pages=3", "filter={status=2 min_pages={value=3}}"),
        ("filter.not.not.status=BOOK_STATUS_LENT", "filter={not={not={status=2}}}"),
        ("tags=a&tags=b,c&any_status=lent&any_status=1", r#"tags=["a","b,c"] any_status=[2,1]"#),
        ("read_mask=title,pageCount", r#"read_mask={paths=["title","page_count"]}"#),
        ("younger_than=1.5s", "younger_than={seconds=1 nanos=500000000}"),
        ("filter.since=1970-01-01T01:00:01%2B01:00", "filter={since={seconds=1}}"),
        ("filter.since=1970-01-01T01:00:01+01:00", "filter={since={seconds=1}}"),
        ("descending=true&min_score=1e-3", "descending=true min_score=0.001"),
        ("extra=%7B%22a%22:1.0%7D", r#"extra="{\"a\":1.0}""#),
        ("digest=-_8&seed=18446744073709551615", r#"digest=b"\xfb\xff" seed=18446744073709551615"#),
        ("random=false&&", "random=false"),
        ("page_token=", ""),
    ] {
        let found = ask(&asked, "GET", &format!("/v1/books?{query}"), "").await;
        assert_eq!(found, format!("ListBooks {{{fields}}}"), "{query}");
    }
    let found = ask(&asked, "POST", "/v1/shelves/s/books?validate_only=true", r#"{"title":"T"}"#);
    assert_eq!(found.await, r#"CreateBook {shelf="s" book={title="T"} validate_only=true}"#);
}

#[tokio::test]
async fn a_wrong_query_says_what_would_be_right() {
    let asked = asked();
    for (query, error) in [
        ("page=1", "page: is not known; known parameters: page_size, page_token, filter, tags,"),
        ("page_size=many", "page_size: expected a 32-bit integer, got \"many\""),
        ("page_size=", "page_size: expected a 32-bit integer, got \"\""),
        ("page_size=1&page_size=2", "page_size: is given twice"),
        ("pageSize=1&page_size=2", "page_size: is given twice"),
        (
            "filter=x",
            "filter: a value of test.v1.BookFilter cannot be given as text; name one of its fields",
        ),
        (
            "filter.stat=lent",
            "filter.stat: is not known; known parameters: status, min_pages, since, not",
        ),
        (
            "filter.status=sold",
            "filter.status: expected one of \"on_shelf\", \"lent\", got \"sold\"",
        ),
        ("filter.since.seconds=1", "filter.since.seconds: has nothing within that is `seconds`"),
        (
            "filter.since=today",
            "filter.since: expected a date and time as in \"2026-01-31T12:00:00Z\"",
        ),
        ("younger_than=5", "younger_than: expected seconds as in \"1.5s\""),
        ("descending=yes", "descending: expected true or false, got \"yes\""),
        ("labels=a", "labels: is a map, which a query cannot hold"),
        ("extra=%7B", "extra: expected JSON: EOF while parsing an object at line 1, column 1"),
        ("order_field=a&random=true", "random: cannot be given together with order_field"),
        ("page_token=%ff", "page_token: is not UTF-8 once decoded"),
        ("a=1&b=2", "a: is not known; "),
    ] {
        let (status, found) = call(&asked, "GET", &format!("/v1/books?{query}"), "").await.error();
        assert_eq!(status, 400, "{query}");
        assert!(found.starts_with(error), "{query}: {found}");
    }
    for (method, path, error) in [
        (
            "DELETE",
            "/v1/books/b?book_id=c",
            "400 book_id: is part of the path and cannot be in the query",
        ),
        ("DELETE", "/v1/books/b?x=c", "400 x: is not known; this call takes no query parameters"),
        (
            "POST",
            "/v1/shelves/s/books?book.title=x",
            "400 book.title: is the body and cannot be in the query",
        ),
        (
            "POST",
            "/v1/echo?text=x",
            "400 text: is not taken from the query; this request is its body",
        ),
        ("PATCH", "/v1/books/abc", "400 book_id: expected a 64-bit integer, got \"abc\""),
    ] {
        assert_eq!(ask(&asked, method, path, "").await, error, "{method} {path}");
    }
}

#[tokio::test]
async fn every_wrong_field_is_listed_with_its_path() {
    let answer = call(&asked(), "GET", "/v1/books?page_size=x&filter.status=y", "").await;
    let error: serde_json::Value = serde_json::from_str(answer.text()).expect("JSON");
    assert_eq!(
        error,
        serde_json::json!({"error": {
            "code": 400,
            "status": "INVALID_ARGUMENT",
            "message": "page_size: expected a 32-bit integer, got \"x\" (and 1 more)",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "INVALID_FIELD",
                    "domain": "cortex",
                    "metadata": {},
                },
                {
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "field_violations": [
                        {
                            "field": "page_size",
                            "description": "expected a 32-bit integer, got \"x\"",
                        },
                        {
                            "field": "filter.status",
                            "description": "expected one of \"on_shelf\", \"lent\", got \"y\"",
                        },
                    ],
                },
            ],
        }})
    );
}

#[tokio::test]
async fn a_path_or_method_that_nothing_has_is_told_apart() {
    let asked = asked();
    let unknown = call(&asked, "GET", "/v1/nothing", "").await;
    assert_eq!(unknown.error(), (404, "nothing answers GET /v1/nothing".to_owned()));
    let hidden = call(&asked, "POST", "/test.v1.LibraryService/Hidden", "").await;
    assert_eq!(hidden.status, 404);
    let wrong = call(&asked, "POST", "/v1/books/b", "").await;
    let message = "/v1/books/b does not take POST; it takes DELETE, PATCH, PUT";
    assert_eq!(wrong.error(), (405, message.to_owned()));
    assert_eq!(wrong.header("allow"), Some("DELETE, PATCH, PUT"));
    let read = call(&asked, "DELETE", "/v1/books", "").await;
    assert_eq!(read.header("allow"), Some("GET, HEAD"));
    assert!(asked.knows("/v1/books/b"));
    assert!(!asked.knows("/v1/nothing"));
    let route = asked.route(&Method::GET, "/v1/shelves/a/books/b").expect("a route");
    assert_eq!(
        (route.rpc.as_str(), route.path.as_str()),
        ("GetBook", "/v1/{name=shelves/*/books/*}")
    );
    assert_eq!(asked.route(&Method::POST, "/v1/books"), None);
}

#[tokio::test]
async fn a_response_says_which_route_made_it() {
    use tower::ServiceExt as _;
    let get = async |path: &str| {
        let request = request("GET", path, &[], b"");
        asked().oneshot(request).await.expect("it cannot fail").into_parts().0.extensions
    };
    let made = get("/v1/files/x").await;
    let route = made.get::<std::sync::Arc<Route>>().expect("a route");
    assert_eq!((route.rpc.as_str(), route.path.as_str()), ("GetBook", "/v1/files/{name=**}"));
    assert!(!route.streaming);
    assert!(made.get::<Unmatched>().is_none());
    assert!(get("/v1/nothing").await.get::<Unmatched>().is_some());
}

#[tokio::test]
async fn paths_and_queries_have_limits() {
    let asked = asked();
    let deep = format!("/v1/files{}", "/a".repeat(63));
    assert_eq!(call(&asked, "GET", &deep, "").await.error().0, 414);
    let long = format!("/v1/books?page_token={}", "a".repeat(16 << 10));
    let (status, message) = call(&asked, "GET", &long, "").await.error();
    assert_eq!(
        (status, message.as_str()),
        (414, "the query has 16395 bytes; at most 16384 are read")
    );
    let nested = format!("/v1/books?filter.{}status=lent", "not.".repeat(98));
    assert!(ask(&asked, "GET", &nested, "").await.starts_with("ListBooks {filter={not={not="));
    let nested = format!("/v1/books?filter.{}status=lent", "not.".repeat(3000));
    let (status, message) = call(&asked, "GET", &nested, "").await.error();
    assert_eq!(status, 400);
    assert!(message.ends_with(": goes deeper than 100 levels"), "{message}");
    let (status, message) = call(&asked, "GET", "/v1/files/%ff", "").await.error();
    assert_eq!(status, 400);
    assert_eq!(message, "segment 3 of the path is not UTF-8 once decoded");
}

#[tokio::test]
async fn only_what_is_named_crosses_to_the_service() {
    let transcoder = crate::server::transcoder(|mut call| {
        Box::pin(async move {
            call.request().await;
            let names = ["authorization", "x-request-id", "traceparent", "cookie", "grpc-timeout"];
            let metadata = call.metadata.clone();
            let seen = names
                .map(|name| metadata.get(name).map(|it| it.to_str().unwrap_or("?").to_owned()));
            Err(tonic::Status::aborted(format!("{seen:?}")))
        })
    });
    let headers = [
        ("authorization", "Bearer t"),
        ("x-request-id", "r-1"),
        ("traceparent", "00-1-2-3"),
        ("cookie", "secret"),
        ("x-timeout", "1.5"),
    ];
    let answer = send(&transcoder, request("DELETE", "/v1/books/b", &headers, b"")).await;
    let seen = r#"[Some("Bearer t"), Some("r-1"), Some("00-1-2-3"), None, Some("1500000u")]"#;
    assert_eq!(answer.error().1, seen);
    assert_eq!(answer.header("x-request-id"), Some("r-1"));
    let wrong = [("grpc-timeout", "soon")];
    let answer = send(&transcoder, request("DELETE", "/v1/books/b", &wrong, b"")).await;
    let hint = "grpc-timeout: expected up to 8 digits and a unit of HMSmun, as in \"500m\"";
    assert_eq!(answer.error(), (400, hint.to_owned()));
}

#[tokio::test]
async fn what_layers_in_front_have_noted_reaches_a_local_service() {
    use tonic::{Status, body::Body};
    #[derive(Debug, Clone)]
    struct Caller(&'static str);
    let service = tower::service_fn(|request: http::Request<Body>| async move {
        let caller = request.extensions().get::<Caller>().map(|caller| caller.0);
        Ok::<_, std::convert::Infallible>(Status::aborted(caller.unwrap_or("nobody")).into_http())
    });
    let transcoder = cortex_transcode::Transcoder::builder(crate::server::pool().clone())
        .service(crate::server::LIBRARY, service)
        .build()
        .expect("the annotations fit");
    let mut request = request("GET", "/v1/files/x", &[], b"");
    request.extensions_mut().insert(Caller("alice"));
    assert_eq!(send(&transcoder, request).await.error(), (409, "alice".to_owned()));
}
