//! What is handed through: systemd's two protocols, descriptors, and the probe by which a pod of Kubernetes's lives.
//!
//! Without systemd there is no timer: the test calls the probe as its unit would (`podman healthcheck run`); what follows is
//! Podman's.

use std::os::unix::net::UnixDatagram;

use super::Podman;
use crate::checks::Check;
use crate::support::{patience, skip};

pub const CHECKS: &[Check<Podman>] = &[
    ("protocols_notify", notify),
    ("protocols_listen_fds", listen_fds),
    ("protocols_preserve_fds", preserve_fds),
    ("protocols_liveness", liveness),
];

/// The host's Perl, in a container: busybox cannot send to a socket that has a path.
const PERL: &str = "-v /usr:/usr:ro -v /usr/lib:/lib:ro -v /usr/lib64:/lib64:ro";

/// `--sdnotify=container`: the program says READY=1 to the socket that the runtime has put into the container, and it is heard
/// outside, also after `podman run -d` has returned. The main process is conmon, by Podman's word.
fn notify(p: &Podman) {
    if p.line("command -v perl && test -e /usr/lib64").run().code != Some(0) {
        return skip("needs perl");
    }
    let socket = UnixDatagram::bind(p.machine.room.path("notify.sock")).unwrap();
    socket.set_read_timeout(Some(patience(20))).unwrap();
    let send = r#"use Socket; socket(S, AF_UNIX, SOCK_DGRAM, 0); select undef, undef, undef, 0.5;
        send(S, "READY=1\nSTATUS=up", 0, sockaddr_un($ENV{NOTIFY_SOCKET})) or die; sleep 1000"#;
    p.ok(&format!("cat >send.pl <<'END'\n{send}\nEND"));
    p.ok(&format!(
        "NOTIFY_SOCKET=$PWD/notify.sock podman run -d --sdnotify container --name notify {PERL} -v $PWD/send.pl:/send.pl \
         box perl /send.pl"
    ));
    let mut heard = String::new();
    let mut buffer = [0u8; 4096];
    while !heard.contains("READY=1\n") {
        let n = socket.recv(&mut buffer).unwrap_or_else(|e| panic!("{e}: only {heard:?} was heard"));
        heard += &format!("{}\n", String::from_utf8_lossy(&buffer[..n]));
    }
    let conmon = p.ok("podman inspect -f '{{.State.ConmonPid}}' notify");
    assert!(heard.contains(&format!("MAINPID={conmon}\n")), "{heard:?}");
    p.says("podman exec notify sh -c 'ls /run/notify; echo $NOTIFY_SOCKET'", "notify.sock");
    p.ok("podman rm -f -t 0 notify");
}

/// Socket activation: the descriptors, and the variables with the pid that the program has.
fn listen_fds(p: &Podman) {
    p.ok("echo three >three; echo four >four");
    let inside = r#"echo $LISTEN_FDS $LISTEN_PID $LISTEN_FDNAMES $$; cat <&3; cat <&4"#;
    p.says(
        &format!(
            "exec 3<three 4<four; export LISTEN_FDS=2 LISTEN_PID=$$ LISTEN_FDNAMES=a:b; \
             exec podman run --rm box sh -c '{inside}'"
        ),
        "2 1 a:b 1\nthree\nfour",
    );
}

fn preserve_fds(p: &Podman) {
    p.ok("echo kept >kept");
    p.says("podman run --rm --preserve-fds 1 box sh -c 'cat <&3' 3<kept", "kept");
    p.ok("podman run -d --name preserves box sleep 1000");
    p.says("podman exec --preserve-fds 1 preserves sh -c 'cat <&3' 3<kept", "kept");
    p.ok("podman rm -f -t 0 preserves");
}

/// The second container keeps the pod: Podman 4.3 ends a pod with its last container, and cannot restart that one then.
const POD: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: live}
spec:
  restartPolicy: Always
  containers:
  - name: probed
    image: localhost/box
    command: [sh, -c, "trap exit TERM; touch /tmp/alive; sleep 1000 & wait"]
    livenessProbe: {exec: {command: [cat, /tmp/alive]}, periodSeconds: 1, failureThreshold: 1}
  - name: other
    image: localhost/box
    command: [sh, -c, "trap exit TERM; sleep 1000 & wait"]
"#;

/// A probe that fails restarts the container: another process, in which the file is there again.
fn liveness(p: &Podman) {
    p.ok(&format!("cat >live.yaml <<'END'\n{POD}END\npodman play kube live.yaml 2>&1"));
    p.ok("podman healthcheck run live-probed");
    let pid = || p.ok("podman inspect -f '{{.State.Status}} {{.State.Pid}}' live-probed");
    let first = pid();
    p.ok("podman exec live-probed rm /tmp/alive");
    p.fails("podman healthcheck run live-probed", 1, "");
    let second = pid();
    assert!(second.starts_with("running ") && second != first, "{first}, {second}");
    p.ok("podman exec live-probed cat /tmp/alive && podman healthcheck run live-probed");
    p.ok("podman play kube --down live.yaml 2>&1");
}
