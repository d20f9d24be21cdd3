// The few types and helpers of the kernel that the programs use, declared by hand. Fields are located in the running
// kernel by their names (CO-RE), so that order and size do not matter here.
#pragma once

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

#define SEC(name) __attribute__((section(name), used))
#define INLINE static inline __attribute__((always_inline))
#define CORE __attribute__((preserve_access_index))

// The map definitions that loaders read from BTF.
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name

enum {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_RINGBUF = 27,
};
enum { BPF_F_NO_PREALLOC = 1 };
enum { BPF_RB_NO_WAKEUP = 1 };
enum { AF_UNIX = 1 };
enum { PIDTYPE_TGID = 1 };
enum { S_IFMT = 0170000, S_IFSOCK = 0140000 };

// The file of a listening socket. `dev` is in the kernel's encoding; the inode is truncated to 32 bits, as in sock_diag.
struct listener {
	u32 dev;
	u32 inode;
};

struct file;
struct seq_file;
struct socket;

// Helpers by their number in include/uapi/linux/bpf.h.
static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static long (*const bpf_map_update_elem)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static long (*const bpf_map_delete_elem)(void *map, const void *key) = (void *)3;
static u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;
static u64 (*const bpf_get_current_uid_gid)(void) = (void *)15;
static long (*const bpf_get_current_comm)(void *to, u32 size) = (void *)16;
static u64 (*const bpf_get_current_task)(void) = (void *)35;
static u64 (*const bpf_get_current_cgroup_id)(void) = (void *)80;
static long (*const bpf_probe_read_user)(void *to, u32 size, const void *from) = (void *)112;
static long (*const bpf_probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*const bpf_probe_read_kernel_str)(void *to, u32 size, const void *from) = (void *)115;
static u64 (*const bpf_ktime_get_boot_ns)(void) = (void *)125;
static long (*const bpf_seq_write)(struct seq_file *to, const void *data, u32 size) = (void *)127;
static void *(*const bpf_ringbuf_reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*const bpf_ringbuf_submit)(void *record, u64 flags) = (void *)132;
static void *(*const bpf_get_current_task_btf)(void) = (void *)158;
static struct socket *(*const bpf_sock_from_file)(struct file *file) = (void *)162;
static long (*const bpf_snprintf)(char *to, u32 size, const char *format, u64 *values, u32 length) = (void *)165;
static void *(*const bpf_skc_to_unix_sock)(void *sock) = (void *)178;

struct super_block { u32 s_dev; } CORE;
struct inode { u16 i_mode; unsigned long i_ino; struct super_block *i_sb; } CORE;
struct qstr { const u8 *name; } CORE;
struct dentry { struct inode *d_inode; struct qstr d_name; } CORE;
struct path { struct dentry *dentry; } CORE;
struct file { struct path f_path; struct inode *f_inode; void *private_data; } CORE;
struct mm_struct { struct file *exe_file; } CORE;
struct ns_common { u32 inum; } CORE;
struct net { struct ns_common ns; } CORE;
struct nsproxy { struct net *net_ns; } CORE;
struct fdtable { u32 max_fds; struct file **fd; } CORE;
struct files_struct { struct fdtable *fdt; } CORE;

struct kernfs_node { const char *name; struct kernfs_node *parent; } CORE;
struct kernfs_node___renamed { struct kernfs_node *__parent; } CORE; // since 6.15
struct cgroup_root { int flags; } CORE;
struct cgroup { struct kernfs_node *kn; struct cgroup_root *root; } CORE;
struct cgroup_subsys_state { struct cgroup *cgroup; } CORE;
struct css_set { struct cgroup_subsys_state *subsys[16]; struct cgroup *dfl_cgrp; } CORE;
enum cgroup_subsys_id { memory_cgrp_id = 4 };

struct task_struct {
	int pid;
	int tgid;
	u64 start_boottime;
	struct task_struct *group_leader;
	struct task_struct *real_parent;
	struct mm_struct *mm;
	struct nsproxy *nsproxy;
	struct css_set *cgroups;
	struct files_struct *files;
} CORE;

struct upid { int nr; } CORE;
struct hlist_node;
struct hlist_head { struct hlist_node *first; } CORE;
struct pid { struct hlist_head tasks[2]; struct upid numbers[1]; } CORE;
typedef struct { struct net *net; } CORE possible_net_t;
struct sock_common { u16 skc_family; possible_net_t skc_net; } CORE;
struct sock { struct sock_common __sk_common; struct pid *sk_peer_pid; } CORE;
struct socket { struct sock *sk; } CORE;
struct unix_sock { struct path path; struct sock *peer; } CORE;

// The context of an iterator over open files: `meta` alone in one more call after the last file.
struct bpf_iter_meta { struct seq_file *seq; } CORE;
struct bpf_iter__task_file { struct bpf_iter_meta *meta; struct task_struct *task; u32 fd; struct file *file; } CORE;

// The registers of a system call when it returns: its number and its arguments.
struct pt_regs___x86 { unsigned long di; unsigned long si; unsigned long dx; unsigned long orig_ax; } CORE;
struct pt_regs___arm64 { u64 regs[31]; u64 orig_x0; int syscallno; } CORE;

#define field_exists(field) __builtin_preserve_field_info(field, 2)
#define enum_value(type, value) __builtin_preserve_enum_value(*(type *)value, 1)
#define enum_exists(type, value) __builtin_preserve_enum_value(*(type *)value, 0)
