//! Where a process goes that comes later: the container's own cgroups, or named ones below them (`exec --cgroup`).
//!
//! Nothing is made here, and no path leaves the container's.

use std::collections::BTreeMap;

use super::{Cgroup, Member, dir};
use crate::error::{At, Error, Kind};
use crate::plan::Join;
use crate::plan::cgroup::ROOT;
use crate::small_file;

const AT: At = At::field("--cgroup");

/// Sub-cgroups by controller; of all hierarchies if the controller is empty.
type Below = BTreeMap<String, String>;

impl Cgroup {
    /// What a process has to join. `asked` is as in [`ExecOptions`](crate::ExecOptions).
    ///
    /// # Errors
    /// What `asked` says is none of the container's, in runc's words.
    pub(crate) fn entrance(&self, asked: &[String], pid: u32) -> Result<Join, Error> {
        let below = parse(asked).map_err(wrong)?;
        if let Some(unknown) = below.keys().find(|key| !key.is_empty() && self.v1(key).is_none()) {
            return Err(wrong(format!("unknown controller {unknown}")));
        }
        let mut join = Join { pid, ..Join::default() };
        for member in &self.members {
            let path = member.sub_cgroup(&below)?;
            if member.v2 {
                join.directory = Some(path);
            } else if member.stands_for("pids") {
                join.counted = Some(format!("{path}/tasks"));
            } else {
                join.tasks.push(format!("{path}/tasks"));
            }
        }
        Ok(join)
    }
}

/// The v2 directory that init is in by now: it may have moved itself into one below the container's, which then takes no
/// processes of its own (systemd as init does that).
pub(crate) fn directory_of(pid: u32) -> Option<String> {
    let cgroups = small_file::read(rustix::fs::CWD, format!("/proc/{pid}/cgroup")).ok()?;
    let path = cgroups.lines().find_map(|line| line.strip_prefix("0::"))?;
    let path = path.trim_end_matches('/');
    Some(if dir::is_v2(ROOT) { format!("{ROOT}{path}") } else { format!("{ROOT}/unified{path}") })
}

impl Member {
    fn sub_cgroup(&self, asked: &Below) -> Result<String, Error> {
        // On a v1 host the paths are those of v1, as in runc.
        let everywhere = asked.get("");
        let Some(sub) = self.keys.iter().find_map(|key| asked.get(key)).or(everywhere) else {
            return Ok(self.path.clone());
        };
        let mut path = self.path.clone();
        for name in sub.split('/').filter(|name| !matches!(*name, "" | ".")) {
            if name == ".." || name.contains('\0') {
                return Err(wrong(format!("bad sub cgroup path: {sub}")));
            }
            path = format!("{path}/{name}");
        }
        if !dir::exists(&path) {
            // runc finds out by adding its pid. There is none yet, and callers look for these words.
            return Err(wrong(format!("error adding pid to cgroup: stat {path}: no such file or directory")));
        }
        Ok(path)
    }
}

fn wrong(text: String) -> Error {
    Error::new(Kind::Config, text).with_at(AT)
}

fn parse(asked: &[String]) -> Result<Below, String> {
    let mut below = Below::new();
    for given in asked {
        let Some((controllers, path)) = given.split_once(':') else {
            if asked.len() > 1 {
                return Err(format!("invalid --cgroup argument: {given} (missing <controller>: prefix)"));
            }
            below.insert(String::new(), given.clone());
            continue;
        };
        if path.contains(':') {
            return Err(format!("invalid --cgroup argument: {given}"));
        }
        for controller in controllers.split(',') {
            if controller.is_empty() {
                return Err(format!("invalid --cgroup argument: {given} (empty <controller> prefix)"));
            }
            if below.insert(controller.to_owned(), path.to_owned()).is_some() {
                return Err(format!("invalid --cgroup argument(s): controller {controller} specified multiple times"));
            }
        }
    }
    Ok(below)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(asked: &[&str]) -> Result<Vec<(String, String)>, String> {
        parse(&asked.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>()).map(|below| below.into_iter().collect())
    }

    #[test]
    fn arguments_are_runcs() {
        let pair = |key: &str, path: &str| (key.to_owned(), path.to_owned());
        assert_eq!(parsed(&[]), Ok(vec![]));
        assert_eq!(parsed(&["/a"]), Ok(vec![pair("", "/a")]));
        assert_eq!(
            parsed(&["cpu,memory:a", "pids:/"]),
            Ok(vec![pair("cpu", "a"), pair("memory", "a"), pair("pids", "/")])
        );
        for (asked, text) in [
            (&["cpu:a", "b"][..], "invalid --cgroup argument: b (missing <controller>: prefix)"),
            (&["cpu,:a"], "invalid --cgroup argument: cpu,:a (empty <controller> prefix)"),
            (&[":a"], "invalid --cgroup argument: :a (empty <controller> prefix)"),
            (&["a:b:c"], "invalid --cgroup argument: a:b:c"),
            (&["cpu:a", "cpu:b"], "invalid --cgroup argument(s): controller cpu specified multiple times"),
        ] {
            assert_eq!(parsed(asked), Err(text.to_owned()), "{asked:?}");
        }
    }

    #[test]
    fn nobody_leaves_the_containers_cgroup() {
        let paths = BTreeMap::from([("pids".to_owned(), "/sys/fs/cgroup/pids/c".to_owned())]);
        let cgroup = Cgroup::from_paths(&paths);
        let refused = |asked: &str| cgroup.entrance(&[asked.to_owned()], 1).unwrap_err().to_string();
        for asked in ["..", "../other", "a/../../..", "pids:../.."] {
            let sub = asked.trim_start_matches("pids:");
            assert_eq!(refused(asked), format!("bad sub cgroup path: {sub}"));
        }
        assert_eq!(refused("cpu:a"), "unknown controller cpu");
        assert_eq!(
            refused("not-there-at-all"),
            "error adding pid to cgroup: stat /sys/fs/cgroup/pids/c/not-there-at-all: no such file or directory"
        );
        let own = cgroup.entrance(&[], 7).unwrap();
        assert_eq!((own.pid, own.counted.as_deref()), (7, Some("/sys/fs/cgroup/pids/c/tasks")));
    }
}
