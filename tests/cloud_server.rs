//! Small stores for tests that speak as Google Cloud Storage and as Azure Blob Storage do: real HTTP, objects in memory.
//!
//! Each holds one bucket (container) and creates strictly atomically. It knows what the `object_store` client asks, and
//! nothing more; signatures are not worked out.

use std::{
    io,
    net::TcpListener,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Request},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use tokio::sync::oneshot;

use crate::objects::{Object, Objects};

mod azure;
mod gcs;
mod wire;

use wire::Asked;

/// The one bucket of every store.
pub const BUCKET: &str = "colony";

/// The largest body that is taken.
const BODY_BYTES_MAX: usize = 256 << 20;

/// Whose words a store speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The XML interface of Google Cloud Storage.
    Gcs,
    /// Azure Blob Storage.
    Azure,
}

#[derive(Debug)]
struct Store {
    dialect: Dialect,
    objects: Objects,
    blocks: azure::Blocks,
    ignores_conditions: AtomicBool,
    refuses: AtomicBool,
}

/// A running store; dropped, it stops and forgets everything.
#[derive(Debug)]
pub struct CloudServer {
    /// Its endpoint: `http://127.0.0.1:port`.
    pub url: String,
    store: Arc<Store>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl CloudServer {
    /// Starts a store. Panics if there is no port: a test cannot go on.
    #[must_use]
    #[expect(clippy::panic, reason = "a test without its store has failed")]
    pub fn start(dialect: Dialect) -> Self {
        Self::try_start(dialect).unwrap_or_else(|error| panic!("no {dialect:?} server: {error}"))
    }

    fn try_start(dialect: Dialect) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let url = format!("http://{}", listener.local_addr()?);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let store = Arc::new(Store {
            dialect,
            objects: Objects::default(),
            blocks: azure::Blocks::default(),
            ignores_conditions: AtomicBool::new(false),
            refuses: AtomicBool::new(false),
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = Arc::clone(&store);
        let serve = move || {
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    end = accept(listener, serving) => tracing::error!(?end, "the store ended by itself"),
                }
            });
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("cloud-server".to_owned()).spawn(serve)?;
        Ok(Self { url, store, stop: Some(stop), thread: Some(thread) })
    }

    /// The storage uri of a prefix in the bucket, with the endpoint and the credentials.
    #[must_use]
    pub fn uri(&self, prefix: &str) -> String {
        let Self { url, .. } = self;
        match self.store.dialect {
            // The key of nobody's account: a token is neither asked for nor checked.
            Dialect::Gcs => format!(
                "gs://{BUCKET}/{prefix}?endpoint={url}&service_account_key={}",
                r#"{"private_key":"none","private_key_id":"none","client_email":"bee@test","disable_oauth":true}"#
            ),
            Dialect::Azure => {
                format!("az://{BUCKET}/{prefix}?endpoint={url}&account_name=bees&account_key=aG9uZXk=")
            }
        }
    }

    /// From now on conditions of creates are not looked at, as in some stores.
    pub fn ignore_conditions(&self) {
        self.store.ignores_conditions.store(true, Ordering::Relaxed);
    }

    /// From now on nobody is let in.
    pub fn refuse(&self) {
        self.store.refuses.store(true, Ordering::Relaxed);
    }
}

impl Drop for CloudServer {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn accept(listener: TcpListener, store: Arc<Store>) -> io::Result<()> {
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let answer = move |request: Request| {
        let store = Arc::clone(&store);
        async move { answer(&store, request).await }
    };
    axum::serve(listener, Router::new().fallback(answer).layer(DefaultBodyLimit::disable())).await
}

async fn answer(store: &Store, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let signed = store.dialect == Dialect::Gcs || head.headers.contains_key(header::AUTHORIZATION);
    if !signed || store.refuses.load(Ordering::Relaxed) {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    let asked = Asked::of(&head, body);
    if asked.bucket != BUCKET {
        return wire::error(StatusCode::NOT_FOUND, "NoSuchBucket");
    }
    let answered = match store.dialect {
        Dialect::Gcs => gcs::answer(store, &asked),
        Dialect::Azure => azure::answer(store, &asked),
    };
    answered.unwrap_or_else(|| wire::error(StatusCode::NOT_IMPLEMENTED, "NotImplemented"))
}

impl Store {
    /// Stores a body, unless it was to be new and is not.
    fn put(&self, asked: &Asked, only_new: bool) -> Option<Object> {
        let only_new = only_new && !self.ignores_conditions.load(Ordering::Relaxed);
        self.objects.put(&asked.key, asked.body.clone(), only_new)
    }

    /// GET and HEAD of an object, or of a range of it.
    fn read(&self, asked: &Asked) -> Response {
        let Some(object) = self.objects.get(&asked.key) else {
            return wire::error(StatusCode::NOT_FOUND, "NoSuchKey");
        };
        let mut headers = wire::headers_of(&object);
        let length = object.body.len();
        if asked.method == Method::HEAD {
            wire::set(&mut headers, header::CONTENT_LENGTH, &length.to_string());
        }
        let Some(range) = asked.range(length) else {
            return (headers, wire::body(&asked.method, object.body)).into_response();
        };
        if range.start >= length || range.is_empty() {
            return wire::error(StatusCode::RANGE_NOT_SATISFIABLE, "InvalidRange");
        }
        wire::set(&mut headers, header::CONTENT_RANGE, &format!("bytes {}-{}/{length}", range.start, range.end - 1));
        (StatusCode::PARTIAL_CONTENT, headers, wire::body(&asked.method, object.body.slice(range))).into_response()
    }
}
