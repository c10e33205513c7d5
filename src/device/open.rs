//! Which kind of TUN device is opened: with the kernel's offloads or without.
//!
//! Owns the choice alone; what each kind does is [`offload`](super::offload)'s and [`plain`](super::plain)'s.

use std::sync::Arc;

use super::{Device, Offload, OpenError, Plain};

/// When a TUN device leaves checksums and segmentation to the kernel, and takes super-segments of up to 64 KiB whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OffloadMode {
    /// If the kernel has offloads for it; else the device is a plain one, which the log says. This is the default.
    #[default]
    Auto,
    /// Always: a kernel without offloads is an error.
    On,
    /// Never: one datagram a read and a write, with its checksum. Whatever another user of the device has left on is
    /// switched off.
    Off,
}

/// A TUN device that is open, of either kind.
pub struct OpenTun {
    /// The device.
    pub device: Arc<dyn Device>,
    /// The index that its interface on the host had when it was opened.
    pub index: u32,
}

impl OpenTun {
    /// Attaches to the TUN device `name` if it exists, else makes it; without a name makes the next free `tunN`.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(name: Option<&str>, mode: OffloadMode) -> Result<OpenTun, OpenError> {
        match mode {
            OffloadMode::Auto => match OpenTun::with_offloads(name) {
                Err(without @ OpenError::NoOffload { .. }) => {
                    log::info!("{without}: going on with the plain device");
                    OpenTun::plain(name)
                }
                opened => opened,
            },
            OffloadMode::On => OpenTun::with_offloads(name),
            OffloadMode::Off => OpenTun::plain(name),
        }
    }

    fn with_offloads(name: Option<&str>) -> Result<OpenTun, OpenError> {
        let tun = name.map_or_else(Offload::create, Offload::open)?;
        let index = tun.index();
        Ok(OpenTun { device: Arc::new(tun), index })
    }

    fn plain(name: Option<&str>) -> Result<OpenTun, OpenError> {
        let tun = name.map_or_else(Plain::create, Plain::open)?;
        let index = tun.index();
        Ok(OpenTun { device: Arc::new(tun), index })
    }
}
