//! A room for engines that cannot be told where they belong: Podman, Buildah, conmon. They find their configuration in /etc,
//! as on a machine of their users'.
//!
//! On top of what a [`Room`] has: a cgroup namespace, so that a cgroup `/libpod_parent` is below the room's; an /etc with
//! changes that stay here, an ordinary user with subordinate ids in it; a new /root and a new /dev, so that an engine which
//! changes the owner of /dev/null (Podman does, with user namespaces) changes the room's. The runtime under test is installed
//! as /usr/local/bin/cntr.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::chown;
use std::path::PathBuf;

use crate::room::Room;
use crate::support::{Cmd, Output, have, pure_v2, read, skip};

/// An ordinary user of the machine, `user`, who has 65536 subordinate ids from [`FIRST_SUBORDINATE`] on.
pub const USER: u32 = 4000;
pub const FIRST_SUBORDINATE: u32 = 300_000;

/// Makes the room's cgroups and joins them. A cpuset takes no process before it has cpus and nodes.
const BEFORE: &str = r#"
while read -r _ dir type _; do
    case $type in cgroup | cgroup2) ;; *) continue ;; esac
    mkdir "$dir/$0"
    for file in cpuset.cpus cpuset.mems; do
        [ ! -e "$dir/$file" ] || cat "$dir/$file" >"$dir/$0/$file"
    done
    echo 0 >"$dir/$0/cgroup.procs"
done </proc/self/mounts
exec "$@"
"#;

/// The first process.
const BOOT: &str = r#"
dir=${0%/*}
cd "$dir"
hostname machine
mkdir etc work containers dev home
grep -E '^[^ ]+ [^ ]+ cgroup2? ' /proc/mounts >cgroups
# Not over the old ones: Podman unmounts what it finds below /sys/kernel, and cannot find what is covered.
umount --recursive --lazy /sys
mount -t sysfs sysfs /sys
mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
while read -r _ where type options _; do
    mkdir "$where"
    case $type in cgroup) options=${options#rw,relatime,} ;; *) options=rw ;; esac
    mount -t "$type" -o "$options" cgroup "$where"
done <cgroups
mount -t overlay -o "lowerdir=/etc,upperdir=$dir/etc,workdir=$dir/work" overlay /etc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock /var/lib/containers
mount --bind containers /var/lib/containers
mount -t tmpfs -o mode=755 tmpfs /usr/local/bin
touch /usr/local/bin/cntr
mount --bind "$1" /usr/local/bin/cntr
mount -t tmpfs -o mode=700 tmpfs /root
mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/net dev/pts dev/shm dev/mqueue
for node in null zero full random urandom tty fuse net/tun; do
    [ ! -e "/dev/$node" ] || mknod -m 666 "dev/$node" c $(stat -c '0x%t 0x%T' "/dev/$node")
done
mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
mount -t mqueue mqueue dev/mqueue
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
umount --recursive --lazy /dev
mount --move dev /dev
mount --make-rshared /
ip link set lo up
: >"$0"
while :; do sleep 1000; done
"#;

/// Joins the room's cgroups, then its namespaces. `$0` is its name, `$1` its first process.
const ENTER: &str = r#"
while read -r _ dir type _; do
    case $type in cgroup | cgroup2) echo 0 >"$dir/$0/cgroup.procs" || exit ;; esac
done </proc/self/mounts
first=$1; shift
exec nsenter -t "$first" -m -p -n -u -i -C -- env -C "$PWD" "$@"
"#;

/// See the module.
#[derive(Debug)]
pub struct Machine {
    pub room: Room,
}

impl Machine {
    /// `None`, with a skip, where there is none.
    pub fn new(programs: &[&str]) -> Option<Self> {
        if !programs.iter().all(|program| have(program)) {
            return None;
        }
        if pure_v2() {
            skip("needs cgroup v1: with v2 alone these engines are tried in the virtual machine, with systemd");
            return None;
        }
        let machine = Machine { room: Room::furnished(BEFORE, &["--cgroup"], BOOT)? };
        machine.add_user();
        Some(machine)
    }

    fn add_user(&self) {
        let (home, id) = (self.room.path("home"), USER);
        chown(&home, Some(id), Some(id)).unwrap();
        self.etc("passwd", &format!("{}user:x:{id}:{id}::{}:/bin/sh\n", read("/etc/passwd"), home.display()));
        self.etc("group", &format!("{}user:x:{id}:\nfriends:x:{}:user\n", read("/etc/group"), id + 1));
        let ranges = format!("user:{FIRST_SUBORDINATE}:65536\ncontainers:500000:200000\n");
        self.etc("subuid", &ranges);
        self.etc("subgid", &ranges);
        let own = format!("mkdir -p /run/user/{id} && chown {id}:{id} /run/user/{id} && chmod 700 /run/user/{id}");
        self.root(&own).ok();
    }

    /// Where the host sees a file of the machine's.
    pub fn outside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.room.first()))
    }

    /// Writes a file of /etc.
    pub fn etc(&self, name: &str, text: &str) {
        let path = self.outside("/etc").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// A line of shell, by root.
    pub fn root(&self, line: &str) -> Cmd {
        self.command(&["sh", "-c", line]).env("HOME", "/root")
    }

    /// A line of shell, by the ordinary user.
    pub fn user(&self, line: &str) -> Cmd {
        let (uid, gid) = (format!("--reuid={USER}"), format!("--regid={USER}"));
        self.command(&["setpriv", &uid, &gid, "--init-groups", "--", "sh", "-c", line])
            .env("HOME", &self.room.path("home").to_string_lossy())
            .env("XDG_RUNTIME_DIR", &format!("/run/user/{USER}"))
            .env("USER", "user")
    }

    fn command(&self, args: &[&str]) -> Cmd {
        let first = self.room.first().to_string();
        let argv = ["sh", "-c", ENTER, &self.room.id, &first].map(OsString::from).to_vec();
        Cmd::new(argv, &self.room.path("out")).args(args).cwd(self.room.dir())
    }

    /// Cgroups whose names begin with `prefix`.
    pub fn cgroups(&self, prefix: &str) -> Vec<String> {
        let out = self.root(&format!("find /sys/fs/cgroup -mindepth 2 -type d -name '{prefix}*'")).ok();
        out.stdout.lines().map(str::to_owned).collect()
    }
}

/// The command has succeeded and has said this, white space at the ends left aside.
#[track_caller]
pub fn says(out: &Output, text: &str) {
    assert!(out.code == Some(0) && out.stdout.trim() == text, "expected {text:?}: {out:#?}");
}

/// The command has failed with this status, and with this on stderr.
#[track_caller]
pub fn fails(out: &Output, code: i32, text: &str) {
    assert!(out.code == Some(code) && out.stderr.contains(text), "expected {code} and {text:?}: {out:#?}");
}
