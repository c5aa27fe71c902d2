//! Asking the processor for a cache line ahead of use.
#![expect(unsafe_code, reason = "prefetch instructions take raw pointers")]

/// Starts loading the cache line where `items[at]` begins; nothing happens beyond the end.
#[inline]
pub fn prefetch<T>(items: &[T], at: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(item) = items.get(at) {
        // SAFETY: the pointer comes from a live reference; a prefetch reads nothing visible.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(
                std::ptr::from_ref(item).cast::<i8>(),
            );
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (items, at);
}
