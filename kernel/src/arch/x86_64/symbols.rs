//! The arrow that points up: the symbols that this layer calls and the layers above define.

/// Defines what the machine calls: `boot(&BootInfo)`, which fills the `kernel` and makes the first program;
/// `enter(kernel, control, deadline, ring) -> result`, with the name of a ring, and `event(kernel, kind, a, b, c) -> !`,
/// with plain `u64`; `interrupt(kernel, line) -> !`; and `dump(&mut dyn Write)` for a dying kernel.
///
/// `enter_of_many` and `interrupt_of_many` are these where there are several CPUs. The first two may leave through [`resume`](super::resume) instead of
/// returning. The kinds of `event`: 0 the timer, 2 the fault `a` with error code `b` at address `c`, 3 a system call that
/// is not `ring_enter`, 4 nothing.
#[macro_export]
macro_rules! entry_symbols {
    (
        kernel: $kernel:path,
        boot: $boot:path,
        enter: $enter:path,
        enter_of_many: $enter_of_many:path,
        interrupt: $interrupt:path,
        interrupt_of_many: $interrupt_of_many:path,
        event: $event:path,
        dump: $dump:path $(,)?
    ) => {
        #[unsafe(no_mangle)]
        fn kernel_boot(info: &'static $crate::arch::x86_64::BootInfo) {
            $boot(info);
        }

        #[unsafe(no_mangle)]
        extern "sysv64" fn kernel_enter(ring: u64, control: u64, deadline: u64) -> u64 {
            // SAFETY: programs alone lead here, and the first one runs after the kernel was filled.
            let kernel = unsafe { $crate::arch::x86_64::Filled::<$kernel>::new() };
            // SAFETY: the stub loads it with an instruction that makes the upper half zero.
            unsafe { core::hint::assert_unchecked(ring <= u64::from(u32::MAX)) };
            $enter(kernel, control, deadline, ring as u32)
        }

        #[unsafe(no_mangle)]
        extern "sysv64" fn kernel_enter_of_many(ring: u64, control: u64, deadline: u64) -> u64 {
            // SAFETY: as above.
            let kernel = unsafe { $crate::arch::x86_64::Filled::<$kernel>::new() };
            $enter_of_many(kernel, control, deadline, ring as u32)
        }

        #[unsafe(no_mangle)]
        extern "sysv64" fn kernel_interrupt(line: u64) -> ! {
            // SAFETY: interrupts are let in by a kernel that is filled.
            let kernel = unsafe { $crate::arch::x86_64::Filled::<$kernel>::new() };
            $interrupt(kernel, line as u8)
        }

        #[unsafe(no_mangle)]
        extern "sysv64" fn kernel_interrupt_of_many(line: u64) -> ! {
            // SAFETY: as above.
            let kernel = unsafe { $crate::arch::x86_64::Filled::<$kernel>::new() };
            $interrupt_of_many(kernel, line as u8)
        }

        #[unsafe(no_mangle)]
        extern "sysv64" fn kernel_event(kind: u64, a: u64, b: u64, c: u64) -> ! {
            // SAFETY: events are let in by a kernel that is filled, and come from its programs.
            let kernel = unsafe { $crate::arch::x86_64::Filled::<$kernel>::new() };
            $event(kernel, kind, a, b, c)
        }

        #[unsafe(no_mangle)]
        fn kernel_dump(out: &mut dyn core::fmt::Write) {
            $dump(out);
        }
    };
}
