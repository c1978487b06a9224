//! Which colony a command speaks to, and the way there: a bucket opened in this process, a coordinator elsewhere,
//! or, when nothing was said, a node that lives on this machine, else the folder `~/.apiary/default`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use apiary_proto::Client;

use crate::{
    args::TargetArgs,
    embedded::{Embedded, EmbeddedOptions, Leave},
    failure::CliError,
    home,
};

/// The coordinator's port.
pub(crate) const COORDINATOR_PORT: u16 = 7410;
/// A node on this machine accepts a connection within microseconds; this bounds a firewall that swallows it.
const PROBE_MAX: Duration = Duration::from_millis(200);

/// What the options and the environment say together.
#[derive(Debug, PartialEq, Eq)]
enum Choice {
    /// A coordinator.
    Connect(String),
    /// A bucket.
    Storage(String),
    /// Nothing was said.
    Nearest,
}

/// A way to a colony. Close it, so that a colony in this process can end in order.
#[derive(Debug)]
pub(crate) struct Connection {
    client: Client,
    embedded: Option<Embedded>,
}

impl Connection {
    /// Finds the colony and connects; a bucket that is opened in this process is left no more than `leave`.
    pub(crate) async fn open(target: &TargetArgs, leave: Leave) -> Result<Self, CliError> {
        match choose(target, |name| std::env::var(name).ok()) {
            Choice::Connect(url) => Self::remote(&url, target.token.clone()).await,
            Choice::Storage(uri) => Self::embedded(&uri, target.data_dir.clone(), leave).await,
            Choice::Nearest if node_lives_here().await => {
                Self::remote(&format!("grpc://127.0.0.1:{COORDINATOR_PORT}"), target.token.clone()).await
            }
            Choice::Nearest => {
                let folder = home::default_bucket()?;
                Self::embedded(&folder.to_string_lossy(), target.data_dir.clone(), leave).await
            }
        }
    }

    async fn remote(url: &str, token: Option<String>) -> Result<Self, CliError> {
        Ok(Self { client: Client::connect(url, token).await?, embedded: None })
    }

    async fn embedded(uri: &str, data_dir: Option<PathBuf>, leave: Leave) -> Result<Self, CliError> {
        let options = EmbeddedOptions { data_dir, leave, ..EmbeddedOptions::default() };
        let embedded = Embedded::start(uri, options).await?;
        Ok(Self { client: embedded.client().clone(), embedded: Some(embedded) })
    }

    /// Whether it takes no heartbeat to see it: a colony in this process that leaves nothing in its bucket.
    pub(crate) fn is_visitor(&self) -> bool {
        self.embedded.as_ref().is_some_and(Embedded::is_visitor)
    }

    /// The client.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Ends a colony in this process; leaves one elsewhere alone.
    pub(crate) async fn close(self) {
        if let Some(embedded) = self.embedded {
            embedded.shutdown().await;
        }
    }
}

/// Whether nothing says where the colony is: then it is at the default place, which cannot be mistyped.
pub(crate) fn is_default(target: &TargetArgs) -> bool {
    choose(target, |name| std::env::var(name).ok()) == Choice::Nearest
}

/// Options beat the environment, and a coordinator in it beats a bucket.
fn choose(target: &TargetArgs, env: impl Fn(&str) -> Option<String>) -> Choice {
    let env = |name| env(name).filter(|value| !value.is_empty());
    match (&target.connect, &target.storage) {
        (Some(url), _) => Choice::Connect(url.clone()),
        (None, Some(uri)) => Choice::Storage(uri.clone()),
        (None, None) => env("APIARY_CONNECT")
            .map(Choice::Connect)
            .or_else(|| env("APIARY_STORAGE").map(Choice::Storage))
            .unwrap_or(Choice::Nearest),
    }
}

/// Whether something listens on the coordinator's port of this machine.
async fn node_lives_here() -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, COORDINATOR_PORT));
    matches!(tokio::time::timeout(PROBE_MAX, tokio::net::TcpStream::connect(address)).await, Ok(Ok(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(storage: Option<&str>, connect: Option<&str>) -> TargetArgs {
        TargetArgs { storage: storage.map(str::to_owned), connect: connect.map(str::to_owned), ..TargetArgs::default() }
    }

    #[test]
    fn options_beat_the_environment() {
        let env = |name: &str| (name == "APIARY_CONNECT").then(|| "grpc://env:1".to_owned());
        assert_eq!(choose(&target(Some("/a"), None), env), Choice::Storage("/a".to_owned()));
        assert_eq!(choose(&target(None, Some("b")), env), Choice::Connect("b".to_owned()));
        assert_eq!(choose(&target(None, None), env), Choice::Connect("grpc://env:1".to_owned()));
    }

    #[test]
    fn an_empty_variable_says_nothing() {
        assert_eq!(choose(&target(None, None), |_| Some(String::new())), Choice::Nearest);
        let storage = |name: &str| (name == "APIARY_STORAGE").then(|| "s3://b".to_owned());
        assert_eq!(choose(&target(None, None), storage), Choice::Storage("s3://b".to_owned()));
    }
}
