//! A terminal in the foreground, `run` and `exec --tty`: who types is a pseudo-terminal of this test's.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rustix::pipe::fcntl_setpipe_size;
use rustix::termios::{OutputModes, Termios};
use serde_json::{Value, json};

use crate::exec::{ended, idle, shell};
use crate::support::screen::Screen;
use crate::support::{Cmd, Sandbox, View, bundle, patience, read, root, slow, wait_for};

fn same(a: &Termios, b: &Termios) -> bool {
    (a.input_modes, a.output_modes, a.local_modes, a.control_modes)
        == (b.input_modes, b.output_modes, b.local_modes, b.control_modes)
}

fn with_terminals(config: &mut Value) {
    let devpts = json!({ "destination": "/dev/pts", "type": "devpts", "source": "devpts",
        "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] });
    bundle::set(config, "/mounts/-", Some(devpts));
}

/// A container that is not there yet, whose program has a terminal.
fn terminal(script: &str) -> Sandbox {
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
    config["process"]["terminal"] = json!(true);
    with_terminals(&mut config);
    sandbox.write(&config);
    sandbox
}

/// A container to exec in.
fn lodging() -> Sandbox {
    idle(View::Host, |_, config| with_terminals(config))
}

fn run(sandbox: &Sandbox) -> Cmd {
    sandbox.verb(&["run", "--bundle", sandbox.bundle().to_str().unwrap()])
}

const LOOK: &str = "tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo all three; \
                    cut -d' ' -f7 /proc/self/stat; stat -c %t:%T /dev/console 2>/dev/null; echo end";

/// The size is there before the program's first look, and newlines come out once translated.
#[test]
fn it_is_the_programs_and_as_large_as_ours() {
    if !root() {
        return;
    }
    let (made, lodging) = (terminal(LOOK), lodging());
    for (command, console) in [(run(&made), "88:0\r\n"), (shell(&lodging, &["-t"], LOOK), "")] {
        let mut screen = Screen::new(31, 97);
        let running = screen.before(command).spawn();
        let shown = screen.shows("end\r\n");
        assert_eq!(running.wait().code, Some(0), "{shown}");
        let expected = format!("/dev/pts/0\r\n31 97\r\nall three\r\n34816\r\n{console}end\r\n");
        assert_eq!(shown, expected);
    }
    made.assert_clean();
    ended(&lodging);
}

/// Somebody who has no size has nothing to say about it: the config has.
#[test]
fn the_configs_size_is_for_who_has_none() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "stty size");
    config["process"]["terminal"] = json!(true);
    config["process"]["consoleSize"] = json!({ "height": 11, "width": 22 });
    with_terminals(&mut config);
    sandbox.write(&config);
    let mut screen = Screen::new(0, 0);
    let running = screen.before(run(&sandbox)).spawn();
    screen.shows("11 22\r\n");
    assert_eq!(running.wait().code, Some(0));
    sandbox.assert_clean();
}

/// Keys go through as they are, and what they mean is the program's terminal's to say.
#[test]
fn keys_are_the_programs() {
    if !root() {
        return;
    }
    let script =
        "trap 'echo interrupted' INT; echo ready; read a; echo first $a; read b || read b; echo got $a $b; exit 4";
    let (made, lodging) = (terminal(script), lodging());
    for command in [run(&made), shell(&lodging, &["-t"], script)] {
        let mut screen = Screen::new(24, 80);
        let before = screen.modes();
        let running = screen.before(command).spawn();
        screen.shows("ready\r\n");
        wait_for("a raw terminal", || screen.is_raw().then_some(()));
        assert!(screen.modes().output_modes.contains(OutputModes::OPOST), "output is still ours to process");
        screen.types("one\r");
        let shown = screen.shows("first one\r\n");
        assert_eq!(shown, "one\r\nfirst one\r\n", "its own echo and no second one");
        screen.types("\x03");
        screen.shows("interrupted");
        screen.types("two\r");
        screen.shows("got one two\r\n");
        assert_eq!(running.wait().code, Some(4));
        assert!(same(&before, &screen.modes()), "not as it was found");
    }
    made.assert_clean();
    ended(&lodging);
}

/// By the kernel, to those in front of the terminal, or by whoever knows our pid (BuildKit).
#[test]
fn another_size() {
    if !root() {
        return;
    }
    let script = "trap 'stty size' WINCH; echo ready; while :; do read line; test \"$line\" = end && exit; done";
    let (made, lodging) = (terminal(script), lodging());
    for (command, told) in
        [(run(&made), false), (shell(&lodging, &["-t"], script), false), (shell(&lodging, &["-t"], script), true)]
    {
        let mut screen = Screen::new(24, 80);
        let running = if told { screen.before(command).spawn() } else { screen.run(command) };
        screen.shows("ready\r\n");
        for (rows, columns) in [(30, 100), (5, 6)] {
            screen.resize(rows, columns);
            if told {
                running.signal(Signal::SIGWINCH);
            }
            // busybox's shell runs the trap when it has read
            let size = format!("{rows} {columns}\r\n");
            wait_for("the size", || {
                screen.types("x\r");
                (0..5).for_each(|_| screen.take());
                screen.shown.contains(&size).then_some(())
            });
            screen.shows(&size);
        }
        screen.types("end\r");
        assert_eq!(running.wait().code, Some(0));
    }
    made.assert_clean();
    ended(&lodging);
}

/// The end of the program, by itself and by signal, ours by a signal that is handed on, and programs that never were.
#[test]
fn it_is_left_as_it_was_found() {
    if !root() {
        return;
    }
    let lodging = lodging();
    let traps = "for s in HUP INT TERM; do trap \"exit 3\" $s; done; echo ready; while :; do sleep 0.02; done";
    for (script, signal, status) in [
        ("exit 5", None, 5),
        ("kill -9 $$", None, 137),
        (traps, Some(Signal::SIGTERM), 3),
        (traps, Some(Signal::SIGINT), 3),
        (traps, Some(Signal::SIGHUP), 3),
        ("echo ready; exec sleep 1000", Some(Signal::SIGUSR1), 138),
    ] {
        let mut screen = Screen::new(24, 80);
        let before = screen.modes();
        let running = screen.before(shell(&lodging, &["-t"], script)).spawn();
        if let Some(signal) = signal {
            screen.shows("ready");
            wait_for("a raw terminal", || screen.is_raw().then_some(()));
            running.signal(signal);
        }
        assert_eq!(running.wait().code, Some(status), "{script} {signal:?}");
        assert!(same(&before, &screen.modes()), "{script} {signal:?}: not as it was found");
    }
    let screen = Screen::new(24, 80);
    let before = screen.modes();
    let out = screen.before(sandbox_exec(&lodging, &["nonesuch"])).run();
    assert_eq!(out.code, Some(255), "{out:#?}");
    assert!(out.stderr.contains("executable file not found"), "{out:#?}");
    assert!(same(&before, &screen.modes()), "nothing has run");
    lodging.verb(&["kill"]).arg("KILL").run();
    lodging.wait_status("stopped");
    assert_eq!(screen.before(sandbox_exec(&lodging, &["true"])).run().code, Some(255));
    assert!(same(&before, &screen.modes()), "there is no container");
    ended(&lodging);
}

fn sandbox_exec(sandbox: &Sandbox, command: &[&str]) -> Cmd {
    crate::exec::exec(sandbox, &["-t"], command)
}

/// Nobody is in front of it.
#[test]
fn without_a_terminal_of_ours_there_is_none() {
    if !root() {
        return;
    }
    let (made, lodging) = (terminal("true"), lodging());
    for (command, status) in [(run(&made), 1), (shell(&lodging, &["-t"], "true"), 255)] {
        let out = command.wrapped(&["setsid", "--wait", "--"]).run();
        assert_eq!(out.code, Some(status), "{out:#?}");
        assert!(out.stderr.contains("open /dev/tty: no such device or address"), "{out:#?}");
    }
    made.assert_clean();
    ended(&lodging);
}

/// CPU time of a process and of those that it has waited for, in ticks of 10 ms.
fn ticks(pid: u32) -> u64 {
    let stat = read(format!("/proc/{pid}/stat"));
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum()
}

/// What has ended on our side ends nothing on the other, and nobody waits for it in a loop.
#[test]
fn input_that_has_ended() {
    if !root() {
        return;
    }
    let lodging = lodging();
    let file = lodging.path("input");
    fs::write(&file, "from a file\r").unwrap();
    let script = "read line; echo got $line; sleep 1; echo end";
    for (stdin, script, expected) in
        [("/dev/null", "sleep 1; echo end", "end\n"), (file.to_str().unwrap(), script, "got from a file\nend\n")]
    {
        let screen = Screen::new(24, 80);
        let redirected = format!("exec \"$@\" <{stdin} 2>{}", screen.slave.display());
        let running = shell(&lodging, &["-t"], script).shell(&redirected).spawn();
        std::thread::sleep(Duration::from_millis(700));
        let spent = ticks(running.child.id());
        let out = running.wait();
        assert_eq!(out.code, Some(0), "{out:#?}");
        assert!(out.stdout.ends_with(expected), "{stdin}: {out:#?}");
        assert!(!out.stdout.contains('\r'), "no carriage returns for who adds none: {out:#?}");
        assert!(spent < 30 * u64::from(slow()), "{stdin}: {spent} ticks of waiting");
    }
    ended(&lodging);
}

/// Output of a program that has ended already; that of one that it left behind is not waited for.
#[test]
fn all_output_and_then_the_end() {
    if !root() {
        return;
    }
    let lodging = lodging();
    let expected: String = (1..=3000).map(|n| format!("{n}\n")).collect();
    for _ in 0..40 / slow() {
        let screen = Screen::new(24, 80);
        let out = shell(&lodging, &["-t"], "exec seq 1 3000").stdin(screen.slave()).run();
        assert_eq!((out.code, out.stdout.len()), (Some(0), expected.len()));
        assert_eq!(out.stdout, expected);
    }
    let screen = Screen::new(24, 80);
    let start = Instant::now();
    let out = shell(&lodging, &["-t"], "trap '' HUP; sleep 100 & echo left").stdin(screen.slave()).run();
    assert_eq!((out.stdout.as_str(), out.code), ("left\n", Some(0)));
    assert!(start.elapsed() < patience(20), "{:?}", start.elapsed());
    ended(&lodging);
}

/// A program that closes its terminal for a while (an init does with its console) has not hung up, and is not hung up on.
#[test]
fn a_terminal_that_nobody_has_open() {
    if !root() {
        return;
    }
    let script = |name: &str| {
        format!("exec 3>/dev/null </dev/null >&3 2>&3; sleep 0.5; echo late >{name} || exit 2; sleep 0.2; exit 6")
    };
    let (made, lodging) = (terminal(&script("/dev/console")), lodging());
    for command in [run(&made), shell(&lodging, &["-t"], &script("/dev/tty"))] {
        let mut screen = Screen::new(24, 80);
        let running = screen.before(command).spawn();
        screen.shows("late\r\n");
        assert_eq!(running.wait().code, Some(6));
    }
    made.assert_clean();
    ended(&lodging);
}

/// The caller's terminal or pipe takes nothing for a while (`^S`, a pager, a connection that hangs): signals are handed on all
/// the same.
#[test]
fn signals_while_nobody_reads() {
    if !root() {
        return;
    }
    let lodging = lodging();
    let told = lodging.rootfs().join("tmp/told");
    let script = "trap 'kill $(jobs -p); echo >/tmp/told; exit 3' TERM; yes & yes >&2 & while :; do sleep 0.02; done";
    for (flags, is_terminal) in [(&["-t"][..], true), (&[], true), (&[], false)] {
        let screen = Screen::new(24, 80);
        let (reader, writer) = pipe();
        fcntl_setpipe_size(&writer, 4096).unwrap(); // one write fills it, and there are two streams
        let command = shell(&lodging, flags, script).shell("exec \"$@\" 2>&1");
        let running = if is_terminal { screen.before(command) } else { command.stdout(writer) }.spawn();
        std::thread::sleep(Duration::from_secs(1));
        running.signal(Signal::SIGTERM);
        wait_for("the signal", || told.exists().then_some(()));
        let from = if is_terminal { screen.master } else { reader };
        let drain = std::thread::spawn(move || while (&from).read(&mut [0; 4096]).is_ok_and(|n| n > 0) {});
        assert_eq!(running.wait().code, Some(3), "{flags:?} {is_terminal}");
        drain.join().unwrap();
        fs::remove_file(&told).unwrap();
    }
    ended(&lodging);
}

/// Much of it, into a slow reader, and into one that goes away.
#[test]
fn output_of_any_size() {
    if !root() {
        return;
    }
    let lodging = lodging();
    let megabytes: usize = 64 / slow() as usize;
    let script = format!("exec dd if=/dev/zero bs=1M count={megabytes} 2>/dev/null");
    let screen = Screen::new(24, 80);
    let out = lodging.path("much");
    let command = shell(&lodging, &["-t"], &format!("stty -opost; {script}"));
    let running = command.stdin(screen.slave()).stdout(File::create_new(&out).unwrap()).spawn();
    assert_eq!(running.wait().code, Some(0));
    assert_eq!(fs::metadata(&out).unwrap().len(), (megabytes as u64) << 20);
    fs::remove_file(&out).unwrap();

    let (mut reader, writer) = pipe();
    let running = shell(&lodging, &["-t"], "echo first; exec yes").stdin(screen.slave()).stdout(writer).spawn();
    let mut some = [0; 6];
    reader.read_exact(&mut some).unwrap();
    assert_eq!(&some, b"first\n");
    std::thread::sleep(Duration::from_millis(300));
    let before = ticks(running.child.id());
    std::thread::sleep(Duration::from_millis(500));
    let spent = ticks(running.child.id()) - before;
    assert!(spent < 10 * u64::from(slow()), "{spent} ticks of waiting for a reader");
    drop(reader);
    let status = running.wait().code;
    // SIGHUP, or EIO a moment before it
    assert!(matches!(status, Some(1 | 129 | 141)), "the program is hung up on: {status:?}");
    ended(&lodging);
}

fn pipe() -> (File, OwnedFd) {
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (File::from(reader), writer)
}

/// A gigabyte in and out again by pipes: all of it, and no time but that of moving it.
#[test]
fn a_gigabyte_through_pipes() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    sandbox.write(&bundle::minimal(&sandbox.cgroups_path(), "exec cat"));
    let megabytes: u64 = 1024 / u64::from(slow());
    let (mut output, theirs) = pipe();
    let (input, feed) = pipe();
    let block = |n: u64| {
        let mut block: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
        block[..8].copy_from_slice(&n.to_le_bytes());
        block
    };
    let feeder = std::thread::spawn(move || {
        let mut feed = File::from(feed);
        let mut sent = block(0);
        for n in 0..megabytes {
            sent[..8].copy_from_slice(&n.to_le_bytes());
            feed.write_all(&sent).unwrap();
        }
    });
    let running = run(&sandbox).stdin(input).stdout(theirs).spawn();
    let (mut expected, mut received) = (block(0), block(0));
    for n in 0..megabytes {
        expected[..8].copy_from_slice(&n.to_le_bytes());
        output.read_exact(&mut received).unwrap();
        assert!(received == expected, "megabyte {n}");
    }
    assert_eq!(output.read(&mut received).unwrap(), 0, "and no more");
    assert_eq!(running.wait().code, Some(0));
    feeder.join().unwrap();
    sandbox.assert_clean();
}
