// How many processors this process may use: as many as its affinity mask allows (taskset, a cpuset), and no more than the CPU quota of its
// cgroup gives (a container's --cpus, systemd's CPUQuota), rounded down. At least 1. Any thread.
#pragma once

#include <stdint.h>

uint32_t processors_allowed(void);

// The quota alone, in whole processors, with the files below `root` in the place of those of this machine ("": those). It reads
// ROOT/proc/self/cgroup, ROOT/proc/self/mountinfo and the control files of each cgroup from the process's own up to the root of what is
// mounted (cgroup v2: cpu.max; v1: cpu.cfs_quota_us, cpu.cfs_period_us), of which the smallest holds. UINT32_MAX: there is none.
uint32_t processors_quota(const char *root);
