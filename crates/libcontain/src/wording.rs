//! Words for what failed in the child: the frame that callers know, the config path, the system call, the errno.
//!
//! The child reports the number of a step and what the kernel said; the plan says what the step was for.

use std::os::fd::OwnedFd;
use std::path::Path;

use oci_spec::runtime::Spec;

use crate::error::{At, Error, Kind, errno_text};
use crate::plan::{self, Bind, ContainerHook, Image, Op, Open, Plan, Slot, Tree};
use crate::report::Failure;
use crate::{agent, hooks, mounts};

/// What is known of the child that failed.
pub(crate) struct Wording<'a> {
    pub plan: &'a Plan,
    pub spec: &'a Spec,
    /// Absolute directory of the bundle.
    pub bundle: &'a Path,
    /// The plan's needs, opened.
    pub fds: &'a [OwnedFd],
    pub frame: &'static str,
}

impl Wording<'_> {
    fn asks_for_cpus(&self) -> bool {
        let resources = self.spec.linux().as_ref().and_then(|l| l.resources().as_ref());
        resources.and_then(|r| r.cpu().as_ref()).is_some_and(|cpu| cpu.cpus().is_some())
    }

    /// A hook inside the container: what it wrote is in its memfds.
    fn hook_error(&self, hook: &ContainerHook, failure: &Failure) -> Error {
        let why = said(failure);
        let why = why.split_once("hook #").and_then(|(_, w)| w.split_once(": ")).map_or(why.as_str(), |(_, w)| w);
        let [_, output, errors] = hook.stdio.map(|slot| {
            let is_memfd = self.plan.needs.get(slot.0).is_some_and(|need| need.what == Open::Memfd);
            self.fds.get(slot.0).filter(|_| is_memfd).and_then(|fd| fd.try_clone().ok()).map(Into::into)
        });
        let ended = why.starts_with("exit status") || why.starts_with("signal");
        let why = if ended { hooks::with_output(why, output, errors) } else { why.to_owned() };
        hooks::failed(hook.list, hook.index, &why)
    }

    /// The namespaces that could not be joined.
    fn joined(&self, slot: Slot, kinds: u64) -> String {
        let names = plan::namespace_names(kinds);
        match self.plan.needs.get(slot.0).map(|need| &need.what) {
            Some(Open::Namespace { path, .. }) => {
                format!(".path: joining {names} namespace {}", path.to_string_lossy())
            }
            _ => format!(": joining the container's namespaces ({names})"),
        }
    }

    /// Words a failed step.
    pub fn describe(&self, failure: &Failure) -> Error {
        let step = failure.step.and_then(|number| self.plan.steps.get(number));
        let Some(step) = step else {
            return Error::new(Kind::Os, said(failure)).with_errno(failure.errno).within(self.frame);
        };
        let at = step.at;
        let error = match &step.op {
            Op::FindProgram | Op::Exec { .. } => {
                let text = self.plan.images.last().map_or_else(String::new, |image| program_error(image, failure));
                Error::new(Kind::Exec, format!("{at}: {text}")).with_execve(refused(failure))
            }
            Op::Hook(hook) => self.hook_error(hook, failure),
            Op::Fork { cgroup, .. } => fork_error(at, &step.op, cgroup.is_some(), failure),
            Op::SetNs(slot, kinds) => {
                let what = self.joined(*slot, *kinds);
                Error::new(Kind::Os, format!("{at}{what}: {}", said(failure)))
            }
            Op::Scheduler(_) if failure.errno == libc::EPERM && self.asks_for_cpus() => {
                let text = "process scheduler can't be used together with AllowedCPUs";
                Error::new(Kind::Os, format!("{at}: {text}: {}", said(failure)))
            }
            Op::Scheduler(scheduler) if failure.errno == libc::EPERM && scheduler.is_real_time() => {
                let hint = "a cgroup of v1 has no real-time budget without linux.resources.cpu.realtimeRuntime";
                Error::new(Kind::Os, format!("{}: {at}: {} ({hint})", step.op.frame(), said(failure)))
            }
            Op::Seccomp(filter) => {
                let text = format!("{}: {at}: {}{}", step.op.frame(), said(failure), agent::load_hint(filter, failure));
                Error::new(Kind::Os, text)
            }
            Op::User { groups: Some(groups), .. } if failure.call == "setgroups" && failure.errno == libc::EINVAL => {
                let text =
                    format!("unable to setup user: one of the groups {groups:?} is an unmapped gid in user namespace");
                Error::new(Kind::Config, format!("{at}.additionalGids: {text}"))
            }
            Op::User { uid, gid, .. } if failure.errno == libc::EINVAL => {
                let (kind, id) = if failure.call == "setresuid" { ("uid", uid) } else { ("gid", gid) };
                let text = format!("unable to setup user: cannot set{kind} to unmapped {kind} {id} in user namespace");
                Error::new(Kind::Config, format!("{at}: {text}"))
            }
            Op::AttachRoot { .. } if failure.call == "open_tree" => {
                let path = self.spec.root().as_ref().map_or(Path::new(""), |r| r.path().as_path());
                let path = self.bundle.join(path);
                Error::new(Kind::Config, invalid_root(at, &path.display(), failure.errno))
            }
            Op::Bind(Bind { source, tree: Tree::Path { .. } | Tree::Inside { .. }, .. })
                if failure.call == "open_tree" =>
            {
                let text = format!("{at}.source: open {}: {}", source.to_string_lossy(), errno_text(failure.errno));
                Error::new(Kind::Config, format!("{}: {text}", step.op.frame()))
            }
            Op::Filesystem(fs) if failure.note == mounts::NOT_ORDINARY => {
                let text = format!("{at}: filesystem {:?} {}", fs.fstype.to_string_lossy(), failure.note);
                Error::new(Kind::Os, format!("{}: {text}", step.op.frame()))
            }
            op => Error::new(Kind::Os, format!("{}: {at}: {}", op.frame(), said(failure))),
        };
        let error = if failure.errno == 0 { error } else { error.with_errno(failure.errno) };
        error.with_at(at).within(self.frame)
    }
}

/// `mount_setattr: invalid argument`, with what the kernel had to say.
fn fork_error(at: At, op: &Op, into_cgroup: bool, failure: &Failure) -> Error {
    let said = said(failure);
    let text = match failure.errno {
        libc::EAGAIN => {
            format!("{at}: {op}: {said} (the limit of processes of the cgroup, or of the user, is reached)")
        }
        // Callers look for runc's words: "adding pid N to cgroups". There is no pid yet.
        libc::EBUSY if into_cgroup => {
            let hint = "it has given its controllers to those below it";
            format!("error adding pid of a new process to cgroups: {at}: {said} ({hint})")
        }
        _ => format!("{}: {at}: {said}", op.frame()),
    };
    Error::new(Kind::Os, text)
}

pub(crate) fn said(failure: &Failure) -> String {
    let errno = errno_text(failure.errno);
    match (failure.call.as_str(), failure.note.as_str()) {
        ("", note) => note.to_owned(), // nothing was called: a rule of ours
        (call, "") => format!("{call}: {errno}"),
        (call, note) => format!("{call}: {note}: {errno}"),
    }
}

/// The words of runc's init when execve(2) itself fails.
fn refused(failure: &Failure) -> Option<String> {
    (failure.call == "execve").then(|| format!("exec {}: {}", failure.note, errno_text(failure.errno)))
}

/// Go's wording of a program that cannot be executed; engines turn it into exit codes 126 and 127.
fn program_error(image: &Image, failure: &Failure) -> String {
    let name = image.argv.first().map_or_else(String::new, |a| a.to_string_lossy().into_owned());
    let (errno, path) = (errno_text(failure.errno), &failure.note);
    let executed = failure.call == "execve";
    match failure.errno {
        libc::ENOENT if executed => format!("exec {path}: {errno} (its interpreter or dynamic loader is missing)"),
        libc::ENOEXEC => format!("exec {path}: {errno} (another architecture, or neither a program nor a script)"),
        _ if executed => format!("exec {path}: {errno}"),
        libc::ENOENT if !name.contains('/') => format!("exec: {name:?}: executable file not found in $PATH"),
        libc::ENOENT | libc::ENOTDIR => format!("exec: {name:?}: stat {name}: {errno}"),
        // Go's words, and those by which Podman and Docker before 23 tell that the exit code is 126.
        libc::EISDIR => format!("exec: {name:?}: {errno} (permission denied)"),
        _ => format!("exec: {name:?}: {errno}"),
    }
}

pub(crate) fn invalid_root(at: At, path: &dyn std::fmt::Display, errno: i32) -> String {
    format!("{at}: invalid rootfs: stat {path}: {}", errno_text(errno))
}
