//! What a job's process may do besides files: capabilities, privileges on exec, and limits of the kernel's own.

use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, remove_capability_from_bounding_set, set_capabilities};

use crate::sandbox::process::protocol::Caps;

/// No privilege is ever gained again, and none is left.
pub(super) fn drop_all() -> std::io::Result<()> {
    rustix::thread::set_no_new_privs(true)?;
    for capability in CapabilitySet::all().iter() {
        match remove_capability_from_bounding_set(capability) {
            // A kernel older than the list does not know the last ones.
            Ok(()) | Err(rustix::io::Errno::INVAL) => {}
            Err(error) => return Err(error.into()),
        }
    }
    rustix::thread::clear_ambient_capability_set()?;
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })?;
    Ok(())
}

/// Sets the limits; soft and hard are the same.
pub(super) fn limit(caps: &Caps) -> std::io::Result<()> {
    let rows = [
        (Resource::Core, 0),
        (Resource::As, caps.address_space),
        (Resource::Fsize, caps.file_size),
        (Resource::Nofile, caps.open_files),
        (Resource::Nproc, caps.processes),
        (Resource::Cpu, caps.cpu_seconds),
        (Resource::Memlock, 64 << 10),
        (Resource::Msgqueue, 0),
        (Resource::Rtprio, 0),
    ];
    for (resource, most) in rows {
        match setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) }) {
            // It cannot be raised, so what there is is narrower already.
            Ok(()) | Err(rustix::io::Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
