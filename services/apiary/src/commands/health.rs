//! `apiary health`: whether one node serves, for health checks of containers and service managers.

use apiary_core::ErrorKind;
use apiary_proto::{Client, ClientError};

use crate::{args::HealthArgs, failure::CliError, terminal::Terminal};

/// Runs the command.
pub(crate) async fn run(args: &HealthArgs, terminal: &Terminal) -> Result<(), CliError> {
    let client = Client::connect(&args.url, None).await?;
    if !client.is_serving().await? {
        let message = format!("the node at {} does not serve: it is starting or draining", args.url);
        return Err(ClientError::new(ErrorKind::Unavailable, message).into());
    }
    terminal.line(format_args!("{} serves", args.url));
    Ok(())
}
