//! What an OCI seccomp profile says about one syscall: a reader of the config, twenty lines, so that tests
//! expect what the profile says and not what a list here says.

use serde_json::Value;

use super::bundle::{list, strings};

/// What happens to a syscall.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Allow,
    Errno(i32),
}

pub const EPERM: i32 = 1;
pub const ENOSYS: i32 = 38;

/// The verdict on `name(args...)`. `newer` says that the syscall's number is above all that the profile names:
/// such a call gets ENOSYS, so that a program falls back to what the profile's author knew.
pub fn verdict(config: &Value, name: &str, args: &[u64], newer: bool) -> Verdict {
    let profile = &config["linux"]["seccomp"];
    if profile.is_null() {
        return Verdict::Allow;
    }
    let default = action(&profile["defaultAction"], &profile["defaultErrnoRet"]);
    let rules = list(&profile["syscalls"]).iter().filter(|r| strings(&r["names"]).contains(&name));
    for rule in rules {
        let hit = list(&rule["args"]).iter().all(|a| compare(a, args));
        if hit && action(&rule["action"], &rule["errnoRet"]) != default {
            return action(&rule["action"], &rule["errnoRet"]);
        }
    }
    if newer && default != Verdict::Allow { Verdict::Errno(ENOSYS) } else { default }
}

fn action(action: &Value, errno: &Value) -> Verdict {
    match action.as_str().unwrap() {
        "SCMP_ACT_ALLOW" | "SCMP_ACT_LOG" => Verdict::Allow,
        "SCMP_ACT_ERRNO" => Verdict::Errno(errno.as_i64().unwrap_or(i64::from(EPERM)) as i32),
        other => panic!("a test profile with {other}"),
    }
}

fn compare(arg: &Value, args: &[u64]) -> bool {
    let seen = args.get(arg["index"].as_u64().unwrap() as usize).copied().unwrap_or(0);
    let value = arg["value"].as_u64().unwrap();
    match arg["op"].as_str().unwrap() {
        "SCMP_CMP_EQ" => seen == value,
        "SCMP_CMP_NE" => seen != value,
        "SCMP_CMP_LT" => seen < value,
        "SCMP_CMP_LE" => seen <= value,
        "SCMP_CMP_GT" => seen > value,
        "SCMP_CMP_GE" => seen >= value,
        "SCMP_CMP_MASKED_EQ" => seen & value == arg["valueTwo"].as_u64().unwrap_or(0),
        other => panic!("operator {other}"),
    }
}
