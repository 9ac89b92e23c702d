//! Wall time that stands still while a human is asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// The wall time of one call. Whoever waits for a human on the call's behalf pauses it, so that the person's leisure is not the
/// program's fault.
#[derive(Debug)]
pub struct WallTime {
    pauses: watch::Sender<u32>,
}

impl Default for WallTime {
    fn default() -> Self {
        Self { pauses: watch::Sender::new(0) }
    }
}

/// The time stands still until this is dropped.
#[derive(Debug)]
pub struct Paused(Arc<WallTime>);

impl WallTime {
    /// Stops the time; several pauses at once count as one.
    #[must_use]
    pub fn pause(self: &Arc<Self>) -> Paused {
        self.pauses.send_modify(|pauses| *pauses += 1);
        Paused(self.clone())
    }

    /// Ends when `span` has passed, pauses not counted.
    pub async fn elapsed(&self, span: Duration) {
        let mut left = span;
        let mut pauses = self.pauses.subscribe();
        loop {
            if pauses.wait_for(|pauses| *pauses == 0).await.is_err() {
                return;
            }
            let begun = Instant::now();
            tokio::select! {
                () = tokio::time::sleep(left) => return,
                _ = pauses.wait_for(|pauses| *pauses > 0) => left = left.saturating_sub(begun.elapsed()),
            }
        }
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        self.0.pauses.send_modify(|pauses| *pauses = pauses.saturating_sub(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn pauses_do_not_count() {
        let wall = Arc::new(WallTime::default());
        let begun = Instant::now();
        let asked = async {
            let first = wall.pause();
            tokio::time::sleep(Duration::from_millis(60)).await;
            let second = wall.pause();
            drop(first);
            tokio::time::sleep(Duration::from_millis(60)).await;
            drop(second);
        };
        // The pause begins first, so the least that can pass is both together.
        tokio::join!(biased; asked, wall.elapsed(Duration::from_millis(30)));
        assert!(begun.elapsed() >= Duration::from_millis(150));
    }
}
