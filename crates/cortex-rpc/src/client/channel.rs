//! One HTTP/2 connection to one address of a service.

use std::net::SocketAddr;

use http::Uri;
use tonic::transport::Endpoint;

use crate::{
    client::config::ClientConfig,
    server::window,
    transport::{Transport, over},
};

/// What the mesh calls itself.
const USER_AGENT: &str = concat!("cortex/", env!("CARGO_PKG_VERSION"));

/// A connection that is made with the first call and made again when it breaks. `authority` is what
/// requests call the host.
pub(crate) fn connect(address: SocketAddr, authority: &str, config: &ClientConfig) -> Transport {
    let channel = endpoint(address, authority, config).connect_lazy();
    let literal = address.to_string();
    let peer = if authority == literal { literal } else { format!("{authority} ({literal})") };
    Transport::of(over(channel, peer))
}

fn endpoint(address: SocketAddr, authority: &str, config: &ClientConfig) -> Endpoint {
    let uri = Uri::builder()
        .scheme("http")
        .authority(address.to_string())
        .path_and_query("/")
        .build()
        .expect("an address is an authority");
    let endpoint = Endpoint::from(uri)
        .connect_timeout(config.connect_timeout.get())
        .tcp_nodelay(true)
        .tcp_keepalive(Some(config.keepalive_interval.get()))
        .initial_stream_window_size(window(config.stream_window))
        .initial_connection_window_size(window(config.connection_window))
        .http2_max_header_list_size(window(config.max_header_bytes))
        .http2_keep_alive_interval(config.keepalive_interval.get())
        .keep_alive_timeout(config.keepalive_timeout.get());
    let endpoint = match format!("http://{authority}").parse() {
        Ok(origin) => endpoint.origin(origin),
        Err(_) => endpoint,
    };
    endpoint.user_agent(USER_AGENT).expect("the user agent is a header value")
}
