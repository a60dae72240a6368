//! What a bug in a program comes to: a line on its standard error, then exit code 101.

use super::{exit, print};
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

static PANICKING: AtomicBool = AtomicBool::new(false);

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    if PANICKING.swap(true, Ordering::Relaxed) {
        // A panic while reporting one: nothing works any more.
        loop {
            core::hint::spin_loop();
        }
    }
    print::last_words(format_args!("{info}\n"));
    exit(101)
}
