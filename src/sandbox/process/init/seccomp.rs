//! The system calls a job cannot make.
//!
//! INVARIANT: a call is refused whatever its ABI: other architectures end the job, and the second ABI of x86-64 is refused as a whole.
//! What is refused is what reaches other namespaces, the kernel's own machinery or other processes; a plain program needs none of it.

use std::collections::BTreeMap;

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule, TargetArch, apply_filter,
    sock_filter,
};

/// Refused with `EPERM`.
const DENIED: &[c_long] = &[
    // kernel keys, programs and tracing
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
    libc::SYS_bpf,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    // other processes
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_migrate_pages,
    libc::SYS_move_pages,
    // mounts and namespaces
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_open_tree,
    libc::SYS_move_mount,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    // the machine
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_syslog,
    libc::SYS_vhangup,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
];

/// Those of one architecture, and those younger than the library's table.
#[cfg(target_arch = "x86_64")]
const DENIED_HERE: &[c_long] = &[libc::SYS_iopl, libc::SYS_ioperm, libc::SYS_modify_ldt, OPEN_TREE_ATTR];
#[cfg(not(target_arch = "x86_64"))]
const DENIED_HERE: &[c_long] = &[OPEN_TREE_ATTR];

/// Answered as if the kernel did not have them. `clone3` keeps its flags in memory, where no filter can look; without it libraries take
/// `clone`. The others make memory that belongs to no process, where no watch would count it.
const UNKNOWN: &[c_long] =
    &[libc::SYS_clone3, libc::SYS_memfd_create, libc::SYS_memfd_secret, libc::SYS_shmget, libc::SYS_msgget, libc::SYS_semget];

/// Linux 6.15, the same number everywhere.
const OPEN_TREE_ATTR: c_long = 467;

/// Families of sockets that a program may have; each reaches no further than its own namespace.
const FAMILIES: [i32; 3] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6];

/// Flags of `clone` that make namespaces.
const NAMESPACES: [i32; 7] = [
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWUTS,
    libc::CLONE_NEWCGROUP,
];

/// Puts the filters in front of this process, for good.
pub(super) fn apply() -> Result<(), String> {
    for program in programs()? {
        apply_filter(&program).map_err(|error| error.to_string())?;
    }
    Ok(())
}

fn programs() -> Result<Vec<BpfProgram>, String> {
    let eperm = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> = DENIED.iter().chain(DENIED_HERE).map(|number| (*number, Vec::new())).collect();
    let clone = NAMESPACES.iter().map(|flag| rule(&[has(0, *flag)?])).collect::<Result<_, String>>()?;
    rules.insert(libc::SYS_clone, clone);
    // Pushing characters into a terminal's input, and the console's own commands.
    rules.insert(
        libc::SYS_ioctl,
        vec![rule(&[is(1, libc::TIOCSTI)?])?, rule(&[is(1, libc::TIOCLINUX)?])?, rule(&[is(1, libc::TIOCSETD)?])?],
    );
    // Asking which personality there is, and setting the plain one, are harmless.
    rules.insert(libc::SYS_personality, vec![rule(&[is_not(0, 0)?, is_not(0, 0xffff_ffff)?])?]);
    // The limits of others: the first process has the same user.
    rules.insert(libc::SYS_prlimit64, vec![rule(&[is_not(0, 0)?])?]);
    let denied = filter(rules, eperm)?;

    let mut families = Vec::new();
    for number in [libc::SYS_socket, libc::SYS_socketpair] {
        let other = FAMILIES.iter().map(|family| is_not(0, u64::from(family.cast_unsigned()))).collect::<Result<Vec<_>, _>>()?;
        families.push((number, vec![rule(&other)?]));
    }
    let families = filter(families.into_iter().collect(), SeccompAction::Errno(libc::EAFNOSUPPORT.cast_unsigned()))?;

    let unknown = UNKNOWN.iter().map(|number| (*number, Vec::new())).collect();
    let unknown = filter(unknown, SeccompAction::Errno(libc::ENOSYS.cast_unsigned()))?;
    let mut all = vec![denied, families, unknown];
    all.extend(second_abi());
    Ok(all)
}

/// On x86-64 numbers from 2^30 on are the x32 ABI's: the same calls under other numbers. None of them exists for a job.
fn second_abi() -> Option<BpfProgram> {
    const LOAD_NUMBER: u16 = 0x20;
    const JUMP_IF_AT_LEAST: u16 = 0x35;
    const RETURN: u16 = 0x06;
    const X32: u32 = 0x4000_0000;
    let step = |code, jt, jf, k| sock_filter { code, jt, jf, k };
    cfg!(target_arch = "x86_64").then(|| {
        vec![
            step(LOAD_NUMBER, 0, 0, 0),
            step(JUMP_IF_AT_LEAST, 0, 1, X32),
            step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned()),
            step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        ]
    })
}

fn filter(rules: BTreeMap<c_long, Vec<SeccompRule>>, action: SeccompAction) -> Result<BpfProgram, String> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| error.to_string())?;
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, action, arch).map_err(|error| error.to_string())?;
    filter.try_into().map_err(|error: seccompiler::BackendError| error.to_string())
}

fn rule(conditions: &[SeccompCondition]) -> Result<SeccompRule, String> {
    SeccompRule::new(conditions.to_vec()).map_err(|error| error.to_string())
}

fn condition(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompCondition, String> {
    SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value).map_err(|error| error.to_string())
}

fn is(argument: u8, value: u64) -> Result<SeccompCondition, String> {
    condition(argument, SeccompCmpOp::Eq, value)
}

fn is_not(argument: u8, value: u64) -> Result<SeccompCondition, String> {
    condition(argument, SeccompCmpOp::Ne, value)
}

fn has(argument: u8, flag: i32) -> Result<SeccompCondition, String> {
    let flag = u64::from(flag.cast_unsigned());
    condition(argument, SeccompCmpOp::MaskedEq(flag), flag)
}
