//! What a missing layer is called to the outside.

use serde_json::json;

use crate::domain::{ErrorCode, Fault};

/// The fault of a machine on which one layer of the process sandbox is missing.
#[must_use]
pub fn missing(layer: &str, why: &str) -> Fault {
    Fault::new(ErrorCode::SandboxUnavailable, format!("the process sandbox lacks its layer `{layer}`: {why}"))
        .hint(format!("{}; `toolgate doctor` shows each layer, and the runtime `wasm` needs none of them", mend(layer)))
        .details(json!({ "layer": layer, "kernel": kernel() }))
}

/// What the operator can do about it.
#[must_use]
pub fn mend(layer: &str) -> &'static str {
    match layer {
        "namespaces" | "user" => {
            "allow user namespaces to this user (sysctl user.max_user_namespaces, kernel.apparmor_restrict_unprivileged_userns, or the container's seccomp profile)"
        }
        "landlock" => "use a kernel from 5.19 on with Landlock among its security modules (`lsm=` at boot)",
        "seccomp" => "use a kernel with seccomp filters (CONFIG_SECCOMP_FILTER)",
        "mounts" | "root" | "folders" => "use a kernel from 5.12 on, and let the container's seccomp profile allow the mount calls",
        "proc" => "let the container show the whole of /proc (`--security-opt systempaths=unconfined`), or run outside of it",
        "cgroup" => "delegate a control group with the memory controller to the server, or do not require it",
        "platform" => "run toolgate on Linux for native programs",
        "python" => "install Python 3.10 or newer",
        _ => "look at what the kernel said",
    }
}

/// The kernel's name and release.
#[must_use]
pub fn kernel() -> String {
    #[cfg(unix)]
    {
        let known = rustix::system::uname();
        format!("{} {}", known.sysname().to_string_lossy(), known.release().to_string_lossy())
    }
    #[cfg(not(unix))]
    {
        std::env::consts::OS.to_owned()
    }
}
