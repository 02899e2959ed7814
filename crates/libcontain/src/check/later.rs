//! What this version cannot do yet: said, and not passed over.
//!
//! Entries leave this file as the features arrive.

use super::{Ctx, Problems};
use crate::error::{At, Problem};
use crate::spec::Process;

const TEXT: &str = "not implemented yet";

pub(super) fn not_yet(c: &Ctx<'_>, out: &mut Problems) {
    let process = c.process().map(of_process).unwrap_or_default();
    for (place, _) in process.into_iter().filter(|(_, set)| *set) {
        out.push(Problem::error(At::field(place), "", TEXT));
    }
}

fn of_process(p: &Process) -> Vec<(&'static str, bool)> {
    vec![("process.terminal", p.terminal() == Some(true))]
}

#[cfg(test)]
mod tests {
    use super::super::tests::found;
    use serde_json::json;

    #[test]
    fn what_is_set_and_cannot_be_done_is_told() {
        let table = [(json!({"process": {"terminal": true}}), "process.terminal")];
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
