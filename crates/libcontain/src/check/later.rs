//! What this version cannot do yet: said, and not passed over.
//!
//! Entries leave this file as the features arrive.

use super::{Ctx, Problems, quoted};
use crate::error::{At, Problem};
use crate::plan::mount_options;
use crate::spec::{Linux, LinuxIntelRdt, LinuxSeccompAction};

const TEXT: &str = "not implemented yet";

pub(super) fn not_yet(c: &Ctx<'_>, out: &mut Problems) {
    let linux = c.linux().map(of_linux).unwrap_or_default();
    for (place, _) in linux.into_iter().filter(|(_, set)| *set) {
        out.push(Problem::error(At::field(place), "", TEXT));
    }
    mounts(c, out);
    notify(c, out);
}

fn given(text: &Option<String>) -> bool {
    text.as_ref().is_some_and(|text| !text.is_empty())
}

fn of_linux(l: &Linux) -> Vec<(&'static str, bool)> {
    vec![("linux.mountLabel", given(l.mount_label())), ("linux.intelRdt", l.intel_rdt().as_ref().is_some_and(is_set))]
}

fn is_set(rdt: &LinuxIntelRdt) -> bool {
    let monitoring = [rdt.enable_monitoring(), rdt.enable_cmt(), rdt.enable_mbm()];
    given(rdt.clos_id())
        || given(rdt.l3_cache_schema())
        || given(rdt.mem_bw_schema())
        || rdt.schemata().as_ref().is_some_and(|s| !s.is_empty())
        || monitoring.contains(&&Some(true))
}

fn mounts(c: &Ctx<'_>, out: &mut Problems) {
    for (i, mount) in c.spec.mounts().iter().flatten().enumerate() {
        let options = mount_options::parse(mount.options().as_deref().unwrap_or_default());
        if !options.unsupported.is_empty() {
            let words: Vec<String> = options.unsupported.iter().take(10).map(quoted).collect();
            let text = format!("{}: {TEXT}", words.join(", "));
            out.push(Problem::error(At::item("mounts[#].options", i), "", text));
        }
        let lists = [("mounts[#].uidMappings", mount.uid_mappings()), ("mounts[#].gidMappings", mount.gid_mappings())];
        for (place, _) in lists.into_iter().filter(|(_, list)| list.as_ref().is_some_and(|list| !list.is_empty())) {
            out.push(Problem::error(At::item(place, i), "", TEXT));
        }
    }
}

fn notify(c: &Ctx<'_>, out: &mut Problems) {
    let Some(seccomp) = c.linux().and_then(|l| l.seccomp().as_ref()) else { return };
    let text = format!("SCMP_ACT_NOTIFY: {TEXT}");
    if seccomp.default_action() == LinuxSeccompAction::ScmpActNotify {
        out.push(Problem::error(At::field("linux.seccomp.defaultAction"), "", text.as_str()));
    }
    for (i, rule) in seccomp.syscalls().iter().flatten().enumerate() {
        if rule.action() == LinuxSeccompAction::ScmpActNotify {
            out.push(Problem::error(At::item("linux.seccomp.syscalls[#].action", i), "", text.as_str()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::found;
    use serde_json::json;

    #[test]
    fn what_is_set_and_cannot_be_done_is_told() {
        let table = [
            (json!({"linux": {"mountLabel": "x"}}), "linux.mountLabel"),
            (json!({"linux": {"intelRdt": {"closID": "x"}}}), "linux.intelRdt"),
            (json!({"linux": {"intelRdt": {"schemata": ["x"]}}}), "linux.intelRdt"),
            (json!({"linux": {"intelRdt": {"l3CacheSchema": "x"}}}), "linux.intelRdt"),
            (json!({"linux": {"intelRdt": {"memBwSchema": "x"}}}), "linux.intelRdt"),
            (json!({"linux": {"intelRdt": {"enableMonitoring": true}}}), "linux.intelRdt"),
            (
                json!({"mounts": [{"destination": "/a", "type": "tmpfs", "options": ["idmap", "tmpcopyup"]}]}),
                "mounts[0].options: \"idmap\", \"tmpcopyup\"",
            ),
            (
                json!({"mounts": [{"destination": "/a", "type": "tmpfs", "uidMappings": [{"size": 1}]}]}),
                "mounts[0].uidMappings",
            ),
            (
                json!({"mounts": [{"destination": "/a", "type": "tmpfs", "gidMappings": [{"size": 1}]}]}),
                "mounts[0].gidMappings",
            ),
            (
                json!({"linux": {"seccomp": {"defaultAction": "SCMP_ACT_NOTIFY"}}}),
                "linux.seccomp.defaultAction: SCMP_ACT_NOTIFY",
            ),
            (
                json!({"linux": {"seccomp": {
                    "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["read"], "action": "SCMP_ACT_NOTIFY"}],
                }}}),
                "linux.seccomp.syscalls[0].action: SCMP_ACT_NOTIFY",
            ),
        ];
        for (patch, expected) in table {
            assert_eq!(found(patch), [format!("{expected}: not implemented yet")]);
        }
    }

    #[test]
    fn what_is_present_and_empty_is_not() {
        let patch = json!({
            "linux": {
                "mountLabel": "",
                "intelRdt": {"closID": "", "schemata": [], "enableMonitoring": false},
            },
            "mounts": [{"destination": "/a", "type": "tmpfs", "options": [], "uidMappings": [], "gidMappings": []}],
        });
        assert_eq!(found(patch), Vec::<String>::new());
    }
}
