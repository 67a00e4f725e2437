// How many processors a process may use: the affinity mask, and quotas of cgroups in a root of the test's own.
#include "tests/unit/cmocka_all.h"

#include <sched.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "common/base/processors.h"

static char root[] = "/tmp/penstock-processors-XXXXXX";

// Writes `text` into ROOT/path, whose folders it makes.
static void put(const char *path, const char *text)
{
	char full[512];
	snprintf(full, sizeof(full), "%s/%s", root, path);
	for (char *slash = strchr(full + strlen(root) + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		mkdir(full, 0755);
		*slash = '/';
	}
	FILE *file = fopen(full, "w");
	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int make_root(void **state)
{
	strcpy(root + strlen(root) - 6, "XXXXXX");
	return mkdtemp(root) == NULL;
}

static int remove_root(void **state)
{
	char command[64];
	snprintf(command, sizeof(command), "rm -r %s", root);
	return system(command);
}

#define V2_MOUNT "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"
#define V1_MOUNTS                                                                                                      \
	"31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"                                                   \
	"34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"                                            \
	"32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"

static void processors_quota_without_cgroups_or_quotas_is_none(void **state)
{
	assert_int_equal(processors_quota(root), UINT32_MAX);
	put("proc/self/cgroup", "0::/user.slice/job.scope\n");
	assert_int_equal(processors_quota(root), UINT32_MAX);
	put("proc/self/mountinfo", V2_MOUNT);
	assert_int_equal(processors_quota(root), UINT32_MAX);
	put("sys/fs/cgroup/user.slice/job.scope/cpu.max", "max 100000\n");
	assert_int_equal(processors_quota(root), UINT32_MAX);
	put("sys/fs/cgroup/user.slice/job.scope/cpu.max", "nonsense\n");
	assert_int_equal(processors_quota(root), UINT32_MAX);
}

static void processors_quota_of_version_2_is_the_smallest_on_the_way_up(void **state)
{
	put("proc/self/cgroup", "1:name=systemd:/\n0::/user.slice/job.scope\n");
	put("proc/self/mountinfo", V2_MOUNT);
	put("sys/fs/cgroup/user.slice/job.scope/cpu.max", "800000 100000\n");
	assert_int_equal(processors_quota(root), 8);
	put("sys/fs/cgroup/user.slice/cpu.max", "350000 100000\n"); // of its parent, rounded down
	assert_int_equal(processors_quota(root), 3);
	put("sys/fs/cgroup/user.slice/job.scope/cpu.max", "5000 10000\n"); // half of one
	assert_int_equal(processors_quota(root), 1);
}

static void processors_quota_in_a_container_is_that_of_what_is_mounted(void **state)
{
	put("proc/self/mountinfo", V2_MOUNT);
	put("sys/fs/cgroup/cpu.max", "200000 100000\n");
	put("proc/self/cgroup", "0::/\n"); // with a cgroup namespace of its own
	assert_int_equal(processors_quota(root), 2);
	put("proc/self/cgroup", "0::/system.slice/docker-1234.scope\n"); // without: there is no such folder here
	assert_int_equal(processors_quota(root), 2);
	put("proc/self/cgroup", "0::/../../elsewhere\n"); // moved out of its namespace's root
	assert_int_equal(processors_quota(root), 2);
}

static void processors_quota_of_version_1_is_read_with_its_period(void **state)
{
	put("proc/self/cgroup", "9:name=systemd:/\n3:cpuset:/other\n2:cpu,cpuacct:/batch/job1\n0::/\n");
	put("proc/self/mountinfo", V1_MOUNTS);
	put("sys/fs/cgroup/cpu,cpuacct/batch/job1/cpu.cfs_quota_us", "-1\n");
	put("sys/fs/cgroup/cpu,cpuacct/batch/job1/cpu.cfs_period_us", "100000\n");
	assert_int_equal(processors_quota(root), UINT32_MAX);
	put("sys/fs/cgroup/cpu,cpuacct/batch/job1/cpu.cfs_quota_us", "100000\n");
	put("sys/fs/cgroup/cpu,cpuacct/batch/job1/cpu.cfs_period_us", "20000\n");
	assert_int_equal(processors_quota(root), 5);
	put("sys/fs/cgroup/cpu,cpuacct/batch/cpu.cfs_quota_us", "400000\n");
	put("sys/fs/cgroup/cpu,cpuacct/batch/cpu.cfs_period_us", "100000\n");
	assert_int_equal(processors_quota(root), 4);
}

static void processors_quota_of_a_part_that_is_mounted_is_found_below_it(void **state)
{
	put("proc/self/cgroup", "2:cpu,cpuacct:/docker/1234/job\n");
	put("proc/self/mountinfo", "32 31 0:29 /docker/1234 /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n");
	put("sys/fs/cgroup/cpu/cpu.cfs_quota_us", "600000\n");
	put("sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
	assert_int_equal(processors_quota(root), 6);
	put("sys/fs/cgroup/cpu/job/cpu.cfs_quota_us", "300000\n");
	put("sys/fs/cgroup/cpu/job/cpu.cfs_period_us", "100000\n");
	assert_int_equal(processors_quota(root), 3);
}

static void processors_allowed_follows_the_affinity_mask(void **state)
{
	cpu_set_t before, one;
	assert_int_equal(sched_getaffinity(0, sizeof(before), &before), 0);
	assert_true(processors_allowed() >= 1);
	assert_true(processors_allowed() <= (uint32_t)CPU_COUNT(&before));
	int first = 0;
	while (!CPU_ISSET(first, &before))
		first++;
	CPU_ZERO(&one);
	CPU_SET(first, &one);
	assert_int_equal(sched_setaffinity(0, sizeof(one), &one), 0);
	assert_int_equal(processors_allowed(), 1);
	assert_int_equal(sched_setaffinity(0, sizeof(before), &before), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, make_root, remove_root)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(processors_quota_without_cgroups_or_quotas_is_none),
		TEST(processors_quota_of_version_2_is_the_smallest_on_the_way_up),
		TEST(processors_quota_in_a_container_is_that_of_what_is_mounted),
		TEST(processors_quota_of_version_1_is_read_with_its_period),
		TEST(processors_quota_of_a_part_that_is_mounted_is_found_below_it),
		cmocka_unit_test(processors_allowed_follows_the_affinity_mask),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
