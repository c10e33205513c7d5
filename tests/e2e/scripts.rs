//! The scripts, with the binary under test in the place of the release build.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::harness::{Daemon, in_namespace, run, run_with_input, sh};

const LIMIT: Duration = Duration::from_secs(10);

/// A script that uses the binary under test instead of building one.
fn script(name: &str) -> Command {
    let mut command = Command::new(script_path(name));
    command
        .env("TUNSTACK_BIN", env!("CARGO_BIN_EXE_tunstack"))
        .env_remove("RUST_LOG")
        .env_remove("SUDO_USER");
    command
}

fn script_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name)
}

/// A directory with one program in it that stands in for `sudo`: it notes its arguments and runs nothing.
fn fake_sudo(directory: &Path) -> PathBuf {
    let bin = directory.join("bin");
    fs::create_dir_all(&bin).expect("the temporary directory is ours");
    let sudo = bin.join("sudo");
    fs::write(&sudo, "#!/bin/sh\necho \"sudo $*\"\n").expect("the temporary directory is ours");
    fs::set_permissions(&sudo, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    bin
}

#[test]
fn up_runs_the_daemon_and_asks_no_sudo_when_it_has_the_privilege() {
    in_namespace(|| {
        let mut daemon = Daemon::start(script("up").args(["--serve", "echo:7"]));
        assert_eq!(daemon.ready_line(), "ready: tun0 10.9.0.2/24 fd09::2/64 echo:7");
        assert_eq!(daemon.stop_with(Signal::TERM).code(), Some(0));
    });
}

/// `scripts/up` as an ordinary user would run it: `unshare -U` without a map makes us nobody, who has no
/// privilege over the network namespace of the test.
fn up_as_nobody(arguments: &[&str]) -> Command {
    let mut command = Command::new("unshare");
    command.args(["-U", "--"]).arg(script_path("up")).args(arguments);
    command
        .env("TUNSTACK_BIN", env!("CARGO_BIN_EXE_tunstack"))
        .env_remove("SUDO_USER")
        .env_remove("RUST_LOG");
    command
}

#[test]
fn up_without_privilege_calls_sudo_for_the_daemon_with_its_arguments() {
    in_namespace(|| {
        let directory = std::env::temp_dir().join(format!("tunstack-scripts-{}", std::process::id()));
        let bin = fake_sudo(&directory);
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let ended = run(up_as_nobody(&["--serve", "echo:7"]).env("PATH", path), LIMIT);
        fs::remove_dir_all(&directory).expect("the temporary directory is ours");
        assert!(ended.stdout.starts_with("sudo "), "{ended:?}");
        assert!(ended.stdout.trim_end().ends_with("tunstack up --serve echo:7"), "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "one line says why: {ended:?}");
    });
}

#[test]
fn up_help_needs_no_privilege() {
    in_namespace(|| {
        let ended = run(&mut up_as_nobody(&["--help"]), LIMIT);
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
        assert!(ended.stdout.contains("--host-addr"), "{ended:?}");
    });
}

#[test]
fn rootless_prints_an_nsenter_line_that_reaches_the_stack() {
    in_namespace(|| {
        let mut daemon = Daemon::start(&mut script("rootless"));
        assert!(daemon.ready_line().starts_with("ready: tun0 10.9.0.2/24"), "{}", daemon.ready_line());
        let advice = daemon.process().wait_for_stderr("nc -N", LIMIT);
        let lines: Vec<_> =
            advice.lines().map(str::trim).filter(|line| line.contains("nsenter -t")).collect();
        assert_eq!(lines.len(), 2, "{advice}");
        for (line, expected) in lines.iter().zip(["3 received", "hello\n"]) {
            // As it stands, as a user would paste it.
            let ended = run(Command::new("sh").args(["-c", line]), LIMIT);
            assert!(ended.stdout.contains(expected), "{line}: {ended:?}");
        }
        assert!(!sh("ip link show").contains("tun0"), "the namespace outside is untouched");
        assert_eq!(daemon.stop_with(Signal::TERM).code(), Some(0));
    });
}

#[test]
fn a_persistent_tun_lets_its_owner_run_the_daemon_without_privilege() {
    in_namespace(|| {
        let user = sh("id -un");
        let made = run(script("persistent-tun").args(["mine0", user.trim()]), LIMIT);
        assert!(made.status.success(), "{made:?}");
        assert!(made.stderr.contains("scripts/up --tun mine0 --host-addr none"), "{made:?}");
        let daemon = Daemon::start(&mut up_as_nobody(&["--tun", "mine0", "--host-addr", "none"]));
        assert!(
            daemon.ready_line().starts_with("ready: mine0 10.9.0.2/24 fd09::2/64"),
            "{}",
            daemon.ready_line()
        );
        let nc = run_with_input(Command::new("nc").args(["-6", "-N", "fd09::2", "7"]), "hello\n", LIMIT);
        assert_eq!(nc.stdout, "hello\n", "{nc:?}");
        drop(daemon);
        assert!(run(script("persistent-tun").args(["--delete", "mine0"]), LIMIT).status.success());
        assert!(!sh("ip link show").contains("mine0"));
    });
}

#[test]
fn up_asks_for_privilege_if_only_one_of_two_devices_is_ours() {
    in_namespace(|| {
        let user = sh("id -un");
        for name in ["mine0", "mine1"] {
            let made = run(script("persistent-tun").args([name, user.trim(), "10.7.0.1/32"]), LIMIT);
            assert!(made.status.success(), "{made:?}");
        }
        let directory = std::env::temp_dir().join(format!("tunstack-two-{}", std::process::id()));
        let bin = fake_sudo(&directory);
        let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
        let first = ["--tun", "mine0", "--addr", "10.1.0.1/24", "--host-addr=none"];
        let second = ["--tun=mine1", "--addr", "10.2.0.1/24", "--host-addr", "none"];
        let theirs = ["--tun", "other0", "--addr", "10.2.0.1/24", "--host-addr", "none"];
        for others in [&second[..4], &theirs[..]] {
            let ended = run(up_as_nobody(&[&first, others].concat()).env("PATH", &path), LIMIT);
            assert!(ended.stdout.starts_with("sudo "), "{ended:?}");
        }
        let daemon = Daemon::start(up_as_nobody(&[&first[..], &second].concat()).env("PATH", &path));
        assert!(
            daemon.ready_line().starts_with("ready: mine0 10.1.0.1/24 mine1 10.2.0.1/24"),
            "{}",
            daemon.ready_line()
        );
        fs::remove_dir_all(&directory).expect("the temporary directory is ours");
    });
}

#[test]
fn rootless_has_room_for_the_namespaces_behind_a_router() {
    in_namespace(|| {
        let two = ["--forward", "--tun", "a", "--addr", "10.1.0.1/24", "--tun", "b", "--addr", "10.2.0.1/24"];
        let mut daemon = Daemon::start(script("rootless").args(two));
        let said = daemon.process().wait_for_stdout("try: ping -c 3 10.2.0.2\n", LIMIT);
        let advice = daemon.process().wait_for_stderr("nc -N", LIMIT);
        let enter =
            advice.lines().map(str::trim).find_map(|line| line.split_once(" ping")).expect("a line").0;
        // As the daemon says it, from moving the device to pinging through the router.
        let tries = said.lines().filter_map(|line| line.strip_prefix("try: "));
        let commands: Vec<&str> = tries.skip_while(|line| !line.starts_with("ip netns")).collect();
        let commands = commands.join(" && ");
        let ended = run(Command::new("sh").args(["-c", &format!("{enter} sh -c '{commands}'")]), LIMIT);
        assert!(ended.stdout.contains("3 received"), "{commands}\n{ended:?}");
        assert!(ended.stdout.contains("ttl=63"), "{ended:?}");
    });
}

#[test]
fn persistent_tun_says_what_is_wrong_with_its_arguments() {
    in_namespace(|| {
        for (arguments, part) in [
            (&["a-name-that-is-too-long"][..], "15 characters"),
            (&["mine0", "no-such-user"], "no user"),
            (&["lo"], "already"),
            (&["mine0", "root", "nonsense"], "nonsense"),
        ] {
            let ended = run(script("persistent-tun").args(arguments), LIMIT);
            assert!(!ended.status.success() && ended.stderr.contains(part), "{arguments:?}: {ended:?}");
            assert!(!sh("ip link show").contains("mine0"), "{arguments:?} leaves a device behind");
        }
        assert_eq!(run(&mut script("persistent-tun"), LIMIT).status.code(), Some(2));
    });
}
