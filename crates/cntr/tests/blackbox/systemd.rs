//! The two protocols of systemd's that a runtime stands in the middle of: readiness (sd_notify(3), `NOTIFY_SOCKET`) and
//! socket activation (sd_listen_fds(3), `LISTEN_FDS`). The programs on both sides are perls: every Debian has one, and
//! it can do sockets.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::path::Path;

use rustix::event::Timespec;
use serde_json::{Value, json};

use crate::namespaces::{UID, in_user_namespace, ordinary, ordinary_users_can_unshare, own_directories};
use crate::protocols::{readable, receive};
use crate::support::{Cmd, Sandbox, View, bundle, read, root, skip, wait_for, words};

fn have_perl() -> bool {
    let there = Path::new("/usr/bin/perl").is_file();
    if !there {
        skip("needs /usr/bin/perl");
    }
    there
}

/// Brings the host's perl into the container.
fn with_perl(config: &mut Value) {
    for dir in ["/usr", "/lib", "/lib64"] {
        if Path::new(dir).exists() {
            let mount = json!({ "destination": dir, "type": "bind", "source": dir, "options": ["rbind", "ro"] });
            bundle::set(config, "/mounts/-", Some(mount));
        }
    }
}

/// Says what it was given, waits for `/say`, says that it is ready, waits for `/go`, ends with status 7.
const NOTIFYING: &str = r#"
    echo "$NOTIFY_SOCKET"; grep " /run/notify " /proc/self/mountinfo
    while ! test -e /say; do sleep 0.02; done
    perl -e 'use Socket; socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or die $!;
        for (@ARGV) { send($s, $_, 0, pack_sockaddr_un($ENV{NOTIFY_SOCKET})) // die $! }' \
        "STATUS=working" "$(printf 'STATUS=up\nREADY=1\nMAINPID=1\n')" && echo said
    while ! test -e /go; do sleep 0.02; done
    exit 7"#;

fn make(sandbox: &Sandbox, file: &str) {
    std::fs::write(sandbox.rootfs().join(file), "").unwrap();
}

/// The host's manager: where it listens, in the form of `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
    name: String,
}

impl Manager {
    fn new(sandbox: &Sandbox, is_abstract: bool) -> Self {
        if is_abstract {
            let address = SocketAddr::from_abstract_name(&sandbox.id).unwrap();
            return Manager { socket: UnixDatagram::bind_addr(&address).unwrap(), name: format!("@{}", sandbox.id) };
        }
        let path = sandbox.path("manager.sock");
        let socket = UnixDatagram::bind(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o777)).unwrap();
        Manager { socket, name: path.to_string_lossy().into_owned() }
    }

    fn silent(&self) -> bool {
        !readable(&self.socket, Timespec { tv_sec: 0, tv_nsec: 0 })
    }

    /// Takes the three messages; who sent them waits until what is returned is dropped.
    fn hear(&self, main_pid: &str) -> OwnedFd {
        assert_eq!(receive(&self.socket).0, "READY=1\n");
        assert_eq!(receive(&self.socket).0, format!("MAINPID={main_pid}\n"));
        let (text, mut fds) = receive(&self.socket);
        assert_eq!((text.as_str(), fds.len()), ("BARRIER=1", 1));
        fds.remove(0)
    }
}

fn saw_its_socket(out: &str) {
    let mut lines = out.lines();
    assert_eq!(lines.next(), Some("/run/notify/notify.sock"), "{out}");
    let options = words(lines.next().unwrap_or_default()).get(5).copied().unwrap_or_default().to_owned();
    for option in ["ro", "nosuid", "nodev", "noexec"] {
        assert!(options.split(',').any(|o| o == option), "{out}");
    }
}

type Edit<'e> = &'e dyn Fn(&Sandbox, &mut Value);

const USERS: [(&str, Edit); 3] = [
    ("root", &|_, _| ()),
    ("user 1000", &|_, config| config["process"]["user"] = json!({ "uid": 1000, "gid": 1000 })),
    ("root of a user namespace", &|sandbox, config| in_user_namespace(sandbox, config)),
];

fn notifying(edit: Edit) -> Sandbox {
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), NOTIFYING);
    with_perl(&mut config);
    // What the config says itself does not count any more.
    bundle::set(&mut config, "/process/env/-", Some(json!("NOTIFY_SOCKET=/of/the/config")));
    edit(&sandbox, &mut config);
    sandbox.write(&config);
    sandbox
}

/// `start` and `run -d` return when the manager knows that the program is ready.
#[test]
fn readiness_is_passed_on_when_detached() {
    if !root() || !have_perl() {
        return;
    }
    for (i, (user, edit)) in USERS.into_iter().enumerate() {
        for verb in ["start", "run -d"] {
            let sandbox = notifying(edit);
            let manager = Manager::new(&sandbox, i % 2 == 1);
            let notified = |cmd: Cmd| cmd.env("NOTIFY_SOCKET", &manager.name);
            let mut output = None;
            if verb == "start" {
                output = Some(notified(sandbox.verb(&["create"])).ok().stdout_file);
                assert!(sandbox.state_dir().join("notify").is_dir());
            }
            let mut running = notified(sandbox.verb(&verb.split(' ').collect::<Vec<_>>())).spawn();
            sandbox_runs(&sandbox);
            assert!(manager.silent() && running.child.try_wait().unwrap().is_none(), "{user}, {verb}: not ready yet");
            make(&sandbox, "say");
            let barrier = manager.hear(&sandbox.pid().to_string());
            std::thread::sleep(std::time::Duration::from_millis(20));
            assert!(running.child.try_wait().unwrap().is_none(), "{user}, {verb}: the manager has not answered yet");
            drop(barrier);
            let out = running.wait();
            assert_eq!((out.code, out.stderr.as_str()), (Some(0), ""), "{user}, {verb}");
            let output = output.unwrap_or(out.stdout_file);
            wait_for("the program", || read(&output).contains("said").then_some(()));
            saw_its_socket(&read(&output));
            assert!(manager.silent(), "nothing but the readiness is passed on");
            make(&sandbox, "go");
            sandbox.wait_status("stopped");
            sandbox.verb(&["delete"]).ok();
            assert!(!sandbox.state_dir().exists());
            sandbox.assert_clean();
        }
    }
}

fn sandbox_runs(sandbox: &Sandbox) {
    wait_for("the program", || (sandbox.status() == "running").then_some(()));
}

/// In the foreground the runtime is the service, and its streams go on meanwhile.
#[test]
fn readiness_is_passed_on_from_the_foreground() {
    if !root() || !have_perl() {
        return;
    }
    for (i, (user, edit)) in USERS.into_iter().enumerate() {
        let sandbox = notifying(edit);
        let manager = Manager::new(&sandbox, i % 2 == 0);
        let running = sandbox.verb(&["run"]).env("NOTIFY_SOCKET", &manager.name).spawn();
        sandbox_runs(&sandbox);
        make(&sandbox, "say");
        let barrier = manager.hear(&running.child.id().to_string());
        wait_for("the program's output, though the manager has not answered", || {
            running.stdout().contains("said").then_some(())
        });
        drop(barrier);
        make(&sandbox, "go");
        let out = running.wait();
        assert_eq!((out.code, out.stderr.as_str()), (Some(7), ""), "{user}");
        saw_its_socket(&out.stdout);
        assert!(manager.silent());
        sandbox.assert_clean();
    }
}

/// An ordinary user's manager and an ordinary user's container.
#[test]
fn readiness_of_an_ordinary_user() {
    if !root() || !have_perl() || !ordinary_users_can_unshare() {
        return;
    }
    let sandbox = Sandbox::with_view(View::User(UID));
    own_directories(&sandbox, UID);
    let mut config = ordinary(UID, NOTIFYING);
    with_perl(&mut config);
    sandbox.write(&config);
    let manager = Manager::new(&sandbox, false);
    let created = sandbox.verb(&["create"]).env("NOTIFY_SOCKET", &manager.name).ok();
    let starting = sandbox.verb(&["start"]).env("NOTIFY_SOCKET", &manager.name).spawn();
    make(&sandbox, "say");
    drop(manager.hear(&sandbox.pid().to_string()));
    assert_eq!(starting.wait().code, Some(0));
    saw_its_socket(&read(created.stdout_file));
    make(&sandbox, "go");
    sandbox.wait_status("stopped");
    sandbox.verb(&["delete"]).ok();
    sandbox.assert_clean();
}

/// What a program says last counts, even if nobody has looked before it ended.
#[test]
fn a_program_that_ends_is_not_waited_for() {
    if !root() || !have_perl() {
        return;
    }
    for says in [false, true] {
        for verb in ["start", "run -d", "run"] {
            let sandbox = notifying(&|_, _| ());
            let manager = Manager::new(&sandbox, false);
            if !says {
                let mut config: Value = serde_json::from_str(&read(sandbox.bundle().join("config.json"))).unwrap();
                config["process"]["args"][2] = json!("exit 7");
                sandbox.write(&config);
            }
            make(&sandbox, "say");
            make(&sandbox, "go");
            let notified =
                |verb: &str| sandbox.verb(&verb.split(' ').collect::<Vec<_>>()).env("NOTIFY_SOCKET", &manager.name);
            if verb == "start" {
                notified("create").ok();
            }
            let running = notified(verb).spawn();
            if says {
                assert_eq!(receive(&manager.socket).0, "READY=1\n");
                assert!(receive(&manager.socket).0.starts_with("MAINPID="));
                drop(receive(&manager.socket));
            }
            assert_eq!(running.wait().code, Some(if verb == "run" { 7 } else { 0 }), "{verb}, says {says}");
            assert!(manager.silent());
            sandbox.verb(&["delete", "--force"]).ok();
            sandbox.assert_clean();
        }
    }
}

/// `start` needs the variable as well; and a manager that is not there is not the program's fault.
#[test]
fn a_manager_that_is_not_told() {
    if !root() || !have_perl() {
        return;
    }
    let sandbox = notifying(&|_, _| ());
    sandbox.verb(&["create"]).env("NOTIFY_SOCKET", "/none").ok();
    sandbox.verb(&["start"]).ok();
    assert_eq!(std::fs::read_dir(sandbox.state_dir().join("notify")).unwrap().count(), 0, "nobody listens");
    sandbox.verb(&["delete", "--force"]).ok();
    for file in ["say", "go"] {
        make(&sandbox, file);
    }
    let out = sandbox.verb(&["run"]).env("NOTIFY_SOCKET", "/none").run();
    assert_eq!(out.code, Some(7), "{out:#?}");
    assert!(out.stderr.contains("notifying /none") && out.stderr.contains("o such file"), "{out:#?}");
    // Without the variable there is no socket, and no mount.
    let out = sandbox.verb(&["run"]).run();
    assert!(out.stdout.starts_with("/of/the/config\n") && !out.stdout.contains(" /run/notify "), "{out:#?}");
    sandbox.assert_clean();
}

/// Executes its arguments with a listening socket as descriptor 3, /etc/group as 4, and the three variables as systemd
/// sets them.
const ACTIVATE: &str = r#"use Socket; use POSIX (); $^F = 50;
    socket(my $s, AF_UNIX, SOCK_STREAM, 0) or die $!; my $path = shift; unlink $path;
    bind($s, pack_sockaddr_un($path)) or die $!; listen($s, 5) or die $!;
    if (fileno($s) != 3) { POSIX::dup2(fileno($s), 3) } open(my $g, "<", "/etc/group"); POSIX::dup2(fileno($g), 4);
    for my $fd (5 .. 50) { POSIX::close($fd) }
    $ENV{LISTEN_FDS} = shift; $ENV{LISTEN_FDNAMES} = "web"; my $pid = shift; $ENV{LISTEN_PID} = $pid || $$;
    exec @ARGV or die $!"#;

/// Answers whoever connects to descriptor 3 with what it was given.
const SERVING: &str = r#"use Socket; open(my $l, "+<&=", 3) or die $!; accept(my $c, $l) or die $!;
    opendir(my $d, "/proc/self/fd"); my @fds = sort { $a <=> $b } grep { /\d/ && readlink("/proc/self/fd/$_") !~ m{^/proc/\d+/fd$} } readdir $d;
    @fds = grep { $_ != fileno($c) } @fds;
    my $line = ""; if (grep { $_ == 4 } @fds) { open(my $g, "<&=", 4); $line = <$g> }
    print $c join(" ", map({ $ENV{$_} // "-" } qw(LISTEN_FDS LISTEN_PID LISTEN_FDNAMES)), "@fds"), "\n$line";"#;

fn serving(edit: Edit) -> Sandbox {
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "");
    with_perl(&mut config);
    config["process"]["args"] = json!(["/usr/bin/perl", "-e", SERVING]);
    edit(&sandbox, &mut config);
    sandbox.write(&config);
    sandbox
}

/// `count` sockets are announced, to this process or to another one.
fn activated(sandbox: &Sandbox, args: &[&str], count: &str, pid: &str) -> Cmd {
    let socket = sandbox.path("web.sock");
    sandbox.verb(args).wrapped(&["perl", "-e", ACTIVATE, socket.to_str().unwrap(), count, pid])
}

#[test]
fn activated_sockets_are_the_programs() {
    if !root() || !have_perl() {
        return;
    }
    for (user, edit) in USERS {
        for verb in ["create", "run -d", "run"] {
            for preserve in ["0", "1"] {
                let context = format!("{user}, {verb}, --preserve-fds {preserve}");
                let sandbox = serving(edit);
                let mut args: Vec<&str> = verb.split(' ').collect();
                args.extend(["--preserve-fds", preserve]);
                let running = activated(&sandbox, &args, "1", "").spawn();
                if verb == "create" {
                    wait_for("the container", || (sandbox.status() == "created").then_some(()));
                    sandbox.verb(&["start"]).ok();
                }
                let mut client = wait_for(&context, || UnixStream::connect(sandbox.path("web.sock")).ok());
                let mut answer = String::new();
                client.read_to_string(&mut answer).unwrap();
                let (fds, group) = match preserve {
                    "1" => ("0 1 2 3 4", read("/etc/group").lines().next().unwrap_or_default().to_owned()),
                    _ => ("0 1 2 3", String::new()),
                };
                assert_eq!(answer.trim_end(), format!("1 1 web {fds}\n{group}").trim_end(), "{context}");
                assert_eq!(running.wait().code, Some(0), "{context}");
                sandbox.verb(&["delete", "--force"]).ok();
                sandbox.assert_clean();
            }
        }
    }
}

#[test]
fn sockets_for_somebody_else_or_that_are_not_there() {
    if !root() || !have_perl() {
        return;
    }
    let sandbox = serving(&|_, config| {
        config["process"]["args"] = json!(["/bin/sh", "-c", "env | grep LISTEN; ls -l /proc/self/fd"]);
    });
    let out = activated(&sandbox, &["run"], "1", "1").run();
    assert_eq!(out.code, Some(0), "{out:#?}");
    assert!(!out.stdout.contains("LISTEN") && !out.stdout.contains("socket"), "{out:#?}");
    let out = activated(&sandbox, &["run"], "4", "").run();
    assert!(out.code == Some(1) && out.stderr.contains("LISTEN_FDS: unable to stat fd 5 (2 of 4)"), "{out:#?}");
    let out = activated(&sandbox, &["run", "--preserve-fds", "2"], "1", "").run();
    assert!(out.code == Some(1) && out.stderr.contains("unable to stat preserved-fd 1 (of 2)"), "{out:#?}");
    sandbox.assert_clean();
}

/// A hook that inherits the runtime's environment must not take the container's sockets for its own.
#[test]
fn hooks_know_nothing_of_activated_sockets() {
    if !root() || !have_perl() {
        return;
    }
    let script = "cat >/dev/null; { env; ls -l /proc/self/fd; } >>seen";
    let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script] });
    let sandbox = serving(&|_, config| {
        config["process"]["args"] = json!(["/bin/true"]);
        config["hooks"] =
            json!({ "prestart": [hook], "createRuntime": [hook], "poststart": [hook], "poststop": [hook] });
    });
    let out = activated(&sandbox, &["run", "--preserve-fds", "1"], "1", "").run();
    assert_eq!(out.code, Some(0), "{out:#?}");
    let seen = read(sandbox.bundle().join("seen"));
    assert_eq!(seen.matches("PATH=").count(), 4, "{seen}");
    assert!(!seen.contains("LISTEN_") && !seen.contains("socket:") && !seen.contains("/etc/group"), "{seen}");
    sandbox.assert_clean();
}
