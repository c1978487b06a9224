//! `apiary-worker`: a node that pulls tasks from the board and executes them.

use std::{path::PathBuf, process::ExitCode};

use apiary_bucket::Bucket;
use apiary_node::{Listener, Node, NodeFlags, NodeSettings, Role, shutdown, telemetry};
use clap::Parser;

/// A node that executes tasks.
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

#[tokio::main]
async fn main() -> ExitCode {
    telemetry::init("info", telemetry::LogFormat::Text);
    match serve(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(args: Args) -> Result<(), Box<dyn std::error::Error>> {
    let Args { storage, data_dir, cores, memory, listen, advertise, insecure } = args;
    let roles = Some(Role::Worker.to_string());
    let flags =
        NodeFlags { storage, data_dir, cores, memory, listen, advertise, insecure, roles, ..NodeFlags::default() };
    let settings = NodeSettings::load(&flags)?;
    let listener = Listener::bind(&settings.listen_on(Role::Worker)?).await?;
    let node = Node::join(Bucket::open(&settings.storage)?, settings).await?;
    let stop = shutdown::on_signal();
    if let Some(address) = listener.local_addr() {
        node.serves(Role::Worker, address)?;
    }
    node.start_pulse(stop.clone());
    let ended = apiary_worker::run(std::sync::Arc::clone(&node), listener, stop).await;
    node.leave().await;
    node.failure().map_or(Ok(ended?), |why| Err(why.into()))
}
