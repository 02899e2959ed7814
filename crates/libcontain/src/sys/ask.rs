//! Asks for a system call without doing anything: with arguments that it refuses before it looks at anything else.

use rustix::io::{Errno, Result};

use super::check;
use crate::kernel::Call;

/// A flag that no call has.
const NO_FLAG: u32 = 1 << 31;

/// Whether the call gets through to a kernel that knows it. A filter answers ENOSYS, as a kernel does that is older, or
/// EPERM; of the calls that make mounts this is also the answer to whoever may not make any, and says nothing.
pub(crate) fn is_there(call: Call) -> bool {
    let says_nothing = matches!(call, Call::MoveMount | Call::Fsopen | Call::Fsmount);
    match ask(call) {
        Err(Errno::NOSYS) => false,
        Err(Errno::PERM) => says_nothing,
        _ => true,
    }
}

fn ask(call: Call) -> Result<()> {
    let (null, none) = (0usize, -1);
    // SAFETY: every pointer is null, and every call is refused for a descriptor, size, flag or range that cannot be; if it
    // looks at the pointer first, it says EFAULT.
    check(unsafe {
        match call {
            Call::PidfdSendSignal => libc::syscall(libc::SYS_pidfd_send_signal, none, 0, null, NO_FLAG),
            Call::OpenTree => libc::syscall(libc::SYS_open_tree, none, null, NO_FLAG),
            Call::MoveMount => libc::syscall(libc::SYS_move_mount, none, null, none, null, NO_FLAG),
            Call::Fsopen => libc::syscall(libc::SYS_fsopen, null, NO_FLAG),
            Call::Fsconfig => libc::syscall(libc::SYS_fsconfig, none, 0, null, null, 0),
            Call::Fsmount => libc::syscall(libc::SYS_fsmount, none, NO_FLAG, 0),
            Call::Clone3 => libc::syscall(libc::SYS_clone3, null, 0usize),
            Call::PidfdOpen => libc::syscall(libc::SYS_pidfd_open, 0, 0),
            Call::Openat2 => libc::syscall(libc::SYS_openat2, none, null, null, 0usize),
            Call::PidfdGetfd => libc::syscall(libc::SYS_pidfd_getfd, none, none, NO_FLAG),
            Call::CloseRange => libc::syscall(libc::SYS_close_range, 1, 0, 0),
            Call::MountSetattr => libc::syscall(libc::SYS_mount_setattr, none, null, NO_FLAG, null, 0usize),
        }
    })
    .map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Refused, and not for want of privilege; nothing is opened, cloned or closed.
    #[test]
    fn every_call_is_refused() {
        for call in Call::all() {
            let refused = [Errno::INVAL, Errno::BADF, Errno::FAULT, Errno::PERM];
            assert!(ask(call).is_err_and(|errno| refused.contains(&errno)), "{call}: {:?}", ask(call));
            assert!(is_there(call), "{call}");
        }
    }
}
