//! Notices that the program which started this one is gone: a client that dies may leave its end of our input open in another process.
//!
//! INVARIANT: looks at who the parent is, never at whether its number is in use. A signal at the parent's death would come at the end of
//! the thread that started us as well, so none is asked for.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// How often the parent is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Fires `gone` once the parent is another one than now; not where nothing can tell.
pub(super) fn watch(gone: CancellationToken) {
    #[cfg(unix)]
    {
        let parent = rustix::process::getppid();
        let looking = async move {
            while !gone.is_cancelled() {
                tokio::time::sleep(LOOK).await;
                if rustix::process::getppid() != parent {
                    tracing::info!("the program that started this server is gone, so it ends");
                    gone.cancel();
                }
            }
        };
        crate::call::Spawner::spawn(&super::Tasks::default(), "parent", Box::pin(looking));
    }
    #[cfg(not(unix))]
    let _ = (gone, LOOK);
}
