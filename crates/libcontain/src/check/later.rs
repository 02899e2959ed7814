//! What this version cannot do yet: said, and not passed over.
//!
//! Entries leave this file as the features arrive.

use super::{Ctx, Problems, quoted};
use crate::error::{At, Problem};
use crate::plan::mount_options;
use crate::spec::{Linux, Process};

const TEXT: &str = "not implemented yet";

pub(super) fn not_yet(c: &Ctx<'_>, out: &mut Problems) {
    let process = c.process().map(of_process).unwrap_or_default();
    let linux = c.linux().map(of_linux).unwrap_or_default();
    for (place, _) in process.into_iter().chain(linux).filter(|(_, set)| *set) {
        out.push(Problem::error(At::field(place), "", TEXT));
    }
    mounts(c, out);
}

fn given(text: &Option<String>) -> bool {
    text.as_ref().is_some_and(|text| !text.is_empty())
}

fn of_process(p: &Process) -> Vec<(&'static str, bool)> {
    vec![("process.terminal", p.terminal() == Some(true))]
}

fn of_linux(l: &Linux) -> Vec<(&'static str, bool)> {
    vec![("linux.mountLabel", given(l.mount_label()))]
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

#[cfg(test)]
mod tests {
    use super::super::tests::found;
    use serde_json::json;

    #[test]
    fn what_is_set_and_cannot_be_done_is_told() {
        let table = [
            (json!({"process": {"terminal": true}}), "process.terminal"),
            (json!({"linux": {"mountLabel": "x"}}), "linux.mountLabel"),
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
        ];
        for (patch, expected) in table {
            assert_eq!(found(patch), [format!("{expected}: not implemented yet")]);
        }
    }

    #[test]
    fn what_is_present_and_empty_is_not() {
        let patch = json!({
            "process": {"terminal": false},
            "linux": {"mountLabel": ""},
            "mounts": [{"destination": "/a", "type": "tmpfs", "options": [], "uidMappings": [], "gidMappings": []}],
        });
        assert_eq!(found(patch), Vec::<String>::new());
    }
}
