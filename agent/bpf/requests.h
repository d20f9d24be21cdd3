// Records the line of each HTTP request to a watched socket: "GET /v1.41/containers/json HTTP/1.1". User space converts
// it to a class and a version at once and drops it (sources/connects/operation.rs).
//
// Only `probed`: the line is in the sender's memory, which aya 0.14's programs cannot read under lockdown=confidentiality.

// The number of recorded bytes of a line.
#define LINE 256
// The number of examined parts of a message, and the bytes of each word in which a method is compared.
#define PARTS 8
#define METHOD 8

struct request {
	struct record sender;
	u64 socket; // the sender's end, as a number that only tells sockets apart
	u32 length; // bytes of `line` that count
	u32 zero;
	char line[LINE];
};

// A line is assembled here before it is known to be one. The bytes beyond LINE are for the verifier's
// arithmetic.
struct scratch {
	char line[3 * LINE];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
} REQUESTS SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, u32);
	__type(value, struct scratch);
} SCRATCH SEC(".maps");

// Sockets whose last request was sent without the end of its line, with the bytes so far. The least recently used are evicted.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, u32);
} UNFINISHED SEC(".maps");

// The same layout in the kernel and in user space.
struct part {
	u64 base;
	u64 length;
};

// The contents of a message: one buffer, or a list of buffers in the kernel's or in the sender's memory.
struct message {
	u64 parts;
	u32 count;
	u32 of_user;
	u64 skip; // bytes of the first part that are sent already
	struct part whole; // where there is no list
};

// Messages whose bytes could not be read when their send began, by the sending thread: the kernel has not loaded the page
// yet. When the send returns it has.
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, u64);
	__type(value, struct message);
} ABSENT SEC(".maps");

// Returns the number after a mask, which the verifier needs and the compiler would otherwise remove.
#define MASKED(number, mask)                                                                                           \
	({                                                                                                             \
		u32 masked_ = (number);                                                                                \
		asm volatile("%0 &= %1" : "+r"(masked_) : "i"(mask));                                                  \
		masked_;                                                                                               \
	})

// Copies the first bytes of a message and returns their number; -1 if one of its pages is not loaded.
INLINE int gather(struct scratch *scratch, const struct message *message)
{
	u32 length = 0;

	for (u32 at = 0; at < PARTS; at++) {
		struct part part = message->whole;
		u32 size;

		if (message->parts) {
			const void *from = (void *)(message->parts + at * sizeof(part));

			if (at >= message->count)
				break;
			if (message->of_user ? bpf_probe_read_user(&part, sizeof(part), from)
					     : bpf_probe_read_kernel(&part, sizeof(part), from))
				return -1;
		} else if (at > 0) {
			break;
		}
		if (at == 0 && message->skip <= part.length) {
			part.base += message->skip;
			part.length -= message->skip;
		}
		if (length >= LINE)
			break;
		size = part.length < LINE - length ? part.length : LINE - length;
		if (!size)
			continue;
		if (bpf_probe_read_user(scratch->line + MASKED(length, LINE - 1), MASKED(size, 2 * LINE - 1),
					(void *)part.base))
			return -1;
		length += size;
	}
	return length;
}

// True if this may begin a request: a method and a space, or a send that ends within the method.
INLINE int begins(const char *line, u32 length)
{
	for (u32 at = 0; at < METHOD; at++) {
		if (at >= length)
			return at > 0;
		if (line[at] == ' ')
			return at > 2;
		if (line[at] < 'A' || line[at] > 'Z')
			return 0;
	}
	return 0;
}

INLINE int has_end(const char *line, u32 length)
{
	for (u32 at = 0; at < LINE; at++) {
		if (at >= length)
			return 0;
		if (line[at] == '\n')
			return 1;
	}
	return 0;
}

INLINE void record_request(const struct listener *listener, struct counts *counts, u64 socket,
			   const struct scratch *scratch, u32 length)
{
	struct request *request = bpf_ringbuf_reserve(&REQUESTS, sizeof(*request), 0);

	if (!request) {
		__sync_fetch_and_add(&counts->requests_lost, 1);
		return;
	}
	__sync_fetch_and_add(&counts->requests, 1);
	start(&request->sender, listener);
	fill_probed(&request->sender, (void *)bpf_get_current_task());
	request->socket = socket;
	request->length = length;
	request->zero = 0;
	bpf_probe_read_kernel(request->line, LINE, scratch->line);
	bpf_ringbuf_submit(request, BPF_RB_NO_WAKEUP);
}

// Handles a message that this socket sends; returns -1 if its bytes are not loaded. Its peer was accepted on a
// listener and has the listener's path.
INLINE int sent(struct unix_sock *socket, const struct message *message)
{
	struct unix_sock *peer = (void *)READ(socket, peer);
	u64 key = (u64)socket;
	struct listener listener;
	struct counts *counts = peer ? find_probed(peer, &listener) : 0;
	struct scratch *scratch;
	u32 zero = 0, so_far, *unfinished;
	int length;

	if (!counts)
		return 0;
	scratch = bpf_map_lookup_elem(&SCRATCH, &zero);
	if (!scratch)
		return 0;
	length = gather(scratch, message);
	if (length <= 0)
		return length;
	unfinished = bpf_map_lookup_elem(&UNFINISHED, &key);
	if (!unfinished && !begins(scratch->line, length))
		return 0;
	so_far = length + (unfinished ? *unfinished : 0);
	if (so_far < LINE && !has_end(scratch->line, length))
		bpf_map_update_elem(&UNFINISHED, &key, &so_far, 0);
	else if (unfinished)
		bpf_map_delete_elem(&UNFINISHED, &key);
	record_request(&listener, counts, key, scratch, length);
	return 0;
}

// The iterator of a message in the kernel, under all of its field names.
enum iter_type { ITER_UBUF = 0, ITER_IOVEC = 1 };
struct iov_iter { u8 iter_type; u64 iov_offset; u64 nr_segs; u64 count; void *ubuf; void *iov; } CORE;
struct iov_iter___renamed { void *__iov; } CORE; // since 6.4
struct iov_iter___old { u32 type; } CORE; // before 5.14
enum iter_type___old { ITER_IOVEC___old = 4 };
struct msghdr { struct iov_iter msg_iter; } CORE;

INLINE void *list_of(struct iov_iter *iterator)
{
	if (field_exists(((struct iov_iter___renamed *)iterator)->__iov))
		return READ((struct iov_iter___renamed *)iterator, __iov);
	return READ(iterator, iov);
}

// Returns 1 for an iterator over a list of the sender's buffers, 2 for one buffer, and 0 otherwise.
INLINE int kind_of(struct iov_iter *iterator)
{
	u32 type;

	if (!field_exists(iterator->iter_type))
		return READ((struct iov_iter___old *)iterator, type) >> 1 == ITER_IOVEC___old >> 1;
	type = READ(iterator, iter_type);
	if (enum_exists(enum iter_type, ITER_UBUF) && type == enum_value(enum iter_type, ITER_UBUF))
		return 2;
	return type == enum_value(enum iter_type, ITER_IOVEC);
}

// unix_stream_sendmsg(socket, message, length)
SEC("fentry/unix_stream_sendmsg") int send_fentry(const u64 *arguments)
{
	u64 thread = bpf_get_current_pid_tgid();
	struct unix_sock *socket = (void *)READ((struct socket *)arguments[0], sk);
	struct iov_iter *iterator = &((struct msghdr *)arguments[1])->msg_iter;
	struct message message = { .skip = READ(iterator, iov_offset) };
	int kind = kind_of(iterator);

	if (!socket || !kind)
		return 0;
	if (kind == 1) {
		message.parts = (u64)list_of(iterator);
		message.count = READ(iterator, nr_segs);
	} else {
		message.whole.base = (u64)READ(iterator, ubuf);
		message.whole.length = message.skip + READ(iterator, count);
	}
	if (sent(socket, &message) < 0)
		bpf_map_update_elem(&ABSENT, &thread, &message, 0);
	return 0;
}

// The same function with its result.
SEC("fexit/unix_stream_sendmsg") int send_fexit(const u64 *arguments)
{
	u64 thread = bpf_get_current_pid_tgid();
	struct message *absent = bpf_map_lookup_elem(&ABSENT, &thread);
	struct unix_sock *socket = absent ? (void *)READ((struct socket *)arguments[0], sk) : 0;
	struct message message;

	if (!absent)
		return 0;
	message = *absent;
	bpf_map_delete_elem(&ABSENT, &thread);
	if (socket && (int)arguments[3] > 0)
		sent(socket, &message);
	return 0;
}

// struct msghdr of user space.
struct user_msghdr {
	u64 name;
	u64 name_length;
	u64 parts;
	u64 count;
};

enum call { OTHER, WRITE, WRITEV, SENDMSG };

// sys_exit(registers, result): the system calls that send. The message is still in the sender's memory.
INLINE int leave_send(enum call call, u32 descriptor, u64 from, u64 size, long result)
{
	struct message message = { .of_user = 1 };
	struct user_msghdr header;
	struct unix_sock *socket;

	if (call == OTHER || result <= 0)
		return 0;
	socket = socket_of((void *)bpf_get_current_task(), descriptor);
	if (!socket)
		return 0;
	if (call == WRITE) {
		message.whole.base = from;
		message.whole.length = result;
	} else if (call == WRITEV) {
		message.parts = from;
		message.count = size;
	} else {
		if (bpf_probe_read_user(&header, sizeof(header), (void *)from))
			return 0;
		message.parts = header.parts;
		message.count = header.count;
	}
	sent(socket, &message);
	return 0;
}

#ifdef X86_64
INLINE enum call call_x86(long number)
{
	switch (number) {
	case 1: // write
	case 44: // sendto
		return WRITE;
	case 20: // writev
		return WRITEV;
	case 46: // sendmsg
		return SENDMSG;
	}
	return OTHER;
}

SEC("tp_btf/sys_exit") int send_x86(const u64 *arguments)
{
	struct pt_regs___x86 *registers = (void *)arguments[0];

	return leave_send(call_x86(READ(registers, orig_ax)), READ(registers, di), READ(registers, si),
			  READ(registers, dx), arguments[1]);
}
#else
INLINE enum call call_arm64(long number)
{
	switch (number) {
	case 64: // write
	case 206: // sendto
		return WRITE;
	case 66: // writev
		return WRITEV;
	case 211: // sendmsg
		return SENDMSG;
	}
	return OTHER;
}

SEC("tp_btf/sys_exit") int send_arm64(const u64 *arguments)
{
	struct pt_regs___arm64 *registers = (void *)arguments[0];

	return leave_send(call_arm64(READ(registers, syscallno)), READ(registers, orig_x0), READ(registers, regs[1]),
			  READ(registers, regs[2]), arguments[1]);
}
#endif
