//! `-it`: a real terminal on this side, and one in the container.

use super::Docker;
use crate::checks::Check;
use crate::support::screen::Screen;
use crate::support::wait_for;

pub const CHECKS: &[Check<Docker>] = &[
    ("terminal_run", run),
    ("terminal_size", size),
    ("terminal_interrupt", interrupt),
    ("terminal_detach", detach),
    ("terminal_job_control", job_control),
    ("terminal_exec", exec),
    ("terminal_exec_size", exec_size),
    ("terminal_exec_interrupt", exec_interrupt),
    ("terminal_exec_user", exec_user),
    ("terminal_only_output", only_output),
];

/// Docker tells the size once the container runs: it comes a little late.
const UNTIL_SIZE: &str = "until test \"$(stty size)\" = \"$SIZE\"; do sleep 0.05; done; echo SIZE is $SIZE;";

/// A job. It says when it has begun: until then the shell has the terminal, and what is typed is lost.
const CAT: &str = "sh -c 'echo start''ed; exec cat'\n";

fn run(docker: &Docker) {
    let mut screen = Screen::new(24, 80);
    let running = screen.run(docker.docker(&["run", "--rm", "-it", "box"]));
    screen.shows("/ # ");
    screen.types("tty; test -t 0 -a -t 1 -a -t 2 && echo all three; cut -d' ' -f7 /proc/self/stat\n");
    let shown = screen.shows("34816\r\n");
    assert!(shown.contains("\r\n/dev/pts/0\r\nall three\r\n"), "{shown:?}");
    screen.types("exit 5\n");
    assert_eq!(running.wait().code, Some(5));
}

fn size(docker: &Docker) {
    let mut screen = Screen::new(33, 111);
    let script = format!("trap 'echo changed' WINCH; SIZE='33 111'; {UNTIL_SIZE} SIZE='44 122'; {UNTIL_SIZE}");
    let running = screen.run(docker.docker(&["run", "--rm", "-it", "box", "sh", "-c", &script]));
    screen.shows("SIZE is 33 111");
    screen.resize(44, 122);
    let shown = screen.shows("SIZE is 44 122");
    assert!(shown.contains("changed"), "{shown:?}");
    assert_eq!(running.wait().code, Some(0));
}

/// Ctrl-C is the container's: its foreground process has the signal.
fn interrupt(docker: &Docker) {
    let mut screen = Screen::new(24, 80);
    let script = "trap 'echo heard; exit 3' INT; echo ready; while :; do sleep 0.1; done";
    let running = screen.run(docker.docker(&["run", "--rm", "-it", "box", "sh", "-c", script]));
    screen.shows("ready");
    screen.types("\x03");
    screen.shows("heard");
    assert_eq!(running.wait().code, Some(3));
}

/// Ctrl-P Ctrl-Q leaves it running, and `attach` comes back.
fn detach(docker: &Docker) {
    let mut screen = Screen::new(24, 80);
    let running = screen.run(docker.docker(&["run", "-it", "--name", "left-alone", "box"]));
    screen.shows("/ # ");
    screen.types("echo be''fore\n");
    screen.shows("before\r\n");
    screen.types("\x10\x11");
    assert_eq!(running.wait().code, Some(0));
    let state = || docker.ok(&["inspect", "-f", "{{.State.Status}}", "left-alone"]);
    assert_eq!(state(), "running\n");
    let mut screen = Screen::new(24, 80);
    let running = screen.run(docker.docker(&["attach", "left-alone"]));
    // Docker attaches the input when it is ready, and does not say when that is
    wait_for("attach", || {
        screen.types("echo af''ter\n");
        let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| screen.shows("after\r\n"))).is_ok();
        seen.then_some(())
    });
    screen.types("exit 0\n");
    assert_eq!(running.wait().code, Some(0));
    assert_eq!(state(), "exited\n");
    docker.ok(&["rm", "left-alone"]);
}

/// Stops a job with Ctrl-Z, takes it back, and ends its input.
fn stop_a_job(screen: &mut Screen) {
    screen.types(CAT);
    screen.shows("started\r\n");
    screen.types("words\n");
    screen.shows("words\r\nwords\r\n");
    screen.types("\x1a");
    screen.shows("/ # ");
    screen.types("fg\n");
    screen.shows("fg\r\nsh -c");
    screen.shows("\r\n");
    screen.types("more\n");
    screen.shows("more\r\nmore\r\n");
    screen.types("\x04");
}

/// The shell is the leader of the terminal's session: it can stop a job and take it back.
fn job_control(docker: &Docker) {
    let mut screen = Screen::new(24, 80);
    let running = screen.run(docker.docker(&["run", "--rm", "-it", "box"]));
    screen.shows("/ # ");
    stop_a_job(&mut screen);
    screen.shows("/ # ");
    screen.types("exit 0\n");
    assert_eq!(running.wait().code, Some(0));
}

fn exec(docker: &Docker) {
    let container = docker.idle(&[]);
    let mut screen = Screen::new(24, 80);
    let running = screen.run(docker.docker(&["exec", "-it", &container.id, "sh"]));
    screen.shows("/ # ");
    screen.types("tty; test -t 0 -a -t 1 -a -t 2 && echo all three; cut -d' ' -f7 /proc/self/stat\n");
    let shown = screen.shows("34816\r\n");
    assert!(shown.contains("\r\n/dev/pts/0\r\nall three\r\n"), "{shown:?}");
    stop_a_job(&mut screen);
    screen.shows("/ # ");
    screen.types("exit 5\n");
    assert_eq!(running.wait().code, Some(5));
    assert_eq!(container.field(".State.Status"), "running");
}

fn exec_size(docker: &Docker) {
    let container = docker.idle(&["-t"]);
    let mut screen = Screen::new(33, 111);
    let script = format!("trap 'echo changed' WINCH; SIZE='33 111'; {UNTIL_SIZE} SIZE='44 122'; {UNTIL_SIZE}");
    let running = screen.run(docker.docker(&["exec", "-it", &container.id, "sh", "-c", &script]));
    screen.shows("SIZE is 33 111");
    screen.resize(44, 122);
    let shown = screen.shows("SIZE is 44 122");
    assert!(shown.contains("changed"), "{shown:?}");
    assert_eq!(running.wait().code, Some(0));
}

fn exec_interrupt(docker: &Docker) {
    let container = docker.idle(&[]);
    let mut screen = Screen::new(24, 80);
    let running = screen.run(docker.docker(&["exec", "-it", &container.id, "sh", "-c", "echo ready; sleep 1000"]));
    screen.shows("ready");
    screen.types("\x03");
    assert_eq!(running.wait().code, Some(130));
    assert_eq!(container.field(".State.Status"), "running");
}

/// A terminal belongs to who has it.
fn exec_user(docker: &Docker) {
    let container = docker.idle(&[]);
    let mut screen = Screen::new(24, 80);
    let script = "stat -c '%u %a' $(tty); echo through >/dev/tty; exit 0";
    let running = screen.run(docker.docker(&["exec", "-it", "-u", "mars", &container.id, "sh", "-c", script]));
    screen.shows("1000 620\r\n");
    screen.shows("through\r\n");
    assert_eq!(running.wait().code, Some(0));
}

/// `-t` without `-i` and without a terminal here: what a script does.
fn only_output(docker: &Docker) {
    let out = docker.run(&["-t"], "tty; echo two");
    assert_eq!(out.stdout, "/dev/pts/0\r\ntwo\r\n", "{out:#?}");
    let container = docker.idle(&[]);
    assert_eq!(container.exec(&["-t"], "tty").stdout, "/dev/pts/0\r\n");
}
