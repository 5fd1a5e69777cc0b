//! Where a service is: URLs, and the addresses that their names stand for now.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use http::Uri;

/// Why a client cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// No URL was given.
    #[error("no URL for the service was given")]
    NoUrl,
    /// A text is not a URL of a service.
    #[error("'{url}' is not the URL of a service; it should look like http://host:8084")]
    Url {
        /// What was given.
        url: String,
    },
    /// A URL asks for what is not offered.
    #[error("'{url}' asks for {scheme}, but services are reached by http")]
    Scheme {
        /// What was given.
        url: String,
        /// Its scheme.
        scheme: String,
    },
}

/// How long a name may take to resolve.
const RESOLVE_DEADLINE: Duration = Duration::from_secs(5);

/// One URL of a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Target {
    host: String,
    port: u16,
}

impl Target {
    pub(crate) fn parse(url: &str) -> Result<Self, ClientError> {
        let wrong = || ClientError::Url { url: url.to_owned() };
        let uri: Uri = url.trim().trim_end_matches('/').parse().map_err(|_| wrong())?;
        match uri.scheme_str() {
            Some("http") => {}
            Some(scheme) => {
                return Err(ClientError::Scheme { url: url.to_owned(), scheme: scheme.to_owned() });
            }
            None => return Err(wrong()),
        }
        if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(wrong());
        }
        let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { host, port: uri.port_u16().unwrap_or(80) })
    }

    /// The address, when no name needs to be looked up.
    pub(crate) fn literal(&self) -> Option<SocketAddr> {
        let ip: IpAddr = self.host.parse().ok()?;
        Some(SocketAddr::new(ip, self.port))
    }

    /// The addresses that the URL stands for now. Not cancel-safe in its cost only: a look-up that
    /// was begun goes on in the background.
    pub(crate) async fn resolve(&self) -> Result<BTreeSet<SocketAddr>, String> {
        if let Some(address) = self.literal() {
            return Ok(BTreeSet::from([address]));
        }
        let lookup = tokio::net::lookup_host((self.host.as_str(), self.port));
        match tokio::time::timeout(RESOLVE_DEADLINE, lookup).await {
            Ok(Ok(addresses)) => Ok(addresses.collect()),
            Ok(Err(error)) => Err(format!("'{}' does not resolve: {error}", self.host)),
            Err(_) => Err(format!("'{}' did not resolve in {RESOLVE_DEADLINE:?}", self.host)),
        }
    }

    /// The authority for requests: what the URL says, not what it resolved to.
    pub(crate) fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let target = Target::parse("http://storage:8084/").expect("valid");
        assert_eq!((target.authority().as_str(), target.literal()), ("storage:8084", None));
        let six = Target::parse("http://[::1]:8084").expect("valid");
        assert_eq!(six.literal(), Some("[::1]:8084".parse().expect("an address")));
        assert_eq!(six.authority(), "[::1]:8084");
    }

    #[test]
    fn what_is_no_service_is_refused_precisely() {
        for bad in ["", "storage:8084", "http://", "http://h/path", "http://h?x=1", "::"] {
            assert!(matches!(Target::parse(bad), Err(ClientError::Url { .. })), "{bad}");
        }
        assert!(matches!(Target::parse("https://h"), Err(ClientError::Scheme { .. })));
    }

    #[tokio::test]
    async fn a_name_resolves() {
        let addresses = Target::parse("http://localhost:1").expect("valid").resolve().await;
        assert!(addresses.expect("resolves").iter().all(|a| a.ip().is_loopback()));
    }
}
