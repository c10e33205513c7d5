//! A stack that runs on a thread of the program's choosing.

use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;

use crate::runtime::{Runner, Stopped};

/// Runs a stack on the thread that calls [`run`](Self::run); made by [`Builder::build`](super::Builder::build).
///
/// [`Builder::start`](super::Builder::start) does the same on a thread of its own, which is what most programs want. This is for those
/// that choose the thread (for its priority, its processors, its seccomp filter), and for those that do all they do in
/// [`Service`](crate::runtime::Service)s and need no other: where a process has one thread, each system call on a descriptor is some 50
/// nanoseconds shorter, since the kernel need not count who uses it.
///
/// Until it runs nothing is received and nothing ends: a call on the [`Net`](super::Net) that waits does so until another thread runs it.
/// On the thread that does, calls that would wait fail with `WouldBlock` instead, as in a service; [`Net::shutdown`](super::Net::shutdown)
/// only asks there, and its report is empty. A stack whose driver is dropped has stopped.
///
/// ```
/// use std::time::Duration;
/// use tunstack::device::MemoryDevice;
/// use tunstack::net::{Net, Stopped, TcpListener, TcpStream};
///
/// # fn main() -> std::io::Result<()> {
/// let (device, _peer) = MemoryDevice::pair(1500)?;
/// let (net, driver) = Net::builder().device(device).addr("10.9.0.1/24").build()?;
///
/// let talk = std::thread::spawn(move || -> std::io::Result<()> {
///     let listener = TcpListener::bind(&net, "10.9.0.1:7")?;
///     let _client = TcpStream::connect(&net, "10.9.0.1:7")?;
///     let _server = listener.accept()?;
///     net.shutdown(Duration::from_secs(1));
///     Ok(())
/// });
/// assert!(matches!(driver.run(), Stopped::Shutdown(_)));
/// talk.join().unwrap()
/// # }
/// ```
#[must_use = "the stack doesn't run until its driver does"]
pub struct Driver {
    /// There until it runs.
    runner: Option<Runner>,
}

impl Driver {
    pub(super) fn new(runner: Runner) -> Self {
        Driver { runner: Some(runner) }
    }

    /// Has `react` called whenever `source` has something to read, until that was read or it says
    /// [`Break`](ControlFlow::Break): signals, say, that a pipe tells of. Everything is waited for in one place, and the program needs
    /// no thread for it. What has come to an end, such as a pipe that nobody writes to any more, has something to read for ever: `Break`
    /// drops it.
    ///
    /// It is called between two turns of the loop, where it may use the [`Net`](super::Net) (but not wait for it; and
    /// [`Net::shutdown`](super::Net::shutdown) only asks for the end there). Nothing else happens meanwhile: it has to be short. A `Net`
    /// that it holds is a handle like any other, and as long as it does, dropping all others doesn't end the stack.
    ///
    /// # Errors
    /// Those of `epoll_ctl(2)`: `PermissionDenied` for what can't be waited for, such as a file; `AlreadyExists` for what is watched. The
    /// stack has stopped then.
    pub fn watch<S: AsFd + Send + 'static>(
        mut self,
        source: S,
        react: impl FnMut(&mut S) -> ControlFlow<()> + Send + 'static,
    ) -> io::Result<Self> {
        if let Some(runner) = &mut self.runner {
            runner.watch_also(source, react)?;
        }
        Ok(self)
    }

    /// Runs the stack until it stops, and says why it did.
    pub fn run(mut self) -> Stopped {
        match self.runner.take() {
            Some(runner) => runner.run_here(),
            // There is no way here: only this and the drop take it out.
            None => Stopped::Shutdown(crate::runtime::ShutdownReport::default()),
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(runner) = self.runner.take() {
            runner.give_up();
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").finish_non_exhaustive()
    }
}
