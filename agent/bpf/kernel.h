// The few types and helpers of the kernel that connects.bpf.c uses, declared by hand: a field is found in the running
// kernel by its name (CO-RE), so that order and size do not matter here.
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

enum { BPF_MAP_TYPE_HASH = 1, BPF_MAP_TYPE_ARRAY = 2, BPF_MAP_TYPE_RINGBUF = 27 };
enum { BPF_RB_NO_WAKEUP = 1 };
enum { AF_UNIX = 1 };

// Helpers by their number in include/uapi/linux/bpf.h.
static void *(*const bpf_map_lookup_elem)(void *map, const void *key) = (void *)1;
static u64 (*const bpf_get_current_pid_tgid)(void) = (void *)14;
static u64 (*const bpf_get_current_uid_gid)(void) = (void *)15;
static long (*const bpf_get_current_comm)(void *to, u32 size) = (void *)16;
static u64 (*const bpf_get_current_task)(void) = (void *)35;
static u64 (*const bpf_get_current_cgroup_id)(void) = (void *)80;
static long (*const bpf_probe_read_kernel)(void *to, u32 size, const void *from) = (void *)113;
static long (*const bpf_probe_read_kernel_str)(void *to, u32 size, const void *from) = (void *)115;
static u64 (*const bpf_ktime_get_boot_ns)(void) = (void *)125;
static void *(*const bpf_ringbuf_reserve)(void *ring, u64 size, u64 flags) = (void *)131;
static void (*const bpf_ringbuf_submit)(void *record, u64 flags) = (void *)132;
static void *(*const bpf_get_current_task_btf)(void) = (void *)158;
static long (*const bpf_snprintf)(char *to, u32 size, const char *format, u64 *values, u32 length) = (void *)165;
static void *(*const bpf_skc_to_unix_sock)(void *sock) = (void *)178;

struct super_block { u32 s_dev; } CORE;
struct inode { unsigned long i_ino; struct super_block *i_sb; } CORE;
struct qstr { const u8 *name; } CORE;
struct dentry { struct inode *d_inode; struct qstr d_name; } CORE;
struct path { struct dentry *dentry; } CORE;
struct file { struct path f_path; void *private_data; } CORE;
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
	int tgid;
	u64 start_boottime;
	struct task_struct *group_leader;
	struct task_struct *real_parent;
	struct mm_struct *mm;
	struct nsproxy *nsproxy;
	struct css_set *cgroups;
	struct files_struct *files;
} CORE;

struct sock_common { u16 skc_family; } CORE;
struct sock { struct sock_common __sk_common; } CORE;
struct socket { struct sock *sk; } CORE;
struct unix_sock { struct path path; struct sock *peer; } CORE;

// The registers of a system call when it returns: its number and its first argument.
struct pt_regs___x86 { unsigned long di; unsigned long orig_ax; } CORE;
struct pt_regs___arm64 { u64 orig_x0; int syscallno; } CORE;

#define field_exists(field) __builtin_preserve_field_info(field, 2)
#define enum_value(type, value) __builtin_preserve_enum_value(*(type *)value, 1)
#define enum_exists(type, value) __builtin_preserve_enum_value(*(type *)value, 0)
