//! How Ctrl-C reaches a driver: it is looked at between two effects and wakes every wait, and never cuts an effect in two.

use tokio::sync::watch;

/// The end that asks to stop.
#[derive(Clone, Debug)]
pub struct InterruptSender(watch::Sender<bool>);

/// The end that is asked. A default one is never interrupted.
#[derive(Clone, Debug)]
pub struct Interrupt(watch::Receiver<bool>);

/// Two ends of a new interrupt.
pub fn interrupt() -> (InterruptSender, Interrupt) {
    let (sender, receiver) = watch::channel(false);
    (InterruptSender(sender), Interrupt(receiver))
}

impl InterruptSender {
    /// Asks the driver to stop at the next point where a rotation can be resumed.
    pub fn interrupt(&self) {
        self.0.send_replace(true);
    }
}

impl Interrupt {
    /// An interrupt that never comes.
    pub fn never() -> Self {
        interrupt().1
    }

    /// Whether it was asked for.
    pub fn requested(&self) -> bool {
        *self.0.borrow()
    }

    /// Returns when it is asked for; never, if nobody can ask any more.
    pub async fn wait(&self) {
        let mut receiver = self.0.clone();
        if receiver.wait_for(|asked| *asked).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Default for Interrupt {
    fn default() -> Self {
        Self::never()
    }
}
