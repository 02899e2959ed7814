//! What was typed before the command becomes what to do: state root, cgroup driver, rootless or not.
//!
//! Everything read from the environment and from the process (cwd, euid, user namespace) is read here or in the one
//! verb that needs it; paths are absolute from here on, and the process never changes its directory.

use crate::args::{Parsed, boolean};
use crate::log::Log;
use anyhow::{Context, bail};
use libcontain::{CgroupDriver, Id, Runtime, bus_address_of};
use std::ffi::{OsStr, OsString};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Component, Path, PathBuf};

/// The global options, resolved.
#[derive(Debug)]
pub struct Globals<'a> {
    pub log: &'a Log,
    /// `cntr`, or `runc` when called so.
    pub name: &'static str,
    /// argv\[0\].
    pub argv0: OsString,
    pub root: PathBuf,
    pub origin: Origin,
    systemd: bool,
    rootless: Option<bool>,
}

/// Who chose the state root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// `--root`: it has to be there for `list`.
    Given,
    /// `$XDG_RUNTIME_DIR`: made with the sticky bit, which keeps cleaners of that directory away.
    Xdg,
    /// /run/runc.
    System,
}

const SYSTEM_ROOT: &str = "/run/runc";

/// /proc/self/ns/user of the initial user namespace (PROC_USER_INIT_INO). The uid map is no test for it: systemd
/// 260 writes identity maps.
const INITIAL_USER_NAMESPACE: u64 = 0xEFFF_FFFD;

impl<'a> Globals<'a> {
    pub fn resolve(global: &Parsed, log: &'a Log, name: &'static str, argv0: OsString) -> anyhow::Result<Self> {
        let (root, origin) = match global.value("root") {
            // runc takes it for the current directory, where `delete --force NAME` would then remove things.
            Some(given) if given.is_empty() => bail!("Option --root argument should not be empty"),
            Some(given) => (absolute(given)?, Origin::Given),
            None => default_root(),
        };
        if root == Path::new("/") {
            bail!("Option --root argument should not be set to /");
        }
        let rootless = match global.given("rootless") {
            None => None,
            Some(v) if v.eq_ignore_ascii_case("auto") => None,
            Some(v) => match boolean(v) {
                Some(b) => Some(b),
                None => {
                    bail!("invalid value {:?} for flag -rootless: expected true, false or auto", v.to_string_lossy())
                }
            },
        };
        Ok(Globals { log, name, argv0, root, origin, systemd: global.is_set("systemd-cgroup"), rootless })
    }

    /// The library's entry, for commands on containers that exist.
    pub fn runtime(&self) -> Runtime {
        let runtime = Runtime::new(&self.root);
        match self.rootless {
            Some(rootless) => runtime.with_rootless_cgroups(rootless),
            None => runtime, // "auto" is what the library does by itself
        }
    }

    /// The library's entry, for commands that make (or plan) one.
    pub fn making_runtime(&self) -> anyhow::Result<Runtime> {
        let mut runtime = self.runtime();
        if self.systemd {
            if !Path::new("/run/systemd/system").is_dir() {
                bail!("systemd not running on this host, cannot use systemd cgroups manager");
            }
            runtime = runtime.with_cgroup_driver(CgroupDriver::Systemd);
            if let Some(addresses) = bus_addresses() {
                runtime = runtime.with_bus_address(addresses);
            }
        }
        // newuidmap and newgidmap are looked for where the caller looks for programs.
        Ok(match std::env::var_os("PATH") {
            Some(path) => runtime.with_search_path(path),
            None => runtime,
        })
    }

    /// Makes a default root below `$XDG_RUNTIME_DIR`; the library makes the others.
    pub fn prepare_root(&self) -> anyhow::Result<()> {
        if self.origin != Origin::Xdg {
            return Ok(());
        }
        let context = || format!("mkdir {}", self.root.display());
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.root).with_context(context)?;
        let sticky = std::fs::Permissions::from_mode(0o1700);
        std::fs::set_permissions(&self.root, sticky).with_context(|| format!("chmod {}", self.root.display()))
    }
}

fn default_root() -> (PathBuf, Origin) {
    match std::env::var_os("XDG_RUNTIME_DIR") {
        Some(dir) if !dir.is_empty() && honours_xdg() => (Path::new(&dir).join("runc"), Origin::Xdg),
        _ => (PathBuf::from(SYSTEM_ROOT), Origin::System),
    }
}

/// Root of the machine does not: `sudo` may have left an ordinary user's directory in the environment.
fn honours_xdg() -> bool {
    effective_uid() != 0 || (in_user_namespace() && std::env::var_os("USER").is_none_or(|user| user != "root"))
}

/// The bus of the manager that the caller's units belong to: root's is the machine's, also where `sudo` has left the
/// address of a user's in the environment.
fn bus_addresses() -> Option<String> {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let text = |value: OsString| value.to_string_lossy().into_owned();
    if effective_uid() == 0 && !in_user_namespace() {
        return given("DBUS_SYSTEM_BUS_ADDRESS").map(text);
    }
    let below = |dir: OsString| bus_address_of(&Path::new(&dir).join("bus"));
    given("DBUS_SESSION_BUS_ADDRESS").map(text).or_else(|| given("XDG_RUNTIME_DIR").map(below))
}

fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn in_user_namespace() -> bool {
    std::fs::metadata("/proc/self/ns/user").is_ok_and(|m| m.ino() != INITIAL_USER_NAMESPACE)
}

/// The path against the caller's directory, without `.` and `..` (taken out of the text, as Go's `filepath.Abs` does).
pub fn absolute(path: &OsStr) -> anyhow::Result<PathBuf> {
    let path = Path::new(path);
    let joined =
        if path.is_absolute() { path.to_path_buf() } else { std::env::current_dir().context("getwd")?.join(path) };
    let mut clean = PathBuf::new();
    for component in joined.components() {
        match component {
            Component::ParentDir => _ = clean.pop(),
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    Ok(clean)
}

/// The container id among the operands.
pub fn id(operand: &OsStr) -> anyhow::Result<Id> {
    // An id that is not UTF-8 is none of ours in any case.
    Ok(operand.to_string_lossy().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_absolute_and_clean() {
        let here = std::env::current_dir().unwrap();
        for (path, expected) in [
            ("/a/../b/./c//d", "/b/c/d".into()),
            ("/..", "/".into()),
            ("x", here.join("x")),
            ("../x", here.parent().unwrap().join("x")),
            ("", here.clone()),
        ] {
            assert_eq!(absolute(OsStr::new(path)).unwrap(), expected as PathBuf, "{path}");
        }
    }
}
