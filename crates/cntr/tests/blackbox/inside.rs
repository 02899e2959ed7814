//! Binds whose source lies in the rootfs, on what the mounts before it have put there: found in the container's root, and
//! nowhere else whatever the image says.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::{Value, json};

use crate::namespaces::in_user_namespace;
use crate::support::{Output, Sandbox, bundle, root};

/// A bind with all below it, private; ids mapped to those of the container, if at all.
fn bind(config: &mut Value, source: &str, destination: &str, mapped: bool) {
    let options = ["rbind", "rprivate"];
    let mut mount = json!({ "destination": destination, "type": "bind", "source": source, "options": options });
    if mapped {
        let maps = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
        mount["uidMappings"] = maps.clone();
        mount["gidMappings"] = maps;
    }
    bundle::set(config, "/mounts/-", Some(mount));
}

fn ran(sandbox: &Sandbox, config: &mut Value, user: bool) -> Output {
    if user {
        in_user_namespace(sandbox, config);
    }
    sandbox.write(config);
    let out = sandbox.verb(&["run"]).run();
    sandbox.assert_clean();
    out
}

/// The tree of runc's tests: binds on binds, of which the later ones have the earlier ones as their source; some are named
/// by the host's path on both sides.
#[test]
fn mounts_upon_mounts() {
    if !root() {
        return;
    }
    for (user, mapped) in [(false, false), (true, false), (false, true), (true, true)] {
        let sandbox = Sandbox::new();
        let source = sandbox.path("source");
        for (dir, sub) in [("a", "x"), ("b", "y"), ("c", "z")] {
            fs::create_dir_all(source.join(dir).join(sub)).unwrap();
            fs::write(source.join(dir).join(sub).join("file"), format!("{dir}/{sub}")).unwrap();
        }
        symlink("b", source.join("link")).unwrap();
        fs::set_permissions(&source, fs::Permissions::from_mode(0o700)).unwrap();
        let host = |name: &str| source.join(name).to_string_lossy().into_owned();
        let inside = |path: &str| format!("{}{path}", sandbox.rootfs().display());
        let script = "cat /final/x/y/z/z/x/y/z/x/file; stat -c ' %u' /final/x/y/z; ls /final/x";
        let mut config = bundle::minimal(&sandbox.cgroups_path(), script);
        bind(&mut config, &host("a"), "/mnt", false);
        bind(&mut config, &host("link"), "/mnt/x", false);
        bind(&mut config, &host("c"), "/mnt/x/y", false);
        bind(&mut config, &host("a"), "/mnt/x/y/z", false);
        bind(&mut config, &inside("/mnt/x"), &inside("/mnt/x/y/z/x"), mapped);
        bind(&mut config, "rootfs/mnt/x/y", "/mnt/x/y/z", mapped);
        bind(&mut config, &inside("/mnt"), &inside("/final"), false);
        let out = ran(&sandbox, &mut config, user);
        // What root of the host owns is root's in a mapped mount of a user namespace, and 100000's without one.
        let owner = match (user, mapped) {
            (true, false) => 65534,
            (false, true) => 100_000,
            _ => 0,
        };
        let expected = format!("a/x {owner}\ny\n");
        assert_eq!((out.code, &out.stdout), (Some(0), &expected), "{user} {mapped}: {out:#?}");
    }
}

/// An image cannot have a directory of the host bound by what a path in it leads to.
#[test]
fn a_source_in_the_rootfs_does_not_lead_out() {
    if !root() {
        return;
    }
    for (user, mapped) in [(false, false), (true, false), (false, true), (true, true)] {
        for up in [false, true] {
            let sandbox = Sandbox::new();
            let canary = sandbox.path("canary");
            fs::create_dir(&canary).unwrap();
            fs::write(canary.join("secret"), "secret").unwrap();
            let link = if up { "../../canary".into() } else { canary.clone() };
            symlink(link, sandbox.rootfs().join("evil")).unwrap();
            let mut config = bundle::minimal(&sandbox.cgroups_path(), "cat /mnt/secret");
            bind(&mut config, &sandbox.rootfs().join("evil").to_string_lossy(), "/mnt", mapped);
            let out = ran(&sandbox, &mut config, user);
            let told = format!("mounts[3].source: open {}/evil: no such file or directory", sandbox.rootfs().display());
            assert!(out.code == Some(1) && out.stderr.contains(&told), "{user} {mapped} {up}: {out:#?}");
            // What is there by that path inside is what is bound.
            let dir =
                sandbox.rootfs().join(if up { "canary" } else { canary.strip_prefix("/").unwrap().to_str().unwrap() });
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("secret"), "of the image").unwrap();
            sandbox.write(&config);
            assert_eq!(sandbox.verb(&["run"]).ok().stdout, "of the image");
            sandbox.assert_clean();
        }
    }
}

/// What cannot be mapped is told with its place.
#[test]
fn ids_that_cannot_be_mapped() {
    if !root() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut config = bundle::minimal(&sandbox.cgroups_path(), "true");
    bind(&mut config, "rootfs/proc", "/mnt", true); // procfs takes no maps
    let out = ran(&sandbox, &mut config, false);
    let told = ["error mounting", "mounts[3]", "failed to set MOUNT_ATTR_IDMAP on", "/rootfs/proc: invalid argument"];
    assert!(out.code == Some(1) && told.iter().all(|text| out.stderr.contains(text)), "{out:#?}");
}
