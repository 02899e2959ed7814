//! `exec`: one more process in a container that exists.
//!
//! Owns what the flags make of the container's own process, which is pure, and the exit status: every failure that is not
//! the process's ends with 255, since all others may be its own. This process never becomes a subreaper: a process left
//! behind by `--detach` goes to the reaper that the caller is, or has.

use crate::args::Parsed;
use crate::create::{check_terminal, pid_file, preserve_fds};
use crate::document;
use crate::foreground::{Foreground, Owner, Program};
use crate::globals::{Globals, id};
use crate::socket::Sockets;
use anyhow::{Context, anyhow, bail};
use libcontain::spec::{Capabilities, Capability, LinuxCapabilities, Process};
use libcontain::{Exec, ExecOptions, process_from_json};
use nix::sys::signal::Signal;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::{Error as NoCapability, StrDeserializer};
use std::ffi::OsStr;
use std::path::Path;

const OWN_FAILURE: u8 = 255;

/// Runs a process in a container.
pub fn exec(globals: &Globals<'_>, args: &Parsed) -> anyhow::Result<u8> {
    exec_as_told(globals, args).context("exec failed").or_else(|error| {
        globals.log.error(&error);
        Ok(OWN_FAILURE)
    })
}

fn exec_as_told(globals: &Globals<'_>, args: &Parsed) -> anyhow::Result<u8> {
    let pid_file = pid_file(args)?;
    let container = globals.runtime().container(&id(args.operand(0))?)?;
    let (process, ignored) = match args.given("process") {
        Some(file) => {
            let (process, problems) = process_from_json(&document::read_file(file)?)?;
            (process, problems.iter().map(ToString::to_string).collect())
        }
        None => changed(container.process()?, args)?,
    };
    let (terminal, detached) = (process.terminal().unwrap_or(false), args.is_set("detach"));
    check_terminal(terminal, args, detached)?;
    let sockets = Sockets::dial(args, Path::new(""))?;
    let options = ExecOptions {
        preserve_fds: preserve_fds(args)?,
        pid_file: pid_file.as_deref(),
        cgroups: args.values("cgroup").filter(|path| !path.is_empty()).map(text).collect::<Result<_, _>>()?,
        ignore_paused: args.is_set("ignore-paused"),
        ..ExecOptions::default()
    };
    if detached {
        let exec = container.exec(&process, &sockets.lend_exec(options))?;
        tell(globals, &exec, &ignored);
        return Ok(0);
    }
    let foreground = Foreground::prepare(terminal, Owner::of_process(container.pid()))?;
    let options = ExecOptions {
        stdio: foreground.stdio(),
        console: foreground.console(),
        terminal: foreground.terminal(),
        signal_mask: Some(foreground.signal_mask()),
        ..sockets.lend_exec(options)
    };
    let exec = container.exec(&process, &options)?;
    tell(globals, &exec, &ignored);
    drop(sockets); // all that their listeners get has been sent
    foreground.serve(globals.log, Program::Exec(&exec), None).inspect_err(|_| {
        let _ = exec.kill(Signal::SIGKILL as i32); // nobody would wait for it
    })
}

/// `ignored` are names of capabilities that nobody has.
fn tell(globals: &Globals<'_>, exec: &Exec, ignored: &[String]) {
    ignored.iter().for_each(|warning| globals.log.warning(warning));
    globals.log.warnings(exec.warnings());
}

/// The container's own process with what the flags change, and a warning about what they name and nobody has.
fn changed(mut process: Process, args: &Parsed) -> anyhow::Result<(Process, Vec<String>)> {
    let argv = args.operands.get(1..).unwrap_or_default();
    if argv.is_empty() {
        bail!("exec args cannot be empty");
    }
    process.set_args(Some(argv.iter().map(|arg| text(arg)).collect::<Result<_, _>>()?));
    process.set_terminal(Some(args.is_set("tty")));
    if let Some(cwd) = args.given("cwd") {
        process.set_cwd(cwd.into());
    }
    for entry in args.values("env") {
        process.env_mut().get_or_insert_default().push(text(entry)?);
    }
    if let Some(given) = args.given("user") {
        let (uid, gid) = user(&text(given)?)?;
        let gid = gid.unwrap_or(process.user().gid());
        process.user_mut().set_uid(uid).set_gid(gid);
    }
    for gid in args.values("additional-gids") {
        process.user_mut().additional_gids_mut().get_or_insert_default().push(additional_gid(&text(gid)?)?);
    }
    if let Some(label) = args.given("process-label") {
        process.set_selinux_label(Some(text(label)?));
    }
    if let Some(profile) = args.given("apparmor") {
        process.set_apparmor_profile(Some(text(profile)?));
    }
    if args.value("no-new-privs").is_some() {
        process.set_no_new_privileges(Some(args.is_set("no-new-privs")));
    }
    let ignored = add_capabilities(&mut process, args).into_iter().collect();
    Ok((process, ignored))
}

/// The config has text only, and so has what the process is told.
fn text(value: &OsStr) -> anyhow::Result<String> {
    value.to_str().map(str::to_owned).ok_or_else(|| anyhow!("{value:?} is not valid UTF-8"))
}

/// `UID[:GID]`, never a name: that would be the container's /etc/passwd to say (CVE-2016-3697).
fn user(given: &str) -> anyhow::Result<(u32, Option<u32>)> {
    let (uid, gid) = given.split_once(':').map_or((given, None), |(uid, gid)| (uid, Some(gid)));
    let uid = number(uid).map_err(|why| anyhow!("bad uid: {why}"))?;
    let gid = gid.map(number).transpose().map_err(|why| anyhow!("bad gid: {why}"))?;
    Ok((uid, gid))
}

/// Digits and nothing else: what is not quite a number must not become 0 (CVE-2026-30892). The highest is the kernel's
/// "no change", which would be root.
fn number(digits: &str) -> Result<u32, String> {
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(format!("parsing {digits:?}: invalid syntax"));
    }
    let number = digits.parse().ok().filter(|number| *number != u32::MAX);
    number.ok_or_else(|| format!("parsing {digits:?}: value out of range"))
}

/// A number with a sign is one, so far.
fn additional_gid(given: &str) -> anyhow::Result<u32> {
    if given.starts_with('-') {
        bail!("additional-gids must be a positive number {given}");
    }
    number(given.strip_prefix('+').unwrap_or(given)).map_err(|why| anyhow!("bad additional gid: {why}"))
}

/// Adds what `--cap` names: to the sets that a process has at once, and to the ambient one if the config speaks of
/// inheritable ones, without which there are no ambient ones. Never to the inheritable set: a file with such capabilities
/// would give them to whoever executes it (CVE-2022-29162). Names that are none are told.
fn add_capabilities(process: &mut Process, args: &Parsed) -> Option<String> {
    let names: Vec<_> = args.values("cap").map(OsStr::to_string_lossy).collect();
    if names.is_empty() {
        return None;
    }
    let known: Capabilities = names.iter().filter_map(|name| capability(name)).collect();
    let with = |set: &Option<Capabilities>| Some(set.iter().flatten().chain(&known).copied().collect());
    let mut sets = process.capabilities().clone().unwrap_or_else(no_capabilities);
    let (bounding, effective, permitted) = (with(sets.bounding()), with(sets.effective()), with(sets.permitted()));
    let ambient = if sets.inheritable().is_some() { with(sets.ambient()) } else { sets.ambient().clone() };
    sets.set_bounding(bounding).set_effective(effective).set_permitted(permitted).set_ambient(ambient);
    process.set_capabilities(Some(sets));
    let unknown: Vec<&str> = names.iter().filter(|name| capability(name).is_none()).map(AsRef::as_ref).collect();
    let text = || format!("ignoring unknown or unavailable capabilities: [{}]", unknown.join(" "));
    (!unknown.is_empty()).then(text)
}

/// As the config's are read.
fn capability(name: &str) -> Option<Capability> {
    let name: StrDeserializer<'_, NoCapability> = name.into_deserializer();
    Capability::deserialize(name).ok()
}

fn no_capabilities() -> LinuxCapabilities {
    let mut none = LinuxCapabilities::default();
    none.set_bounding(None).set_effective(None).set_permitted(None).set_inheritable(None).set_ambient(None);
    none
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::ffi::OsString;
    use std::os::unix::ffi::OsStringExt;

    fn parsed(flags: &[&str]) -> Parsed {
        parse(flags.iter().chain(&["id", "ls", "-l"]).map(OsString::from).collect())
    }

    fn parse(argv: Vec<OsString>) -> Parsed {
        crate::args::parse(&argv, crate::commands::find(OsStr::new("exec")).unwrap().flags, false).unwrap()
    }

    fn own() -> Value {
        json!({
            "terminal": true, "consoleSize": { "height": 1, "width": 2 }, "user": { "uid": 5, "gid": 6, "additionalGids": [7] },
            "args": ["sleep", "1"], "env": ["A=1"], "cwd": "/srv", "noNewPrivileges": true, "apparmorProfile": "a",
            "selinuxLabel": "s", "oomScoreAdj": 3, "rlimits": [{ "type": "RLIMIT_CORE", "hard": 1, "soft": 1 }],
        })
    }

    /// What the flags make of a process, and the warning.
    fn change(own: Value, flags: &[&str]) -> anyhow::Result<(Value, Vec<String>)> {
        let (process, _) = process_from_json(own.to_string().as_bytes()).unwrap();
        let (process, warning) = changed(process, &parsed(flags))?;
        Ok((serde_json::to_value(process).unwrap(), warning))
    }

    fn refusal(flags: &[&str]) -> String {
        change(own(), flags).unwrap_err().to_string()
    }

    /// Flags, and the members that are then different from the container's own process.
    #[test]
    fn flags_change_what_they_name_and_nothing_else() {
        for (flags, members) in [
            (&[][..], json!({})),
            (&["--tty"], json!({ "terminal": true })),
            (&["--cwd", "/x"], json!({ "cwd": "/x" })),
            (&["--cwd="], json!({})),
            (&["-e", "A=2", "--env", "B=x,C=y"], json!({ "env": ["A=1", "A=2", "B=x,C=y"] })),
            (&["-u", "1"], json!({ "user": { "uid": 1, "gid": 6, "additionalGids": [7] } })),
            (&["-u", "1:2"], json!({ "user": { "uid": 1, "gid": 2, "additionalGids": [7] } })),
            (&["-u="], json!({})),
            (&["-g", "8", "-g", "+9"], json!({ "user": { "uid": 5, "gid": 6, "additionalGids": [7, 8, 9] } })),
            (&["--process-label", "l"], json!({ "selinuxLabel": "l" })),
            (&["--apparmor", "p"], json!({ "apparmorProfile": "p" })),
            (&["--no-new-privs"], json!({})),
            (&["--no-new-privs=false"], json!({ "noNewPrivileges": false })),
            (&["--detach", "--pid-file", "p", "--preserve-fds", "1", "--cgroup", "x", "--ignore-paused"], json!({})),
        ] {
            let mut expected = own();
            expected["args"] = json!(["ls", "-l"]);
            expected["terminal"] = json!(false);
            members.as_object().unwrap().iter().for_each(|(name, value)| expected[name] = value.clone());
            assert_eq!(change(own(), flags).unwrap(), (expected, vec![]), "{flags:?}");
        }
    }

    #[test]
    fn what_a_config_leaves_out_is_made() {
        let bare = json!({ "cwd": "/" });
        let (process, _) = change(bare, &["-e", "A=1", "-g", "4", "--no-new-privs"]).unwrap();
        assert_eq!(process["env"], json!(["A=1"]));
        assert_eq!(process["user"], json!({ "uid": 0, "gid": 0, "additionalGids": [4] }));
        assert_eq!(process["noNewPrivileges"], true);
    }

    /// The table of CVE-2026-30892.
    #[test]
    fn users_are_numbers() {
        for (given, expected) in [
            ("1", Ok((1, None))),
            ("1:2", Ok((1, Some(2)))),
            ("01", Ok((1, None))),
            ("0:0", Ok((0, Some(0)))),
            ("4294967294:4294967294", Ok((u32::MAX - 1, Some(u32::MAX - 1)))),
            (":5", Err("bad uid: parsing \"\": invalid syntax")),
            ("4294967295", Err("bad uid: parsing \"4294967295\": value out of range")),
            ("4294967296", Err("bad uid: parsing \"4294967296\": value out of range")),
            ("99999999999999999999", Err("bad uid: parsing \"99999999999999999999\": value out of range")),
            ("-1", Err("bad uid: parsing \"-1\": invalid syntax")),
            ("+1", Err("bad uid: parsing \"+1\": invalid syntax")),
            (" 1", Err("bad uid: parsing \" 1\": invalid syntax")),
            ("1 ", Err("bad uid: parsing \"1 \": invalid syntax")),
            ("0x1", Err("bad uid: parsing \"0x1\": invalid syntax")),
            ("root", Err("bad uid: parsing \"root\": invalid syntax")),
            ("1:", Err("bad gid: parsing \"\": invalid syntax")),
            ("1:-1", Err("bad gid: parsing \"-1\": invalid syntax")),
            ("1:4294967295", Err("bad gid: parsing \"4294967295\": value out of range")),
            ("1:2:3", Err("bad gid: parsing \"2:3\": invalid syntax")),
        ] {
            let found = user(given).map_err(|error| error.to_string());
            assert_eq!(found, expected.map_err(str::to_owned), "{given:?}");
        }
        assert_eq!(refusal(&["-u", "x"]), "bad uid: parsing \"x\": invalid syntax");
        assert_eq!(refusal(&["-g", "-1"]), "additional-gids must be a positive number -1");
        assert_eq!(refusal(&["-g", "4294967296"]), "bad additional gid: parsing \"4294967296\": value out of range");
    }

    #[test]
    fn capabilities_are_added_to_three_sets_or_four() {
        let sets = |capabilities: Value, flags: &[&str]| {
            let mut process = own();
            process["capabilities"] = capabilities;
            let (mut process, warning) = change(process, flags).unwrap();
            for set in process["capabilities"].as_object_mut().unwrap().values_mut() {
                set.as_array_mut().unwrap().sort_by_key(Value::to_string);
            }
            (process["capabilities"].clone(), warning)
        };
        let (kill, raw) = ("CAP_KILL", "CAP_NET_RAW");
        let both = json!([kill, raw]);
        let (found, warning) = sets(json!({ "bounding": [kill], "permitted": [kill] }), &["-c", raw]);
        assert_eq!(found, json!({ "bounding": both, "permitted": both, "effective": [raw] }));
        assert_eq!(warning, [""; 0]);
        let (found, _) = sets(json!({ "inheritable": [kill] }), &["-c", "net_raw", "--cap", raw]);
        let one = json!([raw]);
        let four =
            json!({ "bounding": one, "permitted": one, "effective": one, "inheritable": [kill], "ambient": one });
        assert_eq!(found, four);
        let (found, warning) = sets(json!(null), &["-c", "CAP_X", "-c", raw, "-c", ""]);
        assert_eq!(found, json!({ "bounding": one, "permitted": one, "effective": one }));
        assert_eq!(warning, ["ignoring unknown or unavailable capabilities: [CAP_X ]"]);
    }

    #[test]
    fn a_command_that_is_none() {
        let process = || process_from_json(own().to_string().as_bytes()).unwrap().0;
        let without = parse(vec!["id".into()]);
        assert_eq!(changed(process(), &without).unwrap_err().to_string(), "exec args cannot be empty");
        let odd = parse(vec!["id".into(), OsString::from_vec(vec![b'x', 0xff])]);
        assert_eq!(changed(process(), &odd).unwrap_err().to_string(), "\"x\\xFF\" is not valid UTF-8");
    }
}
