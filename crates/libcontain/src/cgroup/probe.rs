//! The machine's hierarchies: `statfs` and `/proc/self/cgroup`, no mountinfo (it grows with every mount).

use std::io;

use rustix::fs::statfs;

use super::dir::CGROUP2_MAGIC;
use crate::plan::cgroup::{Hierarchy, Layout, Mode, ROOT};

const CGROUP_MAGIC: u64 = 0x0027_e0eb;

/// Asks the kernel which hierarchies are mounted at `/sys/fs/cgroup`, and where this process is in them.
///
/// # Errors
/// `/proc/self/cgroup` or the list of controllers cannot be read.
pub fn probe() -> io::Result<Layout> {
    let own = match std::fs::read_to_string("/proc/self/cgroup") {
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(), // A kernel without cgroups.
        text => text?,
    };
    let mode = match (magic(ROOT), magic(&format!("{ROOT}/unified"))) {
        (Some(CGROUP2_MAGIC), _) => Mode::V2,
        (_, Some(CGROUP2_MAGIC)) => Mode::Hybrid,
        _ => Mode::V1,
    };
    let mut hierarchies = Vec::new();
    for line in own.lines() {
        hierarchies.extend(hierarchy(line, mode)?);
    }
    let mode = if hierarchies.is_empty() { Mode::Absent } else { mode };
    Ok(Layout { mode, hierarchies })
}

/// A line `ID:CONTROLLERS:PATH`; `None` when the hierarchy is not mounted where it is looked for.
fn hierarchy(line: &str, mode: Mode) -> io::Result<Option<Hierarchy>> {
    let mut fields = line.splitn(3, ':');
    let (Some(_), Some(names), Some(own)) = (fields.next(), fields.next(), fields.next()) else { return Ok(None) };
    let v2 = names.is_empty();
    let dir = match (v2, mode) {
        (true, Mode::V2) => Some(String::new()),
        (true, Mode::Hybrid) => Some("unified".to_owned()),
        (false, Mode::V1 | Mode::Hybrid) => v1_dir(names),
        _ => None,
    };
    let Some(dir) = dir else { return Ok(None) };
    let mount = if dir.is_empty() { ROOT.to_owned() } else { format!("{ROOT}/{dir}") };
    let controllers = if v2 {
        let list = std::fs::read_to_string(format!("{mount}/cgroup.controllers"))?;
        list.split_whitespace().map(str::to_owned).collect()
    } else {
        names.split(',').map(str::to_owned).collect()
    };
    // In a container without a cgroup namespace the path is the host's, but only what is below the container's
    // own cgroup is mounted: its root, then. `/..` is what a cgroup namespace shows of cgroups outside.
    let below = !own.starts_with("/..") && (own == "/" || magic(&format!("{mount}{own}")).is_some());
    let own = if below { own } else { "/" }.to_owned();
    Ok(Some(Hierarchy { dir, controllers, own, v2 }))
}

/// The directory is named like the controllers of the line; with several of them there may be a symlink for
/// each to a directory that names them in another order.
fn v1_dir(names: &str) -> Option<String> {
    let plain = names.strip_prefix("name=").unwrap_or(names);
    if magic(&format!("{ROOT}/{plain}")) == Some(CGROUP_MAGIC) {
        return Some(plain.to_owned());
    }
    plain.split(',').find_map(|name| {
        let path = format!("{ROOT}/{name}");
        let target = std::fs::read_link(&path).ok().and_then(|target| target.to_str().map(str::to_owned));
        let dir = target.unwrap_or_else(|| name.to_owned());
        (magic(&path) == Some(CGROUP_MAGIC) && !dir.contains('/')).then_some(dir)
    })
}

fn magic(path: &str) -> Option<u64> {
    statfs(path).ok().map(|fs| fs.f_type.cast_unsigned())
}
