//! The tests' own floor: a machine that can't run them is told so, and nothing passes in silence.

use std::env;
use std::process::Command;
use std::time::Duration;

use crate::harness::{Ended, SKIP, in_namespace, in_namespace_for, run};

/// A test that needs nothing but a namespace: what the others re-run in bad surroundings.
#[test]
fn a_namespace_holds_nothing_but_a_loopback_that_works() {
    in_namespace(|| {
        let links = crate::harness::sh("ip -o link show");
        assert_eq!(links.lines().count(), 1, "{links}");
        assert!(links.contains("lo:"), "{links}");
        let listener = std::net::TcpListener::bind("127.0.0.1:7").expect("port 7 is free and ours to take");
        drop(std::net::TcpStream::connect("127.0.0.1:7").expect("lo is up"));
        drop(listener);
    });
}

const PROBED: &str = "machine::a_namespace_holds_nothing_but_a_loopback_that_works";

/// This test binary, told to run the test above, behind another program (words).
fn probed_behind(words: &[&str]) -> Command {
    let binary = env::current_exe().expect("the test binary has a path");
    let mut command = match words {
        [] => Command::new(binary),
        [program, arguments @ ..] => {
            let mut command = Command::new(program);
            command.args(arguments).arg(binary);
            command
        }
    };
    command.args([PROBED, "--exact", "--test-threads=1"]).env_remove(SKIP);
    command
}

fn fails_and_names(ended: &Ended, parts: &[&str]) {
    assert!(!ended.status.success(), "it passed: {ended:?}");
    for part in parts {
        assert!(ended.stdout.contains(part), "{part:?} is not named: {ended:?}");
    }
}

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_machine_without_the_tools_is_told_which_packages_to_install() {
    let ended = run(probed_behind(&[]).env("PATH", "/nonexistent"), LIMIT);
    fails_and_names(&ended, &["apt-get install", "ping", "iputils-ping", "netcat-openbsd", SKIP]);
}

#[test]
fn a_machine_that_refuses_namespaces_is_told_which_setting_refuses_them() {
    in_namespace(|| {
        // In a user namespace of our own the limit is ours to set, and binds whoever lives inside.
        let refuse = "echo 0 > /proc/sys/user/max_user_namespaces && \
                      exec setpriv --bounding-set=-all --inh-caps=-all -- \"$@\"";
        let ended = run(&mut probed_behind(&["unshare", "-Ur", "sh", "-c", refuse, "sh"]), LIMIT);
        fails_and_names(&ended, &["user.max_user_namespaces is 0", "sudo sysctl -w", SKIP]);
    });
}

#[test]
fn root_that_is_refused_user_namespaces_takes_a_network_namespace_alone() {
    in_namespace(|| {
        let refuse = "echo 0 > /proc/sys/user/max_user_namespaces && exec \"$@\"";
        let ended = run(&mut probed_behind(&["unshare", "-Ur", "sh", "-c", refuse, "sh"]), LIMIT);
        assert!(ended.status.success(), "{ended:?}");
        assert!(ended.stdout.contains("1 passed"), "{ended:?}");
    });
}

#[test]
fn a_machine_without_tun_is_told_how_to_get_it() {
    in_namespace(|| {
        let hide = "mount -t tmpfs none /dev/net && exec \"$@\"";
        let ended = run(&mut probed_behind(&["unshare", "-m", "sh", "-c", hide, "sh"]), LIMIT);
        fails_and_names(&ended, &["/dev/net/tun", "modprobe tun", SKIP]);
    });
}

#[test]
fn opting_out_is_said_aloud_with_the_reason() {
    let ended = run(probed_behind(&[]).env(SKIP, "no kernel here"), LIMIT);
    assert!(ended.status.success(), "{ended:?}");
    assert!(ended.stderr.contains("SKIPPED, NOT TESTED"), "{ended:?}");
    assert!(ended.stderr.contains(PROBED) && ended.stderr.contains("no kernel here"), "{ended:?}");
}

#[test]
#[should_panic(expected = "did not run in its namespace")]
fn a_child_that_ends_well_without_running_the_body_to_its_end_fails_the_test() {
    // The child expects a panic as well, gets one, and so ends with success.
    in_namespace(|| panic!("the body stops half way: did not run in its namespace"));
}

#[test]
#[should_panic(expected = "was not done after 1s and was killed")]
fn a_body_that_hangs_is_killed_when_its_time_is_up() {
    in_namespace_for(Duration::from_secs(1), || {
        crate::harness::sh("sleep 15");
    });
}
