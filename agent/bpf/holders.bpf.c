// Lists the holders of connections to the sockets that castoff watches: every descriptor of every process, and of every
// thread with a table of its own, in all network namespaces, in one pass of the kernel's iterator over open files.
//
// Two programs: `whole` follows the connection to its listener and needs Linux 5.16 (bpf_skc_to_unix_sock); `by_inode`
// finds only the sockets that user space lists, and runs since Linux 5.8. Both follow typed pointers alone, so they run at
// every lockdown level.
//
// The compiled object is next to this file; ./build compiles it.
#include "kernel.h"

// The record that user space reads: sources/holders/iterator.rs decodes it.
struct holder {
	u64 socket; // inode of the client's end
	u64 start; // of the process, nanoseconds since boot
	struct listener listener; // 0 where it is not known
	u32 pid; // thread group
	u32 descriptor;
	u32 connector; // thread group that called connect(2); 0 where it is not known
	u32 netns; // of the client's end; 0 where it is not known
};

// The files of the listeners whose connections are wanted.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct listener);
	__type(value, u32);
} WATCHED SEC(".maps");

// The sockets whose holders are wanted, by their inodes.
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, u64);
	__type(value, u32);
} WANTED SEC(".maps");

// Returns the inode of an open socket. None for any other file, and at the end of the iteration.
INLINE struct inode *socket_inode(struct task_struct *task, struct file *file)
{
	struct inode *inode = task && file ? file->f_inode : 0;

	return inode && (inode->i_mode & S_IFMT) == S_IFSOCK ? inode : 0;
}

INLINE int write(struct bpf_iter__task_file *entry, struct task_struct *task, struct inode *inode, struct holder *holder)
{
	struct task_struct *leader = task->group_leader;

	holder->socket = inode->i_ino;
	holder->start = leader ? leader->start_boottime : 0;
	holder->pid = task->tgid;
	holder->descriptor = entry->fd;
	bpf_seq_write(entry->meta->seq, holder, sizeof(*holder));
	return 0;
}

SEC("iter/task_file") int by_inode(struct bpf_iter__task_file *entry)
{
	struct task_struct *task = entry->task; // read once: each reading may be a null pointer anew
	struct file *file = entry->file;
	struct inode *inode = socket_inode(task, file);
	struct holder holder = {};
	u64 key;

	if (!inode)
		return 0;
	key = inode->i_ino;
	return bpf_map_lookup_elem(&WANTED, &key) ? write(entry, task, inode, &holder) : 0;
}

// The peer of the client's end: a socket that was created from the listener on connect, and has the listener's file.
INLINE int follow(struct sock *sock, struct holder *holder)
{
	struct unix_sock *client = bpf_skc_to_unix_sock(sock), *accepted;
	struct dentry *dentry;
	struct inode *inode;
	struct sock *peer;
	struct pid *connector;

	if (!client)
		return 0;
	holder->netns = sock->__sk_common.skc_net.net->ns.inum;
	peer = client->peer;
	accepted = peer ? bpf_skc_to_unix_sock(peer) : 0;
	if (!accepted)
		return 0;
	connector = peer->sk_peer_pid;
	// The pid of a process that has ended may be reused by now.
	if (connector && connector->tasks[PIDTYPE_TGID].first)
		holder->connector = connector->numbers[0].nr;
	dentry = accepted->path.dentry;
	inode = dentry ? dentry->d_inode : 0;
	if (!inode)
		return 0;
	holder->listener.dev = inode->i_sb->s_dev;
	holder->listener.inode = inode->i_ino;
	if (bpf_map_lookup_elem(&WATCHED, &holder->listener))
		return 1;
	return 0;
}

SEC("iter/task_file") int whole(struct bpf_iter__task_file *entry)
{
	struct task_struct *task = entry->task; // read once: each reading may be a null pointer anew
	struct file *file = entry->file;
	struct inode *inode = socket_inode(task, file);
	struct holder holder = {};
	struct socket *socket;
	u64 key;

	if (!inode)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket || !socket->sk)
		return 0;
	key = inode->i_ino;
	// The accepted end has the listener's file too: its own peer is the client, which has none.
	if (follow(socket->sk, &holder))
		return write(entry, task, inode, &holder);
	// A separate test: the compiler would combine two pointers into one number, which the verifier refuses.
	if (bpf_map_lookup_elem(&WANTED, &key))
		return write(entry, task, inode, &holder);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
