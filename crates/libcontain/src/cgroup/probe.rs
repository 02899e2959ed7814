//! The machine's hierarchies: `statfs` and `/proc/self/cgroup`, no mountinfo (it grows with every mount).

use std::collections::BTreeMap;
use std::io;

use rustix::fs::{Dir, FileType, Mode as Bits, OFlags};
use rustix::io::Errno;

use super::dir;
use crate::plan::cgroup::{Hierarchy, Layout, Mode, ROOT};

/// Asks the kernel which hierarchies are mounted at `/sys/fs/cgroup`, and where this process is in them.
///
/// # Errors
/// `/proc/self/cgroup` or the list of controllers cannot be read.
pub fn probe() -> io::Result<Layout> {
    let own = match dir::read("/proc/self/cgroup") {
        Err(Errno::NOENT) => String::new(), // A kernel without cgroups.
        text => text?,
    };
    let mode = match () {
        () if dir::is_v2(ROOT) => Mode::V2,
        () if dir::is_v2(&format!("{ROOT}/unified")) => Mode::Hybrid,
        () => Mode::V1,
    };
    let entries = if mode == Mode::V2 { BTreeMap::new() } else { entries().unwrap_or_default() };
    let mut hierarchies = Vec::new();
    for line in own.lines() {
        hierarchies.extend(hierarchy(line, mode, &entries)?);
    }
    let mode = if hierarchies.is_empty() { Mode::Absent } else { mode };
    Ok(Layout { mode, hierarchies })
}

/// What is in `/sys/fs/cgroup`: directories, to which a hierarchy each is mounted, and symlinks to them.
fn entries() -> io::Result<BTreeMap<String, FileType>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut entries = BTreeMap::new();
    for entry in Dir::new(rustix::fs::open(ROOT, flags, Bits::empty())?)? {
        let entry = entry?;
        entries.insert(entry.file_name().to_string_lossy().into_owned(), entry.file_type());
    }
    Ok(entries)
}

/// A line `ID:CONTROLLERS:PATH`; `None` when the hierarchy is not mounted where it is looked for.
fn hierarchy(line: &str, mode: Mode, entries: &BTreeMap<String, FileType>) -> io::Result<Option<Hierarchy>> {
    let mut fields = line.splitn(3, ':');
    let (Some(_), Some(names), Some(own)) = (fields.next(), fields.next(), fields.next()) else { return Ok(None) };
    let v2 = names.is_empty();
    let dir = match (v2, mode) {
        (true, Mode::V2) => Some(String::new()),
        (true, Mode::Hybrid) => Some("unified".to_owned()),
        (false, Mode::V1 | Mode::Hybrid) => v1_dir(names, entries),
        _ => None,
    };
    let Some(dir) = dir else { return Ok(None) };
    let mount = if dir.is_empty() { ROOT.to_owned() } else { format!("{ROOT}/{dir}") };
    let controllers = if v2 {
        let list = dir::read(&format!("{mount}/cgroup.controllers"))?;
        list.split_whitespace().map(str::to_owned).collect()
    } else {
        names.split(',').map(str::to_owned).collect()
    };
    // In a container without a cgroup namespace the path is the host's, but only what is below the container's
    // own cgroup is mounted: its root, then. `/..` is what a cgroup namespace shows of cgroups outside.
    let below = !own.starts_with("/..") && (own == "/" || dir::exists(&format!("{mount}{own}")));
    let own = if below { own } else { "/" }.to_owned();
    Ok(Some(Hierarchy { dir, controllers, own, v2 }))
}

/// The directory is named like the controllers of the line; with several of them there may be a symlink for
/// each to a directory that names them in another order.
fn v1_dir(names: &str, entries: &BTreeMap<String, FileType>) -> Option<String> {
    let plain = names.strip_prefix("name=").unwrap_or(names);
    std::iter::once(plain).chain(plain.split(',')).find_map(|name| match entries.get(name)? {
        FileType::Directory => Some(name.to_owned()),
        FileType::Symlink => {
            let target = std::fs::read_link(format!("{ROOT}/{name}")).ok()?.to_str()?.to_owned();
            (entries.get(&target) == Some(&FileType::Directory)).then_some(target)
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_v1_hierarchy_is_found_by_any_of_its_names() {
        let entries = ["cpu,cpuacct", "net_cls", "systemd"].map(|name| (name.to_owned(), FileType::Directory));
        let entries = BTreeMap::from(entries);
        for (names, dir) in [
            ("cpu,cpuacct", Some("cpu,cpuacct")),
            ("net_prio,net_cls", Some("net_cls")),
            ("name=systemd", Some("systemd")),
            ("name=nowhere", None),
            ("memory", None),
        ] {
            assert_eq!(v1_dir(names, &entries).as_deref(), dir, "{names}");
        }
    }
}
