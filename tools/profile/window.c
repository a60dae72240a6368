/* A QEMU plugin that logs every instruction of one sample of the bench, and what memory it touches.
 *
 * A window is what a program executes, in user mode and in the kernel, between two readings of the time-stamp counter.
 * The last windows are kept; when the machine ends, the one from the middle of them is written to the file that the
 * argument `out=FILE` names: an address a line, in the order of execution, and `cr3` where the address space changed. An
 * access to memory is a line `m ADDRESS BYTES` behind the instruction that it belongs to.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The parts of QEMU's plugin interface, version 1, that are used here: its header is not packaged. */
typedef uint64_t qemu_plugin_id_t;
typedef struct qemu_info_t qemu_info_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_cb_flags { QEMU_PLUGIN_CB_NO_REGS };
typedef void (*tb_callback)(qemu_plugin_id_t, struct qemu_plugin_tb *);
typedef void (*insn_callback)(unsigned int, void *);
typedef void (*end_callback)(qemu_plugin_id_t, void *);
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, tb_callback);
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *);
const void *qemu_plugin_insn_data(const struct qemu_plugin_insn *);
size_t qemu_plugin_insn_size(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *, insn_callback, enum qemu_plugin_cb_flags,
                                            void *);
enum qemu_plugin_mem_rw { QEMU_PLUGIN_MEM_R = 1, QEMU_PLUGIN_MEM_W, QEMU_PLUGIN_MEM_RW };
typedef uint32_t qemu_plugin_meminfo_t;
typedef void (*access_callback)(unsigned int, qemu_plugin_meminfo_t, uint64_t, void *);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *, access_callback, enum qemu_plugin_cb_flags,
                                      enum qemu_plugin_mem_rw, void *);
unsigned int qemu_plugin_mem_size_shift(qemu_plugin_meminfo_t);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, end_callback, void *);

#define EXPORT __attribute__((visibility("default")))
EXPORT int qemu_plugin_version = 1;

/* Windows that are kept, and the longest that is kept whole. */
#define WINDOWS 32
#define LONGEST 400000
/* Programs lie between these addresses, the firmware and the loader elsewhere. */
#define PROGRAMS 0x200000
#define PROGRAMS_END 0x10000000

/* One line of the log. */
struct event {
    uint64_t address;
    /* What follows as the line's kind: an instruction, a change of the address space, or an access of so many bytes. */
    uint8_t kind;
};
#define INSTRUCTION 0
#define CR3 255

static struct event *log_of[WINDOWS];
static size_t used[WINDOWS];
static size_t current;
static bool open;
static FILE *out;

static void reading(unsigned int cpu, void *data) {
    (void)cpu, (void)data;
    /* Every reading ends a window and begins one: those between samples are short and differ, and are told apart by
     * their place: every other one. */
    current = (current + 1) % WINDOWS;
    used[current] = 0;
    open = true;
}

static void note(uint64_t address, uint8_t kind) {
    if (open && used[current] < LONGEST)
        log_of[current][used[current]++] = (struct event){address, kind};
}

static void executed(unsigned int cpu, void *data) {
    (void)cpu;
    note((uint64_t)(uintptr_t)data, INSTRUCTION);
}

static void space_changed(unsigned int cpu, void *data) {
    (void)cpu, (void)data;
    note(0, CR3);
}

static void accessed(unsigned int cpu, qemu_plugin_meminfo_t info, uint64_t address, void *data) {
    (void)cpu, (void)data;
    note(address, (uint8_t)(1u << qemu_plugin_mem_size_shift(info)));
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *tb) {
    (void)id;
    size_t count = qemu_plugin_tb_n_insns(tb);
    for (size_t i = 0; i < count; i++) {
        struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
        uint64_t at = qemu_plugin_insn_vaddr(insn);
        const uint8_t *bytes = qemu_plugin_insn_data(insn);
        size_t size = qemu_plugin_insn_size(insn);
        qemu_plugin_register_vcpu_insn_exec_cb(insn, executed, QEMU_PLUGIN_CB_NO_REGS, (void *)(uintptr_t)at);
        qemu_plugin_register_vcpu_mem_cb(insn, accessed, QEMU_PLUGIN_CB_NO_REGS, QEMU_PLUGIN_MEM_RW, NULL);
        /* mov cr3, reg */
        if (size == 3 && bytes[0] == 0x0f && bytes[1] == 0x22 && (bytes[2] & 0xf8) == 0xd8)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, space_changed, QEMU_PLUGIN_CB_NO_REGS, NULL);
        /* rdtsc */
        if (size == 2 && bytes[0] == 0x0f && bytes[1] == 0x31 && at >= PROGRAMS && at < PROGRAMS_END)
            qemu_plugin_register_vcpu_insn_exec_cb(insn, reading, QEMU_PLUGIN_CB_NO_REGS, NULL);
    }
}

/* Of two windows in the middle one is a sample and one what lies between two samples, which is short. */
static void end(qemu_plugin_id_t id, void *data) {
    (void)id, (void)data;
    size_t one = (current + WINDOWS / 2) % WINDOWS, other = (one + 1) % WINDOWS;
    size_t which = used[one] > used[other] ? one : other;
    for (size_t i = 0; i < used[which]; i++) {
        struct event event = log_of[which][i];
        if (event.kind == CR3)
            fputs("cr3\n", out);
        else if (event.kind == INSTRUCTION)
            fprintf(out, "%" PRIx64 "\n", event.address);
        else
            fprintf(out, "m %" PRIx64 " %u\n", event.address, (unsigned)event.kind);
    }
    fclose(out);
}

EXPORT int qemu_plugin_install(qemu_plugin_id_t id, const qemu_info_t *info, int argc, char **argv) {
    (void)info;
    for (int i = 0; i < argc; i++)
        if (!strncmp(argv[i], "out=", 4))
            out = fopen(argv[i] + 4, "w");
    for (size_t i = 0; i < WINDOWS; i++)
        if (!(log_of[i] = malloc(LONGEST * sizeof(struct event))))
            return 1;
    if (!out) {
        fputs("window: out=FILE is missing, or cannot be written\n", stderr);
        return 1;
    }
    qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
    qemu_plugin_register_atexit_cb(id, end, NULL);
    return 0;
}
