//! Where a colony can be asked: the coordinators that the caller named, in its order.
//!
//! Any coordinator serves any call, so a client that loses one may go on at the next. Only a query is asked again by
//! itself, and only before its first row: it changes nothing, its id is the same, and what its first coordinator left on
//! the board is gone on with.

use std::{sync::Arc, time::Duration};

use apiary_core::{Clock, ErrorKind, SystemClock};
use tonic::Status;

use super::{Bearer, Client, connect};
use crate::error::ClientError;

/// Most coordinators that one address may name.
const PLACES_MAX: usize = 16;

/// How often a query is asked again before its error is the caller's.
pub(super) const AGAIN_MAX: u32 = 6;

/// The wait before a query is asked again; it doubles with each, up to [`WAIT_MAX`].
const WAIT_FIRST: Duration = Duration::from_millis(100);

/// The longest wait.
const WAIT_MAX: Duration = Duration::from_secs(2);

/// Addresses, the one that is spoken to first. Empty: a channel that stands already, and nothing else.
#[derive(Debug, Clone, Default)]
pub(super) struct Places(Arc<[String]>);

impl Places {
    /// Reads addresses with commas between them.
    pub(super) fn of(urls: &str) -> Result<Self, ClientError> {
        let places: Arc<[String]> = urls.split(',').map(|url| url.trim().to_owned()).collect();
        if places.len() > PLACES_MAX {
            let text = format!("{} coordinators are named; at most {PLACES_MAX} are tried", places.len());
            return Err(ClientError::new(ErrorKind::InvalidInput, text));
        }
        Ok(Self(places))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// A client of the first that answers; the error is the first one's.
    pub(super) async fn connect(&self, bearer: Bearer) -> Result<Client, ClientError> {
        let mut first = None;
        for (at, url) in self.0.iter().enumerate() {
            match connect::connect(url).await {
                Ok((channel, is_local)) => {
                    let mut order = self.0.to_vec();
                    order.rotate_left(at);
                    return Ok(Client { channel, bearer, lz4: !is_local, places: Self(order.into()) });
                }
                Err(error) => drop(first.get_or_insert(error)),
            }
        }
        Err(first.unwrap_or_else(|| ClientError::new(ErrorKind::InvalidInput, "no coordinator is named")))
    }

    /// A client of the next that answers, the one that `client` speaks to last.
    pub(super) async fn elsewhere(&self, client: &Client) -> Result<Client, ClientError> {
        if self.0.is_empty() {
            return Ok(client.clone());
        }
        let mut order = self.0.to_vec();
        order.rotate_left(1);
        Self(order.into()).connect(client.bearer.clone()).await
    }
}

/// Waits before try number `tries` of asking again, counted from 0.
pub(super) async fn wait(tries: u32) {
    SystemClock.sleep((WAIT_FIRST * (1 << tries.min(10))).min(WAIT_MAX)).await;
}

/// Whether a status says that nobody answered, and not that somebody answered with an error.
pub(super) fn is_broken_off(status: &Status) -> bool {
    use tonic::Code::{Cancelled, Internal, Unavailable, Unknown};
    status.details().is_empty() && matches!(status.code(), Cancelled | Internal | Unavailable | Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn several_coordinators_are_named_with_commas() {
        let places = Places::of("grpc://a:1, b").unwrap();
        assert_eq!(&*places.0, ["grpc://a:1", "b"]);
        assert!(Places::of(&["a"; 17].join(",")).is_err());
    }

    #[tokio::test]
    async fn of_several_that_do_not_answer_the_first_is_told() {
        let error = Client::connect("grpc://127.0.0.1:1,grpc://127.0.0.1:2", None).await.unwrap_err();
        assert!(error.message.contains("127.0.0.1:1"), "{error:?}");
    }

    #[test]
    fn an_error_with_words_of_a_coordinator_is_no_broken_connection() {
        assert!(is_broken_off(&Status::unavailable("connection reset")));
        assert!(!is_broken_off(&Status::unimplemented("")));
        assert!(!is_broken_off(&ClientError::new(ErrorKind::Unavailable, "draining").into()));
    }
}
