//! Images by Buildah, whose RUN steps are containers of the runtime's.

use super::Podman;
use crate::checks::Check;

pub const CHECKS: &[Check<Podman>] =
    &[("build_steps", steps), ("build_fails", fails), ("build_by_hand", by_hand), ("build_by_podman", by_podman)];

pub const ROOTLESS: &[Check<Podman>] = &[("build_steps", steps), ("build_fails", fails)];

/// Of the host's network: an ordinary user's Buildah would ask for slirp4netns, and 1.28 takes netavark for it.
const RUNTIME: &str = "--isolation oci --network host --runtime /usr/local/bin/cntr";

fn buildah(p: &Podman) -> bool {
    let there = p.line("command -v buildah").run().code == Some(0);
    if !there {
        crate::support::skip("needs buildah");
    }
    there
}

fn file(p: &Podman, dir: &str, text: &str) {
    p.ok(&format!("mkdir -p {dir} && echo copied >{dir}/copied && cat >{dir}/Containerfile <<'END'\n{text}\nEND"));
}

const STEPS: &str = "FROM localhost/box\nRUN echo one >/one && id -u >>/one\nWORKDIR /work\nCOPY copied .\nENV A=set\n\
    RUN pwd >here && echo $A >>here && cat copied >>here\nRUN adduser -D -u 77 builder || echo 'builder:x:77:77::/:/bin/sh' >>/etc/passwd\n\
    RUN chown 77 /work\nUSER 77\nRUN id -u >/work/who\nCMD [\"cat\", \"/one\", \"/work/here\", \"/work/who\"]";

fn steps(p: &Podman) {
    if !buildah(p) {
        return;
    }
    file(p, "steps", STEPS);
    p.ok(&format!("buildah bud {RUNTIME} -t localhost/built steps 2>&1"));
    p.says("podman run --rm localhost/built", "one\n0\n/work\nset\ncopied\n77");
    p.ok("podman rmi localhost/built");
}

fn fails(p: &Podman) {
    if !buildah(p) {
        return;
    }
    file(p, "fails", "FROM localhost/box\nRUN exit 42\nRUN echo never reached");
    let out = p.line(&format!("buildah bud {RUNTIME} -t localhost/none fails 2>&1")).run();
    assert!(out.code == Some(42), "{out:#?}");
    assert!(!out.stdout.contains("\nnever reached"), "{out:#?}");
    p.fails("podman image exists localhost/none", 1, "");
}

fn by_hand(p: &Podman) {
    if !buildah(p) {
        return;
    }
    p.ok("buildah from --name hand localhost/box");
    p.says(&format!("buildah run {RUNTIME} hand -- sh -c 'echo by hand | tee /hand'"), "by hand");
    p.says(&format!("buildah run {RUNTIME} --user 5 hand -- id -u"), "5");
    p.says(&format!("buildah run {RUNTIME} --env A=b --workingdir /tmp hand -- sh -c 'echo $A $(pwd)'"), "b /tmp");
    p.says(&format!("buildah run {RUNTIME} hand -- sh -c 'exit 6'; echo $?"), "6");
    p.ok("buildah commit -q hand localhost/hand && buildah rm hand");
    p.says("podman run --rm localhost/hand cat /hand", "by hand");
    p.ok("podman rmi localhost/hand");
}

fn by_podman(p: &Podman) {
    file(p, "podman-build", "FROM localhost/box\nRUN echo built by podman >/built");
    p.ok("podman build --isolation oci -t localhost/podmans podman-build 2>&1");
    p.says("podman run --rm localhost/podmans cat /built", "built by podman");
    p.ok("podman rmi localhost/podmans");
}
