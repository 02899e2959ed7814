//! Bytes are a config: read, checked and planned for several machines and callers. No panic; the same answer twice; what
//! is planned is in order, ends in `exec`, is no larger than the config allows, and can be printed.

#[allow(dead_code, reason = "the plan tests use more of it")]
#[path = "../../crates/libcontain/tests/plans/hosts.rs"]
mod hosts;
#[allow(dead_code, reason = "likewise")]
#[path = "../../crates/libcontain/tests/plans/rules.rs"]
mod rules;

use libcontain::plan::cgroup::{Layout, Mode};
use libcontain::plan::{Op, Plan};
use libcontain::{Bundle, CreateOptions, Error, Host, Id, Level, Runtime};

pub fn judge(data: &[u8]) {
    let read = || Bundle::from_bytes("/run/bundle", data);
    // Twice: what is kept in a hash map comes in another order.
    let (first, second) = match (read(), read()) {
        (Ok(first), Ok(second)) => (first, second),
        (Err(first), Err(second)) => return assert_eq!(first.to_string(), second.to_string()),
        (first, second) => panic!("read once: {:?} {:?}", first.err(), second.err()),
    };
    let id: Id = "c1".parse().unwrap();
    for host in machines() {
        let runtime = Runtime::new("/run/cntr").with_host(host);
        let plan = |bundle| runtime.plan(&id, bundle, &CreateOptions::default());
        match (plan(&first), plan(&second)) {
            (Ok(first), Ok(second)) => {
                assert_eq!(first, second);
                sound(&first, data.len());
            }
            (Err(first), Err(second)) => refused(&first, &second),
            (first, second) => panic!("planned once: {:?} {:?}", first.err(), second.err()),
        }
    }
}

/// v1, hybrid and v2; root, an ordinary user, and root of a user namespace; cgroups made by systemd, for root and a user.
fn machines() -> [Host; 7] {
    let hybrid = hosts::hybrid();
    let mut hierarchies = hybrid.cgroups.hierarchies.clone();
    hierarchies.retain(|hierarchy| !hierarchy.v2);
    let v1 = Host { cgroups: Layout { mode: Mode::V1, hierarchies }, ..hosts::v2() };
    let absent = Layout { mode: Mode::Absent, hierarchies: vec![] };
    let nested = Host { user_namespace: true, rootless_cgroups: true, last_cap: 30, cgroups: absent, ..hosts::v2() };
    [v1, hybrid, hosts::v2(), hosts::user(), nested, hosts::systemd(), hosts::systemd_user()]
}

fn sound(plan: &Plan, bytes: usize) {
    assert_eq!(rules::violations(plan), [""; 0], "{plan}");
    assert!(matches!(plan.steps.last().map(|step| &step.op), Some(Op::Exec { .. })), "{plan}");
    // The shortest member that asks for a step of its own has four bytes (a masked path and its comma).
    assert!(plan.steps.len() <= 100 + bytes / 4, "{} steps of {bytes} bytes", plan.steps.len());
    assert!(plan.cgroup.writes.len() <= 100 + bytes / 4 && plan.needs.len() <= 100 + bytes);
    assert!(plan.to_string().len() <= 100_000 + 100 * bytes, "{}", plan.to_string().len());
}

fn refused(first: &Error, second: &Error) {
    assert_eq!(first.to_string(), second.to_string());
    assert_eq!(first.problems(), second.problems());
    assert!(first.problems().iter().any(|p| p.level == Level::Error && !p.text.is_empty()), "{first}");
}
