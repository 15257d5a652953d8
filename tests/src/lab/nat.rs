//! A translation of addresses, in the words of RFC 4787: how inner addresses are mapped to ports,
//! which packets from outside are let in, and whether two devices inside reach each other by their
//! outer addresses.
//!
//! The rules are nft's. Two things hold for every kind. A packet from outside that nobody waits for
//! is dropped on its way into the router as well as through it: otherwise it would leave an entry
//! of its own in the router's table, and the port that it was sent to would be taken when a device
//! inside wants it. Mappings of UDP are learnt from what leaves, after it was translated, so that
//! filtering goes by what was really sent.

use std::fmt;
use std::fmt::Write as _;

/// The part of the remote that a mapping or a filter depends on (RFC 4787, 4.1 and 5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DependsOn {
    /// Endpoint-independent: EIM, EIF.
    Nothing,
    /// Address-dependent: ADM, ADF.
    Address,
    /// Address and port-dependent: APDM, APDF.
    AddressAndPort,
}

/// The way in which a router picks the outer port of an inner address and port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mapping {
    /// The same port for every remote, the inner one where it is free.
    Keep,
    /// The same port for every remote, another one than inside.
    Remap,
    /// A port for every remote address (in truth for every eighth of all addresses, see
    /// `Nat::rules`).
    PerAddress,
    /// A random port for every remote address and port: "symmetric".
    Random,
    /// The next port for every remote address and port.
    Counting,
}

/// The behaviour of a router towards addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nat {
    /// Its mapping.
    pub mapping: Mapping,
    /// The source that a packet from outside must have, among what the inner port has sent to.
    pub filtering: DependsOn,
    /// Two devices inside reach each other by their outer addresses.
    pub hairpin: bool,
}

impl Nat {
    /// A router as most people have at home, and as Linux makes one by itself: the port is kept,
    /// only answers come in.
    pub const HOME: Self = Self::new(Mapping::Keep, DependsOn::AddressAndPort);

    /// A router as companies and mobile networks have: another port for each destination, and only
    /// answers come in.
    pub const STRICT: Self = Self::new(Mapping::Random, DependsOn::AddressAndPort);

    /// A router without hairpinning.
    pub const fn new(mapping: Mapping, filtering: DependsOn) -> Self {
        Self {
            mapping,
            filtering,
            hairpin: false,
        }
    }

    /// The same with hairpinning.
    pub const fn hairpinning(self) -> Self {
        Self {
            hairpin: true,
            ..self
        }
    }

    /// Every mapping with every filtering.
    pub fn all() -> impl Iterator<Item = Self> {
        let mappings = [
            Mapping::Keep,
            Mapping::Remap,
            Mapping::PerAddress,
            Mapping::Random,
            Mapping::Counting,
        ];
        let filterings = [
            DependsOn::AddressAndPort,
            DependsOn::Address,
            DependsOn::Nothing,
        ];
        mappings
            .into_iter()
            .flat_map(move |mapping| filterings.map(|filtering| Self::new(mapping, filtering)))
    }

    /// Returns whether a device behind such a router and one behind `other` can reach each other
    /// straight, when each knows where a third party sees the other, sends there, and answers where
    /// it hears the other from. No port is guessed.
    pub fn meets(&self, other: &Self) -> bool {
        self.lets_in(other) || other.lets_in(self)
    }

    /// Returns whether the first packet of a device behind `other` comes in, sent to where the
    /// third party sees a device that has sent to where `other` is seen. What follows comes in
    /// both ways, being answers.
    fn lets_in(&self, other: &Self) -> bool {
        let fixed = |nat: &Self| nat.mapping.depends_on() == DependsOn::Nothing;
        match self.filtering {
            DependsOn::Nothing => true,
            // The port that the other device knows must be one from which something was sent to
            // its address,
            DependsOn::Address => fixed(self),
            // and to the very port from which it sends.
            DependsOn::AddressAndPort => fixed(self) && fixed(other),
        }
    }

    /// The kinds that are met: where every remote gets another port, nobody lets in everybody.
    pub fn met() -> impl Iterator<Item = Self> {
        Self::all().filter(|nat| {
            nat.mapping.depends_on() != DependsOn::AddressAndPort
                || nat.filtering != DependsOn::Nothing
        })
    }

    /// The rules of a router with this outer address, for `nft -f`. Its interfaces are `wan0` and
    /// `lan0`.
    pub(super) fn rules(&self, outer: &str) -> String {
        let mut chains = String::new();
        // A packet that is let in or comes back to the LAN by its outer address is translated twice.
        chain(&mut chains, "out", "nat", "postrouting", "srcnat", |add| {
            for source in self.sources(outer) {
                add(&format!("oifname \"wan0\" {source}"));
                if self.hairpin {
                    add(&format!("oifname \"lan0\" ct status dnat {source}"));
                }
            }
        });
        chains.push_str(LEARNT);
        chain(
            &mut chains,
            "learn",
            "filter",
            "postrouting",
            "300",
            |add| {
                add(
                    "oifname \"wan0\" meta l4proto udp update @cone { udp sport : ct original ip saddr . ct original proto-src }",
                );
                add("oifname \"wan0\" meta l4proto udp update @met { udp sport . ip daddr }");
            },
        );
        chain(&mut chains, "in", "nat", "prerouting", "dstnat", |add| {
            if let Some(known) = self.filtering.known() {
                add(&format!("iifname \"wan0\" {known}"));
            }
            if self.hairpin {
                add(&format!(
                    "iifname != \"wan0\" ip daddr {outer} {}",
                    DependsOn::KNOWN_PORT
                ));
            }
        });
        chain(&mut chains, "inward", "filter", "input", "0", |add| {
            add("iifname \"wan0\" ct state new drop");
        });
        chain(&mut chains, "through", "filter", "forward", "0", |add| {
            add("iifname \"wan0\" ct state new ct status & dnat == 0 drop");
        });
        format!("table ip nat {{\n{chains}}}\n")
    }

    /// The rules that make the source of a packet that leaves, the first that matches.
    fn sources(&self, outer: &str) -> Vec<String> {
        let any = format!("snat to {outer}");
        let special: Vec<String> = match self.mapping {
            Mapping::Keep => Vec::new(),
            Mapping::Remap => vec![format!("{PORTS} snat to {outer}:40000-60000")],
            // The system keeps the port of an earlier connection from the same place where the
            // range allows it, so that a range makes one port. The classes differ in the two last
            // bits, and tell homes from hosts, see `internet.rs`.
            Mapping::PerAddress => (0..8)
                .map(|class| {
                    let (bits, low) = (class_bits(class), 20_000 + class * 5_000);
                    let high = low + 4_999;
                    format!("{PORTS} ip daddr & 0.0.1.3 == 0.0.{bits} snat to {outer}:{low}-{high}")
                })
                .collect(),
            Mapping::Random => vec![format!("snat to {outer} random,fully-random")],
            // `numgen … offset` would write the port with its bytes swapped.
            Mapping::Counting => {
                let ports: Vec<String> = (0..COUNTED)
                    .map(|number| format!("{number} : {}", 41_000 + number))
                    .collect();
                let ports = ports.join(", ");
                vec![format!(
                    "ip protocol udp snat ip to {outer} : numgen inc mod {COUNTED} map {{ {ports} }}"
                )]
            }
        };
        special.into_iter().chain([any]).collect()
    }
}

impl Mapping {
    /// The part of the remote that the outer port depends on.
    pub const fn depends_on(self) -> DependsOn {
        match self {
            Self::Keep | Self::Remap => DependsOn::Nothing,
            Self::PerAddress => DependsOn::Address,
            Self::Random | Self::Counting => DependsOn::AddressAndPort,
        }
    }
}

/// Ports that a counting router has.
const COUNTED: u16 = 256;
/// Protocols that have ports.
const PORTS: &str = "ip protocol { tcp, udp }";
/// Inner addresses by the outer port of what they sent, and the remote addresses that it was sent
/// to.
const LEARNT: &str = " map cone {\n  type inet_service : ipv4_addr . inet_service\n  flags dynamic,timeout\n  timeout 120s\n  size 65535\n }\n \
    set met {\n  type inet_service . ipv4_addr\n  flags dynamic,timeout\n  timeout 120s\n  size 65535\n }\n";

/// Adds a chain with its rules.
fn chain(
    to: &mut String,
    name: &str,
    kind: &str,
    hook: &str,
    priority: &str,
    rules: impl FnOnce(&mut dyn FnMut(&str)),
) {
    let _ = writeln!(
        to,
        " chain {name} {{\n  type {kind} hook {hook} priority {priority}"
    );
    rules(&mut |rule| {
        let _ = writeln!(to, "  {rule}");
    });
    to.push_str(" }\n");
}

/// The last two numbers of an address that has only the bits of this class.
fn class_bits(class: u16) -> String {
    format!("{}.{}", class >> 2, class & 3)
}

impl DependsOn {
    /// Lets in what comes to a port that something was sent from.
    const KNOWN_PORT: &str = "meta l4proto udp dnat ip to udp dport map @cone";

    /// The rule that lets in more than answers; none where only answers come in.
    fn known(self) -> Option<String> {
        match self {
            Self::Nothing => Some(Self::KNOWN_PORT.to_owned()),
            Self::Address => Some(format!("udp dport . ip saddr @met {}", Self::KNOWN_PORT)),
            Self::AddressAndPort => None,
        }
    }

    /// The short form for filtering, as tables have it.
    const fn filter(self) -> &'static str {
        match self {
            Self::Nothing => "eif",
            Self::Address => "adf",
            Self::AddressAndPort => "apdf",
        }
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Keep => "keep",
            Self::Remap => "remap",
            Self::PerAddress => "adm",
            Self::Random => "sym",
            Self::Counting => "seq",
        })
    }
}

impl fmt::Display for Nat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.mapping, self.filtering.filter())?;
        if self.hairpin {
            f.write_str(" with hairpin")?;
        }
        Ok(())
    }
}
