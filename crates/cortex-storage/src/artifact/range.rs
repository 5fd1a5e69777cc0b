//! What of an artifact's bytes is asked for.

use std::ops::Range;

use crate::error::{Result, StorageError};

/// A part of bytes, as a request says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ByteRange {
    /// The first byte, from 0. Negative: so many bytes before the end.
    offset: i64,
    /// Bytes at most. 0: to the end.
    length: u64,
}

impl ByteRange {
    /// Reads an offset and a length.
    ///
    /// # Errors
    /// [`StorageError::Invalid`] when the length is negative.
    pub fn parse(offset: i64, length: i64) -> Result<Self> {
        let length = u64::try_from(length)
            .map_err(|_| StorageError::invalid("length", "must not be negative; 0: to the end"))?;
        Ok(Self { offset, length })
    }

    /// Whether it is all of the bytes, however many they are.
    pub fn is_whole(self) -> bool {
        self == Self::default()
    }

    /// Where it lies within `size` bytes. More bytes before the end than there are is all of them.
    ///
    /// # Errors
    /// [`StorageError::RangeBeyondEnd`] when it begins at or beyond the end. All of no bytes is a range
    /// that has none.
    pub fn resolve(self, size: u64) -> Result<Range<u64>> {
        let from_end = self.offset.is_negative();
        let distance = self.offset.unsigned_abs();
        let start = if from_end { size.saturating_sub(distance) } else { distance };
        if start >= size && !self.is_whole() {
            return Err(StorageError::RangeBeyondEnd { offset: self.offset, size });
        }
        let end = if self.length == 0 { size } else { size.min(start.saturating_add(self.length)) };
        Ok(start..end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, said on the bytes themselves.
    fn model(size: usize, offset: i64, length: i64) -> Option<Vec<usize>> {
        let all: Vec<usize> = (0..size).collect();
        let skipped = match usize::try_from(offset) {
            Ok(offset) => offset,
            Err(_) => size.saturating_sub(usize::try_from(offset.unsigned_abs()).ok()?),
        };
        let rest: Vec<usize> = all.into_iter().skip(skipped).collect();
        if rest.is_empty() && (offset, length) != (0, 0) {
            return None;
        }
        let most = if length == 0 { rest.len() } else { usize::try_from(length).ok()? };
        Some(rest.into_iter().take(most).collect())
    }

    proptest! {
        #[test]
        fn a_range_is_what_skipping_and_taking_is(
            size in 0..40_usize,
            offset in -60..60_i64,
            length in 0..60_i64,
        ) {
            let range = ByteRange::parse(offset, length)?.resolve(size as u64).ok();
            let bytes = range.map(|range| range.map(|byte| byte as usize).collect::<Vec<_>>());
            prop_assert_eq!(bytes, model(size, offset, length));
        }

        #[test]
        fn no_range_leaves_the_bytes(
            size in any::<u64>(),
            offset in any::<i64>(),
            length in 0..=i64::MAX,
        ) {
            if let Ok(range) = ByteRange::parse(offset, length)?.resolve(size) {
                prop_assert!(range.start <= range.end && range.end <= size);
            }
        }
    }

    #[test]
    fn the_ends_are_exact() -> Result<()> {
        let range = |offset, length| ByteRange::parse(offset, length)?.resolve(10);
        assert_eq!(range(0, 0)?, 0..10);
        assert_eq!(range(9, 5)?, 9..10);
        assert_eq!(range(-3, 0)?, 7..10);
        assert_eq!(range(-3, 2)?, 7..9);
        assert_eq!(range(i64::MIN, i64::MAX)?, 0..10);
        assert_eq!(range(10, 0), Err(StorageError::RangeBeyondEnd { offset: 10, size: 10 }));
        assert!(ByteRange::parse(0, -1).is_err());
        assert_eq!(ByteRange::default().resolve(0)?, 0..0);
        assert!(ByteRange::parse(-1, 0)?.resolve(0).is_err());
        Ok(())
    }
}
