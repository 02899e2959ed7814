//! Bytes are id mappings and ids. Faults are told exactly when there are some, and an id is mapped as the kernel maps it.

use libcontain::plan::idmap::{Fault, MAX_BYTES, MAX_LINES, faults, host_id, host_root, is_mapped, text};
use libcontain::spec::{LinuxIdMapping, LinuxIdMappingBuilder};

use super::bytes::Bytes;

pub fn judge(data: &[u8]) {
    let mut bytes = Bytes::new(data);
    let mut list: Vec<[u32; 3]> = Vec::new();
    let mut asked = vec![0, 1, u32::MAX - 1, u32::MAX];
    while !bytes.is_empty() {
        // Small numbers meet one another; near the end of the range is where it is hard.
        let mut id = || match bytes.byte() {
            small @ 0..=99 => u32::from(small),
            high @ 100..=149 => u32::MAX - u32::from(high - 100),
            _ => bytes.u32(),
        };
        let mapping = [id(), id(), id()];
        asked.extend([mapping[0], mapping[0].wrapping_sub(1), mapping[0].wrapping_add(mapping[2])]);
        list.push(mapping);
    }
    let mappings: Vec<LinuxIdMapping> = list.iter().map(mapping).collect();
    let found = faults(&mappings);
    for fault in &found {
        assert!(!fault.to_string().is_empty() && fault.index() < mappings.len().max(1));
    }
    written(&list, &mappings);
    assert_eq!(found.is_empty(), flawless(&list, &text(&mappings)), "{list:?} {found:?}");
    told(&list, &found);
    for id in asked {
        let expected = list.iter().find_map(|[inside, outside, size]| {
            let offset = u64::from(id).checked_sub(u64::from(*inside)).filter(|offset| *offset < u64::from(*size))?;
            u32::try_from(u64::from(*outside) + offset).ok()
        });
        assert_eq!((host_id(&mappings, id), is_mapped(&mappings, id)), (expected, expected.is_some()), "{id} {list:?}");
    }
    assert_eq!(host_root(&mappings), host_id(&mappings, 0));
}

fn mapping([inside, outside, size]: &[u32; 3]) -> LinuxIdMapping {
    LinuxIdMappingBuilder::default().container_id(*inside).host_id(*outside).size(*size).build().unwrap()
}

fn written(list: &[[u32; 3]], mappings: &[LinuxIdMapping]) {
    let text = text(mappings);
    let numbers = |line: &str| line.split(' ').map(|word| word.parse().unwrap()).collect::<Vec<u32>>();
    let read: Vec<Vec<u32>> = text.lines().map(numbers).collect();
    assert_eq!(read, list);
}

/// What user_namespaces(7) asks of a list, by comparing all with all.
fn flawless(list: &[[u32; 3]], text: &str) -> bool {
    let range = |start: u32, size: u32| (u64::from(start), u64::from(start) + u64::from(size));
    let fits = |[inside, outside, size]: &[u32; 3]| {
        let ends = [range(*inside, *size).1, range(*outside, *size).1];
        *size > 0 && ends.iter().all(|end| *end <= u64::from(u32::MAX))
    };
    let apart = |a: (u64, u64), b: (u64, u64)| a.1 <= b.0 || b.1 <= a.0;
    let disjoint = list
        .iter()
        .enumerate()
        .all(|(i, a)| list[..i].iter().all(|b| (0..2).all(|side| apart(range(a[side], a[2]), range(b[side], b[2])))));
    list.len() <= MAX_LINES && text.len() <= MAX_BYTES && list.iter().all(fits) && disjoint
}

/// What is told is so.
fn told(list: &[[u32; 3]], found: &[Fault]) {
    for fault in found {
        match *fault {
            Fault::Empty(i) => assert_eq!(list[i][2], 0),
            Fault::Overruns(i, side) => {
                let start = list[i][usize::from(side.member() == "hostID")];
                assert!(start.checked_add(list[i][2]).is_none());
            }
            Fault::Overlaps(i, j, side) => {
                let column = usize::from(side.member() == "hostID");
                let (a, b) = (list[i], list[j]);
                let inside = |x: [u32; 3], y: [u32; 3]| {
                    x[column] >= y[column] && u64::from(x[column]) < u64::from(y[column]) + u64::from(y[2])
                };
                assert!(i != j && (inside(a, b) || inside(b, a)), "{a:?} {b:?}");
            }
            Fault::TooLong => assert!(list.len() > MAX_LINES || list.len() * 6 > MAX_BYTES / 6),
        }
    }
}
