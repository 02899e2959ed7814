//! Security labels on a machine that is said to have AppArmor and SELinux: the kernel is what refuses them, through the
//! procfs that is real. A write that went to a file of the attacker's would succeed. (With AppArmor: blackbox/lsm.rs.)

use std::fs;

use libcontain::{CreateOptions, Error, Host};
use serde_json::{Value, json};

use crate::cases::{hook, script};
use crate::support::{World, rooted, set, skip};
use crate::trap;

const FAKE: &str = "nobody has written here\n";

/// `None` where there is AppArmor or SELinux, which would do as they are told.
fn bare(test: &str) -> Option<World> {
    let world = rooted(test)?;
    let has = |path| fs::exists(path).unwrap();
    if has("/proc/self/attr/apparmor") || has("/sys/fs/selinux/policy") {
        skip(test, "the machine has AppArmor or SELinux");
        return None;
    }
    Some(world)
}

fn refused(world: &World, config: &Value) -> Error {
    let host = Host { apparmor: Some(true), selinux: Some(true), ..Host::probe().unwrap() };
    let runtime = world.runtime().with_host(host);
    let error = runtime.create(&world.name(), &world.bundle(config), &CreateOptions::default()).unwrap_err();
    world.assert_clean();
    error
}

const APPARMOR: &str = "apparmor failed to apply profile: process.apparmorProfile: ";

#[test]
fn the_kernel_refuses() {
    let Some(world) = bare("the_kernel_refuses") else { return };
    for (field, says) in [
        ("apparmorProfile", format!("{APPARMOR}write: exec tests: invalid argument")),
        ("selinuxLabel", "can't set process label: process.selinuxLabel: write: tests: invalid argument".into()),
    ] {
        let mut config = world.minimal("true");
        set(&mut config, &format!("/process/{field}"), json!("tests"));
        let error = refused(&world, &config);
        assert!(error.to_string().contains(&says), "{field}: {error}");
        assert_eq!(error.at().unwrap().to_string(), format!("process.{field}"));
    }
    assert_eq!(trap::catches(), 0);
}

/// Without the keyring, which is labelled first, the label of the program is what fails.
#[test]
fn the_label_of_the_program() {
    let Some(world) = bare("the_label_of_the_program") else { return };
    let mut config = world.minimal("true");
    set(&mut config, "/process/selinuxLabel", json!("tests"));
    let host = Host { selinux: Some(true), ..Host::probe().unwrap() };
    let options = CreateOptions { no_new_keyring: true, ..CreateOptions::default() };
    let made = world.runtime().with_host(host).create(&world.name(), &world.bundle(&config), &options);
    let error = made.unwrap_err().to_string();
    assert!(error.contains("can't set process label: process.selinuxLabel: write: tests: invalid argument"), "{error}");
    world.assert_clean();
    assert_eq!(trap::catches(), 0);
}

/// CVE-2019-16884: the image has a directory /proc with files where labels are written, and nothing is mounted there.
#[test]
fn a_proc_of_the_image() {
    let Some(world) = bare("a_proc_of_the_image") else { return };
    let fakes = ["self/attr/exec", "thread-self/attr/exec", "thread-self/attr/apparmor/exec", "1/attr/exec"];
    for name in fakes {
        let path = world.rootfs().join("proc").join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, FAKE).unwrap();
    }
    for (field, says) in [("apparmorProfile", APPARMOR), ("selinuxLabel", "can't set process label")] {
        let mut config = world.minimal("true");
        set(&mut config, "/mounts", json!([]));
        set(&mut config, &format!("/process/{field}"), json!("tests"));
        let error = refused(&world, &config).to_string();
        assert!(error.contains(says) && error.ends_with("tests: invalid argument"), "{error}");
    }
    for name in fakes {
        assert_eq!(fs::read_to_string(world.rootfs().join("proc").join(name)).unwrap(), FAKE, "{name}");
    }
    assert_eq!(trap::catches(), 0);
}

/// CVE-2025-52881: somebody has mounted over the file, or over a directory above it, by the time that it is written. A
/// hook stands for whoever wins the race: another file of procfs, which a look at the type of the file system lets pass.
#[test]
fn something_is_mounted_over_the_attribute() {
    let Some(world) = bare("something_is_mounted_over_the_attribute") else { return };
    fs::write(world.path("fake"), FAKE).unwrap();
    fs::create_dir_all(world.path("dir/exec")).unwrap();
    // The last one covers the descriptors as well, which are opened before.
    let covers = [
        (format!("mount --bind {} proc/1/task/1/attr/exec", world.path("fake").display()), APPARMOR),
        ("mount --bind proc/1/comm proc/1/task/1/attr/exec".to_owned(), APPARMOR),
        (format!("mount --bind {} proc/1/task/1/attr", world.path("dir").display()), APPARMOR),
        ("mount -t tmpfs tmpfs proc/1/task".to_owned(), "open /proc/self/fd for exec.fifo: process: "),
    ];
    for (cover, place) in covers {
        let mut config = world.minimal("true");
        hook(&mut config, "createContainer", script(&cover));
        set(&mut config, "/process/apparmorProfile", json!("tests"));
        let error = refused(&world, &config).to_string();
        assert!(error.contains(&format!("{place}openat2: invalid cross-device link")), "{cover}: {error}");
    }
    assert_eq!(fs::read_to_string(world.path("fake")).unwrap(), FAKE);
    assert_eq!(trap::catches(), 0);
}
