//! The terminal of the container's process: made in the container's own devpts, its master end sent to whoever asked.
//!
//! No path of the container's stands for a terminal here. The pair is opened as a pair: the slave by TIOCGPTPEER, since
//! what `/dev/pts/N` is may change between two looks (CVE-2025-52565). `/dev/console` is one component in an opened
//! directory, and not followed (CVE-2026-88264). Child's contract: no allocation, no panic.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{FileType, OFlags, Stat};
use rustix::pty::OpenptFlags;
use rustix::termios::{OptionalActions, OutputModes, Winsize};

use crate::fault::{Fault, Result, call};
use crate::plan::Console;
use crate::stage::{Fd, Stage, Stdio};
use crate::{handover, mounts, root, sys};

const DEVPTS_SUPER_MAGIC: i64 = 0x1cd1;
/// The multiplexer has the same number in every devpts.
const PTMX_INO: u64 = 2;
/// Majors of slaves (Documentation/admin-guide/devices.txt).
const SLAVES: std::ops::RangeInclusive<u32> = 136..=143;
/// What comes with the master may be any text but an empty one: runc sends a path.
const NAME: &[u8] = b"/dev/ptmx";

/// Makes the terminal, sends its master end, and makes the other one stdin, stdout, stderr and the controlling terminal.
pub(crate) fn console(stage: &mut Stage<'_>, console: &Console) -> Result<()> {
    let (master, slave) = open_pair(stage)?;
    if let Some((rows, columns)) = console.size {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        call("ioctl(TIOCSWINSZ)", rustix::termios::tcsetwinsize(slave, size))?;
    }
    if console.bare_newlines {
        let mut modes = call("ioctl(TCGETS)", rustix::termios::tcgetattr(slave))?;
        modes.output_modes.remove(OutputModes::ONLCR);
        call("ioctl(TCSETS)", rustix::termios::tcsetattr(slave, OptionalActions::Now, &modes))?;
    }
    if console.bind {
        bind(stage, slave)?;
    }
    // Nobody is waited for: the message is the first on the connection and stays there until somebody accepts it.
    call("sendmsg", handover::message(stage.take(console.socket), NAME, master.as_fd()))?;
    drop(master); // now and not with the next sweep: a terminal hangs up when its last master is closed
    call("ioctl(TIOCSCTTY)", rustix::process::ioctl_tiocsctty(slave))?;
    (0..3).try_for_each(|number| call("dup3", sys::dup_onto(slave, number)))?;
    stage.stdio = [Stdio::OwnedBy(call("fstat", rustix::fs::fstat(slave))?.st_uid); 3];
    Ok(())
}

fn open_pair(stage: &mut Stage<'_>) -> Result<(OwnedFd, Fd)> {
    let path = c"/dev/pts";
    let noted = |path: &'static CStr| move |fault: Fault| fault.with_note(path.to_bytes());
    let pts = stage.open(path, OFlags::PATH | OFlags::DIRECTORY).map_err(noted(path))?;
    // First of all: to open a file of somebody else's making may do anything.
    if call("fstatfs", rustix::fs::fstatfs(pts))?.f_type != DEVPTS_SUPER_MAGIC {
        return Err(Fault::plain(b"/dev/pts is not a devpts"));
    }
    let opened = root::open_same_mount(pts, c"ptmx", OFlags::RDWR | OFlags::NOCTTY | OFlags::NOFOLLOW);
    let master = opened.map_err(noted(c"/dev/pts/ptmx"))?;
    let multiplexer = call("fstat", rustix::fs::fstat(&master))?;
    if multiplexer.st_ino != PTMX_INO || device_of(&multiplexer) != Some((5, 2)) {
        return Err(Fault::plain(b"/dev/pts/ptmx is not the multiplexer"));
    }
    call("ioctl(TIOCSPTLCK)", rustix::pty::unlockpt(&master))?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = stage.lend(call("ioctl(TIOCGPTPEER)", rustix::pty::ioctl_tiocgptpeer(&master, flags))?);
    let terminal = call("fstat", rustix::fs::fstat(slave))?;
    let is_slave = device_of(&terminal).is_some_and(|(major, _)| SLAVES.contains(&major));
    if !is_slave || terminal.st_dev != multiplexer.st_dev {
        return Err(Fault::plain(b"the terminal is not of the container's devpts"));
    }
    Ok((master, slave))
}

fn device_of(stat: &Stat) -> Option<(u32, u32)> {
    let is_device = FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice;
    is_device.then(|| (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)))
}

fn bind(stage: &mut Stage<'_>, slave: Fd) -> Result<()> {
    let path = c"/dev/console";
    let noted = |fault: Fault| fault.with_note(path.to_bytes());
    let (dir, name) = stage.parent(path)?;
    let target = root::own_file(dir, name).map_err(noted)?;
    let target = stage.lend(target);
    let tree = mounts::clone_of(stage, slave, false)?;
    mounts::move_mount(tree, target).map_err(noted)
}
