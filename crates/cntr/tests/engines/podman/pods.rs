//! Pods: containers that share namespaces, by hand and from a file of Kubernetes's.

use super::Podman;
use crate::checks::Check;
use crate::support::wait_for;

pub const CHECKS: &[Check<Podman>] =
    &[("pods_share", share), ("pods_users", users), ("pods_stop", stop), ("pods_kube", kube)];

/// The container that keeps a pod's namespaces, of the one image that there is.
const KEEPER: &str = "--infra-image localhost/box --infra-command 'sleep 100000'";

fn share(p: &Podman) {
    p.ok(&format!("podman pod create --name shared {KEEPER} --share net,ipc,uts,pid"));
    p.ok("podman run -d --pod shared --name first box sh -c 'echo hello >/dev/shm/first; exec sleep 4711'");
    p.ok("podman run -d --pod shared --name second box sleep 1000");
    for kind in ["net", "ipc", "uts", "pid"] {
        let of =
            |name: &str| p.ok(&format!("readlink /proc/$(podman inspect -f '{{{{.State.Pid}}}}' {name})/ns/{kind}"));
        assert_eq!(of("first"), of("second"), "{kind}");
        let exec = |name: &str| p.ok(&format!("podman exec {name} readlink /proc/self/ns/{kind}"));
        assert_eq!(exec("first"), of("first"), "{kind}");
    }
    p.says("podman exec second sh -c 'cat /proc/[0-9]*/cmdline | tr \"\\0\" \" \" | grep -c \"sleep 4711\"'", "1");
    // SIGKILL of a container without a pid namespace of its own ends all of it, and nobody else
    p.ok("podman kill first && podman wait first");
    p.says("podman exec second echo lives", "lives");
    p.ok("podman pod rm -f -t 0 shared");
}

fn users(p: &Podman) {
    p.ok(&format!("podman pod create --name mapped {KEEPER} --userns=auto:size=1000"));
    p.ok("podman run -d --pod mapped --name inside box sleep 1000");
    p.says("podman exec inside sh -c 'id -u; tr -s \" \" </proc/self/uid_map | cut -d\" \" -f2,4'", "0\n0 1000");
    p.ok("podman pod rm -f -t 0 mapped");
}

fn stop(p: &Podman) {
    p.ok(&format!("podman pod create --name ends {KEEPER}"));
    p.ok("podman run -d --pod ends --name one box sh -c 'trap \"exit 3\" TERM; while :; do sleep 0.05; done'");
    p.ok("podman pod stop -t 5 ends");
    p.says("podman inspect -f '{{.State.Status}}' one", "exited");
    p.ok("podman pod start ends");
    p.says("podman inspect -f '{{.State.Status}}' one", "running");
    p.ok("podman pod pause ends");
    p.says("podman inspect -f '{{.State.Status}}' one", "paused");
    p.ok("podman pod unpause ends && podman pod rm -f -t 0 ends");
}

fn pod(p: &Podman, name: &str, probe: &str, seconds: u32) -> String {
    let yaml = format!(
        "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\nspec:\n  restartPolicy: Always\n  containers:\n  - name: c\n    image: localhost/box\n    \
         imagePullPolicy: Never\n    command: [sh, -c, 'echo begun; sleep 1000']\n    env: [{{name: A, value: kube}}]\n    \
         livenessProbe:\n      exec: {{command: {probe}}}\n      initialDelaySeconds: {seconds}\n      periodSeconds: 1\n      failureThreshold: 1\n"
    );
    let file = format!("{name}.yaml");
    p.ok(&format!("cat >{file} <<'END'\n{yaml}END"));
    file
}

/// Without systemd nobody calls the probe by himself: what would be called is.
fn kube(p: &Podman) {
    let file = pod(p, "kube", "[test, -e, /tmp/alive]", 1);
    p.ok(&format!("podman play kube --infra-image localhost/box {file} 2>&1 || podman play kube {file}"));
    wait_for("the program", || p.ok("podman logs kube-c").contains("begun").then_some(()));
    p.says("podman exec kube-c sh -c 'echo $A'", "kube");
    p.fails("podman healthcheck run kube-c", 1, "");
    p.ok("podman exec kube-c touch /tmp/alive && podman healthcheck run kube-c");
    p.ok(&format!("podman play kube --down {file} && rm {file}"));
}
