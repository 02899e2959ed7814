//! Values out of the fuzzer's bytes. When these are used up everything is zero: any input is one of some size.

pub struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    pub fn new(data: &'a [u8]) -> Self {
        Bytes(data)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        let (first, rest) = self.0.split_first().unwrap_or((&0, &[]));
        self.0 = rest;
        *first
    }

    pub fn below(&mut self, limit: usize) -> usize {
        usize::from(self.byte()) % limit
    }

    pub fn pick<'l, T>(&mut self, list: &'l [T]) -> &'l T {
        &list[self.below(list.len())]
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(std::array::from_fn(|_| self.byte()))
    }

    /// A number with one bit, next to one, or any.
    pub fn number(&mut self) -> u64 {
        let kind = self.byte();
        let power = 1u64 << (kind & 63);
        match kind >> 6 {
            0 => u64::from(self.byte()),
            1 => power.wrapping_add(u64::from(self.byte() % 3)).wrapping_sub(1),
            2 => u64::from(self.u32()),
            _ => u64::from(self.u32()) << 32 | u64::from(self.u32()),
        }
    }
}
