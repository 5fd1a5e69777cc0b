//! One HTTP exchange: route, read, call, answer.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::timeout;
use tonic::{Code, body::Body};
use tower::{BoxError, Service};

use crate::{
    answer,
    binding::{Binding, BodyRule, Target},
    call::{DynamicCodec, client},
    download::{Asked, Download},
    frames::Framing,
    limits::Limits,
    metadata::{self, REQUEST_ID},
    problem::Problem,
    relay::{Opening, Relay, Upstreamed},
    request::{Parsed, Source},
    router::{Match, PathError, Segments},
    status,
    transcoder::{Endpoint, Shared, Transcoder, Unmatched},
    upload,
};

type Answer = Result<http::Response<Body>, Problem>;

impl<B> Service<http::Request<B>> for Transcoder
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    /// Dropping the future, or the body of the response, cancels the gRPC call.
    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        let (parts, body) = request.into_parts();
        let body = Body::new(body);
        async move { Ok(shared.respond(parts, body).await) }.boxed()
    }
}

impl Shared {
    async fn respond(&self, parts: Parts, body: Body) -> http::Response<Body> {
        let head = parts.method == Method::HEAD;
        let request_id = parts.headers.get(REQUEST_ID).cloned();
        let mut response = match self.exchange(parts, body).await {
            Ok(response) => response,
            Err(problem) => problem.into_response(),
        };
        if let (Some(id), false) = (request_id, response.headers().contains_key(REQUEST_ID)) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
        if head { without_body(response) } else { response }
    }

    async fn exchange(&self, parts: Parts, body: Body) -> Answer {
        let method = if parts.method == Method::HEAD { &Method::GET } else { &parts.method };
        let path = parts.uri.path();
        let segments = Segments::parse(path, self.limits.segments)
            .map_err(|error| bad_path(&error, &self.limits))?;
        let (endpoint, verb) = match self.router.find(method, &segments) {
            Match::Found { binding, verb } => (&self.endpoints[binding], verb),
            Match::OtherMethods(allowed) => return Err(wrong_method(method, path, &allowed)),
            Match::None => return Ok(not_found(method, path)),
        };
        let query = parts.uri.query().unwrap_or_default();
        if query.len() > self.limits.query {
            return Err(query_too_long(query.len(), self.limits.query));
        }
        let source = Source {
            schema: &self.schema,
            limits: &self.limits,
            binding: &endpoint.binding,
            segments: &segments,
            verb,
            query,
            headers: &parts.headers,
        };
        let exchange = Exchange {
            shared: self,
            endpoint,
            method,
            headers: &parts.headers,
            extensions: &parts.extensions,
        };
        // On the heap: a call's future is large, and most of what holds this one is not there yet.
        let answer = Box::pin(exchange.run(source, body)).await;
        let mut response = answer.unwrap_or_else(Problem::into_response);
        response.extensions_mut().insert(Arc::clone(&endpoint.route));
        Ok(response)
    }
}

/// One exchange whose route is known.
struct Exchange<'a> {
    shared: &'a Shared,
    endpoint: &'a Endpoint,
    method: &'a Method,
    headers: &'a HeaderMap,
    /// What layers in front have noted, such as the caller's identity: the call carries it on.
    extensions: &'a http::Extensions,
}

impl Exchange<'_> {
    async fn run(&self, source: Source<'_>, body: Body) -> Answer {
        let binding = &self.endpoint.binding;
        if binding.client_streaming {
            let first = source.parse(&Bytes::new())?;
            return self.upload(first, body).await;
        }
        let body = match self.method {
            &Method::GET => Bytes::new(),
            _ => read(body, self.headers, &self.shared.limits).await?,
        };
        let parsed = source.parse(&body)?;
        match &binding.stream {
            None => self.unary(&binding.target, parsed).await,
            Some(plan) => match &plan.switch {
                Some(switch) if !parsed.stream => self.unary(&switch.unary, parsed).await,
                _ => self.stream(parsed).await,
            },
        }
    }

    fn request<T>(&self, message: T) -> Result<tonic::Request<T>, Problem> {
        let mut request = tonic::Request::new(message);
        *request.metadata_mut() = metadata::metadata(self.headers, &self.shared.forwarded);
        *request.extensions_mut() = self.extensions.clone();
        if let Some(timeout) = metadata::timeout(self.headers)? {
            request.set_timeout(timeout);
        }
        Ok(request)
    }

    fn codec(&self, target: &Target) -> DynamicCodec {
        DynamicCodec { output: self.shared.schema.message(target.output).descriptor.clone() }
    }

    async fn unary(&self, target: &Target, parsed: Parsed) -> Answer {
        let request = self.request(parsed.message)?;
        let upstream = self.endpoint.upstream.clone();
        let call = async {
            let mut client = client(upstream, self.shared.limits.message).await?;
            client.unary(request, target.grpc_path.clone(), self.codec(target)).await
        };
        self.one(target, call.await)
    }

    async fn upload(&self, first: Parsed, body: Body) -> Answer {
        let binding = &self.endpoint.binding;
        let field = match binding.body {
            BodyRule::FieldBytes(position) => {
                let input = self.shared.schema.message(binding.input);
                Some(input.fields[position].descriptor.clone())
            }
            _ => None,
        };
        let (requests, broken) = upload::requests(first.message, field, self.headers.clone(), body);
        let request = self.request(requests)?;
        let target = &binding.target;
        let upstream = self.endpoint.upstream.clone();
        let call = async {
            let mut client = client(upstream, self.shared.limits.message).await?;
            let path = target.grpc_path.clone();
            client.client_streaming(request, path, self.codec(target)).await
        };
        tokio::select! {
            result = call => self.one(target, result),
            Ok(problem) = broken => Err(problem),
        }
    }

    /// The answer of a call that has one message.
    fn one(
        &self,
        target: &Target,
        result: Result<tonic::Response<prost_reflect::DynamicMessage>, tonic::Status>,
    ) -> Answer {
        let schema = &self.shared.schema;
        let response = result.map_err(|status| status::problem(schema, &status))?;
        let (metadata, message, _) = response.into_parts();
        let mut answer = if target.is_bytes() {
            self.download(target).whole(&message)?
        } else {
            answer::json(schema, target, &message)?
        };
        answer::name_request(&mut answer, &metadata);
        Ok(answer)
    }

    fn download<'a>(&'a self, target: &'a Target) -> Download<'a> {
        let schema = &self.shared.schema;
        let binding = &self.endpoint.binding;
        Download { schema, binding, target, method: self.method, headers: self.headers }
    }

    /// Asks for the range that is wanted, and if it turns out not to apply, for everything.
    async fn bytes(&self, message: prost_reflect::DynamicMessage) -> Answer {
        let binding = &self.endpoint.binding;
        let download = self.download(&binding.target);
        let mut ranged = message.clone();
        let asked = download.ask(&mut ranged);
        let upstream = Upstreamed::new(self.opening(binding, ranged)?);
        if let Some(answer) = download.streamed(upstream, asked).await? {
            return Ok(answer);
        }
        let upstream = Upstreamed::new(self.opening(binding, message)?);
        let answer = download.streamed(upstream, Asked::All).await?;
        answer.ok_or_else(|| Problem::response("a download of everything was refused"))
    }

    async fn stream(&self, parsed: Parsed) -> Answer {
        let binding = &self.endpoint.binding;
        if binding.target.is_bytes() {
            return self.bytes(parsed.message).await;
        }
        let upstream = Upstreamed::new(self.opening(binding, parsed.message)?);
        let Some(plan) = binding.stream.clone() else {
            return Err(Problem::response("a stream without a plan"));
        };
        let relay = Relay {
            schema: Arc::clone(&self.shared.schema),
            binding: Arc::clone(binding),
            target: binding.target.clone(),
            framing: Framing::of(self.headers),
            limits: self.shared.limits.clone(),
            plan,
            upstream,
        };
        relay.answer(parsed.resuming).await
    }

    fn opening(
        &self,
        binding: &Binding,
        message: prost_reflect::DynamicMessage,
    ) -> Result<Opening, Problem> {
        let request = self.request(message)?;
        let path = binding.target.grpc_path.clone();
        let codec = self.codec(&binding.target);
        let (upstream, limit) = (self.endpoint.upstream.clone(), self.shared.limits.message);
        Ok(async move {
            let mut client = client(upstream, limit).await?;
            client.server_streaming(request, path, codec).await
        }
        .boxed())
    }
}

/// The whole body, within its limits.
async fn read(body: Body, headers: &HeaderMap, limits: &Limits) -> Result<Bytes, Problem> {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    let length: Option<u64> = length.and_then(|text| text.parse().ok());
    if length.is_some_and(|length| length > limits.body as u64) {
        return Err(too_large(limits.body));
    }
    let collected = timeout(limits.body_time, Limited::new(body, limits.body).collect()).await;
    match collected {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limits.body)),
        Ok(Err(error)) => {
            Err(Problem::bad_request("BODY_BROKEN", format!("the body broke off: {error}")))
        }
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            Code::DeadlineExceeded,
            "BODY_TOO_SLOW",
            format!("the body did not arrive within {} s", limits.body_time.as_secs_f32()),
        )),
    }
}

fn too_large(limit: usize) -> Problem {
    let message = format!("the body is larger than {limit} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, Code::InvalidArgument, "BODY_TOO_LARGE", message)
}

fn query_too_long(length: usize, limit: usize) -> Problem {
    let message = format!("the query has {length} bytes; at most {limit} are read");
    Problem::new(StatusCode::URI_TOO_LONG, Code::InvalidArgument, "QUERY_TOO_LONG", message)
}

fn bad_path(error: &PathError, limits: &Limits) -> Problem {
    match error {
        PathError::NotText(number) => {
            let message = format!("segment {number} of the path is not UTF-8 once decoded");
            Problem::bad_request("INVALID_PATH", message)
        }
        PathError::TooMany => {
            let message = format!("the path has more than {} segments", limits.segments);
            Problem::new(StatusCode::URI_TOO_LONG, Code::InvalidArgument, "PATH_TOO_LONG", message)
        }
    }
}

fn wrong_method(method: &Method, path: &str, allowed: &[Method]) -> Problem {
    let mut allowed: Vec<&str> = allowed.iter().map(Method::as_str).collect();
    if allowed.contains(&"GET") {
        allowed.push("HEAD");
    }
    allowed.sort_unstable();
    let allowed = allowed.join(", ");
    let message = format!("{path} does not take {method}; it takes {allowed}");
    let http = StatusCode::METHOD_NOT_ALLOWED;
    let mut problem = Problem::new(http, Code::Unimplemented, "METHOD_NOT_ALLOWED", message);
    problem.allow = HeaderValue::from_str(&allowed).ok();
    problem
}

fn not_found(method: &Method, path: &str) -> http::Response<Body> {
    let message = format!("nothing answers {method} {path}");
    let problem = Problem::new(StatusCode::NOT_FOUND, Code::NotFound, "ROUTE_NOT_FOUND", message);
    let mut response = problem.into_response();
    response.extensions_mut().insert(Unmatched);
    response
}

/// The answer to HEAD: that of GET, with the length of what is not sent.
fn without_body(response: http::Response<Body>) -> http::Response<Body> {
    use http_body::Body as _;
    let (mut parts, body) = response.into_parts();
    if let (Some(length), false) =
        (body.size_hint().exact(), parts.headers.contains_key(header::CONTENT_LENGTH))
    {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    http::Response::from_parts(parts, Body::empty())
}
