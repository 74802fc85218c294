//! Where fields lie in the running kernel's structures, read from its own type information (BTF).
//!
//! Rust has no relocations for eBPF, so what a program needs is looked up here at load and given to it as
//! globals. Format: <https://www.kernel.org/doc/html/latest/bpf/btf.html>.

use std::fs;

use airlock_ebpf::{OF_CGROUPS, OFFSETS};

/// Where the kernel shows its types.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";
/// The first two bytes of every BTF blob, in its own byte order.
const MAGIC: u16 = 0xeb9f;

// Kinds of types that have something behind their head, or that are looked for.
const INT: u32 = 1;
const ARRAY: u32 = 3;
const STRUCT: u32 = 4;
const UNION: u32 = 5;
const ENUM: u32 = 6;
const FUNC_PROTO: u32 = 13;
const VAR: u32 = 14;
const DATASEC: u32 = 15;
const DECL_TAG: u32 = 17;
const ENUM64: u32 = 19;

/// Why the offsets are not known.
#[derive(Debug, thiserror::Error)]
pub(super) enum BtfError {
    #[error("{VMLINUX}: {0}; use a kernel with CONFIG_DEBUG_INFO_BTF")]
    Read(#[from] std::io::Error),
    #[error("{VMLINUX} is not understood: {0}; report this with the output of `uname -a`")]
    Broken(&'static str),
    #[error("the kernel's `struct {0}` has no field `{1}`; report this with the output of `uname -a`")]
    Absent(&'static str, &'static str),
}

/// The members that programs look at, in bytes from the start of each structure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Offsets([u64; OFFSETS.len()]);

impl Offsets {
    /// The offsets in the running kernel.
    pub(super) fn of_this_kernel() -> Result<Self, BtfError> {
        Self::read(&fs::read(VMLINUX)?)
    }

    /// In the order of [`airlock_ebpf::OFFSETS`].
    pub(super) fn as_globals(&self) -> &[u64; OFFSETS.len()] {
        &self.0
    }

    /// True where those were found without which there is no guard of cgroups.
    pub(super) fn are_known(self) -> bool {
        self != Self::default()
    }

    /// True where those were found by which a task's cgroup is known.
    pub(super) fn lead_to_cgroups(self) -> bool {
        self.0.get(OF_CGROUPS).is_some_and(|offsets| !offsets.contains(&0))
    }

    fn read(blob: &[u8]) -> Result<Self, BtfError> {
        let types = Types::read(blob)?;
        let needed =
            |structure, field| types.offset(structure, field).ok_or(BtfError::Absent(structure, field));
        let wanted = |structure, field| types.offset(structure, field).unwrap_or(0);
        // A field of a structure that is a field itself.
        let both = |outer, field, inner, innermost| {
            let place = types.offset(outer, field).zip(types.offset(inner, innermost));
            place.map_or(0, |(outer, inner)| outer + inner)
        };
        Ok(Self([
            needed("file", "f_mode")?,
            needed("file", "f_inode")?,
            needed("inode", "i_sb")?,
            needed("super_block", "s_magic")?,
            both("file", "f_path", "path", "dentry"),
            wanted("dentry", "d_parent"),
            wanted("dentry", "d_inode"),
            both("dentry", "d_name", "qstr", "name"),
            wanted("inode", "i_ino"),
            // Absent where unix sockets are a module.
            wanted("unix_sock", "peer"),
            wanted("task_struct", "cgroups"),
            wanted("css_set", "dfl_cgrp"),
            wanted("cgroup", "kn"),
            // Its name before and from Linux 6.15 on.
            types.offset("kernfs_node", "parent").unwrap_or_else(|| wanted("kernfs_node", "__parent")),
            wanted("kernfs_node", "id"),
        ]))
    }
}

/// The types of a blob, of which there are a hundred thousand: noted is only where each is.
struct Types<'a> {
    blob: &'a [u8],
    strings: &'a [u8],
    /// Where each type is in the blob; the first has the id 1.
    places: Vec<usize>,
    /// Where the structures are that have a name.
    structures: Vec<usize>,
}

/// The head of every type.
struct Head {
    name: u32,
    count: usize,
    kind: u32,
    /// In a structure, the upper eight bits of where a member lies are the size of a bit field.
    flagged: bool,
}

/// The length of a [`Head`] and its size or type; and that of a member of a structure.
const HEAD: usize = 12;
const MEMBER: usize = 12;

fn word(blob: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(blob.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

impl Head {
    fn read(blob: &[u8], at: usize) -> Option<Self> {
        let info = word(blob, at.checked_add(4)?)?;
        let (count, kind) = ((info & 0xffff) as usize, info >> 24 & 0x1f);
        Some(Self { name: word(blob, at)?, count, kind, flagged: info >> 31 == 1 })
    }

    /// How long the type is with all that is behind its head.
    fn length(&self) -> usize {
        HEAD + match self.kind {
            INT | VAR | DECL_TAG => 4,
            ARRAY => 12,
            ENUM | FUNC_PROTO => 8 * self.count,
            STRUCT | UNION => MEMBER * self.count,
            DATASEC | ENUM64 => 12 * self.count,
            _ => 0,
        }
    }
}

impl<'a> Types<'a> {
    fn read(blob: &'a [u8]) -> Result<Self, BtfError> {
        let head =
            |at: usize| word(blob, at).map(|word| word as usize).ok_or(BtfError::Broken("it has no head"));
        if blob.get(..2) != Some(MAGIC.to_ne_bytes().as_slice()) {
            return Err(BtfError::Broken("it does not begin as BTF does"));
        }
        let begin = head(4)?;
        let section = |offset: usize, length: usize| {
            let from = begin.checked_add(offset)?;
            Some(from..from.checked_add(length)?)
        };
        let types = section(head(8)?, head(12)?).ok_or(BtfError::Broken("its head is out of bounds"))?;
        let strings = section(head(16)?, head(20)?)
            .and_then(|range| blob.get(range))
            .ok_or(BtfError::Broken("its strings are out of bounds"))?;
        let mut all = Self { blob, strings, places: Vec::new(), structures: Vec::new() };
        let mut at = types.start;
        while at < types.end {
            let head = Head::read(blob, at).ok_or(BtfError::Broken("it ends too early"))?;
            all.places.push(at);
            if head.kind == STRUCT && head.name != 0 {
                all.structures.push(at);
            }
            at += head.length();
        }
        Ok(all)
    }

    /// True where the string at an offset is this one.
    fn is_called(&self, offset: u32, name: &str) -> bool {
        let rest = self.strings.get(offset as usize..).and_then(|rest| rest.strip_prefix(name.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }

    /// Where a field lies in a structure, in bytes; also one in a structure or union without a name inside of
    /// it.
    fn offset(&self, structure: &str, field: &str) -> Option<u64> {
        let named = |at: &&usize| {
            Head::read(self.blob, **at).is_some_and(|head| self.is_called(head.name, structure))
        };
        let bits = self.bits(*self.structures.iter().find(named)?, field, 8)?;
        bits.is_multiple_of(8).then_some(u64::from(bits / 8))
    }

    /// The same in bits, in the structure or union at a place.
    fn bits(&self, at: usize, field: &str, depth: u32) -> Option<u32> {
        let head =
            Head::read(self.blob, at).filter(|head| [STRUCT, UNION].contains(&head.kind) && depth > 0)?;
        (0..head.count).find_map(|member| {
            let place = at + HEAD + member * MEMBER;
            let word = |at| word(self.blob, at);
            let (name, kind, bits) = (word(place)?, word(place + 4)?, word(place + 8)?);
            let bits = if head.flagged { bits & 0x00ff_ffff } else { bits };
            if self.is_called(name, field) {
                return Some(bits);
            }
            let inside =
                self.places.get((kind as usize).checked_sub(1)?).filter(|_| self.is_called(name, ""))?;
            self.bits(*inside, field, depth - 1)?.checked_add(bits)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A blob with `struct file { int f_mode; union { ptr f_inode; }; }` and the like.
    fn blob() -> Vec<u8> {
        let strings = b"\0file\0f_mode\0f_inode\0inode\0i_sb\0super_block\0s_magic\0";
        let name = |text: &str| {
            let text = format!("\0{text}\0");
            let at = strings.windows(text.len()).position(|window| window == text.as_bytes());
            u32::try_from(at.expect(&text) + 1).expect("small")
        };
        let structure = |named: u32, count: u32| [named, STRUCT << 24 | count, 64];
        let mut types: Vec<u32> = vec![0, INT << 24, 4, 32];
        types.extend([0, UNION << 24 | 1, 8, name("f_inode"), 1, 0]);
        types.extend(structure(name("file"), 2));
        types.extend([name("f_mode"), 1, 32, 0, 2, 128]);
        types.extend([0, ENUM << 24 | 1, 4, 0, 0]);
        types.extend(structure(name("inode"), 1));
        types.extend([name("i_sb"), 1, 320]);
        types.extend([
            name("super_block"),
            1 << 31 | STRUCT << 24 | 1,
            64,
            name("s_magic"),
            1,
            4 << 24 | 0x300,
        ]);
        let types: Vec<u8> = types.into_iter().flat_map(u32::to_ne_bytes).collect();
        let mut blob = MAGIC.to_ne_bytes().to_vec();
        blob.extend([1, 0]);
        let lengths = [types.len(), strings.len()].map(|length| u32::try_from(length).expect("small"));
        for word in [24, 0, lengths[0], lengths[0], lengths[1]] {
            blob.extend(u32::to_ne_bytes(word));
        }
        blob.extend(types);
        blob.extend(strings);
        blob
    }

    #[test]
    fn fields_are_found_also_inside_of_what_has_no_name() {
        assert_eq!(
            Offsets::read(&blob()).expect("BTF"),
            Offsets([4, 16, 40, 96, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        );
    }

    #[test]
    fn what_is_cut_or_foreign_is_an_error_and_no_panic() {
        let blob = blob();
        for length in 0..blob.len() {
            let _ = Offsets::read(&blob[..length]);
        }
        assert!(Offsets::read(&blob[..60]).is_err());
        for (at, byte) in (0..blob.len()).flat_map(|at| [(at, 0xff), (at, 0x7f), (at, 0)]) {
            let mut other = blob.clone();
            other[at] = byte;
            let _ = Offsets::read(&other);
        }
        assert!(Offsets::read(b"ELF").expect_err("not BTF").to_string().contains("does not begin"));
    }

    #[test]
    fn the_running_kernel_is_understood() {
        match Offsets::of_this_kernel() {
            Ok(offsets) => assert!(!offsets.as_globals().contains(&0), "{offsets:?}"),
            Err(BtfError::Read(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}
