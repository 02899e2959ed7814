//! `linux.cgroupsPath` as the systemd driver reads it: `slice:prefix:name`.
//!
//! Owns the rules about names of units (systemd.unit(5)) and where systemd puts their cgroups.
//!
//! Invariants: a place is below the manager's cgroup and never that cgroup itself; its unit has a name that systemd
//! takes, so that nothing but the unit's own cgroup is meant by it.

use super::Manager;

const SLICE: &str = ".slice";
/// systemd's `UNIT_NAME_MAX`, without the NUL.
const LONGEST: usize = 255;
/// Names of files that a cgroup could have, if they come before a dot (systemd's `cg_needs_escape`).
const CONTROLLERS: [&str; 8] = ["cpu", "cpuacct", "cpuset", "io", "blkio", "memory", "devices", "pids"];

/// A unit, and where its cgroup is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// The unit: `prefix-name.scope`, or `name` if that is a slice.
    pub unit: String,
    /// The slice that it is in; what a slice wants.
    pub slice: String,
    /// The third part.
    pub name: String,
    /// The unit's cgroup, seen from the root of the hierarchy.
    pub path: String,
}

impl Place {
    /// Whether the unit is a slice, which holds no processes of its own.
    pub(crate) fn is_slice(&self) -> bool {
        self.unit.ends_with(SLICE)
    }

    /// Reads `cgroupsPath`; empty is `:runc:ID`.
    pub(crate) fn parse(configured: &str, id: &str, manager: &Manager) -> Result<Place, String> {
        let default;
        let asked = if configured.is_empty() {
            default = format!(":runc:{id}");
            default.as_str()
        } else {
            configured
        };
        let mut parts = asked.split(':');
        let (Some(slice), Some(prefix), Some(name), None) = (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(format!(
                "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {asked:?} instead"
            ));
        };
        let slice = match slice {
            "" if manager.user => "user.slice",
            "" => "system.slice",
            "-" => "-.slice",
            slice => slice,
        };
        let unit = match prefix {
            _ if name.ends_with(SLICE) => name.to_owned(),
            "" => format!("{name}.scope"),
            prefix => format!("{prefix}-{name}.scope"),
        };
        let base = if manager.user { manager.control_group.trim_end_matches('/') } else { "" };
        let above = expand(slice)?;
        let path = if unit.ends_with(SLICE) {
            // The name alone says where a slice is.
            match expand(&unit)? {
                path if path.is_empty() => return Err(format!("invalid slice name: {unit}")),
                path => path,
            }
        } else {
            valid(&unit)?;
            format!("{above}/{}", escaped(&unit))
        };
        Ok(Place { unit, slice: slice.to_owned(), name: name.to_owned(), path: format!("{base}{path}") })
    }
}

/// `a-b.slice` is in `a.slice`; the root slice is nowhere.
fn expand(slice: &str) -> Result<String, String> {
    let invalid = || format!("invalid slice name: {slice}");
    let stem = slice.strip_suffix(SLICE).ok_or_else(invalid)?;
    valid(slice).map_err(|_| invalid())?;
    if stem == "-" {
        return Ok(String::new());
    }
    let (mut path, mut name) = (String::new(), String::new());
    for part in stem.split('-') {
        if part.is_empty() {
            return Err(invalid());
        }
        if !name.is_empty() {
            name.push('-');
        }
        name.push_str(part);
        path = format!("{path}/{}", escaped(&format!("{name}{SLICE}")));
    }
    Ok(path)
}

/// A name that systemd takes: not too long and of its characters; slices and scopes have no instances (`@`).
fn valid(unit: &str) -> Result<(), String> {
    let known = |c: char| c.is_ascii_alphanumeric() || ":-_.\\".contains(c);
    let stem = unit.rsplit_once('.').map_or("", |(stem, _)| stem);
    let why = if unit.len() > LONGEST {
        format!("it is longer than {LONGEST} bytes")
    } else if let Some(c) = unit.chars().find(|c| !known(*c)) {
        format!("it contains {c:?}; a scope has letters, digits and :-_.\\")
    } else if stem.is_empty() {
        "there is no name before its ending".to_owned()
    } else {
        return Ok(());
    };
    Err(format!("invalid unit name {unit:?}: {why}"))
}

/// As systemd names the directory of a unit that could be taken for a file of the kernel's.
fn escaped(unit: &str) -> String {
    let first = unit.split('.').next().unwrap_or_default();
    let clashes = unit.starts_with(['_', '.']) || first == "cgroup" || CONTROLLERS.contains(&first);
    if clashes { format!("_{unit}") } else { unit.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manager(user: bool) -> Manager {
        let control_group = if user { "/user.slice/user-1000.slice/user@1000.service" } else { "/" };
        Manager { version: 257, control_group: control_group.to_owned(), user }
    }

    fn parsed(asked: &str) -> Result<(String, String, String), String> {
        Place::parse(asked, "c1", &manager(false)).map(|p| (p.unit, p.slice, p.path))
    }

    #[test]
    fn slice_prefix_and_name() {
        let cases = [
            ("", "runc-c1.scope", "system.slice", "/system.slice/runc-c1.scope"),
            (":docker:ab", "docker-ab.scope", "system.slice", "/system.slice/docker-ab.scope"),
            ("system.slice:docker:ab", "docker-ab.scope", "system.slice", "/system.slice/docker-ab.scope"),
            ("machine.slice:libpod:ab", "libpod-ab.scope", "machine.slice", "/machine.slice/libpod-ab.scope"),
            ("machine.slice::ab", "ab.scope", "machine.slice", "/machine.slice/ab.scope"),
            ("-:runc:ab", "runc-ab.scope", "-.slice", "/runc-ab.scope"),
            ("-.slice:runc:ab", "runc-ab.scope", "-.slice", "/runc-ab.scope"),
            (
                "kubepods-burstable-pod7.slice:crio:ab",
                "crio-ab.scope",
                "kubepods-burstable-pod7.slice",
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod7.slice/crio-ab.scope",
            ),
            ("a.slice:ignored:a-b.slice", "a-b.slice", "a.slice", "/a.slice/a-b.slice"),
            (":x:a-b.slice", "a-b.slice", "system.slice", "/a.slice/a-b.slice"),
            ("-::memory", "memory.scope", "-.slice", "/_memory.scope"),
            ("-:_a:b", "_a-b.scope", "-.slice", "/__a-b.scope"),
            ("-::cgroup.b", "cgroup.b.scope", "-.slice", "/_cgroup.b.scope"),
            ("-::memory.b", "memory.b.scope", "-.slice", "/_memory.b.scope"),
            ("-:memory:b", "memory-b.scope", "-.slice", "/memory-b.scope"),
            ("-::..", "...scope", "-.slice", "/_...scope"),
        ];
        for (asked, unit, slice, path) in cases {
            let expected = (unit.to_owned(), slice.to_owned(), path.to_owned());
            assert_eq!(parsed(asked), Ok(expected), "{asked}");
        }
    }

    #[test]
    fn a_users_units_are_below_his_manager() {
        let place = |asked: &str| Place::parse(asked, "c1", &manager(true)).map(|p| (p.slice, p.path)).unwrap();
        let base = "/user.slice/user-1000.slice/user@1000.service";
        assert_eq!(place(""), ("user.slice".to_owned(), format!("{base}/user.slice/runc-c1.scope")));
        assert_eq!(place("-:a:b"), ("-.slice".to_owned(), format!("{base}/a-b.scope")));
    }

    #[test]
    fn what_is_no_place() {
        let format = |got: &str| {
            format!(
                "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd cgroups, got {got:?} instead"
            )
        };
        for asked in ["/docker/ab", "a:b", "a:b:c:d", "a"] {
            assert_eq!(parsed(asked), Err(format(asked)));
        }
        for slice in
            ["a", ".slice", "a/b.slice", "-a.slice", "a--b.slice", "a-.slice", "--.slice", "a\0.slice", "a b.slice"]
        {
            assert_eq!(parsed(&format!("{slice}:b:c")), Err(format!("invalid slice name: {slice}")));
        }
        for name in ["-.slice", ".slice", "a--b.slice", "a/../b.slice"] {
            assert_eq!(parsed(&format!(":p:{name}")), Err(format!("invalid slice name: {name}")));
        }
        let long = "x".repeat(250);
        for name in ["a/b", "../x", "a\0", "a\nb", "a b", "é", "a+b", "a@b", long.as_str(), ""] {
            let refused = parsed(&format!("::{name}")).unwrap_err();
            assert!(refused.starts_with(&format!("invalid unit name {:?}: ", format!("{name}.scope"))), "{refused}");
        }
        assert!(parsed(&format!("::{}", "x".repeat(249))).is_ok(), "255 bytes");
    }
}
