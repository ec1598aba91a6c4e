//! Addresses of pods and nodes, all on loopback.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, TcpListener},
    sync::Mutex,
};

use anyhow::Context as _;

/// Bound at one address of a block, it says that the block is taken; a kubelet's own port.
const PORT: u16 = 10250;
/// The last numbers of a block are those of nodes.
const FIRST_NODE: u8 = 200;

/// 127.0.x.1 to 127.0.x.253; no other kubelet of this machine has the same x.
#[derive(Debug)]
pub(crate) struct Block {
    third: u8,
    pods: Mutex<BTreeSet<u8>>,
    _taken: TcpListener,
}

impl Block {
    pub(crate) fn take() -> anyhow::Result<Self> {
        // 127.0.0.x is in use by others.
        (1..=254)
            .find_map(|third| {
                let taken = TcpListener::bind((Ipv4Addr::new(127, 0, third, 254), PORT)).ok()?;
                Some(Self {
                    third,
                    pods: Mutex::default(),
                    _taken: taken,
                })
            })
            .context("every block of loopback addresses is taken (port 10250 of 127.0.x.254)")
    }

    /// That of the i-th node.
    pub(crate) fn node(&self, index: u8) -> anyhow::Result<Ipv4Addr> {
        let last = FIRST_NODE
            .checked_add(index)
            .filter(|last| *last < 254)
            .context("more nodes than addresses")?;
        Ok(Ipv4Addr::new(127, 0, self.third, last))
    }

    /// All that pods may get.
    pub(crate) fn of_pods(&self) -> Vec<Ipv4Addr> {
        (1..FIRST_NODE)
            .map(|last| Ipv4Addr::new(127, 0, self.third, last))
            .collect()
    }

    /// One that no other pod has; to be given back.
    pub(crate) fn take_pod(&self) -> Option<Ipv4Addr> {
        let mut pods = self.pods.lock().ok()?;
        let last = (1..FIRST_NODE).find(|last| !pods.contains(last))?;
        pods.insert(last);
        Some(Ipv4Addr::new(127, 0, self.third, last))
    }

    pub(crate) fn give_back(&self, address: Ipv4Addr) {
        if let Ok(mut pods) = self.pods.lock() {
            pods.remove(&address.octets()[3]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_nobody_elses() {
        let (one, other) = (Block::take().unwrap(), Block::take().unwrap());
        assert_ne!(one.node(0).unwrap(), other.node(0).unwrap());
        let first = one.take_pod().unwrap();
        assert_ne!(one.take_pod(), Some(first));
        one.give_back(first);
        assert_eq!(one.take_pod(), Some(first));
        one.node(100).expect_err("more nodes than addresses");
        for _ in 0..FIRST_NODE {
            one.take_pod();
        }
        assert_eq!(one.take_pod(), None);
    }
}
