//! `docker run`: what the options do, seen from within and from the host.

use super::Docker;
use crate::checks::Check;

pub const CHECKS: &[Check<Docker>] = &[("run", run)];

fn run(docker: &Docker) {
    let out = docker.run(&[], "id -u; echo problem >&2; exit 7");
    assert_eq!((out.code, out.stdout.as_str(), out.stderr.as_str()), (Some(7), "0\n", "problem\n"), "{out:#?}");
}
