// Functions that read the kernel's own structures; included once for each of the two readings, READ(pointer, field).

// The counts of the watched listener that a socket's file belongs to.
INLINE struct counts *READING(find)(struct unix_sock *socket, struct listener *listener)
{
	struct dentry *dentry = READ(socket, path.dentry);
	struct inode *inode = dentry ? READ(dentry, d_inode) : 0;
	struct super_block *mounted = inode ? READ(inode, i_sb) : 0;

	if (!mounted)
		return 0;
	listener->dev = READ(mounted, s_dev);
	listener->inode = READ(inode, i_ino);
	return bpf_map_lookup_elem(&LISTENERS, listener);
}

// The control group in the hierarchy of the memory controller, if that is not the unified one.
INLINE struct kernfs_node *READING(memory_group)(struct css_set *set, struct cgroup *unified)
{
	struct cgroup_subsys_state *memory;
	struct cgroup *own;

	if (!enum_exists(enum cgroup_subsys_id, memory_cgrp_id))
		return 0;
	memory = READING(controller)(set, enum_value(enum cgroup_subsys_id, memory_cgrp_id));
	own = memory ? READ(memory, cgroup) : 0;
	return own && (u64)READ(own, root) != (u64)READ(unified, root) ? READ(own, kn) : 0;
}

INLINE struct file *READING(executable)(struct task_struct *task)
{
	struct mm_struct *memory = READ(task, mm);

	return memory ? READ(memory, exe_file) : 0;
}

INLINE void READING(fill)(struct record *record, struct task_struct *task)
{
	struct task_struct *leader = READ(task, group_leader);
	struct task_struct *parent = READ(task, real_parent);
	struct nsproxy *spaces = READ(task, nsproxy);
	struct net *net = spaces ? READ(spaces, net_ns) : 0;
	struct file *file = READING(executable)(task);
	struct dentry *program = file ? READ(file, f_path.dentry) : 0;
	struct inode *inode = program ? READ(program, d_inode) : 0;
	struct super_block *mounted = inode ? READ(inode, i_sb) : 0;
	struct css_set *set = READ(task, cgroups);
	struct cgroup *unified = set ? READ(set, dfl_cgrp) : 0;

	record->start = leader ? READ(leader, start_boottime) : 0;
	record->parent = parent ? READ(parent, tgid) : 0;
	record->netns = net ? READ(net, ns.inum) : 0;
	record->program_inode = inode ? READ(inode, i_ino) : 0;
	record->program_dev = mounted ? READ(mounted, s_dev) : 0;
	READING(write_program)(record, program);
	record->unified_length = unified ? READING(write_group)(record->unified, READ(unified, kn)) : 0;
	record->memory_length = unified ? READING(write_group)(record->memory, READING(memory_group)(set, unified)) : 0;
}
