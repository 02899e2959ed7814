//! Classes of service in resctrl: made and filled before init is cloned, joined by the parent, removed with the container.
//!
//! Paths are below the mount of resctrl, which holds nothing but what the kernel puts there, so that no symlink is to be
//! feared. What will exist is recorded before it does ([`Found`] decides that): a class that was there before is nobody's
//! to remove.

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{At, Error, Kind, errno_text};
use crate::host::Resctrl;
use crate::plan::rdt::Rdt;
use crate::small_file;

mod stats;

pub(crate) use self::stats::stats;

const AT: At = At::field("linux.intelRdt");

type Result<T> = std::result::Result<T, Error>;

/// Whether a class is there before the container is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    Class,
    Nothing,
}

/// Asks where resctrl is mounted, and what it can do here.
pub(crate) fn probe() -> Option<Resctrl> {
    // Its lines may be long: no small file.
    let mounts = std::fs::read("/proc/self/mountinfo").ok()?;
    Some(resctrl_at(mount_point(&String::from_utf8_lossy(&mounts))?))
}

fn mount_point(mountinfo: &str) -> Option<&str> {
    mountinfo.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        filesystem.starts_with("resctrl ").then(|| mount.split(' ').nth(4)).flatten()
    })
}

fn resctrl_at(mount: &str) -> Resctrl {
    let has = |name: &str| rustix::fs::access(format!("{mount}/info/{name}"), rustix::fs::Access::EXISTS).is_ok();
    // With code and data prioritization L3 stands as two resources.
    let cache = has("L3") || has("L3CODE");
    Resctrl { mount: mount.to_owned(), cache, bandwidth: has("MB"), monitoring: has("L3_MON") }
}

/// Looks whether the class is there and as asked. Changes nothing.
pub(crate) fn look(rdt: &Rdt) -> Result<Found> {
    match rustix::fs::stat(rdt.group.as_str()) {
        Err(Errno::NOENT) if !rdt.must_exist() => Ok(Found::Nothing),
        Err(errno) if rdt.must_exist() => {
            let text =
                "clos dir not accessible (must be pre-created when schemata, l3CacheSchema and memBwSchema are empty)";
            Err(failed(format_args!("{text}: stat {}", rdt.group), errno))
        }
        Err(errno) => Err(failed(format_args!("stat {}", rdt.group), errno)),
        Ok(_) if rdt.shared => agrees(rdt).map(|()| Found::Class),
        Ok(_) => Ok(Found::Class),
    }
}

/// The settings of a class that others may be in are not changed: they have to be as asked.
fn agrees(rdt: &Rdt) -> Result<()> {
    if rdt.schemata.is_empty() {
        return Ok(());
    }
    let path = format!("{}/schemata", rdt.group);
    let found = small_file::read(CWD, path.as_str()).map_err(|e| failed(format_args!("read {path}"), e))?;
    match rdt.difference(&found) {
        None => Ok(()),
        Some(setting) => {
            let text = format!("{AT}: the class of service {} exists with other schemata: not {setting}", rdt.group);
            Err(Error::new(Kind::Config, text).with_at(AT))
        }
    }
}

/// Makes and fills what was not found.
pub(crate) fn make(rdt: &Rdt, found: Found) -> Result<()> {
    if found == Found::Nothing {
        make_dir(&rdt.group)?;
    }
    if found == Found::Nothing || !rdt.shared {
        for text in &rdt.schemata {
            write(&format!("{}/schemata", rdt.group), text).map_err(|error| with_status(error, &rdt.mount))?;
        }
    }
    match &rdt.monitor {
        Some(path) => make_dir(path).map_err(|error| with_status(error, &rdt.mount)),
        None => Ok(()),
    }
}

fn make_dir(path: &str) -> Result<()> {
    match rustix::fs::mkdir(path, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(failed(format_args!("mkdir {path}"), errno)),
    }
}

/// Changes the settings of a container's class, and returns what they were. A text that the kernel does not like changes
/// nothing.
pub(crate) fn change(group: &str, texts: &[String]) -> Result<String> {
    let path = format!("{group}/schemata");
    let before = small_file::read(CWD, path.as_str()).map_err(|e| failed(format_args!("read {path}"), e))?;
    // A class lies in the mount, or is the mount, for the class of everybody.
    let is_mount = rustix::fs::access(format!("{group}/info"), rustix::fs::Access::EXISTS).is_ok();
    let mount = group.rsplit_once('/').filter(|_| !is_mount).map_or(group, |(mount, _)| mount);
    for text in texts {
        write(&path, text).map_err(|error| {
            let error = with_status(error, mount);
            change_back(group, &before).into_iter().fold(error, Error::and)
        })?;
    }
    Ok(before)
}

/// Has a class as it was; what failed at that, in words. The kernel reads what it has written.
pub(crate) fn change_back(group: &str, before: &str) -> Option<String> {
    let path = format!("{group}/schemata");
    if small_file::read(CWD, path.as_str()).is_ok_and(|now| now == before) {
        return None;
    }
    write(&path, &format!("{before}\n")).err().map(|error| format!("{path} stays changed: {error}"))
}

/// Moves init into the class. One that has died meanwhile is the next event's to tell.
pub(crate) fn join(group: &str, monitor: Option<&str>, pid: u32) -> Result<()> {
    for dir in [Some(group), monitor].into_iter().flatten() {
        match write(&format!("{dir}/tasks"), &pid.to_string()) {
            Err(error) if error.errno() == Some(Errno::SRCH.raw_os_error()) => {}
            result => result?,
        }
    }
    Ok(())
}

fn write(path: &str, text: &str) -> Result<()> {
    // The kernel makes the files together with their directory, so CREATE makes nothing; but with it an ordinary
    // directory can stand in for resctrl, which few machines have.
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600));
    let written = file.and_then(|file| rustix::io::write(&file, text.as_bytes()));
    written.map(drop).map_err(|errno| failed(format_args!("failed to write {:?} to {path}", text.trim_end()), errno))
}

/// The kernel has more to say than its errno.
fn with_status(error: Error, mount: &str) -> Error {
    match small_file::read(CWD, format!("{mount}/info/last_cmd_status")) {
        Ok(status) if !status.is_empty() => error.and(format_args!("last_cmd_status: {status}")),
        _ => error,
    }
}

/// Removes the monitoring group, and the class if it is the container's: of a `create` that died, only if nobody is in it.
pub(crate) fn remove(class: Option<&str>, monitor: Option<&str>, complete: bool) -> Result<()> {
    let is_empty = |path: &str| match small_file::read(CWD, format!("{path}/tasks")) {
        Ok(tasks) => tasks.is_empty(),
        Err(errno) => errno == Errno::NOENT,
    };
    let class = class.filter(|class| complete || is_empty(class));
    for path in monitor.into_iter().chain(class) {
        match rustix::fs::rmdir(path) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(failed(format_args!("rmdir {path}"), errno)),
        }
    }
    Ok(())
}

fn failed(what: impl std::fmt::Display, errno: Errno) -> Error {
    let text = format!("{AT}: {what}: {}", errno_text(errno.raw_os_error()));
    Error::new(Kind::Os, text).with_errno(errno.raw_os_error()).with_at(AT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resctrl_is_found_by_its_type() {
        let text = "22 1 8:1 / / rw - ext4 /dev/sda rw\n30 22 0:26 / /sys/fs/resctrl rw,relatime shared:9 - resctrl resctrl rw\n";
        assert_eq!(mount_point(text), Some("/sys/fs/resctrl"));
        assert_eq!(mount_point("22 1 8:1 / /resctrl rw - ext4 resctrl rw\n"), None);
    }

    #[test]
    fn a_class_that_somebody_is_in_outlives_a_create_that_died() {
        let dir = tempfile::tempdir().unwrap();
        let class = dir.path().join("c1").to_string_lossy().into_owned();
        std::fs::create_dir(&class).unwrap();
        std::fs::write(format!("{class}/tasks"), "42\n").unwrap();
        remove(Some(&class), None, false).unwrap();
        assert!(std::fs::exists(&class).unwrap());
        // The kernel's directories are empty for rmdir(2); here they have to be.
        std::fs::remove_file(format!("{class}/tasks")).unwrap();
        remove(Some(&class), Some("/nonesuch"), true).unwrap();
        assert!(!std::fs::exists(&class).unwrap());
        remove(Some(&class), None, true).unwrap();
    }

    #[test]
    fn what_a_machine_can_do_is_read_from_its_info() {
        let dir = tempfile::tempdir().unwrap();
        let mount = dir.path().to_string_lossy().into_owned();
        std::fs::create_dir_all(dir.path().join("info/L3CODE")).unwrap();
        assert_eq!(
            resctrl_at(&mount),
            Resctrl { mount: mount.clone(), cache: true, bandwidth: false, monitoring: false }
        );
        std::fs::create_dir_all(dir.path().join("info/MB")).unwrap();
        std::fs::create_dir_all(dir.path().join("info/L3_MON")).unwrap();
        assert_eq!(
            resctrl_at(&mount),
            Resctrl { mount: mount.clone(), cache: true, bandwidth: true, monitoring: true }
        );
    }
}
