use super::*;
use crate::dbus::fake::{Fake, Peer};

const JOB: &str = "/org/freedesktop/systemd1/job/7";

fn unit(holds_processes: bool) -> Unit {
    let property =
        |name: &str, value| Property { at: At::field("linux.resources.pids.limit"), name: name.into(), value };
    let properties = vec![property("Description", text("x")), property("TasksMax", Value::U64(5))];
    Unit { name: "u.scope".into(), properties, holds_processes }
}

fn asked<T>(serve: impl Fn(Peer) + Send + 'static, ask: impl FnOnce(&mut Systemd) -> T) -> T {
    let fake = Fake::start(
        move |mut peer| {
            peer.welcome();
            serve(peer);
        },
        1,
    );
    let place = Place { user: true, bus: fake.address(), limit: Duration::from_millis(500) };
    let mut systemd = place.connect().unwrap();
    let result = ask(&mut systemd);
    drop(systemd);
    fake.finish();
    result
}

fn start(serve: impl Fn(Peer) + Send + 'static) -> Result<(), Fault> {
    asked(serve, |systemd| systemd.start(&unit(true), Some(42)))
}

#[test]
fn the_manager_says_who_it_is() {
    let manager = |version: &'static str, cgroup: &'static str| {
        asked(
            move |mut peer| {
                for (name, value) in [("Version", version), ("ControlGroup", cgroup)] {
                    let get = peer.call_of("Get");
                    assert_eq!(get.message.body, [text(MANAGER), text(name)]);
                    peer.reply(get.serial, &[Value::Variant(Box::new(text(value)))]);
                }
            },
            Systemd::manager,
        )
    };
    for (version, cgroup, number, path) in [
        ("257.9-1~deb13u1", "", 257, "/"),
        ("v262-rc1", "/user.slice//user@1000.service/", 262, "/user.slice/user@1000.service"),
    ] {
        let expected = Manager { version: number, control_group: path.into(), user: true };
        assert_eq!(manager(version, cgroup), Ok(expected));
    }
    assert_eq!(
        manager("none", "/").unwrap_err().to_string(),
        "the version and cgroup of systemd: an answer without a version"
    );
    assert!(manager("257", "/a/../..").is_err());
}

#[test]
fn a_unit_is_made_with_its_process_in_it() {
    let made = start(|mut peer| {
        let matched = peer.call_of("AddMatch");
        assert!(matches!(&matched.message.body[..], [Value::Text(rule)] if rule.contains("arg2='u.scope'")));
        let call = peer.call_of("StartTransientUnit");
        let [Value::Text(name), Value::Text(mode), Value::Array(_, properties), Value::Array(aux, none)] =
            &call.message.body[..]
        else {
            panic!("{:?}", call.message)
        };
        assert_eq!((name.as_str(), mode.as_str(), aux.as_str(), none.len()), ("u.scope", "replace", "(sa(sv))", 0));
        let pids = Value::Array("u".into(), vec![Value::U32(42)]);
        let expected = [pair("Description", text("x")), pair("TasksMax", Value::U64(5)), pair("PIDs", pids)];
        assert_eq!(properties[..], expected);
        peer.job_removed(":1.1", JOB, "failed"); // of before
        peer.reply(call.serial, &[Value::Path(JOB.into())]);
        peer.job_removed(":1.66", JOB, "failed"); // somebody who is not systemd
        peer.job_removed(":1.1", "/another/job", "failed");
        peer.job_removed(":1.1", JOB, "done");
    });
    assert_eq!(made, Ok(()));
}

#[test]
fn a_failed_remainder_makes_room_once() {
    let serve = |then_there: bool| {
        move |mut peer: Peer| {
            let refuse = |peer: &mut Peer| {
                let call = peer.call_of("StartTransientUnit");
                peer.refuse(call.serial, EXISTS, "Unit u.scope was already loaded or has a fragment file.");
            };
            refuse(&mut peer);
            let reset = peer.call_of("ResetFailedUnit");
            peer.reply(reset.serial, &[]);
            if then_there {
                return refuse(&mut peer);
            }
            let call = peer.call_of("StartTransientUnit");
            peer.reply(call.serial, &[Value::Path(JOB.into())]);
            peer.job_removed(":1.1", JOB, "done");
        }
    };
    assert_eq!(start(serve(false)), Ok(()));
    let fault = start(serve(true)).unwrap_err();
    assert!(fault.taken && !fault.late, "{fault:?}");
    let told = "unable to start unit \"u.scope\": Unit u.scope was already loaded or has a fragment file.";
    assert_eq!(fault.to_string(), told);
    // A slice may be shared.
    let shared = |mut peer: Peer| {
        let call = peer.call_of("StartTransientUnit");
        peer.refuse(call.serial, EXISTS, "");
    };
    assert_eq!(asked(shared, |systemd| systemd.start(&unit(false), None)), Ok(()));
}

#[test]
fn what_goes_wrong_with_a_unit_is_told() {
    let failed = start(|mut peer| {
        let call = peer.call_of("StartTransientUnit");
        peer.reply(call.serial, &[Value::Path(JOB.into())]);
        peer.job_removed(":1.1", JOB, "failed");
        let reset = peer.call_of("ResetFailedUnit");
        peer.reply(reset.serial, &[]);
    });
    assert_eq!(failed.unwrap_err().to_string(), "error creating systemd unit `u.scope`: got `failed`");

    let fault = start(|mut peer| {
        let call = peer.call_of("StartTransientUnit");
        peer.refuse(
            call.serial,
            "org.freedesktop.DBus.Error.InvalidArgs",
            "Cannot set property TasksMax, or unknown property.",
        );
    })
    .unwrap_err();
    assert_eq!(fault.error().at(), Some("linux.resources.pids.limit"));
    assert!(!fault.late && !fault.taken);

    let late = start(|mut peer| {
        let call = peer.call_of("StartTransientUnit");
        peer.reply(call.serial, &[Value::Path(JOB.into())]);
        peer.call();
    })
    .unwrap_err();
    assert_eq!(late.to_string(), "Timeout waiting for systemd to create u.scope (after 500ms)");
    assert!(late.late);

    let gone = start(|mut peer| _ = peer.call_of("StartTransientUnit")).unwrap_err();
    assert_eq!(gone.to_string(), "unable to start unit \"u.scope\": systemd to create u.scope: the other side hung up");
    assert!(!gone.late);
}

#[test]
fn a_unit_is_stopped_and_forgotten() {
    let stop = |serve: fn(Peer)| asked(serve, |systemd| systemd.stop("u.scope"));
    let stopped = stop(|mut peer| {
        let call = peer.call_of("StopUnit");
        assert_eq!(call.message.body, [text("u.scope"), text("replace")]);
        peer.reply(call.serial, &[Value::Path(JOB.into())]);
        peer.job_removed(":1.1", JOB, "done");
        let reset = peer.call_of("ResetFailedUnit");
        peer.refuse(reset.serial, NO_SUCH_UNIT, "");
    });
    assert_eq!(stopped, Ok(()));
    let gone = stop(|mut peer| {
        let call = peer.call_of("StopUnit");
        peer.refuse(call.serial, NO_SUCH_UNIT, "Unit u.scope not loaded.");
    });
    assert_eq!(gone, Ok(()));
    let late = stop(|mut peer| _ = peer.call_of("StopUnit").serial + u32::from(peer.call().is_some()));
    assert_eq!(late.unwrap_err().to_string(), "Timeout waiting for systemd to stop u.scope (after 500ms)");
}

#[test]
fn a_unit_is_asked_where_it_is() {
    let place = |serve: fn(Peer)| asked(serve, |systemd| systemd.cgroup_of("u.scope"));
    let there = place(|mut peer| {
        let call = peer.call_of("GetUnit");
        assert_eq!(call.message.body, [text("u.scope")]);
        peer.reply(call.serial, &[Value::Path("/org/freedesktop/systemd1/unit/u_2escope".into())]);
        let call = peer.call_of("Get");
        assert_eq!(call.message.path, "/org/freedesktop/systemd1/unit/u_2escope");
        assert_eq!(call.message.body, [text("org.freedesktop.systemd1.Scope"), text("ControlGroup")]);
        peer.reply(call.serial, &[Value::Variant(Box::new(text("/a.slice/u.scope")))]);
    });
    assert_eq!(there, Ok(Some("/a.slice/u.scope".to_owned())));
    let nowhere = place(|mut peer| {
        let call = peer.call_of("GetUnit");
        peer.refuse(call.serial, NO_SUCH_UNIT, "Unit u.scope not loaded.");
    });
    assert_eq!(nowhere, Ok(None));
    let strange = place(|mut peer| {
        let call = peer.call_of("GetUnit");
        peer.reply(call.serial, &[Value::U32(1)]);
    });
    assert!(strange.unwrap_err().lost);
}

#[test]
fn properties_are_changed_at_runtime() {
    let properties = unit(true).properties;
    let set = asked(
        |mut peer| {
            let call = peer.call_of("SetUnitProperties");
            assert!(
                matches!(&call.message.body[..], [Value::Text(name), Value::Bool(true), Value::Array(..)] if name == "u.scope")
            );
            peer.refuse(call.serial, NO_SUCH_UNIT, "Unit u.scope not found.");
        },
        |systemd| systemd.set("u.scope", &properties),
    );
    assert_eq!(set.unwrap_err().to_string(), "unable to set properties of unit \"u.scope\": Unit u.scope not found.");
}

#[test]
fn without_an_address_there_is_no_way_to_a_users_manager() {
    let place = Place { user: true, bus: String::new(), limit: PATIENCE };
    let told = place.connect().unwrap_err().to_string();
    assert_eq!(
        told,
        "the user's systemd: no bus address is known: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR is set"
    );
}
