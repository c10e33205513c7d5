//! Child processes: their output is kept, waiting has a limit, and none outlives its handle.

use std::io::{Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

/// A running program, killed when dropped. When that happens in a panic, its output is printed.
pub(crate) struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Capture,
    stderr: Capture,
}

impl Process {
    /// Starts a program with all three streams piped.
    pub(crate) fn start(command: &mut Command) -> Process {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|error| panic!("{command:?} can't be started: {error}"));
        Process {
            name: format!("{command:?}"),
            stdin: child.stdin.take(),
            stdout: Capture::start(child.stdout.take().expect("stdout is a pipe")),
            stderr: Capture::start(child.stderr.take().expect("stderr is a pipe")),
            child,
        }
    }

    /// The process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the program has written to standard output so far.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// What the program has written to standard error so far.
    pub(crate) fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits until standard output contains `text`, and returns all of it.
    pub(crate) fn wait_for_stdout(&mut self, text: &str, limit: Duration) -> String {
        self.stdout.wait_for(text, limit).unwrap_or_else(|| self.complain("standard output", text, limit))
    }

    /// Waits until standard error contains `text`, and returns all of it.
    pub(crate) fn wait_for_stderr(&mut self, text: &str, limit: Duration) -> String {
        self.stderr.wait_for(text, limit).unwrap_or_else(|| self.complain("standard error", text, limit))
    }

    fn complain(&self, stream: &str, text: &str, limit: Duration) -> ! {
        panic!("{} did not write {text:?} to {stream} within {limit:?}", self.name);
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal)
            .expect("the process can be signalled");
    }

    /// Whether the program still runs.
    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().expect("a child can be waited for").is_none()
    }

    /// Waits for the program to end by itself, and for the rest of its output.
    pub(crate) fn wait(&mut self, limit: Duration) -> ExitStatus {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child can be waited for") {
                self.stdout.wait_for_end(Duration::from_secs(1));
                self.stderr.wait_for_end(Duration::from_secs(1));
                return status;
            }
            assert!(Instant::now() < end, "{} still runs after {limit:?}", self.name);
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let status = match self.child.try_wait() {
            Ok(Some(status)) => status.to_string(),
            _ => "killed, as it still ran".to_owned(),
        };
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            self.stdout.wait_for_end(Duration::from_millis(200));
            self.stderr.wait_for_end(Duration::from_millis(200));
            eprintln!("--- {} ({status})", self.name);
            eprintln!("--- its standard output:\n{}", self.stdout());
            eprintln!("--- its standard error:\n{}", self.stderr());
        }
    }
}

/// What a program that has ended leaves.
#[derive(Debug)]
pub(crate) struct Ended {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// Its standard output.
    pub(crate) stdout: String,
    /// Its standard error.
    pub(crate) stderr: String,
}

/// Runs a program to its end with `input` as its standard input.
pub(crate) fn run_with_input(command: &mut Command, input: &str, limit: Duration) -> Ended {
    let mut process = Process::start(command);
    if let Some(mut stdin) = process.stdin.take() {
        // A program may end before it has read everything: netcat at a closed port does.
        let _ = stdin.write_all(input.as_bytes());
    }
    let status = process.wait(limit);
    Ended { status, stdout: process.stdout(), stderr: process.stderr() }
}

/// Runs a program to its end without any input.
pub(crate) fn run(command: &mut Command, limit: Duration) -> Ended {
    run_with_input(command, "", limit)
}

/// Runs a command line, words parted by blanks, that has to succeed; returns its standard output.
pub(crate) fn sh(line: &str) -> String {
    let mut words = line.split_whitespace();
    let mut command = Command::new(words.next().expect("a command line has a program"));
    let ended = run(command.args(words), Duration::from_secs(20));
    assert!(ended.status.success(), "`{line}` failed ({}):\n{}{}", ended.status, ended.stdout, ended.stderr);
    ended.stdout
}

/// Polls until `condition` holds: for what no event announces.
pub(crate) fn eventually(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Collects a stream on a thread of its own, so that the program never blocks on a full pipe.
struct Capture {
    shared: Arc<(Mutex<Captured>, Condvar)>,
}

#[derive(Default)]
struct Captured {
    bytes: Vec<u8>,
    ended: bool,
}

impl Capture {
    fn start(mut pipe: impl Read + Send + 'static) -> Capture {
        let shared = Arc::new((Mutex::new(Captured::default()), Condvar::new()));
        let theirs = Arc::clone(&shared);
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            loop {
                let read = pipe.read(&mut buffer).unwrap_or(0);
                let mut captured = theirs.0.lock().expect("no holder panics");
                captured.bytes.extend_from_slice(&buffer[..read]);
                captured.ended = read == 0;
                theirs.1.notify_all();
                if captured.ended {
                    return;
                }
            }
        });
        Capture { shared }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.shared.0.lock().expect("no holder panics").bytes).into_owned()
    }

    /// Waits until the text contains `needle`; `None` if the stream ends or time is up before that.
    fn wait_for(&self, needle: &str, limit: Duration) -> Option<String> {
        self.wait_until(limit, |captured| {
            captured.ended || String::from_utf8_lossy(&captured.bytes).contains(needle)
        });
        Some(self.text()).filter(|text| text.contains(needle))
    }

    fn wait_for_end(&self, limit: Duration) {
        self.wait_until(limit, |captured| captured.ended);
    }

    fn wait_until(&self, limit: Duration, done: impl Fn(&Captured) -> bool) {
        let captured = self.shared.0.lock().expect("no holder panics");
        let waited = self.shared.1.wait_timeout_while(captured, limit, |captured| !done(captured));
        drop(waited.expect("no holder panics"));
    }
}
