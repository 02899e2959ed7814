//! `linux.intelRdt`: the directory of a class of service in resctrl, and what is written there.
//!
//! The rules are config-linux.md#intelrdt. Whether a class is there already is not known here, so the plan says what is
//! to be in it, and [`Rdt::difference`] whether that is so.

use std::collections::BTreeMap;

use oci_spec::runtime::LinuxIntelRdt;

use super::Planner;

/// What `linux.intelRdt` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rdt {
    /// Where resctrl is mounted.
    pub mount: String,
    /// The directory of the class of service.
    pub group: String,
    /// The config names the class: others may be in it, so that it stays when the container goes.
    pub shared: bool,
    /// The texts that are written to `schemata`, in order. The kernel takes a domain once per text.
    pub schemata: Vec<String>,
    /// The monitoring group of this container.
    pub monitor: Option<String>,
}

impl Planner<'_> {
    pub(super) fn rdt(&mut self) {
        let Some(given) = self.spec.linux().as_ref().and_then(|l| l.intel_rdt().as_ref()) else { return };
        let Some(resctrl) = &self.host.resctrl else { return }; // told by check
        self.rdt = Some(rdt(given, self.request.id, &resctrl.mount));
    }
}

/// Whether any member asks for monitoring. `enableCMT` and `enableMBM`, of before runtime-spec 1.3, are two of the things that
/// a monitoring group counts.
#[allow(deprecated)]
pub(crate) fn is_monitored(given: &LinuxIntelRdt) -> bool {
    [given.enable_monitoring(), given.enable_cmt(), given.enable_mbm()].contains(&&Some(true))
}

fn rdt(given: &LinuxIntelRdt, id: &str, mount: &str) -> Rdt {
    let class = given.clos_id().as_deref().filter(|class| !class.is_empty());
    let group = match class {
        Some("/") => mount.to_owned(), // the class of everybody who has no other
        class => format!("{mount}/{}", class.unwrap_or(id)),
    };
    let monitor = is_monitored(given).then(|| format!("{group}/mon_groups/{id}"));
    Rdt { mount: mount.to_owned(), group, shared: class.is_some(), schemata: schemata(given), monitor }
}

/// The texts that are written to `schemata`.
pub(crate) fn schemata(given: &LinuxIntelRdt) -> Vec<String> {
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let (cache, bandwidth) = (text(given.l3_cache_schema()), text(given.mem_bw_schema()));
    // A bandwidth in l3CacheSchema gives way to that of memBwSchema.
    let is_kept = |line: &&str| bandwidth.is_empty() || !line.trim_start().starts_with("MB:");
    let first = cache.lines().filter(is_kept).chain(bandwidth.lines());
    let lines = given.schemata().iter().flatten().flat_map(|entry| entry.lines());
    let joined = |lines: Vec<&str>| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    [joined(first.collect()), joined(lines.collect())].into_iter().filter(|text| !text.is_empty()).collect()
}

impl Rdt {
    /// A named class for which nothing is asked has to be there.
    #[must_use]
    pub fn must_exist(&self) -> bool {
        self.shared && self.schemata.is_empty()
    }

    /// The first setting, such as `L3:0=ff`, that a class with these schemata does not have.
    #[must_use]
    pub fn difference(&self, found: &str) -> Option<String> {
        let found = settings(found);
        let wanted = self.schemata.iter().fold(BTreeMap::new(), |mut all, text| {
            all.extend(settings(text)); // a later text overrides an earlier one
            all
        });
        let missing = wanted.into_iter().find(|(place, value)| found.get(place) != Some(value));
        missing.map(|((resource, domain), value)| format!("{resource}:{domain}={value}"))
    }
}

/// `L3:0=0ff;1=f` as resource and domain to value. The kernel pads masks with zeros and lines with blanks.
fn settings(schemata: &str) -> BTreeMap<(String, String), String> {
    let mut all = BTreeMap::new();
    for (resource, domains) in schemata.lines().filter_map(|line| line.split_once(':')) {
        for (domain, value) in domains.split(';').filter_map(|domain| domain.split_once('=')) {
            let value = value.trim().trim_start_matches("0x").trim_start_matches('0').to_ascii_lowercase();
            let value = if value.is_empty() { "0".into() } else { value };
            all.insert((resource.trim().to_owned(), domain.trim().to_owned()), value);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn planned(given: Value) -> Rdt {
        rdt(&serde_json::from_value(given).unwrap(), "c1", "/r")
    }

    #[test]
    fn where_it_is() {
        for (given, group, shared, must_exist) in [
            (json!({}), "/r/c1", false, false),
            (json!({"closID": ""}), "/r/c1", false, false),
            (json!({"closID": "gold"}), "/r/gold", true, true),
            (json!({"closID": "gold", "memBwSchema": "MB:0=10"}), "/r/gold", true, false),
            (json!({"closID": "/"}), "/r", true, true),
        ] {
            let plan = planned(given.clone());
            assert_eq!((plan.group.as_str(), plan.shared, plan.must_exist()), (group, shared, must_exist), "{given}");
            assert_eq!(plan.monitor, None);
        }
        for member in ["enableMonitoring", "enableCmt", "enableMbm"] {
            assert_eq!(planned(json!({"closID": "x", member: true})).monitor.as_deref(), Some("/r/x/mon_groups/c1"));
        }
    }

    #[test]
    fn what_is_written() {
        for (given, texts) in [
            (json!({}), &[][..]),
            (json!({"l3CacheSchema": "L3:0=f"}), &["L3:0=f\n"]),
            (json!({"memBwSchema": "MB:0=10"}), &["MB:0=10\n"]),
            (json!({"l3CacheSchema": "L3:0=f;1=f\nMB:0=90", "memBwSchema": "MB:0=10"}), &["L3:0=f;1=f\nMB:0=10\n"]),
            (json!({"l3CacheSchema": "L3:0=f\nMB:0=90"}), &["L3:0=f\nMB:0=90\n"]),
            (json!({"schemata": ["L3:0=f", "L2:0=f"]}), &["L3:0=f\nL2:0=f\n"]),
            (json!({"l3CacheSchema": "L3:0=f", "schemata": ["L3:0=ff"]}), &["L3:0=f\n", "L3:0=ff\n"]),
        ] {
            assert_eq!(planned(given.clone()).schemata, texts, "{given}");
        }
    }

    #[test]
    fn what_is_there_is_compared_setting_by_setting() {
        let found = "    L3:0=0000f;1=fffff\n    MB:0=100;1= 50\n";
        for (given, difference) in [
            (json!({}), None),
            (json!({"l3CacheSchema": "L3:0=f"}), None),
            (json!({"l3CacheSchema": "L3:0=0xF;1=FFFFF", "memBwSchema": "MB: 0=100"}), None),
            (json!({"l3CacheSchema": "L3:0=ff"}), Some("L3:0=ff")),
            (json!({"l3CacheSchema": "L3:0=ff", "schemata": ["L3:0=f"]}), None),
            (json!({"memBwSchema": "MB:0=100;1=60"}), Some("MB:1=60")),
            (json!({"schemata": ["L3:2=f"]}), Some("L3:2=f")),
            (json!({"schemata": ["L2:0=0"]}), Some("L2:0=0")),
        ] {
            assert_eq!(planned(given.clone()).difference(found).as_deref(), difference, "{given}");
        }
    }
}
