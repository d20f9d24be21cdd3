// Records every connect(2) to a Unix socket that castoff watches: the process, the time, and the control group. Also
// records the line of each HTTP request that is sent there (requests.h).
//
// One body in two readings. `typed` follows pointers whose types the verifier knows: it runs at every lockdown level
// and needs Linux 5.16 (bpf_skc_to_unix_sock). `probed` uses bpf_probe_read_kernel, for older kernels, kprobes and the
// exit of the system call; lockdown=confidentiality refuses it.
//
// The compiled object is next to this file; ./build compiles it.
#include "kernel.h"

#define GROUP_LEVELS 12
#define NAME_MOST 96
#define GROUP_MOST 384

// Of one listener: connects with a record, and those for which the ring buffer was full; the same for requests.
struct counts {
	u64 recorded;
	u64 lost;
	u64 requests;
	u64 requests_lost;
};

// The record that user space reads: sources/connects/record.rs decodes it.
struct record {
	u64 time; // of the connect, nanoseconds since boot
	u64 start; // of the process, nanoseconds since boot
	u64 program_inode;
	u64 group_id; // inode of the directory of the unified control group
	struct listener listener;
	u32 program_dev;
	u32 pid; // thread group
	u32 parent;
	u32 uid;
	u32 netns;
	u32 unified_length; // bytes of `unified` that count
	u32 memory_length; // likewise
	u32 zero;
	char comm[16];
	char program[40]; // name of the executable's file
	// Names of the control group and of those above it, its own name first, each ended by '/': in the unified hierarchy, and
	// in that of the memory controller if it has one of its own (cgroup v1, hybrid).
	char unified[GROUP_MOST];
	char memory[GROUP_MOST];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct listener);
	__type(value, struct counts);
} LISTENERS SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} RECORDS SEC(".maps");

// Sets the fields that both readings share.
INLINE void start(struct record *record, const struct listener *listener)
{
	record->time = bpf_ktime_get_boot_ns();
	record->listener = *listener;
	record->pid = bpf_get_current_pid_tgid() >> 32;
	record->uid = bpf_get_current_uid_gid();
	record->group_id = bpf_get_current_cgroup_id();
	record->zero = 0;
	bpf_get_current_comm(record->comm, sizeof(record->comm));
}

// Returns a record of a connect. Null if the ring buffer is full, which is counted.
INLINE struct record *begin(const struct listener *listener, struct counts *counts)
{
	struct record *record = bpf_ringbuf_reserve(&RECORDS, sizeof(*record), 0);

	// A single test: the verifier of Linux 6.1 takes a second one for a record that is not submitted.
	if (!record) {
		__sync_fetch_and_add(&counts->lost, 1);
		return 0;
	}
	__sync_fetch_and_add(&counts->recorded, 1);
	start(record, listener);
	return record;
}

// Without a wakeup, which would be the main cost: user space polls.
INLINE void end(struct record *record)
{
	bpf_ringbuf_submit(record, BPF_RB_NO_WAKEUP);
}

// Does `each` with a control group and those above it. There is one loop for each name of the field in the kernel: in a
// single loop the compiler would read both offsets before it, and the missing one would make the program invalid.
#define FOR_EACH_ABOVE(node, parent_of, each)                                                                          \
	if (field_exists(((struct kernfs_node___renamed *)node)->__parent)) {                                          \
		for (int level = 0; level < GROUP_LEVELS && node; level++) {                                           \
			each;                                                                                          \
			node = parent_of((struct kernfs_node___renamed *)node, __parent);                              \
		}                                                                                                      \
	} else {                                                                                                       \
		for (int level = 0; level < GROUP_LEVELS && node; level++) {                                           \
			each;                                                                                          \
			node = parent_of(node, parent);                                                                \
		}                                                                                                      \
	}

#define READ(pointer, field) ((pointer)->field)
#define READING(name) name##_typed

INLINE struct cgroup_subsys_state *controller_typed(struct css_set *set, u32 which)
{
	return *(struct cgroup_subsys_state **)((u8 *)&set->subsys + which * sizeof(u64));
}

// Writes the names from a control group up to the root, and returns the number of bytes.
INLINE u32 write_group_typed(char *to, struct kernfs_node *node)
{
	static const char format[] = "%s/%s/%s/%s/%s/%s/%s/%s/%s/%s/%s/%s/";
	u64 names[GROUP_LEVELS] = {};
	long length;

	if (!node)
		return 0;
	FOR_EACH_ABOVE(node, READ, names[level] = (u64)node->name);
	length = bpf_snprintf(to, GROUP_MOST, format, names, sizeof(names));
	return length < 1 ? 0 : length - 1;
}

INLINE void write_program_typed(struct record *record, struct dentry *program)
{
	static const char format[] = "%s";
	u64 name = program ? (u64)program->d_name.name : 0;

	bpf_snprintf(record->program, sizeof(record->program), format, &name, sizeof(name));
}

#include "reading.h"
#undef READ
#undef READING

#define READ(pointer, field)                                                                                           \
	({                                                                                                             \
		typeof((pointer)->field) read_ = 0;                                                                    \
		bpf_probe_read_kernel(&read_, sizeof(read_), &(pointer)->field);                                       \
		read_;                                                                                                 \
	})
#define READING(name) name##_probed

INLINE struct cgroup_subsys_state *controller_probed(struct css_set *set, u32 which)
{
	struct cgroup_subsys_state *state = 0;

	bpf_probe_read_kernel(&state, sizeof(state), (u8 *)&set->subsys + which * sizeof(u64));
	return state;
}

INLINE u32 append_name(char *to, u32 length, const char *name)
{
	long read;

	if (length > GROUP_MOST - NAME_MOST)
		return length;
	read = bpf_probe_read_kernel_str(to + length, NAME_MOST, name);
	if (read < 1 || read > NAME_MOST)
		return length;
	length += read;
	if (length > GROUP_MOST - 1)
		return GROUP_MOST;
	to[length - 1] = '/';
	return length;
}

INLINE u32 write_group_probed(char *to, struct kernfs_node *node)
{
	u32 length = 0;

	FOR_EACH_ABOVE(node, READ, length = append_name(to, length, READ(node, name)));
	return length;
}

INLINE void write_program_probed(struct record *record, struct dentry *program)
{
	record->program[0] = 0;
	if (program)
		bpf_probe_read_kernel_str(record->program, sizeof(record->program), READ(program, d_name.name));
}

#include "reading.h"

// security_unix_stream_connect(sock, other, newsk), and the LSM hook after it.
INLINE int connect_typed(const u64 *arguments)
{
	struct unix_sock *socket = bpf_skc_to_unix_sock((void *)arguments[1]);
	struct listener listener;
	struct counts *counts = socket ? find_typed(socket, &listener) : 0;
	struct record *record = counts ? begin(&listener, counts) : 0;

	if (record) {
		fill_typed(record, bpf_get_current_task_btf());
		end(record);
	}
	return 0;
}

INLINE int connect_probed(struct unix_sock *socket)
{
	struct listener listener;
	struct counts *counts = socket ? find_probed(socket, &listener) : 0;
	struct record *record = counts ? begin(&listener, counts) : 0;

	if (record) {
		fill_probed(record, (void *)bpf_get_current_task());
		end(record);
	}
	return 0;
}

SEC("fentry/security_unix_stream_connect") int fentry_typed(const u64 *arguments)
{
	return connect_typed(arguments);
}

SEC("lsm/unix_stream_connect") int lsm_typed(const u64 *arguments)
{
	return connect_typed(arguments);
}

SEC("fentry/security_unix_stream_connect") int fentry_probed(const u64 *arguments)
{
	return connect_probed((void *)arguments[1]);
}

// The second argument in the registers of the function's caller.
#ifdef X86_64
struct pt_regs___caller_x86 { unsigned long si; } CORE;

SEC("kprobe/security_unix_stream_connect") int kprobe_x86(struct pt_regs___caller_x86 *registers)
{
	return connect_probed((void *)registers->si);
}
#else
struct user_pt_regs { u64 regs[31]; } CORE;

SEC("kprobe/security_unix_stream_connect") int kprobe_arm64(struct user_pt_regs *registers)
{
	return connect_probed((void *)registers->regs[1]);
}
#endif

// Returns the Unix socket of a descriptor.
INLINE struct unix_sock *socket_of(struct task_struct *task, u32 descriptor)
{
	struct files_struct *files = READ(task, files);
	struct fdtable *table = files ? READ(files, fdt) : 0;
	struct file **open = table ? READ(table, fd) : 0;
	struct socket *socket;
	struct file *file = 0;
	struct sock *sock;

	if (!open || descriptor >= READ(table, max_fds))
		return 0;
	bpf_probe_read_kernel(&file, sizeof(file), open + descriptor);
	socket = file ? READ(file, private_data) : 0;
	sock = socket ? READ(socket, sk) : 0;
	if (!sock || READ(sock, __sk_common.skc_family) != AF_UNIX)
		return 0;
	return (void *)sock;
}

// sys_exit(registers, result): of every system call; all but connect(2) are ignored.
INLINE int leave(long number, long connect, u32 descriptor, long result)
{
	struct unix_sock *socket;

	if (number != connect || result != 0)
		return 0;
	socket = socket_of((void *)bpf_get_current_task(), descriptor);
	return socket ? connect_probed((void *)READ(socket, peer)) : 0;
}

#ifdef X86_64
SEC("tp_btf/sys_exit") int sys_exit_x86(const u64 *arguments)
{
	struct pt_regs___x86 *registers = (void *)arguments[0];

	return leave(READ(registers, orig_ax), 42, READ(registers, di), arguments[1]);
}
#else
SEC("tp_btf/sys_exit") int sys_exit_arm64(const u64 *arguments)
{
	struct pt_regs___arm64 *registers = (void *)arguments[0];

	return leave(READ(registers, syscallno), 203, READ(registers, orig_x0), arguments[1]);
}
#endif

#include "requests.h"

// Some helpers are only for programs under a GPL-compatible licence.
char LICENSE[] SEC("license") = "Dual BSD/GPL";
