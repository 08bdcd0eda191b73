//! The memory of another process, read as root reads it.

use std::{
    fmt,
    fs::{self, File},
    os::unix::fs::FileExt,
};

/// A line of `/proc/PID/maps` (proc_pid_maps(5)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// `r`, `w`, `x` and `s` or `p`.
    pub(crate) permissions: String,
    /// A file, a name in brackets, or nothing.
    pub(crate) name: String,
}

impl Mapping {
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split_ascii_whitespace();
        let (start, end) = fields.next()?.split_once('-')?;
        let permissions = fields.next()?.to_owned();
        Some(Self {
            start: u64::from_str_radix(start, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
            permissions,
            name: fields.skip(3).collect::<Vec<_>>().join(" "),
        })
    }

    fn is_readable(&self) -> bool {
        self.permissions.starts_with('r')
    }

    /// Pages of memfd_secret(2).
    fn is_secret(&self) -> bool {
        self.name.starts_with("/secretmem")
    }

    /// Pages of the kernel's own, which hold its clock and none of the process's data.
    fn is_of_the_kernel(&self) -> bool {
        ["[vvar]", "[vvar_vclock]", "[vsyscall]"].contains(&self.name.as_str())
    }
}

impl fmt::Display for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            start,
            end,
            permissions,
            name,
        } = self;
        write!(f, "{start:x}-{end:x} {permissions} {name}")
    }
}

/// So often a process may change its mappings while they are read.
const MOVES: usize = 100;

/// Every readable byte of a process.
pub(crate) struct Memory(Vec<(Mapping, Vec<u8>)>);

impl Memory {
    /// Reads it all. Only root can. A heap may shrink between the list of mappings and their reading: then both are
    /// done again.
    ///
    /// # Panics
    /// When a mapping cannot be read that should be: what was not read was not searched.
    pub(crate) fn of(pid: u32) -> Self {
        for _ in 0..MOVES {
            match Self::as_listed(pid) {
                Ok(memory) => return memory,
                Err((mapping, error))
                    if maps(pid).iter().any(|now| now.to_string() == mapping.to_string()) =>
                {
                    panic!("{mapping} cannot be read: {error}");
                }
                Err(_) => {}
            }
        }
        panic!("the process changes its mappings all the time");
    }

    fn as_listed(pid: u32) -> Result<Self, (Mapping, std::io::Error)> {
        let file = File::open(format!("/proc/{pid}/mem")).expect("root may read every process");
        let mut read = Vec::new();
        for mapping in maps(pid).into_iter().filter(Mapping::is_readable) {
            let length = usize::try_from(mapping.end - mapping.start).expect("it fits into memory");
            let mut bytes = vec![0; length];
            match file.read_exact_at(&mut bytes, mapping.start) {
                Ok(()) => read.push((mapping, bytes)),
                Err(_) if mapping.is_secret() || mapping.is_of_the_kernel() => {}
                // A file that is shorter than its mapping has no bytes behind its end.
                Err(_) if mapping.name.starts_with('/') => {
                    let bytes = by_page(&file, &mapping);
                    read.push((mapping, bytes));
                }
                Err(error) => return Err((mapping, error)),
            }
        }
        Ok(Self(read))
    }

    /// The mappings and their content.
    pub(crate) fn parts(&self) -> impl Iterator<Item = (&Mapping, &[u8])> {
        self.0.iter().map(|(mapping, bytes)| (mapping, bytes.as_slice()))
    }

    /// So many bytes at an address, if they are mapped and readable.
    pub(crate) fn at(&self, address: u64, length: usize) -> Option<&[u8]> {
        let (mapping, bytes) = self
            .0
            .iter()
            .find(|(mapping, _)| (mapping.start..mapping.end).contains(&address))?;
        let start = usize::try_from(address - mapping.start).ok()?;
        bytes.get(start..start.checked_add(length)?)
    }

    /// Number of bytes in all.
    pub(crate) fn length(&self) -> usize {
        self.0.iter().map(|(_, bytes)| bytes.len()).sum()
    }
}

fn by_page(file: &File, mapping: &Mapping) -> Vec<u8> {
    const PAGE: usize = 4096;
    let mut bytes = Vec::new();
    let mut page = [0; PAGE];
    for at in (mapping.start..mapping.end).step_by(PAGE) {
        if file.read_exact_at(&mut page, at).is_err() {
            break;
        }
        bytes.extend_from_slice(&page);
    }
    bytes
}

fn maps(pid: u32) -> Vec<Mapping> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("it is running");
    maps.lines()
        .map(|line| Mapping::parse(line).expect("the kernel's format"))
        .collect()
}

/// The mappings of memfd_secret(2) in a process.
pub(crate) fn secret_mappings(pid: u32) -> Vec<Mapping> {
    maps(pid).into_iter().filter(Mapping::is_secret).collect()
}

/// The page that is locked, left out of dumps and wiped on fork: where the master secret lives when there is no
/// memfd_secret. Root can read it, so that the rest of the memory can be searched for what stands in it.
pub(crate) fn master_secret_page(pid: u32) -> Option<Mapping> {
    let mut pages = flagged(pid).into_iter();
    let found = pages.find(|(_, flags)| ["lo", "dd", "wf"].into_iter().all(|flag| flags.contains(flag)));
    found.map(|(mapping, _)| mapping)
}

/// What the kernel was told about the mappings of memfd_secret(2): `VmFlags` of proc_pid_smaps(5), two letters each.
pub(crate) fn secret_flags(pid: u32) -> Vec<String> {
    let pages = flagged(pid).into_iter();
    pages
        .filter(|(mapping, _)| mapping.is_secret())
        .map(|(_, flags)| flags)
        .collect()
}

/// Every mapping with its flags.
fn flagged(pid: u32) -> Vec<(Mapping, String)> {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).expect("it is running");
    let mut mapping = None;
    let mut flagged = Vec::new();
    for line in smaps.lines() {
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            flagged.extend(mapping.take().map(|mapping| (mapping, flags.to_owned())));
        } else if let Some(found) = Mapping::parse(line) {
            mapping = Some(found);
        }
    }
    flagged
}
