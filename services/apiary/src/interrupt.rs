//! Ctrl-C: the first asks the running command to stop, the second leaves at once.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::terminal::Terminal;

/// The exit code of a command that was interrupted, as shells know it.
const INTERRUPTED: i32 = 130;

/// Becomes true with the first Ctrl-C. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Interrupt(Arc<CancellationToken>);

impl Interrupt {
    /// Listens from now on; needs a runtime.
    pub(crate) fn listen(terminal: &Terminal) -> Self {
        let interrupt = Self::default();
        let (token, terminal) = (Arc::clone(&interrupt.0), terminal.clone());
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                token.cancel();
                terminal.note("stopping; Ctrl-C again leaves at once");
            }
            if tokio::signal::ctrl_c().await.is_ok() {
                std::process::exit(INTERRUPTED);
            }
        });
        interrupt
    }

    /// Waits for the first Ctrl-C.
    pub(crate) async fn asked(&self) {
        self.0.cancelled().await;
    }

    /// As if Ctrl-C had been pressed.
    #[cfg(test)]
    pub(crate) fn press(&self) {
        self.0.cancel();
    }
}
