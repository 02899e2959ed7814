//! Rules about `linux.intelRdt`: a class of service that can be a directory, on a machine that has what is asked for.

use super::{Ctx, Problems, quoted};
use crate::error::{At, Problem};
use crate::plan::rdt::is_monitored;

const CLAUSE: &str = "config-linux.md#intelrdt";

/// A resource that the machine lacks is told by its name, in runc's words; the kernel would say `invalid argument`.
pub(super) fn rdt(c: &Ctx<'_>, out: &mut Problems) {
    let Some(given) = c.linux().and_then(|l| l.intel_rdt().as_ref()) else { return };
    let mut refuse = |place, text: String| out.push(Problem::error(At::field(place), CLAUSE, text));
    let class = given.clos_id().as_deref().unwrap_or_default();
    if matches!(class, "." | "..") || (class.contains(['/', '\0', '\n']) && class != "/") {
        refuse("linux.intelRdt.closID", format!("invalid intelRdt.ClosID {}", quoted(class)));
    }
    for (i, line) in given.schemata().iter().flatten().enumerate() {
        if line.trim().is_empty() || line.contains('\n') {
            let text = format!("{} must be one line", quoted(line));
            out.push(Problem::error(At::item("linux.intelRdt.schemata[#]", i), CLAUSE, text));
        }
    }
    let mut refuse = |place, text: &str| out.push(Problem::error(At::field(place), CLAUSE, text));
    let Some(resctrl) = &c.host.resctrl else {
        refuse("linux.intelRdt", "intelRdt is specified in config, but Intel RDT is not enabled");
        return;
    };
    let asked = |field: &Option<String>| field.as_ref().is_some_and(|text| !text.is_empty());
    if asked(given.l3_cache_schema()) && !resctrl.cache {
        let text = "intelRdt.l3CacheSchema is specified in config, but Intel RDT/CAT is not enabled";
        refuse("linux.intelRdt.l3CacheSchema", text);
    }
    if asked(given.mem_bw_schema()) && !resctrl.bandwidth {
        let text = "intelRdt.memBwSchema is specified in config, but Intel RDT/MBA is not enabled";
        refuse("linux.intelRdt.memBwSchema", text);
    }
    if is_monitored(given) && !resctrl.monitoring {
        let text = "intelRdt monitoring is specified in config, but this machine's resctrl cannot monitor";
        refuse("linux.intelRdt.enableMonitoring", text);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{found, found_on};
    use crate::host::{Host, Resctrl};
    use serde_json::{Value, json};

    fn on(resctrl: Resctrl, rdt: Value) -> Vec<String> {
        let host = Host { resctrl: Some(resctrl), ..Host::privileged() };
        found_on(&host, json!({"linux": {"intelRdt": rdt}}))
    }

    fn full() -> Resctrl {
        Resctrl { mount: "/r".into(), cache: true, bandwidth: true, monitoring: true }
    }

    #[test]
    fn classes() {
        for class in ["", "gold", "/", "...", "a.b"] {
            assert_eq!(on(full(), json!({"closID": class})), Vec::<String>::new(), "{class}");
        }
        for class in [".", "..", "a/b", "/a", "//", "a\0b", "a\nb"] {
            let expected = format!("linux.intelRdt.closID: invalid intelRdt.ClosID {class:?}");
            assert_eq!(on(full(), json!({"closID": class})), [expected]);
        }
        let lines = on(full(), json!({"schemata": ["L3:0=f", "", "L3:0=f\nMB:0=1"]}));
        assert_eq!(
            lines,
            [
                "linux.intelRdt.schemata[1]: \"\" must be one line",
                "linux.intelRdt.schemata[2]: \"L3:0=f\\nMB:0=1\" must be one line"
            ]
        );
    }

    #[test]
    fn machines() {
        let text = "linux.intelRdt: intelRdt is specified in config, but Intel RDT is not enabled";
        assert_eq!(found(json!({"linux": {"intelRdt": {}}})), [text]);
        assert_eq!(found(json!({"linux": {"intelRdt": null}})), Vec::<String>::new());
        let all = json!({"l3CacheSchema": "L3:0=f", "memBwSchema": "MB:0=10", "enableMonitoring": true});
        assert_eq!(on(full(), all.clone()), Vec::<String>::new());
        // The older names stand in capitals in the runtime-spec, and otherwise in the types that they are read into.
        for member in ["enableMonitoring", "enableCMT", "enableMBM"] {
            let found = on(Resctrl { monitoring: false, ..full() }, json!({member: true}));
            assert!(found[0].contains("cannot monitor"), "{member}: {found:?}");
        }
        let none = Resctrl { cache: false, bandwidth: false, monitoring: false, ..full() };
        assert_eq!(
            on(none, all),
            [
                "linux.intelRdt.l3CacheSchema: intelRdt.l3CacheSchema is specified in config, but Intel RDT/CAT is not enabled",
                "linux.intelRdt.memBwSchema: intelRdt.memBwSchema is specified in config, but Intel RDT/MBA is not enabled",
                "linux.intelRdt.enableMonitoring: intelRdt monitoring is specified in config, but this machine's resctrl cannot monitor",
            ]
        );
    }
}
