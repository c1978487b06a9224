//! From an address as people write it to a channel.

use std::{net::IpAddr, time::Duration};

use apiary_core::{ErrorKind, limits::FIRST_CONTACT_MAX};
use http::uri::Authority;
use tonic::{
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint},
};

use crate::error::ClientError;

/// The coordinator's port.
const DEFAULT_PORT: u16 = 7410;

/// A connection that is silent this long is asked for a sign of life; twice that, and it counts as lost.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// A channel to `url` and whether it stays on this machine.
pub(super) async fn connect(url: &str) -> Result<(Channel, bool), ClientError> {
    let authority = authority(url)?;
    let endpoint = Endpoint::from_shared(format!("http://{authority}"))
        .map_err(|error| bad_url(url, &error.to_string()))?
        .connect_timeout(FIRST_CONTACT_MAX)
        .http2_keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE)
        .keep_alive_while_idle(true);
    // The endpoint's own limit does not cover the resolver.
    let channel = match tokio::time::timeout(FIRST_CONTACT_MAX, endpoint.connect()).await {
        Ok(Ok(channel)) => channel,
        Ok(Err(error)) => return Err(unreachable(&authority, &ClientError::from(error).message)),
        Err(_) => return Err(unreachable(&authority, "no answer within 5 s")),
    };
    Ok((channel, is_loopback(authority.host())))
}

/// The header that carries `token`.
pub(super) fn bearer(token: &str) -> Result<MetadataValue<Ascii>, ClientError> {
    let mut value: MetadataValue<Ascii> = format!("Bearer {token}").parse().map_err(|_| {
        ClientError::new(ErrorKind::InvalidInput, "the token holds characters that no header can carry")
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn authority(url: &str) -> Result<Authority, ClientError> {
    let rest = match url.split_once("://") {
        Some(("grpc" | "http", rest)) => rest,
        Some((scheme, _)) => return Err(bad_url(url, &format!("the scheme '{scheme}' is not known"))),
        None => url,
    };
    let authority: Authority =
        rest.trim_end_matches('/').parse().map_err(|_| bad_url(url, "there is no host and port in it"))?;
    if authority.as_str().contains('@') {
        return Err(bad_url(url, "it holds a user name; pass a token instead"));
    }
    if authority.host().is_empty() {
        return Err(bad_url(url, "it names no host"));
    }
    match authority.port_u16() {
        Some(_) => Ok(authority),
        None => format!("{}:{DEFAULT_PORT}", authority.host()).parse().map_err(|_| bad_url(url, "the port is wrong")),
    }
}

fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

fn bad_url(url: &str, why: &str) -> ClientError {
    let shown = url.split_once('@').map_or(url, |(_, host)| host);
    ClientError::new(ErrorKind::InvalidInput, format!("'{shown}' is not an address: {why}"))
        .with_hint("write grpc://host:7410".to_owned())
}

fn unreachable(authority: &Authority, why: &str) -> ClientError {
    ClientError::new(ErrorKind::Unavailable, format!("no coordinator answers at {authority}: {why}"))
        .with_hint("start one there with `apiary start`, or check host, port and firewall".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_people_write_them() {
        for (url, read) in [
            ("grpc://pi-1:7410", "pi-1:7410"),
            ("pi-1", "pi-1:7410"),
            ("http://127.0.0.1:9/", "127.0.0.1:9"),
            ("grpc://[::1]:8", "[::1]:8"),
            ("[::1]", "[::1]:7410"),
        ] {
            assert_eq!(authority(url).unwrap().as_str(), read);
        }
    }

    #[test]
    fn an_address_that_cannot_be_is_refused_without_its_password() {
        for url in ["ftp://x", "", "grpc://", "a b", "grpc://user:secret@host"] {
            let error = authority(url).unwrap_err();
            assert_eq!(error.kind, ErrorKind::InvalidInput, "{url}");
            assert!(!error.message.contains("secret"), "{}", error.message);
        }
    }

    #[test]
    fn the_loopback_is_known_in_all_its_spellings() {
        assert!(["localhost", "127.0.0.1", "127.1.2.3", "[::1]"].into_iter().all(is_loopback));
        assert!(!is_loopback("pi-1") && !is_loopback("10.0.0.1"));
    }

    #[tokio::test]
    async fn nobody_at_the_port_is_a_clear_error() {
        let error = connect("grpc://127.0.0.1:1").await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable);
        assert!(error.message.contains("127.0.0.1:1"), "{}", error.message);
    }
}
