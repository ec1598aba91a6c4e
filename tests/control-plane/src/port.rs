//! Free ports that stay ours while nothing listens on them.
//!
//! The API server can be stopped and started again on its port, so a port must survive a while without a
//! listener. Two things keep others away: it lies below the range that the kernel hands out to outgoing
//! connections, and a lock file tells other control planes of this user that it is taken.

use std::{
    fs::{self, File},
    hash::{BuildHasher as _, RandomState},
    net::{Ipv4Addr, TcpListener},
};

use anyhow::{Context as _, bail};

use crate::cache;

/// Below every kernel's default range for outgoing connections (Linux begins at 32768).
const RANGE: std::ops::Range<u16> = 20_000..32_000;

/// A port on loopback that nobody listened on when it was taken.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    /// Locked for as long as it is open.
    _taken: File,
}

impl Port {
    /// Takes one.
    pub(crate) fn take() -> anyhow::Result<Self> {
        let folder = cache::home()?.join("ports");
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        for attempt in 0..200_u32 {
            let offset = RandomState::new().hash_one(attempt) % u64::from(RANGE.end - RANGE.start);
            let number = RANGE.start + u16::try_from(offset)?;
            let taken = File::create(folder.join(number.to_string()))?;
            if taken.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok()
            {
                return Ok(Self {
                    number,
                    _taken: taken,
                });
            }
        }
        bail!("no free port in {RANGE:?}")
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_taken_port_is_not_given_twice() {
        let ports: Vec<Port> = (0..20).map(|_| Port::take().unwrap()).collect();
        let mut numbers: Vec<u16> = ports.iter().map(Port::number).collect();
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), ports.len());
    }
}
