//! Numbering: ranges of numbers handed out lowest first and taken back.

/// Numbers `0..capacity`, in use or free.
#[derive(Clone, Debug)]
pub struct Slots {
    used: Vec<bool>,
    in_use: u32,
    /// Everything below is in use.
    hint: usize,
}

impl Slots {
    /// `capacity` numbers, the first `reserved` of which are never handed out.
    pub fn new(capacity: u32, reserved: u32) -> Self {
        let mut slots = Self {
            used: vec![false; capacity as usize],
            in_use: 0,
            hint: 0,
        };
        slots.mark(0, reserved);
        slots
    }

    /// There are so many numbers from now on, no fewer than before.
    pub fn grow(&mut self, capacity: u32) {
        let capacity = self.used.len().max(capacity as usize);
        self.used.resize(capacity, false);
    }

    /// Takes the lowest `count` free numbers that follow each other.
    pub fn take(&mut self, count: u32) -> Option<u32> {
        let count = count as usize;
        let mut run = 0;
        for (i, used) in self.used.iter().enumerate().skip(self.hint) {
            run = if *used { 0 } else { run + 1 };
            if run == count {
                let first = i + 1 - count;
                self.mark(first as u32, count as u32);
                return Some(first as u32);
            }
        }
        None
    }

    /// Marks numbers as in use, whoever uses them.
    pub fn mark(&mut self, first: u32, count: u32) {
        for i in first..first.saturating_add(count) {
            if let Some(used) = self.used.get_mut(i as usize)
                && !*used
            {
                *used = true;
                self.in_use += 1;
            }
        }
        while self.used.get(self.hint) == Some(&true) {
            self.hint += 1;
        }
    }

    /// Takes numbers back.
    pub fn release(&mut self, first: u32, count: u32) {
        for i in first..first.saturating_add(count) {
            if let Some(used) = self.used.get_mut(i as usize)
                && *used
            {
                *used = false;
                self.in_use -= 1;
            }
        }
        self.hint = self.hint.min(first as usize);
    }

    /// Numbers in use, the reserved ones among them.
    pub fn in_use(&self) -> u32 {
        self.in_use
    }

    /// All numbers.
    pub fn capacity(&self) -> u32 {
        self.used.len() as u32
    }

    /// Numbers not in use.
    pub fn free(&self) -> u32 {
        self.capacity() - self.in_use
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_run_that_fits_is_taken() {
        let mut slots = Slots::new(10, 2);
        assert_eq!(slots.take(2), Some(2));
        assert_eq!(slots.take(1), Some(4));
        slots.release(2, 2);
        assert_eq!(slots.take(3), Some(5));
        assert_eq!(slots.take(2), Some(2));
        assert_eq!(slots.take(3), None);
        assert_eq!(slots.take(2), Some(8));
        assert_eq!(slots.free(), 0);
        slots.grow(12);
        assert_eq!((slots.take(2), slots.take(1)), (Some(10), None));
    }
}
