//! rtnetlink messages as bytes: building requests, taking replies apart (rtnetlink(7), netlink(7)).
//!
//! Pure, and total: a reply is the kernel's, but what is short or odd is passed over and nothing is indexed. Everything
//! is aligned to four bytes and in the machine's byte order.

/// Kinds of message.
pub(super) mod kind {
    pub const ERROR: u16 = 2;
    pub const DONE: u16 = 3;
    pub const NEW_LINK: u16 = 16;
    pub const GET_LINK: u16 = 18;
    pub const NEW_ADDRESS: u16 = 20;
    pub const GET_ADDRESS: u16 = 22;
}

/// Flags of a message.
pub(super) mod flag {
    pub const REQUEST: u16 = 0x1;
    pub const ACK: u16 = 0x4;
    /// In a reply: something has changed while it was put together.
    pub const DUMP_INTERRUPTED: u16 = 0x10;
    pub const DUMP: u16 = 0x300;
    /// Only what is not there yet.
    pub const CREATE: u16 = 0x600;
}

/// Attributes of a link.
pub(super) mod ifla {
    pub const IFNAME: u16 = 3;
    pub const MASTER: u16 = 10;
    pub const NET_NS_FD: u16 = 28;
    /// Linux 5.13: the index in the namespace that the link is moved to.
    pub const NEW_IFINDEX: u16 = 49;
}

/// Attributes of an address.
mod ifa {
    pub const ADDRESS: u16 = 1;
    pub const LOCAL: u16 = 2;
    pub const LABEL: u16 = 3;
    pub const BROADCAST: u16 = 4;
    pub const CACHEINFO: u16 = 6;
    pub const FLAGS: u16 = 8;
    pub const RT_PRIORITY: u16 = 9;
}

/// `IFF_UP`.
pub(super) const UP: u32 = 1;

const INET6: u8 = 10;
/// `IFA_F_PERMANENT`: it does not expire.
const PERMANENT: u32 = 0x80;
/// `IFA_F_TEMPORARY`: the kernel makes these itself (RFC 8981). The same bit is `IFA_F_SECONDARY` of IPv4.
const TEMPORARY: u32 = 0x01;
/// What an administrator says of an address, and not what the kernel has found out: `IFA_F_NODAD`, `_HOMEADDRESS`,
/// `_MANAGETEMPADDR`, `_NOPREFIXROUTE`, `_MCAUTOJOIN`.
const ASKED_FLAGS: u32 = 0x02 | 0x10 | 0x100 | 0x200 | 0x400;

const HEADER: usize = 16;
const LINK: usize = 16;
const ADDRESS: usize = 8;

/// A request in the making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request(Vec<u8>);

impl Request {
    /// `flags` besides the one that makes it a request.
    fn new(kind: u16, flags: u16, body: &[u8]) -> Self {
        let mut bytes = vec![0; 4]; // the length, last of all
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flag::REQUEST | flags).to_ne_bytes());
        bytes.extend([0; 8]); // sequence, and the port, which the kernel fills in
        bytes.extend(body);
        Request(bytes)
    }

    /// About the link with this index, or, with 0, one that an attribute names.
    pub fn link(kind: u16, flags: u16, index: u32) -> Self {
        Self::link_with(kind, flags, index, 0, 0)
    }

    /// Sets those `IFF_*` bits of a link that are in `change` to what they are in `value`.
    pub fn change(index: u32, value: u32, change: u32) -> Self {
        Self::link_with(kind::NEW_LINK, flag::ACK, index, value, change)
    }

    fn link_with(kind: u16, flags: u16, index: u32, value: u32, change: u32) -> Self {
        let words = [0, index, value, change].map(u32::to_ne_bytes);
        Request::new(kind, flags, words.as_flattened())
    }

    /// All addresses of all links.
    pub fn addresses() -> Self {
        Request::new(kind::GET_ADDRESS, flag::DUMP, &[0; ADDRESS])
    }

    pub fn with(mut self, attribute: u16, payload: &[u8]) -> Self {
        let length = u16::try_from(payload.len() + 4).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(attribute.to_ne_bytes());
        self.0.extend(payload);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// With a name, as the kernel keeps names.
    pub fn named(self, name: &str) -> Self {
        self.with(ifla::IFNAME, &[name.as_bytes(), b"\0"].concat())
    }

    /// The bytes to send. The reply carries the number.
    pub fn numbered(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX).to_ne_bytes();
        for (at, word) in [(0, length), (8, sequence.to_ne_bytes())] {
            if let Some(place) = self.0.get_mut(at..at + 4) {
                place.copy_from_slice(&word);
            }
        }
        self.0
    }
}

/// One message of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reply<'a> {
    pub kind: u16,
    pub flags: u16,
    pub sequence: u32,
    pub body: &'a [u8],
}

impl Reply<'_> {
    /// The errno of a [`kind::ERROR`], 0 if all went well.
    pub fn errno(&self) -> i32 {
        word(self.body, 0).map_or(0, |word| word.cast_signed().wrapping_neg())
    }
}

/// The messages of one datagram.
pub(super) fn replies(datagram: &[u8]) -> impl Iterator<Item = Reply<'_>> {
    let mut rest = datagram;
    std::iter::from_fn(move || {
        let length = usize::try_from(word(rest, 0)?).ok()?;
        let reply = Reply {
            kind: half(rest, 4)?,
            flags: half(rest, 6)?,
            sequence: word(rest, 8)?,
            body: rest.get(HEADER..length)?,
        };
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(reply)
    })
}

/// Number and content of each attribute.
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let length = usize::from(half(rest, 0)?);
        let attribute = (half(rest, 2)?, rest.get(4..length)?);
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or(&[]);
        Some(attribute)
    })
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

/// What is of interest of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub index: u32,
    pub name: String,
    pub up: bool,
    /// The bridge or bond that it is a port of.
    pub master: Option<u32>,
}

impl Link {
    pub fn parse(reply: &Reply<'_>) -> Option<Link> {
        let mut link =
            Link { index: word(reply.body, 4)?, name: String::new(), up: word(reply.body, 8)? & UP != 0, master: None };
        for (attribute, payload) in attributes(reply.body.get(LINK..)?) {
            match attribute {
                ifla::IFNAME => {
                    let name = payload.split(|b| *b == 0).next().unwrap_or(&[]);
                    link.name = String::from_utf8_lossy(name).into_owned();
                }
                ifla::MASTER => link.master = word(payload, 0),
                _ => {}
            }
        }
        (reply.kind == kind::NEW_LINK && !link.name.is_empty()).then_some(link)
    }
}

/// An address of a link, kept so that it can be given again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub index: u32,
    family: u8,
    prefix: u8,
    scope: u8,
    flags: u32,
    /// Those that describe it. The flags are not among them.
    attributes: Vec<(u16, Vec<u8>)>,
}

impl Address {
    pub fn parse(reply: &Reply<'_>) -> Option<Address> {
        let [family, prefix, flags, scope, ..] = *reply.body else { return None };
        let index = word(reply.body, 4)?;
        let mut address = Address { index, family, prefix, scope, flags: flags.into(), attributes: Vec::new() };
        for (attribute, payload) in attributes(reply.body.get(ADDRESS..)?) {
            match attribute {
                ifa::FLAGS => address.flags = word(payload, 0)?,
                ifa::ADDRESS | ifa::LOCAL | ifa::LABEL | ifa::BROADCAST | ifa::CACHEINFO | ifa::RT_PRIORITY => {
                    address.attributes.push((attribute, payload.to_vec()));
                }
                _ => {}
            }
        }
        (reply.kind == kind::NEW_ADDRESS).then_some(address)
    }

    /// Whether a container gets it: the administrator's, and valid beyond the machine. What expires belongs to somebody who
    /// renews it out here (config-linux.md#network-devices).
    pub fn goes_along(&self) -> bool {
        self.flags & PERMANENT != 0 && self.scope == 0
    }

    pub fn is_ipv6(&self) -> bool {
        self.family == INET6
    }

    /// Whether the kernel makes it again by itself.
    pub fn is_temporary(&self) -> bool {
        self.is_ipv6() && self.flags & TEMPORARY != 0
    }

    /// The request that gives it to the link `index`. An IPv4 address has a label that begins with the link's name, so
    /// that it is left out under another.
    pub fn request(&self, index: u32, with_label: bool) -> Request {
        let mut body = vec![self.family, self.prefix, 0, self.scope];
        body.extend(index.to_ne_bytes());
        let mut request = Request::new(kind::NEW_ADDRESS, flag::ACK | flag::CREATE, &body);
        for (attribute, payload) in self.attributes.iter().filter(|(a, _)| with_label || *a != ifa::LABEL) {
            request = request.with(*attribute, payload);
        }
        request.with(ifa::FLAGS, &(self.flags & ASKED_FLAGS).to_ne_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed<T>(bytes: &[u8], parse: fn(&Reply<'_>) -> Option<T>) -> Option<T> {
        parse(&replies(bytes).next()?)
    }

    #[test]
    fn a_request_is_laid_out_as_the_kernel_reads_it() {
        let bytes = Request::link(kind::GET_LINK, flag::ACK, 7).named("eth0").numbered(9);
        let mut expected: Vec<u8> = 44u32.to_ne_bytes().to_vec();
        expected.extend([18u16.to_ne_bytes(), 5u16.to_ne_bytes()].concat());
        expected.extend([9u32, 0, 0, 7, 0, 0].map(u32::to_ne_bytes).concat());
        expected.extend([9u16.to_ne_bytes(), 3u16.to_ne_bytes()].concat());
        expected.extend(b"eth0\0\0\0\0");
        assert_eq!(bytes, expected);
    }

    #[test]
    fn a_link_is_read_back() {
        let link = |index, up, name: &str| Request::change(index, up, 0).named(name);
        let bytes = link(3, UP | 0x1000, "eth0").with(ifla::MASTER, &5u32.to_ne_bytes()).numbered(1);
        let expected = Link { index: 3, name: "eth0".into(), up: true, master: Some(5) };
        assert_eq!(parsed(&bytes, Link::parse), Some(expected));
        let expected = Link { index: 4, name: "a".into(), up: false, master: None };
        assert_eq!(parsed(&link(4, 0x1000, "a").numbered(1), Link::parse), Some(expected));
        assert_eq!(parsed(&Request::change(3, 0, 0).numbered(1), Link::parse), None, "without a name");
    }

    #[test]
    fn an_address_is_given_again_without_what_the_kernel_found_out() {
        let found = Address {
            index: 3,
            family: 2,
            prefix: 24,
            scope: 0,
            flags: PERMANENT | TEMPORARY | 0x200,
            attributes: vec![(ifa::LOCAL, vec![10, 0, 0, 2]), (ifa::LABEL, b"eth0\0".to_vec())],
        };
        let again = |with_label| parsed(&found.request(8, with_label).numbered(1), Address::parse).unwrap();
        assert_eq!(again(true), Address { index: 8, flags: 0x200, ..found.clone() });
        assert_eq!(again(false).attributes, [(ifa::LOCAL, vec![10, 0, 0, 2])]);
        assert!(found.goes_along() && !found.is_temporary());
        assert!(!Address { scope: 253, ..found.clone() }.goes_along(), "of this link only");
        assert!(!Address { flags: 0, ..found.clone() }.goes_along(), "expires");
        assert!(Address { family: INET6, ..found }.is_temporary());
    }

    #[test]
    fn replies_follow_each_other_and_end_where_they_are_short() {
        let mut two = Request::link(kind::NEW_LINK, 0, 1).named("lo").numbered(4);
        two.extend(Request::new(kind::ERROR, 0, &(-17i32).to_ne_bytes()).numbered(4));
        let seen: Vec<(u16, u32)> = replies(&two).map(|r| (r.kind, r.sequence)).collect();
        assert_eq!(seen, [(kind::NEW_LINK, 4), (kind::ERROR, 4)]);
        assert_eq!(replies(&two).last().unwrap().errno(), 17);
        assert_eq!(replies(two.get(..two.len() - 1).unwrap()).count(), 1);
        assert_eq!(replies(&[]).count(), 0);
    }

    proptest::proptest! {
        /// Whatever comes: no panic, and an end.
        #[test]
        fn any_bytes_are_taken_apart(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200)) {
            for reply in replies(&bytes) {
                let _ = (Link::parse(&reply), Address::parse(&reply), reply.errno());
            }
        }
    }
}
