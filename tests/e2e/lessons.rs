//! The lesson that the project grew out of: its Python client and server, and their likenesses on this stack.

use std::process::Command;
use std::time::Duration;

use crate::harness::{Process, example, in_namespace, run_with_input, sh};

const LIMIT: Duration = Duration::from_secs(10);

/// What is typed into a client: two messages and the goodbye.
const TYPED: &str = "hello\nworld\nq\n";

/// What the lesson's client shows: its prompts, and what came back.
const SHOWN: &str = "client ---> server:hello\nclient ---> server:world\nclient ---> server:";

/// One of the lesson's programs. `-u` shows its output at once.
fn lesson(program: &str) -> Command {
    let path = format!("{}/tests/e2e/lessons/{program}", env!("CARGO_MANIFEST_DIR"));
    let mut command = Command::new("python3");
    command.args(["-u", &path]);
    command
}

#[test]
fn the_lessons_client_talks_to_the_stacks_echo_server() {
    in_namespace(|| {
        let mut server = Process::start(&mut example("echo_server"));
        server.wait_for_stdout("listening on 10.9.0.2:8888", LIMIT);
        for round in 1..=2 {
            let ended = run_with_input(&mut lesson("client.py"), TYPED, LIMIT);
            assert_eq!((ended.stdout.as_str(), ended.status.code()), (SHOWN, Some(0)), "{round}: {ended:?}");
        }
        let shown = server.wait_for_stdout("world\n", LIMIT);
        assert_eq!(shown.matches("10.9.0.1").count(), 2, "one line a client names its address: {shown}");
        assert_eq!(shown.matches("hello\n").count(), 2, "{shown}");
        assert!(server.is_running(), "the server goes on after a client has said q");
    });
}

#[test]
fn the_stacks_echo_server_listens_where_it_is_told_and_ends_a_conversation_at_end_of_stream() {
    in_namespace(|| {
        let mut server = Process::start(example("echo_server").arg("10.9.0.2:4242"));
        server.wait_for_stdout("listening on 10.9.0.2:4242", LIMIT);
        for _ in 0..2 {
            // Ends its stream without saying q, at which the lesson's own server would spin.
            let ended = run_with_input(Command::new("nc").args(["-N", "10.9.0.2", "4242"]), "hello", LIMIT);
            assert_eq!((ended.stdout.as_str(), ended.status.code()), ("hello", Some(0)), "{ended:?}");
        }
    });
}

#[test]
fn the_stacks_echo_client_talks_to_the_lessons_server() {
    in_namespace(|| {
        let mut server = Process::start(&mut lesson("server.py"));
        // Nothing is printed before a client comes: ask the kernel whether it listens.
        crate::harness::eventually("the lesson's server listens", LIMIT, || sh("ss -Hltn").contains(":8888"));
        for round in 1..=2 {
            let ended = run_with_input(example("echo_client").arg("10.9.0.1:8888"), TYPED, LIMIT);
            assert_eq!(ended.status.code(), Some(0), "{round}: {ended:?}");
            assert_eq!(ended.stdout, SHOWN, "{round}: {ended:?}");
        }
        let shown = server.wait_for_stdout("world\n", LIMIT);
        assert_eq!(shown.matches("hello\n").count(), 2, "{shown}");
        assert_eq!(shown.matches("('10.9.0.").count(), 2, "{shown}");
    });
}

#[test]
fn the_lessons_two_programs_talk_to_each_other_as_the_other_tests_expect() {
    in_namespace(|| {
        // The kernel's own stack stands in for ours, so that a change of Python shows here first.
        sh("ip addr add 10.9.0.2/32 dev lo");
        let _server = Process::start(&mut lesson("server.py"));
        crate::harness::eventually("the lesson's server listens", LIMIT, || sh("ss -Hltn").contains(":8888"));
        let ended = run_with_input(&mut lesson("client.py"), TYPED, LIMIT);
        assert_eq!((ended.stdout.as_str(), ended.status.code()), (SHOWN, Some(0)), "{ended:?}");
    });
}
