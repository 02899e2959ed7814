//! `exec` as far as it gets without a container.

use crate::place::{CNTR, Place, anywhere, entries, message};

/// As runc, wrong usage ends with 1 here as well: no command has been reached whose failures end with 255.
#[test]
fn wrong_usage() {
    for (line, shown, error) in [
        ("exec", "Incorrect Usage.\n\nNAME:\n   cntr exec - ", "ARGV0: \"exec\" requires a minimum of 1 argument(s)"),
        ("exec -xyz a id", "Incorrect Usage: flag", "flag provided but not defined: -xyz"),
        ("exec -td a id", "Incorrect Usage: flag", "flag provided but not defined: -td"),
        ("exec -p", "Incorrect Usage: flag", "flag needs an argument: -p"),
        ("exec -d=x a id", "Incorrect Usage: inv", "invalid boolean value \"x\" for -d: parse error"),
        ("exec --preserve-fds x a", "Incorrect Usage: inv", "invalid value \"x\" for flag -preserve-fds: parse error"),
        ("exec -g 1,2 a id", "Incorrect Usage: inv", "invalid value \"1,2\" for flag -g: parse error"),
    ] {
        let got = anywhere(line);
        assert!(got.out.starts_with(shown), "{line}: {}", got.out);
        assert_eq!((message(&got), got.code), (error.replace("ARGV0", CNTR), Some(1)), "{line}");
    }
}

/// Nothing but the container's absence is told, whatever else is wrong.
#[test]
fn containers_that_are_none() {
    let place = Place::new();
    std::fs::create_dir(place.path("root/half")).unwrap();
    for (line, error) in [
        ("exec nope id", "container does not exist"),
        ("exec nope", "container does not exist"),
        ("exec -t -u 0 nope sh -c x", "container does not exist"),
        ("exec nope id -xyz --detach", "container does not exist"),
        ("exec half id", "container does not exist"),
        ("exec -d -t --console-socket s -u x nope id", "container does not exist"),
        ("exec -process=nope.json -pid-file p nope", "container does not exist"),
        ("exec '' id", "container id cannot be empty"),
        ("exec a/b id", "invalid container ID format"),
        ("exec .. id", "invalid container ID format"),
    ] {
        let got = place.run(line);
        assert_eq!((message(&got), got.code), (format!("exec failed: {error}"), Some(255)), "{line}");
        assert_eq!(got.out, "", "{line}");
    }
}

#[test]
fn one_entry_in_the_log() {
    let place = Place::new();
    let got = place.run("--log log --log-format json exec -d nope id");
    assert_eq!((got.code, got.err.as_str()), (Some(255), "exec failed: container does not exist\n"));
    let entries = entries(&place.path("log"));
    assert_eq!(entries.len(), 1, "{entries:?}");
    assert_eq!((&entries[0]["level"], &entries[0]["kind"]), (&"error".into(), &"NotFound".into()));
    assert_eq!(entries[0]["msg"], "exec failed: container does not exist");
}

#[test]
fn help_names_every_flag() {
    let got = anywhere("exec --help");
    assert_eq!((got.code, got.err.as_str()), (Some(0), ""));
    assert!(got.out.starts_with("NAME:\n   cntr exec - run another process in a container\n"), "{}", got.out);
    assert!(!got.out.contains("not implemented"), "{}", got.out);
    for flag in [
        "--console-socket value",
        "--pidfd-socket value",
        "--cwd value",
        "--env value, -e value",
        "--tty, -t",
        "--user value, -u value",
        "--additional-gids value, -g value",
        "--process value, -p value",
        "--detach, -d",
        "--pid-file value",
        "--process-label value",
        "--apparmor value",
        "--no-new-privs",
        "--cap value, -c value",
        "--preserve-fds value",
        "--cgroup value",
        "--ignore-paused",
    ] {
        assert!(got.out.contains(&format!("   {flag} ")), "{flag} not in {}", got.out);
    }
}
