//! Who may be bound beside whom (SO_REUSEADDR and SO_REUSEPORT as Linux understands them).

/// What a socket that is about to be bound asks of the others on its port.
///
/// Two sockets may share a port on overlapping addresses if both reuse the address, or both reuse the port. (Linux
/// also wants the latter to be of one user; a stack has one.) Two TCP listeners have to reuse the port: reusing
/// the address is for a listener beside connections and what is left of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BindOptions {
    /// SO_REUSEADDR. Of UDP sockets on one address and port, the one bound last receives what is sent to one
    /// host.
    pub reuse_addr: bool,
    /// SO_REUSEPORT: sockets on one address and port share the load, each peer staying with one of them as long
    /// as none comes or goes.
    pub reuse_port: bool,
}

impl BindOptions {
    /// Neither.
    pub const NONE: BindOptions = BindOptions { reuse_addr: false, reuse_port: false };

    /// Whether two sockets on overlapping addresses may have the same port.
    pub(crate) fn get_along(self, other: BindOptions) -> bool {
        (self.reuse_addr && other.reuse_addr) || (self.reuse_port && other.reuse_port)
    }

    const ALL: [BindOptions; 4] = [
        BindOptions::NONE,
        BindOptions { reuse_addr: true, reuse_port: false },
        BindOptions { reuse_addr: false, reuse_port: true },
        BindOptions { reuse_addr: true, reuse_port: true },
    ];

    fn index(self) -> usize {
        usize::from(self.reuse_addr) + 2 * usize::from(self.reuse_port)
    }
}

/// How many sockets there are in one place, by what they asked for: whether another may come is told without
/// looking at each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally([usize; 4]);

impl Tally {
    pub(crate) fn add(&mut self, options: BindOptions) {
        self.0[options.index()] += 1;
    }

    pub(crate) fn remove(&mut self, options: BindOptions) {
        let count = &mut self.0[options.index()];
        debug_assert!(*count > 0, "removed more often than added");
        *count = count.saturating_sub(1);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|count| *count == 0)
    }

    /// Whether a socket may come to those that are here.
    pub(crate) fn admits(&self, options: BindOptions) -> bool {
        BindOptions::ALL.iter().zip(self.0).all(|(here, count)| count == 0 || here.get_along(options))
    }
}

/// Which of `count` (at least one) a keyed hash falls to: all get as good as the same share.
pub(crate) fn share(hash: u64, count: usize) -> usize {
    ((u128::from(hash) * count as u128) >> 64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_tally_agrees_with_a_list(steps in prop::collection::vec((0..4_usize, any::<bool>()), 0..40)) {
            let mut tally = Tally::default();
            let mut model: Vec<BindOptions> = Vec::new();
            for (which, add) in steps {
                let options = BindOptions::ALL[which];
                if add {
                    tally.add(options);
                    model.push(options);
                } else if let Some(at) = model.iter().position(|it| *it == options) {
                    tally.remove(options);
                    model.remove(at);
                }
                prop_assert_eq!(tally.is_empty(), model.is_empty());
                for options in BindOptions::ALL {
                    prop_assert_eq!(tally.admits(options), model.iter().all(|it| it.get_along(options)));
                }
            }
        }

        #[test]
        fn a_share_is_one_of_those_there_are(hash in any::<u64>(), count in 1_usize..1000) {
            prop_assert!(share(hash, count) < count);
        }
    }

    #[test]
    fn every_option_has_a_place_of_its_own() {
        for (at, options) in BindOptions::ALL.into_iter().enumerate() {
            assert_eq!(options.index(), at);
        }
        assert_eq!((share(0, 3), share(u64::MAX, 3)), (0, 2));
    }
}
