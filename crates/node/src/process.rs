//! A process with one role: the whole of the three role binaries but for the role itself.

use std::{error::Error, future::Future, path::PathBuf, process::ExitCode, sync::Arc};

use apiary_bucket::Bucket;
use clap::Parser;
use tokio_util::sync::CancellationToken;

use crate::{Listener, Node, NodeFlags, NodeSettings, Role, lean, shutdown, telemetry};

/// Stack of a thread: plans of deep SQL recurse, and a debug build needs more than the usual 2 MiB.
const STACK_BYTES: usize = 16 * 1024 * 1024;

/// A node with one role on the colony's bucket.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// The colony's bucket: file:///path, s3://bucket/prefix, gs://…, az://…
    #[arg(long)]
    storage: Option<String>,
    /// This node's own folder
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Cores to work with
    #[arg(long)]
    cores: Option<usize>,
    /// Memory to live in, such as 1GiB
    #[arg(long)]
    memory: Option<String>,
    /// Disk for cells that were read or written, such as 4GiB; 0 for none
    #[arg(long)]
    cache_size: Option<String>,
    /// HOST or HOST:PORT to listen on
    #[arg(long)]
    listen: Option<String>,
    /// HOST or HOST:PORT under which others reach this node
    #[arg(long)]
    advertise: Option<String>,
    /// Let clients from other machines in without a token
    #[arg(long)]
    insecure: bool,
}

/// Reads the command line, joins, serves until a signal, leaves. Exit code 0 unless something failed.
pub fn run_role<F, W, E>(role: Role, run: F) -> ExitCode
where
    F: FnOnce(Arc<Node>, Listener, CancellationToken) -> W,
    W: Future<Output = Result<(), E>>,
    E: Error + 'static,
{
    let args = Args::parse();
    telemetry::init("info", telemetry::LogFormat::Text);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().thread_stack_size(STACK_BYTES).build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(serve(role, args, run)),
        Err(error) => Err(error.into()),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve<F, W, E>(role: Role, args: Args, run: F) -> Result<(), Box<dyn Error>>
where
    F: FnOnce(Arc<Node>, Listener, CancellationToken) -> W,
    W: Future<Output = Result<(), E>>,
    E: Error + 'static,
{
    let Args { storage, data_dir, cores, memory, cache_size, listen, advertise, insecure } = args;
    let roles = Some(role.to_string());
    let rest = NodeFlags::default();
    let flags = NodeFlags { storage, data_dir, cores, memory, cache_size, listen, advertise, insecure, roles, ..rest };
    let settings = NodeSettings::load(&flags)?;
    lean::begin(settings.memory_bytes, None);
    let listener = Listener::bind(&settings.listen_on(role)?).await?;
    let node = Node::join(Bucket::open(&settings.storage)?, settings).await?;
    let stop = shutdown::on_signal();
    if let Some(address) = listener.local_addr() {
        node.serves(role, address)?;
    }
    node.start_pulse(stop.clone());
    let ended = run(Arc::clone(&node), listener, stop).await;
    node.leave().await;
    node.failure().map_or(Ok(ended?), |why| Err(why.into()))
}
