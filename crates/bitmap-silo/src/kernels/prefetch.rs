//! Asking the processor for a cache line ahead of use.

#![expect(unsafe_code, reason = "prefetch instructions take raw pointers")]

/// Starts loading the cache line where `items[at]` begins; nothing happens beyond the end.
#[inline]
pub(crate) fn prefetch<T>(items: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(item) = items.get(at) {
        // SAFETY: the pointer comes from a live reference; fetching is a hint for the cache, which
        // reads nothing that could be seen, and every processor of this architecture has it.
        unsafe {
            core::arch::x86_64::_mm_prefetch::<{ core::arch::x86_64::_MM_HINT_T0 }>(
                core::ptr::from_ref(item).cast::<i8>(),
            );
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (items, at);
}
