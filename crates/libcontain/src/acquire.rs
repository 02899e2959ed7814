//! Opening what a plan needs, before the clone. Here host paths end.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::{At, Error, Kind, errno_text};
use crate::locked::Mounts;
use crate::plan::cgroup::Dir;
use crate::plan::{self, Need, Open, Plan};
use crate::state::StateDir;
use crate::wording::invalid_root;
use crate::{hooks, idmapped, mounts, sys};

/// What is open already.
pub(crate) struct Given<'a> {
    pub dir: &'a StateDir,
    /// The caller's socket for the terminal's master end.
    pub console: Option<BorrowedFd<'a>>,
    /// The init process that another process is put beside.
    pub init: Option<BorrowedFd<'a>>,
}

/// Opens what the plan needs. Everything is close-on-exec.
pub(crate) fn acquire(plan: &Plan, given: &Given<'_>) -> Result<Vec<OwnedFd>, Error> {
    let users: Vec<OwnedFd> = plan.users.iter().map(idmapped::open_users).collect::<Result<_, _>>()?;
    let mut trees = if plan.locks_trees { locked_trees(plan, given, &users)? } else { vec![] }.into_iter();
    plan.needs
        .iter()
        .map(|need| match trees.next().flatten() {
            Some(tree) => Ok(tree),
            None => acquire_one(plan, given, need, &users),
        })
        .collect()
}

/// In the place of each tree of the host's mounts a copy with its flags locked.
fn locked_trees(plan: &Plan, given: &Given<'_>, users: &[OwnedFd]) -> Result<Vec<Option<OwnedFd>>, Error> {
    let one = |need: &Need| need.what.is_tree().then(|| acquire_one(plan, given, need, users)).transpose();
    Mounts::of_a_user_namespace()?.within(|| plan.needs.iter().map(one).collect())
}

fn acquire_one(plan: &Plan, given: &Given<'_>, need: &Need, users: &[OwnedFd]) -> Result<OwnedFd, Error> {
    let cgroup = |index: usize| plan.cgroup.dirs.get(index).map_or_else(String::new, Dir::absolute);
    let runtime_cgroup = |index: usize| plan.cgroup.dirs.get(index).map_or_else(String::new, Dir::runtime);
    let members = |index: usize| plan.cgroup.dirs.get(index).map_or_else(String::new, Dir::members);
    match &need.what {
        Open::Tree { path, recursive } => open_tree(need, path, *recursive),
        Open::MappedTree { path, recursive, mapped } => {
            let tree = open_tree(need, path, *recursive)?;
            idmapped::map(&tree, path, need.at, *mapped, users.get(mapped.users)).map(|()| tree)
        }
        Open::Filesystem { source, fstype, data, attr, mapped } => {
            let mount = idmapped::filesystem(need.at, fstype, source, data, *attr)?;
            if let Some(mapped) = mapped {
                idmapped::map(&mount, source, need.at, *mapped, users.get(mapped.users))?;
            }
            Ok(mount)
        }
        Open::CgroupTree(index) => match open_tree(need, &CString::new(cgroup(*index)).unwrap_or_default(), false) {
            // A rootless container stays in the runtime's cgroup where none could be made, and sees that.
            Err(_) if plan.cgroup.tolerate_failure => {
                open_tree(need, &CString::new(runtime_cgroup(*index)).unwrap_or_default(), false)
            }
            result => result,
        },
        Open::CgroupTasks(index) => match open(need, Path::new(&members(*index)), OFlags::WRONLY) {
            // A rootless container lives without the cgroups that could not be made: joining nothing.
            Err(_) if plan.cgroup.tolerate_failure => open(need, Path::new("/dev/null"), OFlags::WRONLY),
            result => result,
        },
        Open::Namespace { path, kind, unless_own } => {
            let fd = open(need, Path::new(OsStr::from_bytes(path.to_bytes())), OFlags::RDONLY)?;
            if let Some((at, text)) = unless_own.as_ref().filter(|_| is_own_namespace(rustix::fs::fstat(&fd), *kind)) {
                return Err(Error::new(Kind::Config, format!("{at}: {text}")).with_at(*at));
            }
            if sys::namespace_kind(fd.as_fd()) != Ok(*kind) {
                let text = format!("{}: {path:?} is not a namespace of this type", need.at);
                return Err(Error::new(Kind::Config, text).with_at(need.at));
            }
            Ok(fd)
        }
        Open::ConsoleSocket => {
            let copy = given.console.ok_or(Errno::BADF).and_then(|socket| rustix::io::fcntl_dupfd_cloexec(socket, 3));
            copy.map_err(|e| Error::os(format_args!("{}: console socket", need.at), e).with_at(need.at))
        }
        Open::Init => {
            let copy = given.init.ok_or(Errno::BADF).and_then(|init| rustix::io::fcntl_dupfd_cloexec(init, 3));
            copy.map_err(|e| Error::os(format_args!("{}: pidfd of init", need.at), e).with_at(need.at))
        }
        Open::Members(path) => match open(need, Path::new(OsStr::from_bytes(path.to_bytes())), OFlags::WRONLY) {
            Err(_) if plan.cgroup.tolerate_failure => open(need, Path::new("/dev/null"), OFlags::WRONLY),
            result => result,
        },
        Open::Cgroup(path) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY;
            open(need, Path::new(OsStr::from_bytes(path.to_bytes())), flags)
        }
        Open::ExecFifo => given.dir.open_fifo(OFlags::PATH).map_err(|e| Error::os("open exec.fifo", e)),
        Open::HookOutput(path) => hooks::open_output(OsStr::from_bytes(path.to_bytes()).as_ref())
            .map_err(|e| Error::os(format_args!("{}: open {}", need.at, path.to_string_lossy()), e).with_at(need.at)),
        Open::Memfd => hooks::open_memfd().map_err(|e| Error::os("memfd_create", e)),
    }
}

/// Of the calling thread, which clones init: namespaces belong to threads.
pub(crate) fn is_own_namespace(found: rustix::io::Result<Stat>, kind: u64) -> bool {
    match (found, rustix::fs::stat(format!("/proc/thread-self/ns/{}", plan::namespace_file(kind)))) {
        (Ok(given), Ok(own)) => (given.st_dev, given.st_ino) == (own.st_dev, own.st_ino),
        _ => false,
    }
}

fn open(need: &Need, path: &Path, flags: OFlags) -> Result<OwnedFd, Error> {
    let opened = rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty());
    opened.map_err(|e| Error::os(format_args!("{}: open {}", need.at, path.display()), e).with_at(need.at))
}

fn open_tree(need: &Need, path: &CStr, recursive: bool) -> Result<OwnedFd, Error> {
    mounts::clone_tree(rustix::fs::CWD, path, recursive).map_err(|fault| {
        let (at, path, errno) = (need.at, path.to_string_lossy(), errno_text(fault.errno));
        let text = match fault.errno {
            _ if at == At::field("root.path") => invalid_root(at, &path, fault.errno),
            libc::ENOENT | libc::EACCES | libc::ENOTDIR => format!("{at}: open {path}: {errno}"),
            _ => format!("{at}: {} {path}: {errno}", fault.call),
        };
        Error::new(Kind::Os, text).with_errno(fault.errno).with_at(at)
    })
}
