//! Which addresses may be dialled.
//!
//! INVARIANT: what is not known to be a public unicast address is refused; IPv4 carried inside IPv6 is judged as the IPv4 it reaches.
//!
//! The rows follow the IANA registries of special-purpose addresses, wider than "not globally reachable": no web server has a reason
//! to live in any of them. Private translation prefixes (NAT64 under a network's own prefix) cannot be told from public addresses.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What it takes from the operator to open a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opens {
    /// An exception for a host name or for the address.
    ByName,
    /// Only an exception for the literal address: metadata services live here, and a name could be turned to them.
    ByAddress,
    /// Nothing.
    Never,
}

/// Why an address is not dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// The range, in words: `loopback`, `private`.
    pub range: &'static str,
    /// What opens it.
    pub opens: Opens,
}

struct Row4(Ipv4Addr, u32, &'static str, Opens);
struct Row6([u16; 8], u32, &'static str, Opens);

use Opens::{ByAddress, ByName, Never};

const V4: &[Row4] = &[
    Row4(Ipv4Addr::new(0, 0, 0, 0), 8, "this network", Never),
    Row4(Ipv4Addr::new(10, 0, 0, 0), 8, "private", ByName),
    Row4(Ipv4Addr::new(100, 100, 100, 200), 32, "metadata service", ByAddress),
    Row4(Ipv4Addr::new(100, 64, 0, 0), 10, "shared by a carrier", ByName),
    Row4(Ipv4Addr::new(127, 0, 0, 0), 8, "loopback", ByName),
    Row4(Ipv4Addr::new(168, 63, 129, 16), 32, "metadata service", ByAddress),
    Row4(Ipv4Addr::new(169, 254, 0, 0), 16, "link-local", ByAddress),
    Row4(Ipv4Addr::new(172, 16, 0, 0), 12, "private", ByName),
    Row4(Ipv4Addr::new(192, 0, 0, 0), 24, "protocol assignments", ByAddress),
    Row4(Ipv4Addr::new(192, 0, 2, 0), 24, "documentation", ByName),
    Row4(Ipv4Addr::new(192, 31, 196, 0), 24, "AS112", Never),
    Row4(Ipv4Addr::new(192, 52, 193, 0), 24, "multicast tunnels", Never),
    Row4(Ipv4Addr::new(192, 88, 99, 0), 24, "6to4 relay", Never),
    Row4(Ipv4Addr::new(192, 168, 0, 0), 16, "private", ByName),
    Row4(Ipv4Addr::new(192, 175, 48, 0), 24, "AS112", Never),
    Row4(Ipv4Addr::new(198, 18, 0, 0), 15, "benchmarking", ByName),
    Row4(Ipv4Addr::new(198, 51, 100, 0), 24, "documentation", ByName),
    Row4(Ipv4Addr::new(203, 0, 113, 0), 24, "documentation", ByName),
    Row4(Ipv4Addr::new(224, 0, 0, 0), 4, "multicast", Never),
    Row4(Ipv4Addr::new(240, 0, 0, 0), 4, "reserved", Never),
];

/// Looked at in order, so a narrow row stands before the wide one around it.
const V6: &[Row6] = &[
    Row6([0, 0, 0, 0, 0, 0, 0, 0], 128, "unspecified", Never),
    Row6([0, 0, 0, 0, 0, 0, 0, 1], 128, "loopback", ByName),
    Row6([0, 0, 0, 0, 0, 0, 0, 0], 96, "IPv4-compatible", Never),
    Row6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, "IPv4-translated", Never),
    Row6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, "local NAT64", Never),
    Row6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, "discard", Never),
    Row6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, "dummy", Never),
    Row6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, "Teredo", Never),
    Row6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, "protocol assignments", Never),
    Row6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, "documentation", ByName),
    Row6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, "6to4", Never),
    Row6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, "AS112", Never),
    Row6([0x3ffe, 0, 0, 0, 0, 0, 0, 0], 16, "former 6bone", Never),
    Row6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, "documentation", ByName),
    Row6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, "segment routing", Never),
    Row6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0], 32, "metadata service", ByAddress),
    Row6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0], 32, "metadata service", ByAddress),
    Row6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, "private", ByName),
    Row6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, "link-local", ByAddress),
    Row6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, "site-local", ByAddress),
    Row6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, "multicast", Never),
];

/// The well-known NAT64 prefix: a public IPv4 behind it is a public host.
const NAT64: Row6 = Row6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, "NAT64 of an address that is not public", Never);
/// All of IPv6 that is handed out for global unicast.
const GLOBAL: Row6 = Row6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3, "global unicast", Never);

/// Whether an address is public; if not, why and what opens it.
pub fn judge(address: IpAddr) -> Result<(), Refused> {
    match address.to_canonical() {
        IpAddr::V4(address) => judge_v4(address),
        IpAddr::V6(address) => judge_v6(address),
    }
}

fn judge_v4(address: Ipv4Addr) -> Result<(), Refused> {
    match V4.iter().find(|row| row.holds(address)) {
        Some(row) => Err(Refused { range: row.2, opens: row.3 }),
        None => Ok(()),
    }
}

fn judge_v6(address: Ipv6Addr) -> Result<(), Refused> {
    if NAT64.holds(address) {
        return judge_v4(last_v4(address)).map_err(|_| NAT64.refused());
    }
    if let Some(row) = V6.iter().find(|row| row.holds(address)) {
        return Err(row.refused());
    }
    if !GLOBAL.holds(address) {
        return Err(Refused { range: "not global unicast", opens: Never });
    }
    // ISATAP: any prefix, then an interface id that spells an IPv4 address.
    let [_, _, _, _, high, low, _, _] = address.segments();
    if low == 0x5efe && (high == 0 || high == 0x200) {
        return judge_v4(last_v4(address)).map_err(|_| Refused { range: "ISATAP of an address that is not public", opens: Never });
    }
    Ok(())
}

fn last_v4(address: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = address.octets();
    Ipv4Addr::new(a, b, c, d)
}

impl Row4 {
    fn holds(&self, address: Ipv4Addr) -> bool {
        let mask = u32::MAX.checked_shl(32 - self.1).unwrap_or(0);
        u32::from(address) & mask == u32::from(self.0)
    }
}

impl Row6 {
    fn holds(&self, address: Ipv6Addr) -> bool {
        let [a, b, c, d, e, f, g, h] = self.0;
        let mask = u128::MAX.checked_shl(128 - self.1).unwrap_or(0);
        u128::from(address) & mask == u128::from(Ipv6Addr::new(a, b, c, d, e, f, g, h))
    }

    fn refused(&self) -> Refused {
        Refused { range: self.2, opens: self.3 }
    }
}

#[cfg(test)]
mod tests;
