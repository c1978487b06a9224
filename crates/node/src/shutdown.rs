//! Stopping: a signal becomes one cancellation token that everything in the process listens to.

use tokio_util::sync::CancellationToken;

/// A token that is cancelled by SIGTERM or SIGINT; a second signal ends the process at once with 130.
/// Call it once, inside the runtime.
#[must_use]
pub fn on_signal() -> CancellationToken {
    let token = CancellationToken::new();
    let stop = token.clone();
    tokio::spawn(async move {
        let name = signal().await;
        tracing::info!(signal = name, "draining; once more ends it at once");
        stop.cancel();
        signal().await;
        std::process::exit(130);
    });
    token
}

#[cfg(unix)]
async fn signal() -> &'static str {
    use tokio::signal::unix::{SignalKind, signal};

    let Ok(mut term) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return "SIGINT";
    };
    tokio::select! {
        _ = term.recv() => "SIGTERM",
        _ = tokio::signal::ctrl_c() => "SIGINT",
    }
}

#[cfg(not(unix))]
async fn signal() -> &'static str {
    let _ = tokio::signal::ctrl_c().await;
    "ctrl-c"
}
