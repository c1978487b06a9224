//! A small S3 store for tests: real HTTP, real signatures, objects in memory.
//!
//! It holds one bucket, checks signature version 4 on every request, and creates strictly atomically under
//! `If-None-Match: *`, unless it is told to lie: stores that ignore the condition, or check it and write later, exist,
//! and the probe must find them. It runs on a thread of its own, so that it serves tests with and without a runtime,
//! worker processes and containers alike. What it does not know it answers with `NotImplemented`.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::JoinHandle,
};

use apiary_faults::Rule;
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use s3s::{
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use tokio::sync::oneshot;

mod faults;
mod s3;

pub use crate::objects::Requests;
use faults::Faults;

/// How the store is reached and how it behaves.
#[derive(Debug, Clone)]
pub struct S3Options {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Its one bucket.
    pub bucket: String,
    /// The key that requests are signed with.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// Take `If-None-Match` and overwrite all the same, as some stores do.
    pub ignore_if_none_match: bool,
    /// Check `If-None-Match`, and write a moment later, as some other stores do.
    pub racy: bool,
}

impl Default for S3Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            bucket: "colony".to_owned(),
            access_key: "apiary-test-key".to_owned(),
            secret_key: "apiary/test+secret".to_owned(),
            ignore_if_none_match: false,
            racy: false,
        }
    }
}

/// A running store; dropped, it stops and forgets everything.
#[derive(Debug)]
pub struct S3Server {
    /// Its endpoint: `http://127.0.0.1:port`.
    pub url: String,
    /// The key that requests are signed with.
    pub access_key: String,
    /// Its secret.
    pub secret_key: String,
    /// Its one bucket.
    pub bucket: String,
    requests: Arc<Requests>,
    faults: Arc<Faults>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl S3Server {
    /// Starts a store. Panics if the address is taken: a test cannot go on.
    #[must_use]
    #[expect(clippy::panic, reason = "a test without its store has failed")]
    pub fn start(options: S3Options) -> Self {
        Self::try_start(options).unwrap_or_else(|error| panic!("no S3 server: {error}"))
    }

    /// Starts a store.
    pub fn try_start(options: S3Options) -> io::Result<Self> {
        let listener = TcpListener::bind(options.listen)?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let requests = Arc::new(Requests::default());
        let faults = Arc::new(Faults::default());
        let service = service(&options, Arc::clone(&requests), Arc::clone(&faults));
        let (stop, stopped) = oneshot::channel::<()>();
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    end = accept(listener, service) => tracing::error!(?end, "the S3 server ended by itself"),
                }
            });
            // Connections end with the runtime.
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("s3-server".to_owned()).spawn(serve)?;
        let S3Options { bucket, access_key, secret_key, .. } = options;
        Ok(Self { url, access_key, secret_key, bucket, requests, faults, stop: Some(stop), thread: Some(thread) })
    }

    /// The storage uri of a prefix in the bucket, with the endpoint and the credentials.
    #[must_use]
    pub fn uri(&self, prefix: &str) -> String {
        let Self { url, access_key, secret_key, bucket, .. } = self;
        format!(
            "s3://{bucket}/{prefix}?endpoint={url}&region=us-east-1&access_key_id={access_key}&secret_access_key={secret_key}"
        )
    }

    /// What was asked of the store so far.
    #[must_use]
    pub fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Adds a line to the script of what goes wrong. Faults are told as S3 tells them; one that hangs, or whose answer
    /// is lost, ends with the connection.
    pub fn script(&self, rule: Rule) {
        self.faults.plan().add(rule);
    }

    /// Rules of the script that are not used up.
    #[must_use]
    pub fn rules_left(&self) -> usize {
        self.faults.plan().rules_left()
    }

    /// Waits for the store to end, which it does not by itself.
    pub fn wait(mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn service(options: &S3Options, requests: Arc<Requests>, faults: Arc<Faults>) -> S3Service {
    let mut builder = S3ServiceBuilder::new(s3::Store::new(options, requests, faults));
    builder.set_auth(SimpleAuth::from_single(options.access_key.as_str(), options.secret_key.as_str()));
    builder.build()
}

async fn accept(listener: TcpListener, service: S3Service) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        let service = service.clone();
        tokio::spawn(async move {
            let connection = auto::Builder::new(TokioExecutor::new());
            let served = connection.serve_connection(TokioIo::new(socket), service).await;
            // A client that hangs up is none of ours.
            if let Err(error) = served {
                tracing::debug!(%error, "an S3 connection ended");
            }
        });
    }
}
