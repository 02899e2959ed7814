//! Rules about mounts whose ids are translated, and about file systems that are filled (`tmpcopyup`).

use super::{Ctx, Problems, quoted};
use crate::error::{At, Problem};
use crate::plan::idmap;
use crate::plan::mount_options::{self, Options};
use crate::spec::{LinuxIdMapping, LinuxNamespaceType, Mount};

const MOUNTS: &str = "config.md#posix-platform-mounts";

/// Types that show something of the namespaces of whoever mounts them. The parent makes id-mapped file systems, so it
/// would be the host's; the kernel maps the ids of none of them.
const OF_NAMESPACES: [&str; 5] = ["cgroup", "cgroup2", "mqueue", "proc", "sysfs"];

fn all<'a>(c: &Ctx<'a>) -> impl Iterator<Item = (usize, &'a Mount, Options)> + use<'a> {
    let parse = |mount: &Mount| mount_options::parse(mount.options().as_deref().unwrap_or_default());
    c.spec.mounts().iter().flatten().enumerate().map(move |(i, mount)| (i, mount, parse(mount)))
}

fn is_bind(mount: &Mount, options: &Options) -> bool {
    options.bind || matches!(mount.typ().as_deref(), Some("bind" | "rbind"))
}

pub(super) fn mounts(c: &Ctx<'_>, out: &mut Problems) {
    for (i, mount, options) in all(c) {
        let at = At::item("mounts[#].options", i);
        // crun's `idmap=uids=0-1-10;gids=0-1-10`. As data of a bind mount it would be passed over.
        if let Some((key, _)) = options.data.iter().find(|(key, _)| key == "idmap" || key == "ridmap") {
            let text =
                format!("\"{key}=...\": mappings are taken from uidMappings and gidMappings, not from the option");
            out.push(Problem::error(at, MOUNTS, text));
        }
        let lists = [mount.uid_mappings(), mount.gid_mappings()].map(|list| list.as_deref().unwrap_or_default());
        if options.remount && (options.idmap.is_some() || options.copy_up || lists.iter().any(|list| !list.is_empty()))
        {
            let text = "\"remount\" makes no new mount whose ids could be mapped, or that could be filled";
            out.push(Problem::error(at, MOUNTS, text));
        }
        if options.idmap.is_none() && lists.iter().all(|list| list.is_empty()) {
            continue;
        }
        if !c.host.is_privileged() {
            out.push(Problem::error(at, MOUNTS, "id-mapped mounts are not supported for rootless containers"));
        }
        let fstype = mount.typ().as_deref().unwrap_or_default();
        if OF_NAMESPACES.contains(&fstype) && !is_bind(mount, &options) {
            let text = format!("a file system of type {} cannot be id-mapped", quoted(fstype));
            out.push(Problem::error(at, MOUNTS, text));
        }
        complete(c, i, lists, out);
        valid(i, lists, out);
    }
}

/// Both maps, or those of the container's user namespace.
fn complete(c: &Ctx<'_>, i: usize, lists: [&[LinuxIdMapping]; 2], out: &mut Problems) {
    let text = "id-mapped mounts must have both uid and gid mappings specified";
    match lists.map(<[_]>::is_empty) {
        [false, false] => {}
        // A new namespace without mappings has a problem of its own.
        [true, true] if c.has(LinuxNamespaceType::User) => {}
        [true, true] => {
            let text = format!("{text}: there is no user namespace to take them from");
            out.push(Problem::error(At::item("mounts[#].options", i), MOUNTS, text));
        }
        [uid, _] => {
            let place = if uid { "mounts[#].uidMappings" } else { "mounts[#].gidMappings" };
            out.push(Problem::error(At::item(place, i), MOUNTS, text));
        }
    }
}

fn valid(i: usize, [uid, gid]: [&[LinuxIdMapping]; 2], out: &mut Problems) {
    for (place, list) in [("mounts[#].uidMappings[#]", uid), ("mounts[#].gidMappings[#]", gid)] {
        for fault in idmap::faults(list) {
            out.push(Problem::error(At::nested(place, i, fault.index()), MOUNTS, fault.to_string()));
        }
    }
}

/// config.md: "tmpcopyup ... only for tmpfs".
pub(super) fn copied(c: &Ctx<'_>, out: &mut Problems) {
    for (i, mount, options) in all(c).filter(|(_, _, options)| options.copy_up) {
        let fstype = mount.typ().as_deref().unwrap_or_default();
        if is_bind(mount, &options) || fstype != "tmpfs" {
            let text = "\"tmpcopyup\" is for file systems of type tmpfs only";
            out.push(Problem::error(At::item("mounts[#].options", i), MOUNTS, text));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found, found_on};
    use crate::host::Host;
    use serde_json::{Value, json};

    const INCOMPLETE: &str = "id-mapped mounts must have both uid and gid mappings specified";

    fn one(size: u32) -> Value {
        json!([{"containerID": 0, "hostID": 1000, "size": size}])
    }

    fn config(options: Value, uid: Value, gid: Value) -> Value {
        let mount = json!({
            "destination": "/a", "type": "bind", "source": "/x", "options": options,
            "uidMappings": uid, "gidMappings": gid,
        });
        json!({"mounts": [mount]})
    }

    #[test]
    fn both_maps_or_those_of_the_container() {
        let none = Vec::<String>::new();
        assert_eq!(found(config(json!(["rbind", "idmap"]), one(5), one(5))), none);
        assert_eq!(found(config(json!(["rbind"]), one(5), one(5))), none);
        for (uid, gid, place) in [(one(1), json!([]), "gidMappings"), (json!([]), one(1), "uidMappings")] {
            for options in [json!(["bind"]), json!(["bind", "ridmap"])] {
                assert_eq!(
                    found(config(options, uid.clone(), gid.clone())),
                    [format!("mounts[0].{place}: {INCOMPLETE}")]
                );
            }
        }
        let mut without = config(json!(["bind", "idmap"]), json!([]), json!([]));
        let told = format!("mounts[0].options: {INCOMPLETE}: there is no user namespace to take them from");
        assert_eq!(found(without.clone()), [told]);
        without["linux"] = json!({"namespaces": [{"type": "mount"}, {"type": "user", "path": "/ns"}]});
        assert_eq!(found(without.clone()), none);
        without["linux"] =
            json!({"namespaces": [{"type": "mount"}, {"type": "user"}], "uidMappings": one(9), "gidMappings": one(9)});
        assert_eq!(found(without), none);
    }

    #[test]
    fn maps_that_the_kernel_refuses_and_forms_that_are_not_ours() {
        assert_eq!(
            found(config(json!(["remount", "bind"]), one(1), one(1))),
            ["mounts[0].options: \"remount\" makes no new mount whose ids could be mapped, or that could be filled"]
        );
        assert_eq!(
            found(config(json!(["bind"]), one(0), one(1))),
            ["mounts[0].uidMappings[0]: size must be at least 1"]
        );
        let inline = config(json!(["bind", "idmap=uids=0-1-10;gids=0-1-10"]), json!([]), json!([]));
        let told = "mounts[0].options: \"idmap=...\": mappings are taken from uidMappings";
        assert!(found(inline).iter().any(|text| text.starts_with(told)));
        for fstype in super::OF_NAMESPACES {
            let mount = json!({"destination": "/a", "type": fstype, "uidMappings": one(1), "gidMappings": one(1)});
            let text = format!("mounts[0].options: a file system of type {fstype:?} cannot be id-mapped");
            assert_eq!(found(json!({"mounts": [mount]})).first(), Some(&text));
        }
    }

    #[test]
    fn an_ordinary_user_is_refused() {
        let user = Host { euid: 1000, capabilities: 0, ..Host::privileged() };
        let mut config = config(json!(["bind", "idmap"]), one(1), one(1));
        config["linux"] =
            json!({"namespaces": [{"type": "mount"}, {"type": "user"}], "uidMappings": one(1), "gidMappings": one(1)});
        assert_eq!(
            found_on(&user, config),
            ["mounts[0].options: id-mapped mounts are not supported for rootless containers"]
        );
    }

    #[test]
    fn only_a_tmpfs_is_filled() {
        let with = |mount: Value| found(json!({"mounts": [mount]}));
        let told = ["mounts[0].options: \"tmpcopyup\" is for file systems of type tmpfs only"];
        assert_eq!(with(json!({"destination": "/a", "type": "tmpfs", "options": ["tmpcopyup"]})), Vec::<String>::new());
        assert_eq!(with(json!({"destination": "/a", "type": "ramfs", "options": ["tmpcopyup"]})), told);
        for options in [json!(["bind", "tmpcopyup"]), json!(["rbind", "tmpcopyup"])] {
            let mount = json!({"destination": "/a", "type": "tmpfs", "source": "/x", "options": options});
            assert_eq!(with(mount), told);
        }
    }
}
