//! From the loader's hand-off to the first line of the kernel proper.

use bootloader_api::config::{Mapping, Mappings};
use bootloader_api::info::{MemoryRegion, MemoryRegionKind};
use bootloader_api::{BootInfo as LoaderInfo, BootloaderConfig};
use rmm::{FRAME_SIZE, Frame, FrameInfo, PhysAddr};

use super::machine::Machine;
use super::percpu::{first_cpu, unused_stacks};
use super::place::Place;
use super::{acpi, apic, cpu, leave, memory, panic, selftest, serial, smp, tables, timer};

/// What the loader is asked for: everything in the higher half, and all physical memory mapped at a fixed place.
pub const LOADER_CONFIG: BootloaderConfig = loader_config();

const fn loader_config() -> BootloaderConfig {
    let mut config = BootloaderConfig::new_default();
    let mut mappings = Mappings::new_default();
    mappings.dynamic_range_start = Some(0xffff_8000_0000_0000);
    mappings.dynamic_range_end = Some(memory::DIRECT_MAP - 1);
    mappings.physical_memory = Some(Mapping::FixedAddress(memory::DIRECT_MAP));
    config.mappings = mappings;
    config.kernel_stack_size = 64 * 1024;
    config
}

/// Memory below is left to the firmware, and to the trampoline that other CPUs need.
const LOW_MEMORY: u64 = 1 << 20;
/// Where memory below ends that a CPU can start in.
const LOW_END: u64 = 0xa_0000;
/// Ranges of usable memory that are remembered at most; what lies in others is not used.
const MOST_RANGES: usize = 64;

/// What the kernel proper is told.
#[derive(Debug)]
pub struct BootInfo {
    /// The permission to use the machine.
    pub machine: Machine,
    /// Usable memory: first frame and number of frames of each range.
    pub usable: &'static [(Frame, u32)],
    /// Zeroed room for one record a frame, up to the highest usable one.
    pub infos: &'static [FrameInfo],
    /// The ramdisk: where it starts, and its bytes.
    pub blob: (PhysAddr, u64),
    /// The time stamp counter when the loader called.
    pub entry_ticks: u64,
}

unsafe extern "Rust" {
    /// The kernel proper, up to its first step; defined above this layer.
    safe fn kernel_boot(info: &'static BootInfo);
}

static INFO: Place<BootInfo> = Place::empty();
static RANGES: Place<[(Frame, u32); MOST_RANGES]> = Place::empty();

/// The loader's call: makes the machine the kernel's own, then goes on at the top of the CPU's one stack.
pub fn start(loader: &'static mut LoaderInfo) -> ! {
    let entry_ticks = timer::ticks();
    serial::start();
    serial::print(format_args!("annulus: boot base={:#x}\n", panic::image_start()));
    if let Some(name) = cpu::missing_feature() {
        refuse(format_args!("this CPU has no {name}; with QEMU use -cpu max"));
    }
    cpu::set_control_registers();
    if cpu::vector_bytes() > cpu::VECTOR_BYTES {
        refuse(format_args!("this CPU's vector state takes {} bytes", cpu::vector_bytes()));
    }
    let blob = find_blob(loader);
    if let Err(reason) = memory::take_over(direct_bytes(&loader.memory_regions)) {
        refuse(format_args!("{reason}"));
    }
    start_cpu();
    let root = loader.rsdp_addr.into_option();
    start_devices(root);
    let cpus = start_others(root, &loader.memory_regions);
    let info = describe(&mut loader.memory_regions, blob, cpus, entry_ticks);
    let info = INFO.fill(info);
    leave::on_own_stack(info)
}

/// Says why the machine is not good enough, and stops.
fn refuse(reason: core::fmt::Arguments<'_>) -> ! {
    serial::print(format_args!("annulus: cannot run: {reason}\n"));
    super::exit::exit(panic::EXIT_PANIC)
}

/// Continues [`start`] on the CPU's one stack, which nothing has used yet.
pub(super) extern "sysv64" fn on_top(info: &'static BootInfo) {
    memory::forget_loader(panic::image_start());
    kernel_boot(info);
    first_cpu().note_end_of_boot();
}

/// How far the direct map reaches: the loader maps at least the first four GiB.
fn direct_bytes(regions: &[MemoryRegion]) -> u64 {
    regions.iter().map(|region| region.end).fold(1 << 32, u64::max)
}

/// Where the ramdisk lies in physical memory.
fn find_blob(loader: &LoaderInfo) -> (PhysAddr, u64) {
    let found = loader.ramdisk_addr.into_option().and_then(memory::physical_of);
    let Some(physical) = found else {
        refuse(format_args!("the loader brought no ramdisk"));
    };
    (PhysAddr::new(physical), loader.ramdisk_len)
}

fn start_cpu() {
    let cpu = first_cpu();
    cpu.prepare(0, 0);
    tables::fill_gates();
    tables::load(cpu);
    memory::make_guard(cpu.stack_guard());
}

fn start_devices(root: Option<u64>) {
    let io = acpi::io_apic(root);
    memory::make_uncached(io.address);
    memory::make_uncached(apic::LOCAL);
    apic::start(&io);
    timer::start();
    selftest::run();
    let assumed = if io.assumed { " (assumed)" } else { "" };
    serial::print(format_args!(
        "annulus: machine tsc={} Hz, ioapic={:#x}{assumed}\n",
        timer::ticks_per_second(),
        io.address
    ));
}

/// Starts the other CPUs. Gives how many there are now.
fn start_others(root: Option<u64>, regions: &[MemoryRegion]) -> usize {
    let usable = regions.iter().filter(|region| region.kind == MemoryRegionKind::Usable);
    let low = usable.filter_map(|region| {
        let page = region.start.max(FRAME_SIZE).next_multiple_of(FRAME_SIZE);
        let end = page.saturating_add(smp::PAGES.wrapping_mul(FRAME_SIZE));
        (end <= region.end.min(LOW_END)).then_some(page)
    });
    let cpus = smp::start_others(&acpi::controllers(root), low.max());
    serial::print(format_args!("annulus: cpus {cpus}\n"));
    cpus
}

/// Turns the loader's map into usable ranges, and takes room for the records about frames out of one of them.
fn describe(regions: &mut [MemoryRegion], blob: (PhysAddr, u64), cpus: usize, entry_ticks: u64) -> BootInfo {
    let mut ranges = [(Frame::new(0), 0); MOST_RANGES];
    let count = fill_ranges(regions, &mut ranges);
    let count = add_stacks(cpus, &mut ranges, count);
    let infos = take_infos(ranges.get_mut(..count).unwrap_or(&mut []));
    let usable = RANGES.fill(ranges).get(..count).unwrap_or(&[]);
    BootInfo { machine: Machine::new(), usable, infos, blob, entry_ticks }
}

/// Joins neighbours, since firmware cuts its map into many small pieces, and says how many ranges there are.
fn fill_ranges(regions: &mut [MemoryRegion], ranges: &mut [(Frame, u32)]) -> usize {
    regions.sort_unstable_by_key(|region| region.start);
    let mut count = 0_usize;
    for region in regions.iter().filter(|region| region.kind == MemoryRegionKind::Usable) {
        let first = region.start.max(LOW_MEMORY).div_ceil(FRAME_SIZE);
        let frames = (region.end / FRAME_SIZE).saturating_sub(first);
        let (Ok(first), Ok(frames @ 1..)) = (u32::try_from(first), u32::try_from(frames)) else { continue };
        let last = count.checked_sub(1).and_then(|last| ranges.get_mut(last));
        if let Some((_, length)) =
            last.filter(|(start, length)| start.number().wrapping_add(*length) == first)
        {
            *length = length.wrapping_add(frames);
        } else if let Some(slot) = ranges.get_mut(count) {
            *slot = (Frame::new(first), frames);
            count = count.wrapping_add(1);
        }
    }
    count
}

/// The stacks of CPUs that are not there are memory like any other: takes their pages out of the image.
fn add_stacks(cpus: usize, ranges: &mut [(Frame, u32)], before: usize) -> usize {
    let (start, pages) = unused_stacks(cpus);
    let mut count = before;
    for page in (start..).step_by(FRAME_SIZE as usize).take(pages) {
        let Some(physical) = memory::physical_of(page) else { continue };
        let number = memory::frame_at(physical).number();
        let last = count.checked_sub(1).filter(|last| *last >= before).and_then(|last| ranges.get_mut(last));
        if let Some((_, length)) =
            last.filter(|(first, length)| first.number().wrapping_add(*length) == number)
        {
            *length = length.wrapping_add(1);
        } else if let Some(slot) = ranges.get_mut(count) {
            *slot = (Frame::new(number), 1);
            count = count.wrapping_add(1);
        } else {
            break;
        }
        memory::make_guard(page);
    }
    count
}

/// Takes zeroed records, one for each frame up to the highest, out of the end of the first range with room for them.
fn take_infos(usable: &mut [(Frame, u32)]) -> &'static [FrameInfo] {
    let frames = usable.iter().map(|(first, count)| first.number().saturating_add(*count)).max().unwrap_or(0);
    let bytes = u64::from(frames).wrapping_mul(size_of::<FrameInfo>() as u64);
    let needed = bytes.div_ceil(FRAME_SIZE) as u32;
    let Some((first, count)) = usable.iter_mut().find(|(_, count)| *count > needed) else {
        refuse(format_args!("no room for the records about {frames} frames"));
    };
    *count = count.wrapping_sub(needed);
    let start = Frame::new(first.number().wrapping_add(*count));
    for frame in (0..needed).map(|index| Frame::new(start.number().wrapping_add(index))) {
        memory::zero_frame(frame);
    }
    let place = memory::direct::<FrameInfo>(start.start().raw());
    // SAFETY: the frames were just taken out of usable memory for good and zeroed, and zero bytes make a valid record.
    unsafe { core::slice::from_raw_parts(place, frames as usize) }
}
