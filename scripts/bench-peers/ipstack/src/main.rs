//! ipstack behind a TUN device: TCP 7 echo, 9 discard, 19 source; UDP 7 echo.
//!
//!     ipstack-peer TUN
//!
//! ipstack accepts every destination address and port, and has no window scaling, so
//! its buffers are raised to the 64 KB that an unscaled window can use.

use ipstack::{IpStack, IpStackConfig, IpStackStream, TcpConfig, TcpOptions};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

struct Tun(AsyncFd<OwnedFd>);

impl Tun {
    fn open(name: &str) -> io::Result<Tun> {
        // SAFETY: plain system calls on a descriptor owned here; `ifr` is initialised.
        unsafe {
            let fd = libc::open(c"/dev/net/tun".as_ptr(), libc::O_RDWR | libc::O_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            let fd = OwnedFd::from_raw_fd(fd);
            let mut ifr: libc::ifreq = std::mem::zeroed();
            for (d, s) in ifr.ifr_name.iter_mut().zip(name.bytes()) {
                *d = s as libc::c_char;
            }
            ifr.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
            if libc::ioctl(fd.as_raw_fd(), libc::TUNSETIFF, &ifr) < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Tun(AsyncFd::register(fd)?))
        }
    }
}

fn check(n: isize) -> io::Result<usize> {
    if n < 0 { Err(io::Error::last_os_error()) } else { Ok(n as usize) }
}

impl AsyncRead for Tun {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        loop {
            let mut g = ready!(self.0.poll_read_ready(cx))?;
            let b = out.initialize_unfilled();
            // SAFETY: `b` is a valid buffer of its length.
            let r =
                g.try_io(|fd| check(unsafe { libc::read(fd.as_raw_fd(), b.as_mut_ptr().cast(), b.len()) }));
            if let Ok(r) = r {
                return Poll::Ready(r.map(|n| out.advance(n)));
            }
        }
    }
}
impl AsyncWrite for Tun {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, b: &[u8]) -> Poll<io::Result<usize>> {
        loop {
            let mut g = ready!(self.0.poll_write_ready(cx))?;
            // SAFETY: `b` is a valid buffer of its length.
            if let Ok(r) =
                g.try_io(|fd| check(unsafe { libc::write(fd.as_raw_fd(), b.as_ptr().cast(), b.len()) }))
            {
                return Poll::Ready(r);
            }
        }
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

async fn echo(mut s: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let mut b = vec![0u8; 4096];
    loop {
        let n = s.read(&mut b).await?;
        if n == 0 {
            return s.shutdown().await;
        }
        s.write_all(&b[..n]).await?;
    }
}

async fn serve(port: u16, mut s: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    match port {
        7 => echo(s).await,
        9 => {
            let mut b = vec![0u8; 64 << 10];
            while s.read(&mut b).await? > 0 {}
            s.shutdown().await
        }
        19 => {
            let b = vec![0u8; 64 << 10];
            loop {
                s.write_all(&b).await?;
            }
        }
        _ => s.shutdown().await,
    }
}

#[tokio::main]
async fn main() {
    let tun = Tun::open(&std::env::args().nth(1).unwrap_or("tun0".into())).expect("tun");
    let mut tcp = TcpConfig::default();
    tcp.max_unacked_bytes = 65535;
    tcp.read_buffer_size = 65535;
    tcp.options = Some(vec![TcpOptions::MaximumSegmentSize(1460)]);
    let mut config = IpStackConfig::default();
    config.mtu(1500).expect("mtu").with_tcp_config(tcp);
    let mut stack = IpStack::new(config, tun);
    loop {
        match stack.accept().await.expect("stack stopped") {
            IpStackStream::Tcp(s) => {
                let port = s.peer_addr().port();
                tokio::spawn(serve(port, s));
            }
            IpStackStream::Udp(s) if s.peer_addr().port() == 7 => {
                tokio::spawn(echo(s));
            }
            _ => {}
        }
    }
}
