//! `apiary start`: a node that stays until it is told to stop.

use apiary_bucket::Bucket;
use apiary_coordinator::Beside;
use apiary_node::{Listener, Node, NodeError, NodeFlags, NodeSettings, Role, lean, shutdown, telemetry};

use crate::{
    args::{RoleArg, StartArgs},
    failure::CliError,
    roles::Roles,
    terminal::{Ink, Terminal},
};

/// Runs the command: returns when a signal has drained the node, or a role has failed.
pub(crate) async fn run(args: StartArgs, terminal: &Terminal) -> Result<(), CliError> {
    telemetry::init("info", telemetry::LogFormat::Text);
    let flags = flags(args);
    let settings = NodeSettings::load(&flags)?;
    lean::begin(settings.memory_bytes, flags.config.as_deref());
    terminal.note(format_args!("{settings}"));
    // Addresses first: a port that is taken is found before the bucket is touched.
    let mut listeners = Vec::new();
    for role in settings.roles.clone() {
        let listener = Listener::bind(&settings.listen_on(role)?).await?;
        if !listener.is_private() && !settings.insecure {
            return Err(NodeError::Open { address: listener.shown() }.into());
        }
        listeners.push((role, listener));
    }
    let bucket = Bucket::open(&settings.storage)?;
    let stop = shutdown::on_signal();
    let node = tokio::select! {
        biased;
        () = stop.cancelled() => return Err(CliError::Interrupted),
        node = Node::join(bucket, settings) => node?,
    };
    terminal.note(format_args!("node {} joined the colony on {}", node.id, node.bucket.uri()));
    for (role, listener) in &listeners {
        terminal.note(format_args!("{role:<12} {}", listener.shown()));
    }
    let roles = Roles::start(node, listeners, Beside::default(), stop)?;
    terminal.note(terminal.paint(Ink::Dim, "Ctrl-C or SIGTERM drains it; twice ends it at once"));
    Ok(roles.ended().await?)
}

fn flags(args: StartArgs) -> NodeFlags {
    let roles: Vec<_> = args.roles.iter().map(|role| Role::from(*role).as_str()).collect();
    NodeFlags {
        config: args.config,
        storage: args.storage,
        data_dir: args.data_dir,
        roles: (!roles.is_empty()).then(|| roles.join(",")),
        cores: args.cores,
        memory: args.memory,
        listen: args.listen,
        advertise: args.advertise,
        insecure: args.insecure,
        name: args.name,
        cache_size: args.cache_size,
    }
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Coordinator => Self::Coordinator,
            RoleArg::Worker => Self::Worker,
            RoleArg::Compactor => Self::Compactor,
        }
    }
}
