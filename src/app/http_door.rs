//! Serving over HTTP: the address, the home's token, and the face behind it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use crate::domain::{ErrorCode, Fault, Principal};
use crate::mcp::Doorkeeper;
use crate::secrets::access::AccessToken;
use crate::secrets::redact::Redactor;

/// Knows the one token of the home, which is its user's.
struct HomeToken(AccessToken);

impl Doorkeeper for HomeToken {
    fn principal(&self, token: &str) -> Option<Principal> {
        self.0.is(token).then(Principal::local)
    }
}

/// The place that clients come to, and who lets them in; both before anything else is opened.
///
/// # Errors
/// `CONFIG_INVALID` where the address is not one of this machine alone or is taken, or where the token's file cannot be used.
pub(super) async fn open(
    address: SocketAddr,
    home: &std::path::Path,
    redactor: &Redactor,
) -> Result<(TcpListener, Arc<dyn Doorkeeper>), Fault> {
    if !address.ip().is_loopback() {
        return Err(Fault::new(ErrorCode::ConfigInvalid, format!("`--http {address}` could be reached by other machines"))
            .hint("listen on 127.0.0.1 or [::1]; from another machine come through `ssh -L`"));
    }
    let token = AccessToken::of_home(home)?;
    redactor.live().add("http.token", token.value());
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Fault::new(ErrorCode::ConfigInvalid, format!("`--http {address}`: {error}")).hint("choose another port; 0 takes any that is free")
    })?;
    let bound = listener.local_addr().map_err(|error| Fault::internal(format!("the listener has no address: {error}")))?;
    tracing::info!(address = %format!("http://{bound}/mcp"), token_file = %token.file().display(), "serving MCP over HTTP");
    Ok((listener, Arc::new(HomeToken(token))))
}
