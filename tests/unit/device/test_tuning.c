// What is timed once is kept, for every process that reads the file; without a file it is timed each time.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "stage_server/device/tuning.h"

struct fixture {
	char folder[64], file[128];
	int runs[CHOICE_MAXIMUM_CANDIDATES];
	uint64_t cost_ns[CHOICE_MAXIMUM_CANDIDATES]; // 0: cannot be used
};

static bool run_candidate(void *context, uint32_t candidate)
{
	struct fixture *f = context;
	f->runs[candidate]++;
	for (uint64_t end_ns = clock_now_ns() + f->cost_ns[candidate]; clock_now_ns() < end_ns;)
		; // the cost is time itself
	return f->cost_ns[candidate] > 0;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	snprintf(f->folder, sizeof(f->folder), "/tmp/penstock-tuning-XXXXXX");
	assert_non_null(mkdtemp(f->folder));
	snprintf(f->file, sizeof(f->file), "%s/deep/tuning", f->folder);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;
	unlink(f->file);
	char deep[96];
	snprintf(deep, sizeof(deep), "%s/deep", f->folder);
	rmdir(deep);
	rmdir(f->folder);
	free(f);
	return 0;
}

static struct tuning *open_tuning(const char *file, uint32_t threads)
{
	struct error error = {0};
	struct tuning *tuning = NULL;
	char machine[64];
	snprintf(machine, sizeof(machine), "a-machine/threads=%u", threads);
	if (!tuning_create(file, machine, &tuning, &error))
		fail_msg("%s", error.message);
	return tuning;
}

static void time_with(struct fixture *f, const char *file, uint32_t threads, const char *key,
		      const _Atomic(bool) *stopped, bool expected, uint64_t ret_ns[CHOICE_MAXIMUM_CANDIDATES])
{
	struct tuning *tuning = open_tuning(file, threads);
	struct choice choice = {.count = 3, .names = {"slow", "fast", "broken"}, .run = run_candidate, .context = f};
	snprintf(choice.key, sizeof(choice.key), "%s", key);
	assert_int_equal(tuning_time(tuning, &choice, stopped, ret_ns), expected);
	tuning_destroy(tuning);
}

// The fastest of the three.
static uint32_t choose(struct fixture *f, const char *file, uint32_t threads, const char *key)
{
	uint64_t ns[CHOICE_MAXIMUM_CANDIDATES] = {0};
	time_with(f, file, threads, key, NULL, true, ns);
	for (int i = 0; i < 3; i++)
		assert_true(f->cost_ns[i] > 0 || ns[i] == UINT64_MAX);
	return ns[0] <= ns[1] ? (ns[0] == UINT64_MAX ? 3 : 0) : 1;
}

static void set_costs(struct fixture *f, uint64_t a, uint64_t b, uint64_t c)
{
	memcpy(f->cost_ns, (uint64_t[]){a, b, c}, 3 * sizeof(uint64_t));
	memset(f->runs, 0, sizeof(f->runs));
}

static void time_new_question_is_measured_and_kept(void **state)
{
	struct fixture *f = *state;
	set_costs(f, 3000000, 300000, 0);
	assert_int_equal(choose(f, f->file, 1, "product/n=1"), 1);
	assert_true(f->runs[0] > 1 && f->runs[1] > 1);
	assert_int_equal(f->runs[2], 1);  // it said that it cannot
	set_costs(f, 300000, 3000000, 0); // timed again it would come out otherwise
	assert_int_equal(choose(f, f->file, 1, "product/n=1"), 1);
	assert_int_equal(f->runs[0] + f->runs[1], 0);
	// Another shape, and the same with another number of threads, are other questions.
	assert_int_equal(choose(f, f->file, 1, "product/n=10"), 0);
	assert_int_equal(choose(f, f->file, 2, "product/n=1"), 0);
	assert_true(f->runs[0] > 0);
}

static void time_candidate_that_the_file_lacks_is_measured(void **state)
{
	struct fixture *f = *state;
	set_costs(f, 3000000, 300000, 0);
	choose(f, f->file, 1, "product");
	// As after an update that renamed the candidate; and lines that are no lines of this file.
	char text[512] = "";
	FILE *file = fopen(f->file, "r+e");
	assert_non_null(file);
	size_t length = fread(text, 1, sizeof(text) - 1, file);
	char *name = strstr(text, "\tfast\t");
	assert_true(length > 0 && name != NULL);
	memcpy(name, "\tlost\t", 6);
	rewind(file);
	fwrite(text, 1, length, file);
	fputs("\n\t\t\nnonsense without tabs\n\xff\xfe\na-machine/threads=1/product\tfast\t\n"
	      "a-machine/threads=1/product\tfast\t12x\na-machine/threads=1/product\tfast\n",
	      file);
	fclose(file);
	set_costs(f, 300000, 3000000, 0);
	assert_int_equal(choose(f, f->file, 1, "product"), 0);
	assert_true(f->runs[0] > 0);
}

static void time_without_a_file_is_measured_each_time(void **state)
{
	struct fixture *f = *state;
	set_costs(f, 3000000, 300000, 0);
	for (int i = 0; i < 2; i++) {
		f->runs[1] = 0;
		assert_int_equal(choose(f, "/proc/penstock/tuning", 1, "product"), 1);
		assert_true(f->runs[1] > 0);
	}
}

// A file beyond its limit is neither read nor written.
static void time_file_is_full_is_measured_each_time(void **state)
{
	struct fixture *f = *state;
	set_costs(f, 3000000, 300000, 0);
	choose(f, f->file, 1, "product/n=1");
	assert_int_equal(truncate(f->file, (4 << 20) + 1), 0);
	struct stat before, after;
	assert_int_equal(stat(f->file, &before), 0);
	set_costs(f, 300000, 3000000, 0);
	assert_int_equal(choose(f, f->file, 1, "product/n=1"), 0);
	assert_int_equal(choose(f, f->file, 1, "product/n=2"), 0);
	assert_int_equal(stat(f->file, &after), 0);
	assert_int_equal(before.st_size, after.st_size);
}

// A process that waits for the lock waits for no more than this.
static void time_slow_candidates_are_run_twice(void **state)
{
	struct fixture *f = *state;
	set_costs(f, 600000000, 10000000, 0);
	assert_int_equal(choose(f, f->file, 1, "product"), 1);
	assert_int_equal(f->runs[0], 2);
	assert_int_equal(f->runs[1], 2);
}

static void time_nothing_usable_says_so(void **state)
{
	struct fixture *f = *state;
	set_costs(f, 0, 0, 0);
	assert_int_equal(choose(f, f->file, 1, "product"), 3);
}

static void time_stopped_keeps_nothing(void **state)
{
	struct fixture *f = *state;
	uint64_t ns[CHOICE_MAXIMUM_CANDIDATES];
	_Atomic(bool) stopped = true;
	set_costs(f, 1000, 1000, 0);
	time_with(f, f->file, 1, "product", &stopped, false, ns);
	struct stat status;
	assert_int_equal(stat(f->file, &status), 0);
	assert_int_equal(status.st_size, 0);
}

// Two processes at once: one measures, the other waits and then reads.
static void time_two_processes_at_once_agree(void **state)
{
	struct fixture *f = *state;
	set_costs(f, 20000000, 10000000, 0);
	pid_t child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		set_costs(f, 10000000, 20000000, 0); // the opposite
		_exit((int)choose(f, f->file, 1, "product"));
	}
	uint32_t own = choose(f, f->file, 1, "product");
	int status = 0;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), own);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(time_new_question_is_measured_and_kept, set_up, tear_down),
		cmocka_unit_test_setup_teardown(time_candidate_that_the_file_lacks_is_measured, set_up, tear_down),
		cmocka_unit_test_setup_teardown(time_without_a_file_is_measured_each_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(time_file_is_full_is_measured_each_time, set_up, tear_down),
		cmocka_unit_test_setup_teardown(time_slow_candidates_are_run_twice, set_up, tear_down),
		cmocka_unit_test_setup_teardown(time_nothing_usable_says_so, set_up, tear_down),
		cmocka_unit_test_setup_teardown(time_stopped_keeps_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(time_two_processes_at_once_agree, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
